r"""Convolution with weight normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Convolution(nn.Module):
    """The convolution itself; its weight is ``weight_g * weight_v / |weight_v|`` at each call."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, padding: int, bias: bool
    ) -> None:
        super().__init__()
        plain = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=bias)
        self.padding = padding
        self.weight_v = nn.Parameter(plain.weight.detach().clone())
        self.weight_g = nn.Parameter(plain.weight.detach().flatten(1).norm(dim=1).view(-1, 1, 1, 1))
        self.bias = plain.bias

    def forward(self, x: Tensor) -> Tensor:
        weight = torch._weight_norm(self.weight_v, self.weight_g, 0)
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class WNConv2d(nn.Module):
    r"""A two-dimensional convolution with weight normalisation, :math:`w = g\, v / \lVert v \rVert`
    for each output channel (Salimans and Kingma, 2016, equation 2).

    Weights are computed in ``forward`` and never kept, so it can be copied and pickled at any time.

    Args:
        in_channels, out_channels, kernel_size, padding, bias: as of :class:`torch.nn.Conv2d`.

    >>> WNConv2d(2, 3, 3, 1)(torch.ones(1, 2, 4, 4)).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, padding: int, bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = _Convolution(in_channels, out_channels, kernel_size, padding, bias)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv(x)
        return made


__all__: Sequence[str] = ["WNConv2d"]
