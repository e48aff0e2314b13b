"""Scaling: observations in standard units, by numbers that are saved with a model's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pixyz.types import ShapeError


class Scaling(nn.Module):
    r"""``(x - loc) / scale`` of each feature; ``loc`` 0 and ``scale`` 1 until :meth:`set`.

    Args:
        size: the number of features.

    >>> scaling = Scaling(2)
    >>> scaling.set([1.0, 0.0], [2.0, 1.0])
    >>> scaling(torch.tensor([[3.0, 4.0]])), scaling.inverse(torch.tensor([[1.0, 4.0]]))
    (tensor([[1., 4.]]), tensor([[3., 4.]]))
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def set(self, loc: Sequence[float] | Tensor, scale: Sequence[float] | Tensor) -> None:
        """Take ``loc [D]`` and ``scale [D]``; a feature without spread keeps the scale 1.

        Raises:
            ShapeError: another number of features, or a number that is not finite.
        """
        loc, scale = (torch.as_tensor(v, dtype=torch.float32) for v in (loc, scale))
        if loc.shape != self.loc.shape or scale.shape != self.scale.shape:
            raise ShapeError(
                f"expected loc and scale of {list(self.loc.shape)}, "
                f"got {list(loc.shape)} and {list(scale.shape)}"
            )
        if not (torch.isfinite(loc).all() and torch.isfinite(scale).all() and (scale >= 0).all()):
            raise ShapeError(
                f"expected finite loc and scale, scale not negative, "
                f"got {loc.tolist()} and {scale.tolist()}"
            )
        self.loc.copy_(loc)
        self.scale.copy_(torch.where(scale > 1e-6, scale, torch.ones_like(scale)))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.loc) / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        """``x * scale + loc``."""
        return x * self.scale + self.loc


def scalings(shapes: Mapping[str, Sequence[int]]) -> nn.ModuleDict:
    """A :class:`Scaling` for each vector ``[D]`` among the observations."""
    return nn.ModuleDict({k: Scaling(s[0]) for k, s in shapes.items() if len(s) == 1})
