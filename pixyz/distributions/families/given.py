"""What is given to a family: constant parameters, and the interval where its values may lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from pixyz.types import PixyzError, ShapeError

Value = Tensor | str | float | Sequence[float] | None
"""A parameter: a number, a tensor (learned if it is a parameter), a variable's name; or nothing."""


class Held(Protocol):
    """What an error on a constant parameter names."""

    @property
    def prob_text(self) -> str: ...

    @property
    def features_shape(self) -> torch.Size: ...


def constant_of(p: Held, key: str, value: Tensor, shape: torch.Size) -> Tensor | nn.Parameter:
    """A constant parameter as it is held: a row ``[1, *shape]``, or a parameter that is learned.

    Args:
        p: the distribution.
        key: the parameter's name.
        value: what was given.
        shape: what it shall have.

    Raises:
        PixyzError: it has a gradient and is no parameter.
        ShapeError: it has another shape.
    """
    learned = isinstance(value, nn.Parameter)
    if value.requires_grad and not learned:
        how = f"{key} is to be learned; give it as nn.Parameter({key})"
        raise PixyzError(f"{p.prob_text}: {how}")
    try:
        row = value.detach().expand(shape)
    except RuntimeError:
        shapes = f"{list(value.shape)}, but features_shape is {list(p.features_shape)}"
        raise ShapeError(f"{p.prob_text}: {key} has the shape {shapes}") from None
    if learned:
        return value
    return (row if row.is_floating_point() else row.float()).clone().unsqueeze(0)


@dataclass(frozen=True)
class Row:
    """A learned constant as ``[1, *shape]``, which it may have already."""

    shape: torch.Size

    def __call__(self, x: Tensor) -> Tensor:
        return x.expand(self.shape).unsqueeze(0) if x.ndim <= len(self.shape) else x


@dataclass(frozen=True)
class Limits:
    """Whether a value lies in a closed interval."""

    low: float
    high: float

    def __call__(self, x: Tensor) -> Tensor:
        above = x >= self.low
        return above if self.high == float("inf") else above & (x <= self.high)

    def held(self, x: Tensor, inside: Tensor) -> Tensor:
        """``x`` where it is inside, else some value there."""
        some = self.low + 1.0 if self.high == float("inf") else (self.low + self.high) / 2
        return torch.where(inside, x, some)


def zero_outside(log_density: Tensor, inside: Tensor) -> Tensor:
    """Log-density minus infinity where a value is not in the support."""
    return torch.where(inside, log_density, float("-inf"))


def one_of(first: object, second: object, names: str = "probs or logits") -> None:
    """Refuse both at once."""
    if first is not None and second is not None:
        raise PixyzError(f"give {names}, not both")


def unknown_shape(variable: str, shape: str) -> PixyzError:
    """The error of a finite variable whose values are not known before a network has run."""
    return PixyzError(
        f"to sum over {variable!r} its shape must be known; declare features_shape=[{shape}]"
    )
