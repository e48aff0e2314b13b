r"""Flows of images in several scales: RealNVP and Glow.

At each scale the image is squeezed, transformed, and half of its channels leave; what left is, with
what remains at the end, the vector ``z``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pixyz.flows.conv import ChannelConv
from pixyz.flows.coupling import AffineCoupling
from pixyz.flows.flow import Condition, Flow, FlowList
from pixyz.flows.normalization import ActNorm2d, BatchNorm2d
from pixyz.flows.operations import Flatten, Squeeze
from pixyz.layers import ScaleTranslateConv, ScaleTranslateResNet
from pixyz.types import ShapeError


class FactorOut(Flow):
    r"""Half of the channels go through another flow, the rest leave (RealNVP, section 3.6): ``[B,
    C, H, W]`` to ``[B, D]``.

    .. math::
        z = (f(x_{1:C/2}), x_{C/2+1:C}).

    Args:
        flow: ``f``, which must return ``[B, D']``.
        in_size: ``(C, H, W)``.

    >>> FactorOut(Flatten(), (2, 4, 4)).forward_and_logdet(torch.ones(3, 2, 4, 4))[0].shape
    torch.Size([3, 32])
    """

    def __init__(self, flow: Flow, in_size: Sequence[int]) -> None:
        super().__init__(in_size[0])
        self.flow = flow
        self.in_size = torch.Size(in_size)
        self.kept = self.in_size[0] // 2
        self.rest = torch.Size([self.in_size[0] - self.kept, *self.in_size[1:]])

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        if x.shape[1:] != self.in_size:
            raise ShapeError(
                f"FactorOut was made for [B, {list(self.in_size)}], got {list(x.shape)}"
            )
        z, logdet = self.flow.forward_and_logdet(x[:, : self.kept], y)
        return torch.cat([z, x[:, self.kept :].flatten(1)], 1), logdet

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        size = self.rest.numel()
        x, logdet = self.flow.inverse_and_logdet(z[:, :-size], y)
        return torch.cat([x, z[:, -size:].reshape(-1, *self.rest)], 1), logdet


class _Image(FlowList):
    """A flow of images ``[B, *in_size]`` to vectors ``[B, D]``."""

    def __init__(self, flows: Sequence[Flow], in_size: Sequence[int], levels: int) -> None:
        _, height, width = in_size
        if height % 2**levels or width % 2**levels:
            raise ShapeError(
                f"{levels} levels halve the image {levels} times; {height} x {width} cannot be"
            )
        super().__init__(flows)
        self.in_size = torch.Size(in_size)

    @property
    def in_features(self) -> None:
        return None

    @property
    def out_features(self) -> int:
        """``D``, the size of the prior."""
        return self.in_size.numel()


class RealNVP2d(_Image):
    r"""RealNVP of images (Dinh et al., 2017, sections 3.4 to 3.7): ``[B, C, H, W]`` to ``[B, C H
    W]``.

    A scale is three checkerboard couplings, a squeeze, three channel-wise couplings, and half of
    the channels leave; the last scale is four checkerboard couplings.  A :class:`BatchNorm2d`
    follows each coupling; networks are residual. Images in [0, 1] go through :class:`Preprocess`
    first.

    Args:
        in_size: ``(C, H, W)``.
        levels: how often the image is squeezed.
        mid_channels: the width of the networks at the first scale; it doubles at each squeeze.
        num_blocks: residual blocks a network.
        cond_channels: the channels (features) of all conditions together.
        momentum: the share of the running statistics that batch normalisation keeps.

    :math:`f = f_n \circ \dots \circ f_1` of affine couplings of checkerboards and of channels.

    >>> flow = RealNVP2d((1, 8, 8), levels=1, mid_channels=4, num_blocks=1)
    >>> flow.forward_and_logdet(torch.rand(2, 1, 8, 8))[0].shape
    torch.Size([2, 64])
    """

    def __init__(
        self,
        in_size: Sequence[int],
        levels: int = 2,
        mid_channels: int = 16,
        num_blocks: int = 2,
        cond_channels: int = 0,
        momentum: float = 0.9,
    ) -> None:
        def couplings(size: Sequence[int], width: int, mask: str, count: int) -> list[Flow]:
            flows: list[Flow] = []
            for i in range(count):
                net = ScaleTranslateResNet(
                    size[0], width, num_blocks, cond_channels, mask == "checkerboard"
                )
                flows.append(
                    AffineCoupling(size[0], mask, scale_translate_net=net, inverse_mask=bool(i % 2))
                )
                flows.append(BatchNorm2d(size[0], momentum))
            return flows

        def scale(size: Sequence[int], width: int, left: int) -> list[Flow]:
            if left == 0:
                return [*couplings(size, width, "checkerboard", 4), Flatten(size)]
            c, h, w = size
            small = (4 * c, h // 2, w // 2)
            inner = FlowList(scale((2 * c, h // 2, w // 2), 2 * width, left - 1))
            channels = couplings(small, 2 * width, "channel_wise", 3)
            return [
                *couplings(size, width, "checkerboard", 3),
                Squeeze(),
                *channels,
                FactorOut(inner, small),
            ]

        super().__init__(scale(in_size, mid_channels, levels), in_size, levels)


class Glow(_Image):
    r"""Glow (Kingma and Dhariwal, 2018, figure 2): ``[B, C, H, W]`` to ``[B, C H W]``.

    A scale is a squeeze, ``steps`` times (:class:`ActNorm2d`, :class:`ChannelConv`,
    :class:`AffineCoupling`), and half of the channels leave after one more coupling, by which their
    distribution depends on the half that stays. Images in [0, 1] go through :class:`Preprocess`
    first.

    Args:
        in_size: ``(C, H, W)``.
        levels: how many scales.
        steps: steps a scale.
        hidden_channels: the width of the networks.
        cond_channels: the channels (features) of all conditions together.
        decomposed: hold the 1 x 1 convolutions by their LU factors.

    >>> flow = Glow((1, 8, 8), levels=2, steps=2, hidden_channels=8)
    >>> z, logdet = flow.forward_and_logdet(torch.rand(5, 1, 8, 8))
    >>> z.shape, flow.inverse(z).shape, flow.out_features
    (torch.Size([5, 64]), torch.Size([5, 1, 8, 8]), 64)

    :math:`f = f_n \circ \dots \circ f_1` of activation normalisation, 1 x 1 convolution, affine
    coupling.
    """

    def __init__(
        self,
        in_size: Sequence[int],
        levels: int = 2,
        steps: int = 8,
        hidden_channels: int = 64,
        cond_channels: int = 0,
        decomposed: bool = False,
    ) -> None:
        def coupling(channels: int) -> AffineCoupling:
            net = ScaleTranslateConv(channels, hidden_channels, cond_channels)
            return AffineCoupling(channels, scale_translate_net=net)

        def scale(size: Sequence[int], left: int) -> list[Flow]:
            c, h, w = size
            small = (4 * c, h // 2, w // 2)
            flows: list[Flow] = [Squeeze()]
            for _ in range(steps):
                flows += [ActNorm2d(4 * c), ChannelConv(4 * c, decomposed), coupling(4 * c)]
            if left == 1:
                return [*flows, Flatten(small)]
            inner = FlowList(scale((2 * c, h // 2, w // 2), left - 1))
            return [*flows, coupling(4 * c), FactorOut(inner, small)]

        super().__init__(scale(in_size, levels), in_size, levels)
