r"""Coupling layers: one part of the input is kept,
and says how the other part is scaled and moved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixyz.flows.flow import Condition, Flow, conditions, rows
from pixyz.types import PixyzError, ShapeError

Net = Callable[..., Any]
MASKS = ("channel_wise", "checkerboard")


class AffineCoupling(Flow):
    r"""The affine coupling layer of RealNVP (Dinh et al., 2017, equations 4, 5 and 9).

    With a mask :math:`b` of ones (kept) and zeros,

    .. math::
        z = b \odot x + (1 - b) \odot \left(x \odot \exp s(b \odot x, y) + t(b \odot x, y)\right),
            \qquad
        \log |\det J| = \sum (1 - b) \odot s(b \odot x, y).

    Args:
        in_features: features ``[B, D]`` or channels ``[B, C, H, W]``.
        mask_type: ``"channel_wise"`` (the first half is kept) or ``"checkerboard"`` (images only).
        scale_net, translate_net: ``(x, *y)`` to ``s`` and to ``t``, of the shape of ``x``.
        scale_translate_net: ``(x, *y)`` to ``(s, t)``, in the place of both.
        inverse_mask: keep the other part.

    Raises:
        PixyzError: an unknown mask, or the networks are not given as said.
        ShapeError: the input has no such mask.

    >>> flow = AffineCoupling(2, scale_translate_net=lambda x: (x.flip(1), x.flip(1)))
    >>> flow.forward_and_logdet(torch.tensor([[1.0, 3.0]]))  # 3 * exp(1) + 1
    (tensor([[1.0000, 9.1548]]), tensor([1.]))
    """

    def __init__(
        self,
        in_features: int,
        mask_type: str = "channel_wise",
        scale_net: Net | None = None,
        translate_net: Net | None = None,
        scale_translate_net: Net | None = None,
        inverse_mask: bool = False,
    ) -> None:
        super().__init__(in_features)
        if mask_type not in MASKS:
            raise PixyzError(f"mask_type is one of {MASKS}, got {mask_type!r}")
        given = [scale_net is not None, translate_net is not None, scale_translate_net is not None]
        if given not in ([True, True, False], [False, False, True]):
            raise PixyzError(
                "AffineCoupling takes scale_net and translate_net, or scale_translate_net alone"
            )
        self.mask_type, self.inverse_mask = mask_type, inverse_mask
        self.scale_net = scale_net
        self.translate_net = translate_net
        self.scale_translate_net = scale_translate_net

    def build_mask(self, x: Tensor) -> Tensor:
        """The mask for inputs like ``x``: 1 where it is kept.

        >>> flow = AffineCoupling(4, scale_translate_net=lambda x: (x, x))
        >>> flow.build_mask(torch.zeros(1, 4))
        tensor([[1., 1., 0., 0.]])
        """
        if self.mask_type == "checkerboard":
            if x.ndim != 4:
                raise ShapeError(
                    f"a checkerboard mask is for images [B, C, H, W], got {list(x.shape)}; "
                    f"use 'channel_wise'"
                )
            # in rows of an odd length every other cell is a checkerboard
            board = x.new_zeros(x.shape[2], x.shape[3] | 1)
            board.view(-1)[int(self.inverse_mask) :: 2].fill_(1.0)
            return board[None, None, :, : x.shape[3]]
        if x.ndim < 2:
            raise ShapeError(f"a coupling layer takes [B, D] or [B, C, H, W], got {list(x.shape)}")
        mask, half = x.new_zeros(1, x.shape[1], *[1] * (x.ndim - 2)), x.shape[1] // 2
        (mask[:, half:] if self.inverse_mask else mask[:, :half]).fill_(1.0)
        return mask

    def get_parameters(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        """Log-scale and translation from the part that is kept."""
        y = conditions(y)
        if self.scale_translate_net is not None:
            log_s, t = self.scale_translate_net(x, *y)
            return log_s, t
        assert self.scale_net is not None and self.translate_net is not None
        return self.scale_net(x, *y), self.translate_net(x, *y)

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        mask = self.build_mask(x)
        log_s, t = self._moved(x, mask, y)
        return x * torch.exp(log_s) + t, log_s.flatten(1).sum(1)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        mask = self.build_mask(z)
        log_s, t = self._moved(z, mask, y)
        return (z - t) * torch.exp(-log_s), -log_s.flatten(1).sum(1)

    def _moved(self, x: Tensor, mask: Tensor, y: Condition) -> tuple[Tensor, Tensor]:
        """Log-scale and translation, zero where ``x`` is kept."""
        log_s, t = self.get_parameters(mask * x, y)
        free = 1 - mask
        return (log_s * free).expand_as(x), t * free

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, mask_type={self.mask_type}, "
            f"inverse_mask={self.inverse_mask}"
        )


class AdditiveCoupling(AffineCoupling):
    r"""The additive coupling layer of NICE (Dinh et al., 2015, section 3.2): :math:`z = x + (1 - b)
    \odot t(b \odot x, y)`.

    It keeps volumes: its log-determinant is 0.

    Args:
        in_features, mask_type, inverse_mask: see :class:`AffineCoupling`.
        translate_net: ``(x, *y)`` to ``t``.

    >>> from pixyz.layers import TranslateDense
    >>> flow = AdditiveCoupling(4, TranslateDense(4))
    >>> flow.forward_and_logdet(torch.ones(2, 4))[1]
    tensor([0., 0.])
    """

    def __init__(
        self,
        in_features: int,
        translate_net: Net,
        mask_type: str = "channel_wise",
        inverse_mask: bool = False,
    ) -> None:
        super().__init__(
            in_features, mask_type, translate_net, translate_net, inverse_mask=inverse_mask
        )
        self.scale_net = None

    def get_parameters(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        assert self.translate_net is not None
        return torch.zeros_like(x), self.translate_net(x, *conditions(y))

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return x + self._moved(x, self.build_mask(x), y)[1], rows(0.0, x)

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return z - self._moved(z, self.build_mask(z), y)[1], rows(0.0, z)


def checkerboard_mask(height: int, width: int, inverse_mask: bool = False) -> np.ndarray:
    """A checkerboard of ones and zeros.

    >>> checkerboard_mask(2, 3)
    array([[1., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """
    cells = np.arange(height).reshape(-1, 1) + np.arange(width)
    return ((cells + (not inverse_mask)) % 2).astype(np.float32)


def channel_wise_mask(channels: int, inverse_mask: bool = False) -> np.ndarray:
    """Ones in the first half (``inverse_mask``: in the second).

    >>> channel_wise_mask(5)
    array([1., 1., 0., 0., 0.], dtype=float32)
    """
    first = np.arange(channels) < channels // 2
    return (first != inverse_mask).astype(np.float32)
