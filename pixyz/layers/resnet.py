r"""The residual network of RealNVP's scale and translation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixyz.layers.weight_norm import WNConv2d


class ResidualBlock(nn.Module):
    r"""``x + conv(relu(norm(conv(relu(norm(x))))))`` with 3 x 3 convolutions; ``[B, C, H, W]`` to
    the same shape.

    :math:`y = x + W_2\, \mathrm{relu}(n_2(W_1\, \mathrm{relu}(n_1(x))))`.

    >>> ResidualBlock(2, 2)(torch.ones(1, 2, 4, 4)).shape
    torch.Size([1, 2, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_norm = nn.BatchNorm2d(in_channels)
        self.in_conv = WNConv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.out_norm = nn.BatchNorm2d(out_channels)
        self.out_conv = WNConv2d(out_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.in_conv(F.relu(self.in_norm(x)))
        made: Tensor = x + self.out_conv(F.relu(self.out_norm(h)))
        return made


class ResNet(nn.Module):
    r"""The network of scale and translation in RealNVP (Dinh et al., 2017, section 3.3), with
    weight normalisation.

    ``[B, in_channels, H, W]`` to ``[B, out_channels, H, W]``: every block also feeds the output
    over a 1 x 1 convolution.

    Args:
        in_channels, mid_channels, out_channels: channels of the input, of the blocks and of the
            output.
        num_blocks: how many residual blocks.
        kernel_size, padding: of the first convolution (``padding = kernel_size // 2`` keeps the
            size).
        double_after_norm: double the normalised input (for inputs of which a mask has hidden one
            half).

    >>> ResNet(1, 8, 2, num_blocks=2, kernel_size=3, padding=1, double_after_norm=True)(
    ...     torch.zeros(2, 1, 4, 4)
    ... ).shape
    torch.Size([2, 2, 4, 4])

    :math:`y = \sum_i W_i x_i` over the input :math:`x_0` and the output :math:`x_i` of each
    residual block, normed in between.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        num_blocks: int,
        kernel_size: int,
        padding: int,
        double_after_norm: bool,
    ) -> None:
        super().__init__()
        self.double_after_norm = double_after_norm
        self.in_norm = nn.BatchNorm2d(in_channels)
        self.in_conv = WNConv2d(2 * in_channels, mid_channels, kernel_size, padding)
        self.in_skip = WNConv2d(mid_channels, mid_channels, kernel_size=1, padding=0)
        self.blocks = nn.ModuleList(
            [ResidualBlock(mid_channels, mid_channels) for _ in range(num_blocks)]
        )
        self.skips = nn.ModuleList(
            [WNConv2d(mid_channels, mid_channels, 1, 0) for _ in range(num_blocks)]
        )
        self.out_norm = nn.BatchNorm2d(mid_channels)
        self.out_conv = WNConv2d(mid_channels, out_channels, kernel_size=1, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_norm(x)
        if self.double_after_norm:
            x = 2 * x
        x = self.in_conv(F.relu(torch.cat([x, -x], 1)))
        out = self.in_skip(x)
        for block, skip in zip(self.blocks, self.skips, strict=True):
            x = block(x)
            out = out + skip(x)
        made: Tensor = self.out_conv(F.relu(self.out_norm(out)))
        return made
