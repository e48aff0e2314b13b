"""Small tensor functions that plans call. Each is named so that the printed plan can be read."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from pixyz.types import PixyzError, ShapeError

F = TypeVar("F", bound=Callable[..., Any])


def inline(text: str) -> Callable[[F], F]:
    """Let a plan write a formula as an expression: ``{0}``, ``{1}`` are its arguments in order; it
    may read ``torch``.
    """

    def keep(fn: F) -> F:
        fn.inline = text  # type: ignore[attr-defined]
        return fn

    return keep


def inline_like(text: str) -> Callable[[F], F]:
    """The same for base noise of the shape of a tensor ``{0}``, where that is known to be the
    shape.
    """

    def keep(fn: F) -> F:
        fn.inline_like = text  # type: ignore[attr-defined]
        return fn

    return keep


INLINE: dict[Any, str] = {
    operator.add: "{0} + {1}",
    operator.sub: "{0} - {1}",
    operator.mul: "{0} * {1}",
    operator.truediv: "{0} / {1}",
    operator.neg: "-{0}",
}


class Constant:
    """A number, written into the plan."""

    __slots__ = ("value",)

    def __init__(self, value: float | int) -> None:
        # a number of numpy as one of Python
        self.value = value.item() if hasattr(value, "item") else value

    def __call__(self) -> float | int:
        return self.value

    def __hash__(self) -> int:
        return hash((Constant, self.value))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Constant)
            and type(other.value) is type(self.value)
            and other.value == self.value
        )


class Attribute:
    """``module.name``, read when the plan runs."""

    __slots__ = ("module", "name")

    def __init__(self, module: Any, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> Any:
        # where constants are; looking there first is ten times faster
        found = self.module._buffers.get(self.name)
        return getattr(self.module, self.name) if found is None else found

    def dictionary(self) -> dict[str, Any] | None:
        """Where a module holds the value, if it is a parameter or a buffer."""
        held = (self.module.__dict__.get(k, {}) for k in ("_parameters", "_buffers"))
        return next((d for d in held if d.get(self.name) is not None), None)

    def __hash__(self) -> int:
        return hash((Attribute, id(self.module), self.name))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Attribute) and other.module is self.module and other.name == self.name
        )


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

    def __call__(self, x: Any) -> Tensor:
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


def series_length(x: Any, name: str, least: int) -> int:
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


def check_finite(x: Any, name: str) -> None:
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
    """The series one step later: ``start, x[0], ..., x[T-2]``."""
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


def with_total(total: Callable[..., tuple[Tensor, int]]) -> Callable[[F], F]:
    """Give a formula a shorter form for where only the sum of all its elements is read.

    ``total`` takes the formula's arguments and returns that sum and the number of rows (the first
    dimension).
    """

    def keep(fn: F) -> F:
        fn.total = total  # type: ignore[attr-defined]
        return fn

    return keep


def total(x: Tensor) -> Tensor:
    """The sum of all elements, in a type that can hold it."""
    return x.sum() if x.dtype.itemsize >= 4 else x.sum(dtype=torch.float32)


class MeanOfSums:
    """The mean over the batch of a weighted sum of terms, features of each summed; written into the
    plan's text.

    The total of a type of less than 32 bits, which may not hold it, is taken in float32, and so is
    the mean.

    Args:
        weights: of the terms.
    """

    __name__ = "mean_of_sums"

    def __init__(self, weights: tuple[float, ...]) -> None:
        self.weights = weights

    def text(self, name: str, totals: list[str], rows: list[str]) -> str:
        """From the terms' totals and numbers of rows; ``name`` is this object's in the text."""
        order = sorted(range(len(rows)), key=lambda i: self.weights[i] < 0)
        signs = [
            f"{'-' if w < 0 else '+'} {'' if abs(w) == 1 else f'{abs(w)!r} * '}"
            for w in self.weights
        ]
        summed = " ".join(signs[i] + totals[i] for i in order).removeprefix("+ ")
        if len(rows) == 1:
            return f"({summed}) / {rows[0]}"
        return (
            f"({summed}) / {rows[0]} if {' == '.join(rows)} else {name}(({', '.join(totals)}), "
            f"({', '.join(rows)}))"
        )

    def __call__(self, totals: tuple[Tensor, ...], rows: tuple[int, ...]) -> Tensor:
        """A term with one row counts once for each row of the others."""
        if set(rows) - {1, max(rows)}:
            raise ShapeError(
                f"the terms under a mean have batches of different sizes, {sorted(set(rows))}; "
                f"give them one size"
            )
        each = [w * x / n for w, x, n in zip(self.weights, totals, rows, strict=True)]
        return functools.reduce(operator.add, each)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MeanOfSums) and other.weights == self.weights

    def __hash__(self) -> int:
        return hash((MeanOfSums, self.weights))


def smaller(a: Any, b: Any) -> Any:
    """The smaller of two tensors or numbers."""
    return _extreme(torch.minimum, torch.clamp_max, a, b)


def larger(a: Any, b: Any) -> Any:
    """The larger of two tensors or numbers."""
    return _extreme(torch.maximum, torch.clamp_min, a, b)


def _extreme(pair: Any, bound: Any, a: Any, b: Any) -> Any:
    if isinstance(a, Tensor):
        return pair(a, b) if isinstance(b, Tensor) else bound(a, b)
    if isinstance(b, Tensor):
        return bound(b, a)
    return (min if pair is torch.minimum else max)(a, b)


BROADCAST = frozenset({operator.add, operator.sub, operator.mul, operator.truediv, smaller, larger})
"""Arithmetic that works element by element."""
