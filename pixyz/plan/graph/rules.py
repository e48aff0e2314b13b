"""Small tensor functions that plans call. Each is named so that the printed plan can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pixyz.plan.graph.formula import inline, inline_like, with_total
from pixyz.plan.graph.values import (
    BROADCAST,
    INLINE,
    OPERATORS,
    TOTAL_AND_ROWS,
    Attribute,
    Constant,
    MeanOfSums,
    larger,
    smaller,
    total,
)
from pixyz.types import PixyzError, ShapeError

__all__ = [
    "BROADCAST",
    "INLINE",
    "OPERATORS",
    "TOTAL_AND_ROWS",
    "Attribute",
    "Constant",
    "MeanOfSums",
    "inline",
    "inline_like",
    "larger",
    "smaller",
    "total",
    "with_total",
]


def same(x: Any) -> Any:
    return x


def detach(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def sum_features(x: Tensor, lead: int) -> Tensor:
    """Sum all dimensions behind the first ``lead``."""
    if x.ndim <= lead:
        return x
    return x.sum(-1) if x.ndim == lead + 1 else x.flatten(lead).sum(-1)


@dataclass(frozen=True)
class SumOver:
    """Sum the dimensions ``dims``, counted as in ``[B, ...]``."""

    dims: tuple[int, ...]
    __name__ = "sum_over"

    def __call__(self, x: Tensor, lead: int) -> Tensor:
        return x.sum([d if d < 0 else d + lead - 1 for d in self.dims])


@dataclass(frozen=True)
class Clamped:
    """A value held between two bounds."""

    low: float | None
    high: float | None
    __name__ = "clamp"

    def __call__(self, x: object) -> Tensor:
        return torch.clamp(torch.as_tensor(x), self.low, self.high)


def _dims(x: Tensor, dims: tuple[int, ...], tail: int | None) -> tuple[int, ...]:
    return dims if tail is None else dims + tuple(range(tail, x.ndim))


def reduce_sum(
    x: Tensor, dims: tuple[int, ...] | None, tail: int | None, mask: Tensor | None = None
) -> Tensor:
    """Sum over ``dims`` and everything from ``tail`` on (all if None), over valid elements only."""
    if mask is not None:
        x = torch.where(lift(mask, x), x, 0.0)
    return x.sum() if dims is None else x.sum(_dims(x, dims, tail))


def reduce_mean(
    x: Tensor, dims: tuple[int, ...] | None, tail: int | None, mask: Tensor | None = None
) -> Tensor:
    """Mean over ``dims`` and everything from ``tail`` on (all if None),
    over valid elements only.
    """
    if mask is None:
        return x.mean() if dims is None else x.mean(_dims(x, dims, tail))
    valid = lift(mask, x).expand_as(x)
    total = torch.where(valid, x, 0.0)
    if dims is None:
        return total.sum() / valid.sum().clamp(min=1)
    every = _dims(x, dims, tail)
    return total.sum(every) / valid.sum(every).clamp(min=1)


def reduce_logsumexp(
    x: Tensor, dims: tuple[int, ...], tail: int | None, mask: Tensor | None = None
) -> Tensor:
    """The logarithm of the sum of exponentials over ``dims``."""
    return torch.logsumexp(x, _dims(x, dims, tail))


def lift(flag: Tensor, like: Tensor) -> Tensor:
    """Append dimensions of size 1 until ``flag`` has as many as ``like``."""
    missing = like.ndim - flag.ndim
    return flag if missing <= 0 else flag.reshape(flag.shape + (1,) * missing)


def hold(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """``new`` where the frame is valid, else ``old``."""
    return torch.where(lift(mask, new), new, old)


def column(flag: Tensor) -> Tensor:
    """A flag with a feature dimension of size 1, made once for a whole series."""
    return flag.unsqueeze(-1)


def _over(flag: Tensor, like: Tensor) -> Tensor:
    """A column with as many dimensions as ``like``."""
    if flag.ndim == like.ndim:
        return flag
    return flag.squeeze(-1) if flag.ndim > like.ndim else lift(flag, like)


def reset(first: Tensor, value: Tensor, init: Any) -> Tensor:
    """``init`` where a sequence begins (``first`` is a :func:`column`), else ``value``."""
    return torch.where(_over(first, value), init, value)


def blank(mask: Tensor, x: Tensor) -> Tensor:
    """``x`` with masked frames set to zero, whatever they hold."""
    return torch.where(lift(mask, x), x, torch.zeros((), dtype=x.dtype, device=x.device))


def as_flag(x: Tensor) -> Tensor:
    """A mask or flag as bool."""
    return x if x.dtype == torch.bool else x != 0


def shift_in(start: Tensor, x: Tensor) -> Tensor:
    """The series that is one step behind ``x``: start, x[0], ..., x[T-2]."""
    return torch.cat([start.unsqueeze(0), x[:-1]])


def series_length(x: object, name: str, least: int) -> int:
    """The steps of a series.

    Raises:
        ShapeError: it is no tensor ``[T, B, ...]`` with ``least`` dimensions or more, or has no
            steps or no rows.
    """
    if not isinstance(x, Tensor) or x.ndim < least:
        came = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(
            f"the series {name} must be a tensor [T, B, ...], got {came}; "
            f"one sequence is x.unsqueeze(1)"
        )
    if 0 in x.shape[:least]:
        raise ShapeError(f"the series {name} is empty: its shape [T, B, ...] is {list(x.shape)}")
    return x.shape[0]


def check_length(other: Tensor, length: int, name: str) -> None:
    """Raise unless ``other`` has ``length`` steps."""
    if other.shape[0] != length:
        raise ShapeError(
            f"series of different lengths: {name} has {other.shape[0]} steps, expected {length}"
        )


def check_finite(x: object, name: str) -> None:
    """Raise if a value holds NaN or infinity (debug mode)."""
    if isinstance(x, Tensor) and x.is_floating_point() and not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).sum())
        raise PixyzError(
            f"{name} is not finite ({bad} of {x.numel()} values); look at what it is computed from"
        )


def shift_back(start: Tensor, x: Tensor) -> Tensor:
    """The series that is one step ahead of ``x``: x[1], ..., x[T-1], start (for reverse loops)."""
    return torch.cat([x[1:], start.unsqueeze(0)])


def expand_lead(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Expand the leading dimensions to ``sizes``."""
    return x.expand(sizes + tuple(x.shape[len(sizes) :]))


def expand_rows(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Expand the leading dimensions to ``sizes`` and merge them into one batch dimension."""
    return x.expand(sizes + tuple(x.shape[len(sizes) :])).flatten(0, len(sizes) - 1)


def joint_shape(*xs: Tensor) -> torch.Size:
    """The shape to which all arguments broadcast."""
    first = xs[0].shape
    if len(xs) == 2:
        if xs[1].shape == first:
            return first
    elif all(x.shape == first for x in xs[1:]):
        return first
    return torch.broadcast_shapes(*(x.shape for x in xs))


def reset_zero(first: Tensor, value: Tensor) -> Tensor:
    """0 where a sequence begins (``first`` is a :func:`column`), else ``value``, whatever it holds
    there.
    """
    return value.masked_fill(_over(first, value), 0)


def zeros_like_rows(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A row of zeros ``[1, *shape]`` with the device of ``x`` and a floating type."""
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    return torch.zeros((1, *shape), dtype=dtype, device=x.device)


def cat_path(start: Tensor, outs: Tensor) -> tuple[Tensor]:
    """Start and all later values: ``[H + 1, N, ...]``."""
    return (torch.cat([start.unsqueeze(0), outs]),)


def cat_path_back(start: Tensor, outs: Tensor) -> tuple[Tensor]:
    """The same for a loop that goes backward: its start comes last."""
    return (torch.cat([outs, start.unsqueeze(0)]),)


def but_last(x: Tensor) -> tuple[Tensor]:
    """All values but the last: ``[H, N, ...]``."""
    return (x[:-1],)


def but_first(x: Tensor) -> tuple[Tensor]:
    """All values but the first: ``[H, N, ...]``."""
    return (x[1:],)


def last(x: Tensor) -> tuple[Tensor]:
    return (x[-1],)


def first(x: Tensor) -> tuple[Tensor]:
    return (x[0],)


def lagged(x: Tensor, start: Tensor) -> tuple[Tensor]:
    """The series one step later: ``start, x[0], ..., x[T-2]``.

    Raises:
        ShapeError: ``start`` has more dimensions than a frame.
    """
    if start.ndim >= x.ndim:
        raise ShapeError(
            f"the first value of a lag has the shape {list(start.shape)} with its batch, a frame "
            f"of the series {list(x.shape[1:])}; give init one row, {list(x.shape[2:])}"
        )
    return (torch.cat([lift(start.to(x.dtype), x[0]).expand_as(x[0]).unsqueeze(0), x[:-1]]),)


class Window:
    """``x[low : T - high]``, moved by ``shift``: a lagged series over the range where all lags
    exist.
    """

    def __init__(self, low: int, high: int, shift: int) -> None:
        self.low, self.high, self.shift = low, high, shift

    def __call__(self, x: Tensor) -> tuple[Tensor]:
        stop = x.shape[0] - self.high + self.shift
        return (x[self.low + self.shift : stop],)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Window) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((self.low, self.high, self.shift))


class Head:
    """The first ``steps`` of a series."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, x: Tensor) -> tuple[Tensor]:
        if x.shape[0] < self.steps:
            raise ShapeError(f"max_iter={self.steps} steps asked for, a series has {x.shape[0]}")
        return (x[: self.steps],)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Head) and other.steps == self.steps

    def __hash__(self) -> int:
        return hash((Head, self.steps))


class Unbroken:
    """Whether no sequence begins between frame ``t + low`` (not included) and ``t + high``: a lag
    stays inside one.
    """

    def __init__(self, low: int, high: int, back: int, ahead: int) -> None:
        self.low, self.high, self.back, self.ahead = low, high, back, ahead

    def __call__(self, first: Tensor) -> tuple[Tensor]:
        steps = first.shape[0] - self.back - self.ahead
        broken = torch.zeros_like(first[:steps], dtype=torch.bool)
        for k in range(self.low + 1, self.high + 1):
            broken = broken | (first[self.back + k : self.back + k + steps] != 0)
        return (~broken,)


def both(a: Tensor, b: Tensor) -> Tensor:
    return a & b
