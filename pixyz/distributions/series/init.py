"""What a carried (or lagged) name holds at the beginning and after a reset: ``init``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.series.recurrence import Recurrence
from pixyz.expression.protocol import Draw
from pixyz.plan import Axis, Scope, Slot, rules
from pixyz.plan.graph import BatchKind
from pixyz.plan.looks import Seen, covers, tail
from pixyz.types import PixyzError, ShapeError


@dataclass(frozen=True)
class Draws:
    """A distribution: each sequence and particle has a draw of its own, and another one after each
    reset.
    """

    p: Distribution
    scope: Scope
    name: str

    def __call__(self, like: Slot | None, axes: tuple[Axis, ...]) -> Slot:
        """A draw for each row of ``like``, along ``axes``.

        Raises:
            PixyzError: there is one draw for all rows.
        """
        inner = self.scope.child()
        inner.path = {}
        if like is not None and self.p.drawn_by_parameters:
            params = self.p.lower_params(inner).expanded(like, axes)
            return self.p.sample_from(inner, params, Draw())[self.name]
        particles = tuple(a for a in axes if a.kind == "particle")
        drawn = self.p.lower_sample(inner, Draw(particles=particles))[self.name]
        if like is not None and drawn.batch != "full" and self.p.is_random:
            raise PixyzError(
                f"init of {self.name!r}: {self.p.prob_text} has no batch, so all sequences would "
                f"share one draw; use a family such as Normal, or give it a condition with a batch"
            )
        return drawn


@dataclass(frozen=True)
class Known:
    """What is known of a carried value before the loop.

    Args:
        shape: of one row, where a distribution of the step declares it.
        like: a value that has the rows.
        series: the series whose frames are carried on, if it is one.
        weights: a parameter or a buffer of the step, for type and device where no value is there.
    """

    shape: torch.Size | None
    like: Slot | None
    series: Slot | None = None
    weights: Callable[[], Slot | None] = lambda: None


def first_value(r: Recurrence, scope: Scope, prev: str, known: Known) -> Slot | Draws:
    """The value of ``init``; rows of zeros for zero.

    Raises:
        PixyzError: it is a number, and its shape or the number of rows is not known.
        ShapeError: see :func:`init_slot`.
    """
    slot = init_slot(r, scope, prev, known)
    return _filled(0.0, scope, prev, known, f"zeros for {prev}") if slot is None else slot


def init_slot(
    r: Recurrence, scope: Scope, name: str, known: Known, lagged: bool = False
) -> Slot | Draws | None:
    """The value of ``init``; None for zero.

    Args:
        known: what a row is, and what has the rows.
        lagged: it begins a shifted series, ``known.like``, whose frames say what shape a row has.

    Raises:
        PixyzError: it is a number, and its shape or the number of rows is not known.
        ShapeError: a tensor that is neither one row nor all of them.
    """
    builder = scope.builder
    value, shape, like = r.init[name], known.shape, known.like
    if isinstance(value, str):
        held = getattr(r, value)
        if isinstance(held, Distribution):
            return Draws(held, scope, name)
        found, given = _rows(r, scope, name, value, held, None if lagged else shape)
        if shape is None and held.ndim > 1 and like is not None and not lagged:
            builder.look(found, _OneRow(name), given, like)
        return found
    if value == 0:
        return None
    if lagged and like is not None:
        return one_number(float(value), scope, like, f"init of {name}")
    return _filled(float(value), scope, name, known, f"init of {name}")


def one_number(value: float, scope: Scope, like: Slot, label: str) -> Slot:
    """A number in the type of a series, which stands for a row of any shape."""
    slot = scope.builder.point(_Number(value), like, label=label)
    slot.axes, slot.batch = (), "one"
    return slot


@dataclass(frozen=True)
class _Number:
    """A number without dimensions, of the type and on the device of a series."""

    value: float

    def __call__(self, like: Tensor) -> Tensor:
        return like.new_full((), self.value)


def _filled(value: float, scope: Scope, name: str, known: Known, label: str) -> Slot:
    """Rows that hold a number everywhere: one for all sequences, or, of a series, its own."""
    builder, shape, like, series = scope.builder, known.shape, known.like, known.series
    if shape is None and series is not None:
        axis = next(a for a in series.axes if a.kind == "time")
        return builder.series(_Frame(value), [series], [(label, None)], axis, label, key=None)[0]
    if shape is None:
        raise PixyzError(
            f"the start of {name!r} is a number, but its shape is not known: declare "
            f"features_shape on the distribution "
            "that draws it, or give a tensor"
        )
    if like is None and scope.mode.batch_n is None:
        each = ", ".join(["B", *map(str, shape)])
        raise PixyzError(
            f"the start of {name!r} is a number, but its batch is not known: nothing that the "
            f"step reads has rows; give a tensor [{each}], or draw a Scan with batch_n"
        )
    given = known.weights() if like is None else like
    args = () if given is None else (given,)
    row = builder.point(_Filled(value, tuple(shape)), *args, label=label, batch="one")
    row.axes = ()
    return row


@dataclass(frozen=True)
class _Frame:
    """A number in the place of a frame of a series, in the type of the series if that holds it."""

    value: float

    def __call__(self, x: Tensor) -> tuple[Tensor]:
        holds = x.is_floating_point() or self.value.is_integer()
        dtype = x.dtype if holds else torch.get_default_dtype()
        return (torch.full_like(x[0], self.value, dtype=dtype),)


@dataclass(frozen=True)
class Repeated:
    """The rows of a start, where ``batch_n`` says how many there are: one row is repeated."""

    name: str

    def __call__(self, x: Tensor, n: int) -> Tensor:
        if x.shape[0] not in (1, n):
            raise ShapeError(
                f"batch_n={n}, but init of {self.name!r} has {x.shape[0]} rows; "
                f"leave batch_n out, or give one row"
            )
        return x.expand(n, *x.shape[1:])


@dataclass(frozen=True)
class _Filled:
    """A number as a row ``[1, *shape]`` of the type and on the device of a value, torch's own
    where there is none.
    """

    value: float
    shape: tuple[int, ...]

    def __call__(self, *like: Tensor) -> Tensor:
        zeros = rules.zeros_like_rows(like[0] if like else torch.zeros(()), self.shape)
        return zeros + self.value if self.value else zeros


def _rows(
    r: Recurrence,
    scope: Scope,
    name: str,
    attribute: str,
    held: Tensor,
    shape: torch.Size | None,
) -> tuple[Slot, Slot]:
    """A tensor as one row, or as the rows of a batch where it has one dimension more; the tensor
    itself.
    """
    given, what = tuple(held.shape), f"init of {name}"
    batched = shape is not None and len(given) == len(shape) + 1
    if shape is not None and not (
        len(given) <= len(shape) + 1 and covers(tuple(shape), given[batched:])
    ):
        each = ", ".join(["B", *map(str, shape)])
        raise ShapeError(
            f"init of {name!r} is a tensor {list(given)}, but a row of it has the features "
            f"{list(shape)}; give a tensor {list(shape)}, or a row for each sequence, [{each}]"
        )
    every: BatchKind = "full" if batched and given[0] != 1 else "one"
    slot = scope.builder.attribute(r, attribute, what, batch=every)
    form = _Rows(None if shape is None else tuple(shape), batched)
    return scope.builder.point(form, slot, label=what), slot


@dataclass(frozen=True)
class _OneRow:
    """Looks at a tensor that is taken for one row, since nothing says what a row is, and whose
    first dimension is 1 or the size of the batch; a square one is a matrix.
    """

    name: str

    def __call__(self, given: Seen, like: Seen) -> None:
        shape, rows = tail(given), tail(like)[:1]
        if shape[0] in (1, *rows) and len(set(shape)) > 1:
            raise ShapeError(
                f"init of {self.name!r} is a tensor {list(shape)}, and nothing says whether its "
                f"first dimension is the batch: declare features_shape on the distribution that "
                f"draws it, or give {self.name!r} as an input, [B, ...]"
            )


@dataclass(frozen=True)
class _Rows:
    """A tensor with a batch dimension in front of the features ``shape``, of any size if None."""

    shape: tuple[int, ...] | None
    batched: bool

    def __call__(self, x: Tensor) -> Tensor:
        if self.shape is None:
            return x.unsqueeze(0)
        return x.expand(x.shape[0] if self.batched else 1, *self.shape)
