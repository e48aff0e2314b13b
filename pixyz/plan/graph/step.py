"""Axes, slots and steps: the values of a plan, and the lines that compute them.

An *axis* is a leading dimension, time or particles.  A *slot* is a value with a fixed meaning: a
tensor whose leading dimensions are its ``axes`` (time, particles), then the batch dimension, then
features: ``[T, K, B, ...]``.  A *step* computes slots from slots, once.  Steps are frozen, one
class a kind; a pass that wants another step puts it in the place of the first, with the same
``outs``, so nothing that reads them has to know.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from pixyz.plan.graph.formula import Fn

_counter = itertools.count()
BatchKind = Literal["full", "one", "none"]
"""``full``: a batch dimension of the data's size; ``one``: a placeholder of size 1 (constants);
``none``: a scalar."""


class Axis:
    """A leading dimension: time (``size`` from data or ``steps``) or particles (``size`` is fixed).

    Args:
        kind: ``"time"`` or ``"particle"``.
        size: the length if it is known when the plan is built, else None.
        base: for the path axis of a loop (length + 1): the loop's own axis.

    >>> Axis("particle", 50).size
    50
    """

    __slots__ = ("base", "kind", "length_of", "number", "size")

    def __init__(
        self,
        kind: Literal["time", "particle"],
        size: int | None = None,
        base: Axis | None = None,
    ) -> None:
        self.kind = kind
        self.size = size
        self.base = base
        self.number = next(_counter)
        self.length_of: Slot | None = None  # the slot whose dimension 0 has this length

    @property
    def family(self) -> Axis:
        """The loop axis that this axis belongs to (a path axis belongs to its loop's axis)."""
        return self.base if self.base is not None else self

    def __repr__(self) -> str:
        return f"{'T' if self.kind == 'time' else 'K'}{self.number}"


def order_axes(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """Canonical order of leading dimensions: time axes first, the innermost loop outermost,
    then particles.
    """
    found = set(axes)
    if len(found) < 2:
        return tuple(found)
    return tuple(sorted(found, key=lambda a: (a.kind != "time", -a.number)))


class Slot:
    """A value of the plan: its leading axes, its batch dimension, what it is (``label``).

    ``step`` is the step that was written for it; of a graph, ask ``graph.made``.  Of a draw,
    ``origin`` says what it was computed from.  ``stands_for`` is a value with as many feature
    dimensions, where a flow took that to it; ``series`` the axis that an input is read over.

    >>> from pixyz.plan import Builder
    >>> Builder().input("x")
    <x [] full>
    """

    __slots__ = ("axes", "batch", "label", "origin", "series", "stands_for", "step")
    step: Step

    def __init__(self, axes: tuple[Axis, ...], batch: BatchKind, label: str = "") -> None:
        self.axes, self.batch, self.label = axes, batch, label
        self.origin: Origin | None = None
        self.stands_for: Slot | None = None
        self.series: Axis | None = None

    @property
    def fn(self) -> Fn | None:
        """The function that was written for it; None where there is none."""
        return self.step.fn if isinstance(self.step, Called) else None

    def __repr__(self) -> str:
        return f"<{self.label or self.step.label} {list(self.axes)} {self.batch}>"


@dataclass(frozen=True, eq=False)
class Origin:
    """What a draw was computed from, for a density that would have to compute it back.

    Args:
        of: whose draw it is: a formula, or a distribution.
        given: what it was drawn with: parameters, or conditions.
        noise: base noise, or the draw that a flow took to this one.
        logdet: the flow's log-determinant.
    """

    of: Hashable
    given: tuple[Slot, ...]
    noise: Slot
    logdet: Slot | None = None

    def same(self, of: Hashable, given: Iterable[Slot]) -> bool:
        """Whether it is a draw of this, with these very values."""
        return of == self.of and all(a is b for a, b in zip(self.given, given, strict=True))


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Step:
    """Abstract: one line of a plan.

    Args:
        args: what it reads.
        outs: what it computes.
        label: what it is, for people.
        index: its place in the order in which steps were written.
        body: the innermost loop in whose step it was written.

    >>> from pixyz.distributions import Normal
    >>> p = Normal("x", loc=0.0, scale=1.0, features_shape=[2])
    >>> graph = p.log_prob().mean().plan.after("written")
    >>> all(isinstance(step, Step) and step.outs for step in graph.steps)
    True
    """

    kind: ClassVar[str] = ""
    multiple: ClassVar[bool] = False
    """Whether it computes a tuple, an entry for each of ``outs``."""

    args: tuple[Slot, ...]
    outs: tuple[Slot, ...]
    label: str
    index: int
    body: Loop | None

    def __init__(
        self,
        args: tuple[Slot, ...],
        outs: tuple[Slot, ...],
        label: str,
        index: int,
        body: Loop | None,
    ) -> None:
        held = self.__dict__  # a third of the time that a frozen dataclass's own takes
        held["args"], held["outs"], held["label"] = args, outs, label
        held["index"], held["body"] = index, body

    def reading(self, args: tuple[Slot, ...]) -> Self:
        """The same step of other values."""
        found = object.__new__(type(self))
        found.__dict__.update(self.__dict__, args=args)
        return found

    def __repr__(self) -> str:
        return f"<{self.kind} {self.label}>"


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Called(Step):
    """Abstract: a step that calls a function; kinds without fields of their own inherit its
    form.
    """

    fn: Fn

    def __init__(
        self,
        args: tuple[Slot, ...],
        outs: tuple[Slot, ...],
        label: str,
        index: int,
        body: Loop | None,
        fn: Fn,
    ) -> None:
        held = self.__dict__
        held["args"], held["outs"], held["label"] = args, outs, label
        held["index"], held["body"], held["fn"] = index, body, fn


class Input(Step):
    """A variable that is given."""

    kind = "input"


class Point(Called):
    """A formula on tensors that broadcast, in any layout in which its arguments agree.

    >>> from pixyz.plan import Builder
    >>> step = Builder().constant(2.0).step
    >>> isinstance(step, Point), step.fn()
    (True, 2.0)
    """

    kind = "point"


class Total(Called):
    """A formula of which only the sum of all elements is read, and the number of rows."""

    kind = "total"
    multiple = True


@dataclass(frozen=True, eq=False, repr=False)
class Net(Called):
    """User code that must see one batch dimension: ``[T*B, ...]`` outside a loop, ``[B, ...]``
    inside.
    """

    kind = "net"
    multiple = True
    pinned: str = ""
    """Why it may not leave its loop."""


class Features(Called):
    """A formula that is told how many leading dimensions there are (a sum over features)."""

    kind = "features"


@dataclass(frozen=True, eq=False, repr=False)
class Reduce(Called):
    """A reduction over the axes ``over``, and over batch and features with ``over_batch``."""

    kind = "reduce"
    over: tuple[Axis, ...]
    over_batch: bool


@dataclass(frozen=True, eq=False, repr=False)
class Series(Called):
    """A function of whole series, time first, ``[T, N, ...]``; ``rest`` are the axes merged
    into N.
    """

    kind = "series"
    multiple = True
    axis: Axis
    rest: frozenset[Axis]


class Joined(Step):
    """The start of a path and all later values, which are a list of a loop's results, in one
    stack.
    """

    kind = "joined"


@dataclass(frozen=True, eq=False, repr=False)
class Relabel(Step):
    """A value ``[T, B, ...]`` read as a series over ``axis``."""

    kind = "relabel"
    axis: Axis


class Noise(Called):
    """Base noise of the shape of its arguments; in a loop it is drawn for all steps at the
    first one.
    """

    kind = "noise"


class CarryIn(Step):
    """The value carried into a step of a loop, its ``body``."""

    kind = "carry"


class Shift(Called):
    """What a step of a loop would be given, computed without it: the series one step behind."""

    kind = "shift"


class Expand(Step):
    """A constant with the leading dimensions and the batch of another value."""

    kind = "expand"


@dataclass(frozen=True)
class Carry:
    """A value carried along a loop.

    Args:
        name: its name in the step.
        loop: the loop.
        slot: holds it in a step.
        start: before the first step.
        out: after the step; None while it is not known yet.
    """

    name: str
    loop: Loop
    slot: Slot
    start: Slot
    out: Slot | None = None

    @property
    def end(self) -> Slot:
        """The value after the step."""
        assert self.out is not None
        return self.out


@dataclass(eq=False)
class Loop:
    """A recurrence over ``axis``. ``fission=False`` keeps every step of its body inside.

    >>> Loop(Axis("time", 3), index=0).fission
    True
    """

    axis: Axis
    index: int
    reverse: bool = False
    fission: bool = True
    carries: list[Carry] = field(default_factory=list)
    parent: Loop | None = None
    label: str = ""

    def holds(self, step: Step) -> bool:
        """Whether ``step`` was written in the body of this loop or of one inside it."""
        body = step.body
        while body is not None and body is not self:
            body = body.parent
        return body is self
