"""Networks of images: convolutions that halve the sides four times, and those that double them
(DreamerV1 to V3).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.plan.looks import Domain
from pixyz.types import ShapeError
from worldmodels.networks import init_weight, linear
from worldmodels.normalization import RMSNorm

MULTIPLIERS = (2, 3, 4, 4)
"""Channels of the four convolutions, in units of ``depth``."""

Conv = TypeVar("Conv", nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Pixels(Domain):
    """Where images lie: uint8, or floats in [0, 1].

    >>> PIXELS.misfit(torch.tensor([0.0, 255.0]))
    'must lie between 0 and 1, got 255 and 0 more outside; give pixels of 0 to 255 as uint8, or divided by 255'
    """  # noqa: E501

    def misfit(self, x: Tensor) -> str:
        if x.dtype == torch.uint8:
            return ""
        if not x.is_floating_point():
            return f"must be uint8 or floats in [0, 1], got {x.dtype}{self._advice()}"
        return super().misfit(x)


PIXELS = Pixels(0.0, 1.0, advice="give pixels of 0 to 255 as uint8, or divided by 255")


class ImageNorm(nn.Module):
    """RMS norm over channels of ``[N, C, H, W]``, then SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(x.movedim(1, -1))).movedim(-1, 1)


def reduced(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of ``(H, W, C)`` after four halvings.

    Raises:
        ShapeError: a side is no multiple of 16, or the channels seem to come first.
    """
    height, width, channels = shape
    if height < 16 <= min(width, channels) or (channels >= 16 and channels >= width):
        raise ShapeError(
            f"images are (height, width, channels), got {tuple(shape)}, "
            f"which looks like channels first, or like a stack of "
            "grey images: move the channels to the last axis"
        )
    if height % 16 or width % 16:
        raise ShapeError(
            f"images need sides that are multiples of 16 (64 x 64 is usual), got {tuple(shape)}; "
            f"scale them, as by "
            "env.options.image_size=[64, 64] in a run, envs.make(..., image_size=(64, "
            "64)) in Python"
        )
    return height // 16, width // 16


class ConvEncoder(nn.Module):
    """Images ``[N, H, W, C]``, uint8 or in [0, 1] -> ``[N, out]``: four times convolution, norm,
    SiLU, each of which halves the sides.

    Args:
        shape: ``(H, W, C)``, sides multiples of 16.
        depth: channels of the first convolution are ``2 depth``.
        strided: convolutions of 4x4 at every second pixel (DreamerV1 to V3 of 2023), a sixth of the
            work; else of 5x5 at every pixel, and the largest of 2x2 (DreamerV3, 2024).
    """

    def __init__(self, shape: Sequence[int], depth: int, strided: bool = False) -> None:
        super().__init__()
        height, width = reduced(shape)
        channels = [shape[2], *[depth * m for m in MULTIPLIERS]]
        stages: list[nn.Module] = []
        for a, b in itertools.pairwise(channels):
            smaller = [halving(a, b)] if strided else [conv(a, b), nn.MaxPool2d(2)]
            stages += [*smaller, ImageNorm(b)]
        self.stages = nn.Sequential(*stages)
        self.out = channels[-1] * height * width

    def forward(self, image: Tensor) -> Tensor:
        x = image.to(torch.get_default_dtype()) / 255 if image.dtype == torch.uint8 else image
        found: Tensor = self.stages((x - 0.5).movedim(-1, 1))
        return found.flatten(1)


class ConvDecoder(nn.Module):
    """The mean of an image in [0, 1], ``[N, size] -> [N, H, W, C]``: four times convolution, norm,
    SiLU, each of which doubles the sides.

    Args:
        size: of the state.
        shape, depth: as of :class:`ConvEncoder`.
        strided: transposed convolutions of 4x4; else of 5x5 after upsampling.
    """

    def __init__(self, size: int, shape: Sequence[int], depth: int, strided: bool = False) -> None:
        super().__init__()
        self.start = reduced(shape)
        channels = [*[depth * m for m in reversed(MULTIPLIERS)], shape[2]]
        self.first = linear(size, channels[0] * self.start[0] * self.start[1])
        self.norm = ImageNorm(channels[0])
        stages: list[nn.Module] = []
        for i, (a, b) in enumerate(itertools.pairwise(channels)):
            stages += [doubling(a, b)] if strided else [nn.Upsample(scale_factor=2), conv(a, b)]
            if i + 2 < len(channels):
                stages.append(ImageNorm(b))
        self.stages = nn.Sequential(*stages)

    def forward(self, *parts: Tensor) -> Tensor:
        x = self.first(*parts).unflatten(-1, (-1, *self.start))
        # channels last in memory: norms are over channels
        found: Tensor = self.stages(self.norm(x.contiguous(memory_format=torch.channels_last)))
        return torch.sigmoid(found.movedim(1, -1))


def conv(a: int, b: int) -> nn.Conv2d:
    """A 5x5 convolution that keeps the size."""
    return _begun(nn.Conv2d(a, b, 5, padding=2), a * 25)


def halving(a: int, b: int) -> nn.Conv2d:
    """A 4x4 convolution at every second pixel."""
    return _begun(nn.Conv2d(a, b, 4, stride=2, padding=1), a * 16)


def doubling(a: int, b: int) -> nn.ConvTranspose2d:
    """A transposed 4x4 convolution: each pixel is made from 2x2 of the smaller image."""
    return _begun(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), a * 4)


def _begun(layer: Conv, fan_in: int) -> Conv:
    init_weight(layer.weight, fan_in)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
