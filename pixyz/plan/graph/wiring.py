"""Wiring: the steps of a plan and what passes have decided about them; nothing in it changes.

A pass returns another one (:meth:`Wiring.but`).  What follows from a graph alone (who makes a slot,
who reads it, what a step needs) is computed when it is first asked for and handed on while steps
stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from pixyz.plan.graph.rules import Constant, detach
from pixyz.plan.graph.step import Carry, CarryIn, Loop, Noise, Point, Slot, Step

Look = tuple[Callable[..., None], tuple[Slot, ...]]
"""A function that looks at values before a step runs, and the values (:mod:`pixyz.plan.looks`)."""
Deps = Callable[[Step], Iterable[Step]]

_STEPS = {"steps", "carries", "outputs"}
_DERIVED = ("made", "carry_of", "needs", "users", "result_slots", "items")


@dataclass(frozen=True, eq=False, repr=False)
class Block:
    """A loop that is written out, or a part of one: what it carries, and the steps that stay in it.

    Args:
        loop: the recurrence.
        carries: the carried values, as they are in a step.
        core: the steps, by the first of what they compute.
        entire: whether all of the loop's step stays in it, not only its cycle.
    """

    loop: Loop
    carries: tuple[Slot, ...]
    core: frozenset[Slot]
    entire: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class RowGroup:
    """One function of rows: networks on the same values, and what follows from them alone.

    Args:
        args: what the networks read.
        core: the steps, by the first of what they compute.
    """

    args: tuple[Slot, ...]
    core: frozenset[Slot]


@dataclass(frozen=True, eq=False, repr=False)
class Wiring:
    """Abstract: the steps of a plan as they were written, and decisions about them.

    :class:`pixyz.plan.graph.Graph` adds the order in which they run.

    Args:
        steps: those that the results need.
        inputs: variables by name.
        outputs: results by name.
        loops: recurrences, as they were opened.
        carries: what they carry.
        terms: values that have a name of their own.
        looks: what is looked at before a slot is computed.
        notes: for people: why a step stayed in a loop, and the like.
        blocks: the loops as they are written out; None before :mod:`pixyz.plan.passes.split`:
            each as a whole.
        quiet: steps without a gradient, by the first of what they compute.
        slabs: networks that are called on so many rows at a time.
        lists: results of loops that nothing stacks but the path that they are part of.
        groups: steps that are functions of rows.
        chunks: loops whose body is compiled, and how many steps of time at once.
    """

    steps: tuple[Step, ...]
    inputs: Mapping[str, Slot]
    outputs: Mapping[str, Slot]
    loops: tuple[Loop, ...] = ()
    carries: tuple[Carry, ...] = ()
    terms: frozenset[Slot] = frozenset()
    looks: Mapping[Slot, tuple[Look, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    blocks: tuple[Block, ...] | None = None
    quiet: frozenset[Slot] = frozenset()
    slabs: Mapping[Slot, int] = field(default_factory=dict)
    lists: frozenset[Slot] = frozenset()
    groups: tuple[RowGroup, ...] = ()
    chunks: Mapping[Block, int] = field(default_factory=dict)

    def but(self, **changes: Any) -> Self:
        """Another graph, with some parts changed; steps that no result needs any more are left
        out.
        """
        found = replace(self, **changes)
        if _STEPS & changes.keys():
            live = found.live()
            if len(live) == len(found.steps):
                return found
            return replace(found, steps=tuple([s for s in found.steps if s in live]))
        for name in _DERIVED:
            if name in self.__dict__ and not (name == "items" and "blocks" in changes):
                found.__dict__[name] = self.__dict__[name]
        return found

    # ---------------------------------------------------------------- who needs what

    @cached_property
    def made(self) -> dict[Slot, Step]:
        """The step that computes a slot."""
        return {slot: step for step in self.steps for slot in step.outs}

    @cached_property
    def carry_of(self) -> dict[Slot, Carry]:
        """What is carried into a step, by the slot that holds it there."""
        return {carry.slot: carry for carry in self.carries}

    @cached_property
    def needs(self) -> dict[Step, tuple[Step, ...]]:
        """The steps that each step needs: its arguments, the lengths of its axes, both ends of
        what it carries.
        """
        made = self.made.__getitem__
        return {step: tuple(map(made, self.reads(step))) for step in self.steps}

    def reads(self, step: Step) -> Sequence[Slot]:
        """What must be there before ``step``."""
        for slot in step.outs:
            if slot.axes:
                return [*step.args, *self._around(step)]
        return step.args

    def _around(self, step: Step) -> list[Slot]:
        """Both ends of what is carried into a step of a loop, and the lengths of axes."""
        carry = self.carry_of[step.outs[0]] if isinstance(step, CarryIn) else None
        found = [] if carry is None else [carry.start, carry.end]
        for axis in {a.family for slot in step.outs for a in slot.axes}:
            length = axis.length_of
            if length is not None and length not in step.outs:
                found.append(length)
        return found

    def live(self, through: Callable[[Step], bool] | None = None) -> set[Step]:
        """The steps that a result needs; what it needs of others only ``through`` some.

        Most come after what they need, and one way back finds them; what is carried back from a
        step of a loop is found on the next.
        """
        needed, live = set(self.outputs.values()), set[Step]()
        left, found = self.steps[::-1], True
        while found:
            rest = []
            for step in left:
                if needed.isdisjoint(step.outs):
                    rest.append(step)
                    continue
                live.add(step)
                if through is not None and not through(step):
                    continue
                needed.update(self.reads(step))
            left, found = tuple(rest), len(rest) < len(left)
        return live

    def deps(self, step: Step) -> tuple[Step, ...]:
        """The steps that ``step`` needs."""
        return self.needs[step]

    @cached_property
    def users(self) -> dict[Slot, set[Step]]:
        """The steps that read a slot."""
        found: dict[Slot, set[Step]] = {}
        for step in self.steps:
            for arg in step.args:
                found.setdefault(arg, set()).add(step)
            if isinstance(step, CarryIn):
                carry = self.carry_of[step.outs[0]]
                found.setdefault(carry.end, set()).add(step)
                found.setdefault(carry.start, set()).add(step)
        return found

    @cached_property
    def result_slots(self) -> frozenset[Slot]:
        """The slots of the results."""
        return frozenset(self.outputs.values())

    def carries_of(self, loop: Loop) -> list[Carry]:
        """What ``loop`` carries, as far as a result needs it."""
        return [c for c in self.carries if c.loop is loop and c.slot in self.made]

    def steps_of(self, slots: Iterable[Slot]) -> set[Step]:
        """The steps that compute ``slots``."""
        return {self.made[slot] for slot in slots}

    def is_quiet(self, step: Step) -> bool:
        """Whether ``step`` has no gradient."""
        return step.outs[0] in self.quiet

    def number(self, slot: Slot) -> float | int | None:
        """The number that ``slot`` is, if it is one."""
        step = self.made[slot]
        return step.fn.value if isinstance(step, Point) and isinstance(step.fn, Constant) else None


def first(steps: Iterable[Step]) -> frozenset[Slot]:
    """Steps by the first of what they compute, which stays where a pass puts another step in
    their place.
    """
    return frozenset([step.outs[0] for step in steps])


def by_index(steps: Iterable[Step]) -> list[Step]:
    """Steps in the order in which they were written."""
    return sorted(steps, key=lambda s: s.index)


def reach(
    ends: Iterable[Step], deps: Deps, through: Callable[[Step], bool] | None = None
) -> set[Step]:
    """All steps that ``ends`` need, themselves included; the walk goes on only ``through`` some."""
    seen: set[Step] = set()
    stack = list(ends)
    while stack:
        step = stack.pop()
        if step in seen:
            continue
        seen.add(step)
        if through is None or through(step):
            stack.extend(deps(step))
    return seen


def upstream(step: Step, stop: set[Step], deps: Deps) -> set[Step]:
    """Ancestors of ``step`` (itself included); the walk does not go past ``stop``."""
    return reach([step], deps, through=lambda s: s not in stop)


def carries_gradient(step: Step) -> bool:
    """Whether a gradient may pass through ``step``."""
    return not isinstance(step, Noise) and not (isinstance(step, Point) and step.fn is detach)
