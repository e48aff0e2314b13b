"""Slots and steps: the values of a plan, and the lines that compute them.

A *slot* is a value with a fixed meaning: a tensor whose leading dimensions are its ``axes`` (time,
particles), then the batch dimension, then features: ``[T, K, B, ...]``.  A *step* computes slots
from
slots, once.  Steps are frozen, one class a kind; a pass that wants another step puts it in the
place of
the first, with the same ``outs``, so nothing that reads them has to know.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pixyz.plan.graph.axis import Axis

BatchKind = Literal["full", "one", "none"]
"""``full``: a batch dimension of the data's size; ``one``: a placeholder of size 1 (constants);
``none``: a scalar."""


@dataclass(eq=False)
class Slot:
    """A value of the plan: its leading axes, its batch dimension, what it is (``label``).

    >>> from pixyz.plan import Builder
    >>> Builder().input("x")
    <x [] full>
    """

    axes: tuple[Axis, ...]
    batch: BatchKind
    label: str = ""
    step: Step = field(init=False, repr=False)
    """The step that was written for it; of a graph, ask ``graph.made``."""

    @property
    def fn(self) -> Callable[..., Any] | None:
        """The function that was written for it; None where there is none."""
        return self.step.fn if isinstance(self.step, Called) else None

    def __repr__(self) -> str:
        return f"<{self.label or self.step.label} {list(self.axes)} {self.batch}>"


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class Called(Step):
    """Abstract: a step that calls a function."""

    fn: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Input(Step):
    """A variable that is given."""

    kind = "input"


@dataclass(frozen=True, eq=False)
class Point(Called):
    """A formula on tensors that broadcast, in any layout in which its arguments agree.

    >>> from pixyz.plan import Builder
    >>> step = Builder().constant(2.0).step
    >>> isinstance(step, Point), step.fn()
    (True, 2.0)
    """

    kind = "point"


@dataclass(frozen=True, eq=False)
class Total(Called):
    """A formula of which only the sum of all elements is read, and the number of rows."""

    kind = "total"
    multiple = True


@dataclass(frozen=True, eq=False)
class Net(Called):
    """User code that must see one batch dimension: ``[T*B, ...]`` outside a loop, ``[B, ...]``
    inside.
    """

    kind = "net"
    multiple = True
    pinned: str = ""
    """Why it may not leave its loop."""


@dataclass(frozen=True, eq=False)
class Features(Called):
    """A formula that is told how many leading dimensions there are (a sum over features)."""

    kind = "features"


@dataclass(frozen=True, eq=False)
class Reduce(Called):
    """A reduction over the axes ``over``, and over batch and features with ``over_batch``."""

    kind = "reduce"
    over: tuple[Axis, ...]
    over_batch: bool


@dataclass(frozen=True, eq=False)
class Series(Called):
    """A function of whole series, time first, ``[T, N, ...]``; ``rest`` are the axes merged
    into N.
    """

    kind = "series"
    multiple = True
    axis: Axis
    rest: frozenset[Axis]


@dataclass(frozen=True, eq=False)
class Joined(Step):
    """The start of a path and all later values, which are a list of a loop's results, in one
    stack.
    """

    kind = "joined"


@dataclass(frozen=True, eq=False)
class Relabel(Step):
    """A value ``[T, B, ...]`` read as a series over ``axis``."""

    kind = "relabel"
    axis: Axis


@dataclass(frozen=True, eq=False)
class Noise(Called):
    """Base noise of the shape of its arguments; in a loop it is drawn for all steps at the
    first one.
    """

    kind = "noise"


@dataclass(frozen=True, eq=False)
class CarryIn(Step):
    """The value carried into a step of ``loop``."""

    kind = "carry"
    loop: Loop


@dataclass(frozen=True, eq=False)
class Shift(Called):
    """What a step of ``loop`` would be given, computed without a loop: the series one step
    behind.
    """

    kind = "shift"
    loop: Loop


@dataclass(frozen=True, eq=False)
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


Key = Hashable
