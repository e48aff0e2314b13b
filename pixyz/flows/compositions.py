r"""Flows of vectors, made of the parts in this package: NICE and RealNVP. Those of images are in
``multiscale``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixyz.flows.coupling import AdditiveCoupling, AffineCoupling
from pixyz.flows.flow import Condition, Flow, FlowList, rows
from pixyz.flows.normalization import BatchNorm1d
from pixyz.layers import ScaleTranslateDense, TranslateDense


class DiagonalScale(Flow):
    r"""A learned scale a feature, :math:`z = e^{s} \odot x` on ``[B, D]`` (NICE, section 3.3); the
    identity at first.

    >>> DiagonalScale(3).forward_and_logdet(torch.ones(2, 3))[1].tolist()
    [0.0, 0.0]
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features)
        self.log_scale = nn.Parameter(torch.zeros(in_features))

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return x * torch.exp(self.log_scale), rows(self.log_scale.sum(), x)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return z * torch.exp(-self.log_scale), rows(-self.log_scale.sum(), z)


class NICE(FlowList):
    r"""NICE (Dinh et al., 2015): additive couplings that change sides, then a scale a feature.
    ``[B, D]``.

    .. math::
        h = x + (1 - b) \odot t(b \odot x, y) \text{ (several times)}, \qquad z = e^{s} \odot h,
            \qquad
        \log |\det J| = \sum s.

    Args:
        in_features: ``D``, at least 2.
        num_layers: how many couplings.
        hidden_features: the widths of each coupling's network.
        cond_features: the size of the conditions, flattened and put together.

    >>> z, logdet = NICE(4, cond_features=2).forward_and_logdet(
    ...     torch.zeros(3, 4), torch.zeros(3, 2)
    ... )
    >>> z.shape, logdet.shape
    (torch.Size([3, 4]), torch.Size([3]))
    """

    def __init__(
        self,
        in_features: int,
        num_layers: int = 4,
        hidden_features: Sequence[int] = (64, 64),
        cond_features: int = 0,
    ) -> None:
        couplings = [
            AdditiveCoupling(
                in_features,
                TranslateDense(in_features, hidden_features, cond_features),
                inverse_mask=bool(i % 2),
            )
            for i in range(num_layers)
        ]
        super().__init__([*couplings, DiagonalScale(in_features)])


class RealNVP(FlowList):
    r"""RealNVP of vectors (Dinh et al., 2017): affine couplings that change sides. ``[B, D]``.

    Args:
        in_features: ``D``, at least 2.
        num_layers: how many couplings.
        hidden_features: the widths of each coupling's network.
        cond_features: the size of the conditions, flattened and put together.
        batch_norm: put a :class:`BatchNorm1d` behind each coupling; the share of its running
            statistics that it keeps is ``momentum``.

    >>> flow = RealNVP(2, num_layers=2)
    >>> flow(torch.tensor([[1.0, 2.0]]))  # it starts as the identity
    tensor([[1., 2.]], grad_fn=<AddBackward0>)

    :math:`f = f_n \circ \dots \circ f_1`, each :math:`z_a = x_a,\ z_b = e^{s(x_a)} x_b + t(x_a)`.
    """

    def __init__(
        self,
        in_features: int,
        num_layers: int = 6,
        hidden_features: Sequence[int] = (64, 64),
        cond_features: int = 0,
        batch_norm: bool = False,
        momentum: float = 0.9,
    ) -> None:
        flows: list[Flow] = []
        for i in range(num_layers):
            net = ScaleTranslateDense(in_features, hidden_features, cond_features)
            flows.append(
                AffineCoupling(in_features, scale_translate_net=net, inverse_mask=bool(i % 2))
            )
            if batch_norm:
                flows.append(BatchNorm1d(in_features, momentum))
        super().__init__(flows)
