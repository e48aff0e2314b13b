"""Arithmetic on numbers is done once, when the plan is made; signs move outward until they cancel.

``x + 0``, ``x * 1``, ``2 * 3`` and ``a - (-b)`` leave no step.  What reads the same values after
that is one step.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable
from dataclasses import replace

from pixyz.plan.graph import Features, Graph, Input, Point, Slot, Step
from pixyz.plan.graph.formula import Fn
from pixyz.plan.graph.rules import Constant
from pixyz.plan.graph.wiring import Look
from pixyz.plan.options import Options

FOLDED = frozenset({operator.add, operator.sub, operator.mul, operator.truediv, operator.neg})
"""Arithmetic; formulas with equality of their own make it a set."""
SHARED = (Point, Features)


class Fold:
    """Numbers are computed, signs cancel."""

    name = "fold"

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether there is arithmetic with a number or a sign."""
        return any(isinstance(s, Point) and s.fn in FOLDED for s in graph.steps)

    def __call__(self, graph: Graph, options: Options) -> Graph:
        work = _Work(graph, options.sharing)
        for step in graph.steps:
            work.take(step)
        new = work.new
        return graph.but(
            steps=tuple(work.steps),
            outputs={name: new(slot) for name, slot in graph.outputs.items()},
            carries=tuple(
                replace(c, start=new(c.start), out=c.out and new(c.out)) for c in graph.carries
            ),
            terms=frozenset(map(new, graph.terms)),
            looks=work.looks(),
        )


class _Work:
    """The steps so far, and which slot stands for one that was folded."""

    def __init__(self, graph: Graph, sharing: bool) -> None:
        self.graph, self.sharing = graph, sharing
        self.steps: list[Step] = []
        self._new: dict[Slot, Slot] = {}
        self._made: dict[Slot, Step] = {}
        self._known: dict[Hashable, Step] | None = None

    def new(self, slot: Slot) -> Slot:
        """What stands for ``slot``."""
        return self._new.get(slot, slot)

    def looks(self) -> dict[Slot, tuple[Look, ...]]:
        """What is looked at, with slots of now."""
        found: dict[Slot, tuple[Look, ...]] = {}
        for slot, looks in self.graph.looks.items():
            at = self.new(slot)
            if at is slot and at not in found and not _among(looks, self._new):
                found[at] = looks
                continue
            moved = tuple((look, tuple(map(self.new, args))) for look, args in looks)
            found[at] = tuple(dict.fromkeys(found.get(at, ()) + moved))
        return found

    def take(self, step: Step) -> None:
        """The step with the slots of now, unless it is folded or there is one like it."""
        args = step.args
        if not self._new.keys().isdisjoint(args):
            args = tuple([self._new.get(a, a) for a in args])
        if isinstance(step, Point) and step.fn in FOLDED:
            slot = self._folded(step.fn, args, step)
            if slot is not None:
                self._new[step.outs[0]] = slot
                return
        if args is step.args:
            self._keep(step)
            return
        moved = step.reading(args)
        like = self._like(moved) if isinstance(step, SHARED) else None
        if like is None:
            self._keep(moved)
        else:
            self._new.update(zip(step.outs, like.outs, strict=True))

    def _keep(self, step: Step) -> None:
        self.steps.append(step)
        for slot in step.outs:
            self._made[slot] = step
        if self._known is not None and isinstance(step, SHARED):
            self._known.setdefault(_key(step), step)

    def _like(self, step: Step) -> Step | None:
        """The step that computes the same, if there is one and it may be shared."""
        if not self.sharing:
            return None
        if self._known is None:
            self._known = {}
            for known in self.steps:
                if isinstance(known, SHARED):
                    self._known.setdefault(_key(known), known)
        return self._known.get(_key(step))

    def _point(self, fn: Fn, args: tuple[Slot, ...], at: Step) -> Slot:
        """A step of arithmetic in the place of ``at``; folded, too."""
        folded = self._folded(fn, args, at)
        if folded is not None:
            return folded
        old = at.outs[0]
        slot = Slot(old.axes, old.batch) if args else Slot((), "none")
        label = "" if args else repr(fn())
        step = Point(args, (slot,), label, at.index, at.body, fn)
        like = self._like(step)
        if like is not None:
            return like.outs[0]
        slot.step = step
        self._keep(step)
        return slot

    def _number(self, slot: Slot) -> float | int | None:
        fn = getattr(self._made[slot], "fn", None)
        return fn.value if isinstance(fn, Constant) else None

    def _folded(self, fn: Fn, args: tuple[Slot, ...], at: Step) -> Slot | None:
        """The slot that has the same value with less to do; None if there is none."""
        if fn not in FOLDED:
            return None
        plain = [self._plain(a) for a in args]
        if any(plain):
            return self._signs(fn, args, plain, at)
        numbers = [self._number(a) for a in args]
        if all(n is not None for n in numbers):
            if fn is operator.truediv and numbers[1] == 0:
                return None
            return self._point(Constant(fn(*numbers)), (), at)
        neutral = {operator.add: 0, operator.sub: 0, operator.mul: 1, operator.truediv: 1}.get(fn)
        if neutral is None or any(isinstance(self._made[a], Input) for a in args):
            return None
        if numbers[1] == neutral:
            return args[0]
        left = numbers[0] == neutral and fn in (operator.add, operator.mul)
        return args[1] if left else None

    def _plain(self, slot: Slot) -> Slot | None:
        """The slot of which ``slot`` is the negative."""
        step = self._made[slot]
        return step.args[0] if isinstance(step, Point) and step.fn is operator.neg else None

    def _signs(
        self,
        fn: Fn,
        args: tuple[Slot, ...],
        plain: list[Slot | None],
        at: Step,
    ) -> Slot | None:
        """The same value with fewer changes of sign; ``plain`` holds the arguments without
        theirs, where they have one.
        """
        a, b = plain[0], plain[-1]
        if fn is operator.neg:
            return a
        if fn is operator.sub and b is not None:
            if a is None:
                return self._point(operator.add, (args[0], b), at)
            return self._point(operator.sub, (b, a), at)
        if fn is operator.add and a is not None and b is not None:
            return self._point(operator.neg, (self._point(operator.add, (a, b), at),), at)
        if fn is operator.add:
            plus, minus = (args[0], b) if b is not None else (args[1], a)
            assert minus is not None
            return self._point(operator.sub, (plus, minus), at)
        if fn is operator.mul:
            # the factor without a sign takes it, if it is a number
            other, rest = (args[0], b) if b is not None else (args[1], a)
            value = self._number(other)
            if value is not None and rest is not None and rest is not other:
                return self._point(operator.mul, (self._point(Constant(-value), (), at), rest), at)
        return None


def _among(looks: tuple[Look, ...], moved: dict[Slot, Slot]) -> bool:
    """Whether a look is at a value that another one stands for."""
    return not all([moved.keys().isdisjoint(args) for _, args in looks])


def _key(step: Step) -> Hashable:
    fn = getattr(step, "fn", None)
    return type(step), fn, step.args, step.outs[0].axes, step.outs[0].batch
