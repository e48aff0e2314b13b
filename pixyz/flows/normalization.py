r"""Normalising flows in the plain sense: batch normalisation and activation normalisation, as
invertible layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from pixyz.flows.flow import Condition, Flow, pixels, rows
from pixyz.types import ShapeError

EPSILON = 1e-7


class _BatchNorm(Flow):
    """Batch normalisation of the features in dimension 1, over the dimensions ``over``."""

    running_mean: Tensor
    running_var: Tensor
    mixes_rows = "batch normalisation"
    over: ClassVar[Sequence[int]]
    trailing: ClassVar[int]

    def __init__(self, in_features: int, momentum: float = 0.0) -> None:
        super().__init__(in_features)
        shape = (in_features, *[1] * self.trailing)
        self.momentum = momentum
        self.log_gamma = nn.Parameter(torch.zeros(shape))
        self.beta = nn.Parameter(torch.zeros(shape))
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_var", torch.ones(shape))

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        self._check(x)
        mean, var = (
            self._batch_statistics(x) if self.training else (self.running_mean, self.running_var)
        )
        z = torch.exp(self.log_gamma) * (x - mean) / var.sqrt() + self.beta
        return z, self._logdet(var, x)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        self._check(z)
        x = (z - self.beta) * torch.exp(
            -self.log_gamma
        ) * self.running_var.sqrt() + self.running_mean
        return x, -self._logdet(self.running_var, z)

    def _batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x.mean(list(self.over), keepdim=True)[0]
        var = (x - mean).square().mean(list(self.over), keepdim=True)[0] + EPSILON
        # new tensors, not in place: an earlier graph may still need the old ones
        with torch.no_grad():
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        return mean, var

    def _logdet(self, var: Tensor, x: Tensor) -> Tensor:
        return rows((self.log_gamma - 0.5 * torch.log(var)).sum() * pixels(x), x)

    def _check(self, x: Tensor) -> None:
        if x.ndim != 2 + self.trailing or x.shape[1] != self.in_features:
            wanted = f"[B, {self.in_features}{', H, W' if self.trailing else ''}]"
            raise ShapeError(f"{type(self).__name__} normalises {wanted}, got {list(x.shape)}")

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, momentum={self.momentum}"


class BatchNorm1d(_BatchNorm):
    r"""Invertible batch normalisation of ``[B, D]`` (RealNVP, section 3.7).

    .. math::
        z = e^{\gamma} \odot \frac{x - \mu}{\sqrt{\sigma^2}} + \beta, \qquad
        \log |\det J| = \sum_d \left(\gamma_d - \tfrac12 \log \sigma_d^2\right).

    ``forward`` uses the statistics of the batch in training mode (taken as constants in the
    Jacobian, as in the paper) and moves the running ones; in evaluation mode it uses the running
    ones.  The inverse uses the running statistics in both modes: it is the inverse of the
    evaluation mode's function, and with ``momentum=0`` also of the training mode's for the last
    batch. (0.3.3 kept the last batch's statistics on the module for it.)

    Args:
        in_features: ``D``.
        momentum: the share of the old running statistics that is kept; 0 keeps the last batch's
            only.

    >>> flow = BatchNorm1d(3)
    >>> x = torch.randn(20, 3)
    >>> torch.allclose(flow.inverse(flow(x)), x, atol=1e-5)
    True
    """

    over = (0,)
    trailing = 0


class BatchNorm2d(_BatchNorm):
    r"""Invertible batch normalisation of images ``[B, C, H, W]``, a channel at a time; see
    :class:`BatchNorm1d`.

    The statistics are over batch, height and width, and the log-determinant counts every pixel.
    (0.3.3 averaged over the batch only, a statistic a pixel, and its log-determinant had the shape
    ``[C, H]``.)

    :math:`z = (x - \mu) / \sigma`, with :math:`\mu` and :math:`\sigma` of a channel.

    >>> BatchNorm2d(3).forward_and_logdet(torch.randn(4, 3, 2, 2))[0].shape
    torch.Size([4, 3, 2, 2])
    """

    over = (0, 2, 3)
    trailing = 2


class ActNorm2d(Flow):
    r"""Activation normalisation of ``[B, C, H, W]`` (Glow, Kingma and Dhariwal, 2018, section 3.1).

    .. math::
        z = (x + b) \odot e^{l}, \qquad \log |\det J| = H W \sum_c l_c.

    The first ``forward`` in training mode sets ``b`` and ``l`` so that each channel of that batch
    gets the mean 0 and the standard deviation ``scale``; they are parameters from then on.  That it
    has happened is the buffer ``inited`` of the state dict, so a loaded model is not initialised
    again. (A checkpoint of 0.3.3, which lacks it, counts as initialised.) The inverse never
    initialises.  Where several processes train one model, let a batch through before it is wrapped
    (in DistributedDataParallel, say): else each process sets the parameters from a batch of its
    own.

    Args:
        in_features: ``C``.
        scale: the standard deviation after initialisation.

    >>> z, logdet = ActNorm2d(3).forward_and_logdet(torch.randn(4, 3, 2, 2))
    >>> bool(z.mean((0, 2, 3)).abs().max() < 1e-5), logdet.shape
    (True, torch.Size([4]))
    """

    inited: Tensor
    mixes_rows = "initialisation from a batch"

    def __init__(self, in_features: int, scale: float = 1.0) -> None:
        super().__init__(in_features)
        self.bias = nn.Parameter(torch.zeros(1, in_features, 1, 1))
        self.logs = nn.Parameter(torch.zeros(1, in_features, 1, 1))
        self.scale = float(scale)
        self.register_buffer("inited", torch.tensor(False))
        self._seen: tuple[Tensor | None, int] = (None, 0)

    def initialize_parameters(self, x: Tensor) -> None:
        """Set bias and log-scale from the batch ``x``."""
        with torch.no_grad():
            mean = x.mean([0, 2, 3], keepdim=True)
            std = (x - mean).square().mean([0, 2, 3], keepdim=True).sqrt()
            self.bias.copy_(-mean)
            self.logs.copy_(torch.log(self.scale / (std + EPSILON)))
            self.inited.fill_(True)

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        self._check(x)
        if self.training and not self._is_inited():
            self.initialize_parameters(x)
        return (x + self.bias) * torch.exp(self.logs), rows(self.logs.sum() * pixels(x), x)

    def _is_inited(self) -> bool:
        """Whether it has happened; on a device the buffer is read again where it is another, or was
        written to: it is waited for.
        """
        inited = self.inited
        if torch.compiler.is_compiling() or inited.device.type == "cpu" or inited.is_inference():
            return bool(inited)
        now = (self.inited, self.inited._version)
        if now[0] is self._seen[0] and now[1] == self._seen[1]:
            return True
        found = bool(self.inited)
        self._seen = now if found else (None, 0)
        return found

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        self._check(z)
        return z * torch.exp(-self.logs) - self.bias, rows(-self.logs.sum() * pixels(z), z)

    def _check(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_features:
            raise ShapeError(
                f"ActNorm2d normalises [B, {self.in_features}, H, W], got {list(x.shape)}"
            )

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object
    ) -> None:
        if prefix + "bias" in state_dict:
            state_dict.setdefault(prefix + "inited", torch.tensor(True))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, scale={self.scale}"
