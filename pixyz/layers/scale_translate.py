r"""Small networks of a coupling layer's log-scale and translation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixyz.types import PixyzError


class ScaleTranslateDense(nn.Module):
    r"""A perceptron ``(x [B, D], *y [B, ...])`` to ``(log_s, t)``, each ``[B, D]``, for :class:`pixyz.flows.AffineCoupling`.

    :math:`\log s = a \tanh(h)` with a learned scale ``a`` a feature (RealNVP, section 4.1); the last layer starts at
    zero, so the coupling starts as the identity.

    Args:
        in_features: ``D``.
        hidden_features: the widths of the hidden layers.
        cond_features: the size of the conditions, flattened and put together.
    """

    def __init__(self, in_features: int, hidden_features: Sequence[int] = (64, 64), cond_features: int = 0) -> None:
        super().__init__()
        widths = [in_features + cond_features, *hidden_features]
        layers: list[nn.Module] = []
        for a, b in zip(widths, widths[1:]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        last = nn.Linear(widths[-1], 2 * in_features)
        self.net = nn.Sequential(*layers, _zeroed(last))
        self.log_scale = nn.Parameter(torch.ones(in_features))

    def forward(self, x: Tensor, *y: Tensor) -> tuple[Tensor, Tensor]:
        h, t = self.net(torch.cat([x, *(part.flatten(1) for part in y)], 1)).chunk(2, 1)
        return self.log_scale * torch.tanh(h), t


class ScaleTranslateConv(nn.Module):
    r"""A convolutional network ``(x [B, C, H, W], *y)`` to ``(log_s, t)``, each ``[B, C, H, W]``, as in Glow (appendix B).

    Convolutions of 3 x 3, 1 x 1 and 3 x 3; the last one starts at zero. A condition ``[B, F]`` is put on every pixel,
    a condition ``[B, F, H, W]`` is put beside the image.

    Args:
        in_channels: ``C``.
        hidden_channels: the width of the two hidden layers.
        cond_channels: the channels (features) of all conditions together.
    """

    def __init__(self, in_channels: int, hidden_channels: int = 64, cond_channels: int = 0) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(in_channels + cond_channels, hidden_channels, 3, padding=1), nn.ReLU(),
            nn.Conv2d(hidden_channels, hidden_channels, 1), nn.ReLU(),
            _zeroed(nn.Conv2d(hidden_channels, 2 * in_channels, 3, padding=1)),
        )
        self.log_scale = nn.Parameter(torch.ones(in_channels, 1, 1))

    def forward(self, x: Tensor, *y: Tensor) -> tuple[Tensor, Tensor]:
        h, t = self.net(torch.cat([x, *(_as_map(part, x) for part in y)], 1)).chunk(2, 1)
        return self.log_scale * torch.tanh(h), t


def _as_map(y: Tensor, x: Tensor) -> Tensor:
    """A condition at every pixel of ``x``."""
    if y.ndim == 2:
        return y[:, :, None, None].expand(-1, -1, *x.shape[2:])
    if y.ndim != 4 or y.shape[2:] != x.shape[2:]:
        raise PixyzError(f"a condition of an image {list(x.shape)} is [B, F] or [B, F, H, W] of its size, got {list(y.shape)}")
    return y


def _zeroed(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
