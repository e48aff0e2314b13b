"""What a plan is made of: axes, slots, steps, loops.

A *slot* is a value with a fixed meaning: a tensor whose leading dimensions are its ``axes`` (time,
particles), then the batch dimension, then features: ``[T, K, B, ...]``.  A *step* is one
single-assignment line that computes slots from slots.  A *loop* carries values along a time axis;
which steps it really has to contain is found later (:mod:`pixyz.plan.fission`), because every step
is lowered once, at the level of whole series.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Literal

BatchKind = Literal["full", "one", "none"]
"""``full``: a batch dimension of the data's size; ``one``: a placeholder of size 1 (constants);
``none``: a scalar.
"""

Kind = Literal[
    "input", "point", "net", "features", "reduce", "series", "noise", "carry", "shift", "expand"
]
"""How a step treats the leading dimensions of its arguments (see :class:`Step`)."""

_counter = itertools.count()


class Axis:
    """A leading dimension: time (``size`` comes from data or ``steps``) or particles (``size`` is
    fixed).

    Args:
        kind: ``"time"`` or ``"particle"``.
        size: the length if it is known when the plan is built, else None.
        base: for the path axis of a loop (length + 1): the loop's own axis.

    >>> Axis("particle", 50).size
    50
    """

    __slots__ = ("base", "kind", "length_of", "number", "size")

    def __init__(
        self, kind: Literal["time", "particle"], size: int | None = None, base: Axis | None = None
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


def order_axes(axes: set[Axis]) -> tuple[Axis, ...]:
    """Canonical order of leading dimensions: time axes first, the innermost loop outermost, then
    particles.
    """
    return tuple(sorted(axes, key=lambda a: (a.kind != "time", -a.number)))


@dataclass(eq=False)
class Slot:
    """A value of the plan: what it is (``label``), its leading axes, its batch dimension.

    >>> from pixyz.plan import Builder
    >>> Builder().input("x")
    <x [] full>
    """

    step: Step
    axes: tuple[Axis, ...]
    batch: BatchKind
    label: str = ""

    def __repr__(self) -> str:
        return f"<{self.label or self.step.label} {list(self.axes)} {self.batch}>"


@dataclass(eq=False)
class Step:
    """One line of the plan.

    ``kind`` says how leading dimensions are treated when the line is written out:

    * ``point``: a formula on tensors that broadcast; any layout in which the arguments agree;
    * ``net``: user code that must see exactly one batch dimension, ``[T*B, ...]`` outside a loop,
      ``[B, ...]`` inside;
    * ``features``: a formula that is told how many leading dimensions there are (sum over feature
      dimensions);
    * ``reduce``: a reduction over the axes (and batch) in ``over``;
    * ``series``: a function of a whole series, time first, ``[T, N, ...]``;
    * ``noise``: base noise; in a loop it is drawn for all steps at the first one;
    * ``carry``: the value carried into a step of ``loop``; ``shift``: the same, computed without a
      loop;
    * ``expand``: gives a constant the leading dimensions of another value.

    >>> from pixyz.plan import Builder
    >>> Builder().input("x").step.kind
    'input'
    """

    kind: Kind
    fn: Callable[..., Any] | None
    args: tuple[Slot, ...]
    label: str
    index: int
    body: Loop | None = None
    outs: list[Slot] = field(default_factory=list)
    over: tuple[Axis, ...] = ()
    over_batch: bool = False
    detach: bool = False
    pinned: str = ""  # why the step may not leave its loop
    loop: Loop | None = None  # for carry and shift
    multiple: bool = False  # fn returns a tuple of len(outs)
    extra: Any = None
    # see pixyz.plan.looks
    looks: list[tuple[Callable[..., None], tuple[Slot, ...]]] = field(default_factory=list)


@dataclass(eq=False)
class Carry:
    """A value carried along a loop: ``slot`` holds it in a step, ``start`` before the first,
    ``out`` after the step.
    """

    name: str
    slot: Slot
    start: Slot
    out: Slot | None = None


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


Key = Hashable
