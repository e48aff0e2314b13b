r"""Inverse autoregressive flows: a draw is moved by a masked network in one pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.flows.flow import Condition, Flow
from pixyz.types import PixyzError


class MaskedLinear(nn.Linear):
    """A dense layer ``[..., in] -> [..., out]`` with some of its weights held at zero; ``mask [out,
    in]`` is 1 elsewhere.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class InverseAutoregressive(Flow):
    r"""A step of an inverse autoregressive flow, for draws ``[B, D]``.

    .. math::
        z'_i = \sigma(s_i) z_i + (1 - \sigma(s_i)) m_i, \quad (m_i,
            s_i) = \mathrm{net}_i(z_{1:i-1}), \quad
        \log|\det| = \sum_i \log \sigma(s_i)

    (Kingma et al. 2016, eq. 13-14 and algorithm 1; the network is a MADE, Germain et al. 2015.)
    Forward takes one pass of the network, the inverse ``D`` of them: it is made for densities of
    what was drawn, as in a posterior.

    Args:
        in_features: ``D``, at least 2.
        hidden: units of the network's hidden layer.

    >>> flow = InverseAutoregressive(3, 8)
    >>> moved, logdet = flow.forward_and_logdet(torch.ones(2, 3))
    >>> bool(torch.allclose(flow.inverse(moved), torch.ones(2, 3), atol=1e-5)), logdet.shape
    (True, torch.Size([2]))
    """

    def __init__(self, in_features: int, hidden: int = 64) -> None:
        if in_features < 2 or hidden < 1:
            raise PixyzError(
                f"an autoregressive flow needs 2 features or more and a hidden unit, "
                f"got {in_features} and {hidden}"
            )
        super().__init__(in_features)
        feature, unit = torch.arange(in_features), torch.arange(hidden) % (in_features - 1)
        # unit j reads the features up to its number
        self.first = MaskedLinear(unit[:, None] >= feature[None, :])
        # feature i reads the units below it
        self.second = MaskedLinear((feature[:, None] > unit[None, :]).repeat(2, 1))
        nn.init.zeros_(self.second.weight)
        with torch.no_grad():  # nearly the identity at first, as in the paper
            self.second.bias.copy_(
                torch.cat([torch.zeros(in_features), torch.full((in_features,), 2.0)])
            )

    def _network(self, z: Tensor) -> tuple[Tensor, Tensor]:
        m, s = self.second(F.elu(self.first(z))).chunk(2, -1)
        return m, s

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        m, s = self._network(x)
        return torch.lerp(m, x, torch.sigmoid(s)), F.logsigmoid(s).sum(-1)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        x = torch.zeros_like(z)
        for _ in range(z.shape[-1]):  # after i passes the first i features are right
            m, s = self._network(x)
            x = (z - m) / torch.sigmoid(s) + m
        return x, -F.logsigmoid(self._network(x)[1]).sum(-1)
