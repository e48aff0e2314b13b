r"""Networks that say how a coupling layer scales and moves: :math:`(x, y) \mapsto (\log s, t)`.

The log-scale is :math:`a \tanh(h)` with a learned ``a`` a feature or channel (RealNVP, section
4.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixyz.layers.resnet import ResNet
from pixyz.types import ShapeError


def dense(in_features: int, hidden_features: Sequence[int], out_features: int) -> nn.Sequential:
    """A perceptron with ReLU whose last layer starts at zero."""
    layers: list[nn.Module] = []
    for width in hidden_features:
        layers += [nn.Linear(in_features, width), nn.ReLU()]
        in_features = width
    return nn.Sequential(*layers, zeroed(nn.Linear(in_features, out_features)))


class TranslateDense(nn.Module):
    r"""A perceptron ``(x [B, D], *y [B, ...])`` to ``t [B, D]``, for
    :class:`pixyz.flows.AdditiveCoupling`.

    The last layer starts at zero, so the coupling starts as the identity.

    Args:
        in_features: ``D``.
        hidden_features: the widths of the hidden layers.
        cond_features: the size of the conditions, flattened and put together.

    :math:`t = g(x, y)`.

    >>> TranslateDense(3)(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self, in_features: int, hidden_features: Sequence[int] = (64, 64), cond_features: int = 0
    ) -> None:
        super().__init__()
        self.net = dense(in_features + cond_features, hidden_features, in_features)

    def forward(self, x: Tensor, *y: Tensor) -> Tensor:
        made: Tensor = self.net(torch.cat([x, *(part.flatten(1) for part in y)], 1))
        return made


class ScaleTranslateDense(nn.Module):
    r"""A perceptron ``(x [B, D], *y [B, ...])`` to ``(log_s, t)``, each ``[B, D]``, for
    :class:`pixyz.flows.AffineCoupling`.

    The last layer starts at zero, so the coupling starts as the identity.

    Args:
        in_features, hidden_features, cond_features: see :class:`TranslateDense`.

    :math:`(\log s, t) = g(x, y)`.

    >>> log_s, t = ScaleTranslateDense(3)(torch.ones(2, 3))
    >>> log_s.shape, t.shape
    (torch.Size([2, 3]), torch.Size([2, 3]))
    """

    def __init__(
        self, in_features: int, hidden_features: Sequence[int] = (64, 64), cond_features: int = 0
    ) -> None:
        super().__init__()
        self.net = dense(in_features + cond_features, hidden_features, 2 * in_features)
        self.log_scale = nn.Parameter(torch.ones(in_features))

    def forward(self, x: Tensor, *y: Tensor) -> tuple[Tensor, Tensor]:
        h, t = self.net(torch.cat([x, *(part.flatten(1) for part in y)], 1)).chunk(2, 1)
        return self.log_scale * torch.tanh(h), t


class ScaleTranslateImage(nn.Module):
    r"""A network of images ``(x [B, C, H, W], *y)`` to ``(log_s, t)``, each ``[B, C, H, W]``.

    A condition ``[B, F]`` is put on every pixel, a condition ``[B, F, H, W]`` beside the image.

    Args:
        net: ``[B, C + conditions, H, W]`` to ``[B, 2 C, H, W]``.
        in_channels: ``C``.

    :math:`(\log s, t) = g(x, y)`.

    >>> log_s, t = ScaleTranslateConv(2, 4)(torch.ones(1, 2, 4, 4))
    >>> log_s.shape, t.shape
    (torch.Size([1, 2, 4, 4]), torch.Size([1, 2, 4, 4]))
    """

    def __init__(self, net: nn.Module, in_channels: int) -> None:
        super().__init__()
        self.net = net
        self.log_scale = nn.Parameter(torch.ones(in_channels, 1, 1))

    def forward(self, x: Tensor, *y: Tensor) -> tuple[Tensor, Tensor]:
        h, t = self.net(torch.cat([x, *(_as_map(part, x) for part in y)], 1)).chunk(2, 1)
        return self.log_scale * torch.tanh(h), t


class ScaleTranslateConv(ScaleTranslateImage):
    r"""Convolutions of 3 x 3, 1 x 1 and 3 x 3, the last one zero at first, as in Glow (appendix B).

    Args:
        in_channels: ``C``.
        hidden_channels: the width of the two hidden layers.
        cond_channels: the channels (features) of all conditions together.

    :math:`(\log s, t) = g(x, y)`.

    >>> log_s, t = ScaleTranslateConv(2, 4)(torch.ones(1, 2, 4, 4))
    >>> log_s.shape, t.shape
    (torch.Size([1, 2, 4, 4]), torch.Size([1, 2, 4, 4]))
    """

    def __init__(self, in_channels: int, hidden_channels: int = 64, cond_channels: int = 0) -> None:
        net = nn.Sequential(
            nn.Conv2d(in_channels + cond_channels, hidden_channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden_channels, hidden_channels, 1),
            nn.ReLU(),
            zeroed(nn.Conv2d(hidden_channels, 2 * in_channels, 3, padding=1)),
        )
        super().__init__(net, in_channels)


class ScaleTranslateResNet(ScaleTranslateImage):
    r"""RealNVP's residual network (section 3.3).

    Args:
        in_channels: ``C``.
        mid_channels: the width of the blocks.
        num_blocks: how many blocks.
        cond_channels: the channels (features) of all conditions together.
        double_after_norm: one half of the pixels is masked (checkerboard), see
            :class:`pixyz.layers.ResNet`.

    :math:`(\log s, t) = g(x, y)`.

    >>> log_s, t = ScaleTranslateResNet(2, 4, 1)(torch.ones(1, 2, 4, 4))
    >>> log_s.shape, t.shape
    (torch.Size([1, 2, 4, 4]), torch.Size([1, 2, 4, 4]))
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int = 32,
        num_blocks: int = 2,
        cond_channels: int = 0,
        double_after_norm: bool = False,
    ) -> None:
        net = ResNet(
            in_channels + cond_channels,
            mid_channels,
            2 * in_channels,
            num_blocks,
            3,
            1,
            double_after_norm,
        )
        super().__init__(net, in_channels)


def _as_map(y: Tensor, x: Tensor) -> Tensor:
    """A condition at every pixel of ``x``."""
    if y.ndim == 2:
        return y[:, :, None, None].expand(-1, -1, *x.shape[2:])
    if y.ndim != 4 or y.shape[2:] != x.shape[2:]:
        raise ShapeError(
            f"a condition of an image {list(x.shape)} is [B, F] or [B, F, H, W] of its size, "
            f"got {list(y.shape)}"
        )
    return y


def zeroed(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """``layer`` with all weights zero."""
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer
