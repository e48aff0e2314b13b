"""Builder: where distributions and losses write their steps.

The builder writes a step once for each key (operation, argument slots), so parameters that several
terms need are computed once.  Base noise never has a key: two expectations draw twice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar, cast

from torch import nn

from pixyz.plan.graph import Axis, BatchKind, Carry, Graph, Loop, Slot, Step, order_axes, rules
from pixyz.plan.graph import step as kinds
from pixyz.plan.graph.formula import Fn
from pixyz.plan.graph.wiring import Look
from pixyz.plan.options import Options
from pixyz.plan.run.facts import Facts
from pixyz.plan.write.like import slot_like
from pixyz.types import PixyzError

S = TypeVar("S", bound=Step)
T = TypeVar("T")


class Builder:
    """Collects the steps of one plan.

    Args:
        given: the variable names that the call provides; decides which optional inputs are read.
        options: whether the networks and formulas of a key are written once, whether loops are
            split.
        leads: the leading axes of inputs that have some (see :mod:`pixyz.plan.run.leads`).
        facts: what trials have found about networks.

    >>> builder = Builder()
    >>> import operator
    >>> x = builder.input("x")
    >>> builder.point(operator.abs, x) is builder.point(operator.abs, x)  # written once
    True
    """

    def __init__(
        self,
        given: frozenset[str] = frozenset(),
        options: Options | None = None,
        leads: Mapping[str, tuple[Axis, ...]] | None = None,
        facts: Facts | None = None,
    ) -> None:
        self.steps: list[Step] = []
        self.inputs: dict[str, Slot] = {}
        self.decisions: dict[str, bool] = {}
        self.terms: dict[str, Slot] = {}
        self.returned: dict[str, Slot] = {}
        self.loops: list[Loop] = []
        self.ranks: dict[str, int] = {}
        """How many feature dimensions an input has, where a density of it knows."""
        self.facts = facts or Facts()
        self._leads = leads or {}
        self._given = given
        self._options = options or Options()
        self._keys: dict[Hashable, Step] = {}
        self._made: dict[Hashable, object] = {}
        self._bodies: list[Loop] = []
        self._looks: dict[Slot, dict[Look, None]] = {}

    # ---------------------------------------------------------------- inputs and constants

    def input(self, name: str, batch: BatchKind = "full") -> Slot:
        """The slot of an input variable."""
        if name not in self.inputs:
            out = Slot(self._leads.get(name, ()), batch)
            self._add(kinds.Input((), (out,), name, len(self.steps), None))
            self.inputs[name] = out
        return self.inputs[name]

    def given(self, name: str) -> bool:
        """Whether the optional input ``name`` was provided; the plan is only reused where the
        answer is the same.
        """
        self.decisions[name] = name in self._given
        return self.decisions[name]

    def constant(self, value: float | int) -> Slot:
        """A number."""
        return self.point(rules.Constant(value), label=repr(value), batch="none")

    def attribute(
        self, module: nn.Module, name: str, label: str = "", batch: BatchKind = "one"
    ) -> Slot:
        """``module.name``, read at each run (a buffer or a parameter)."""
        return self.point(rules.Attribute(module, name), label=label or name, batch=batch)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for each key; at each call where nothing is shared."""
        if key not in self._made or not self._options.sharing:
            self._made[key] = make()
        return cast(T, self._made[key])

    def states(self, fn: Callable[[], object], axis: Axis, label: str) -> Slot:
        """All values of a finite variable, ``[S, ...]`` from ``fn()``, along ``axis``."""
        return self._write(kinds.Point, (), [Slot((axis,), "one")], label, fn=fn).outs[0]

    # ---------------------------------------------------------------- steps

    def point(
        self,
        fn: Fn,
        *args: Slot,
        label: str = "",
        batch: BatchKind | None = None,
        key: Hashable = None,
    ) -> Slot:
        """A formula that broadcasts: densities, arithmetic, draws from noise."""
        where = ("point", fn, key, args)
        step = self._known(where)
        if step is None:
            out = slot_like(args, batch)
            self._keys[where] = step = self._write(kinds.Point, args, (out,), label, fn=fn)
        return step.outs[0]

    def features(self, fn: Fn, arg: Slot, label: str = "", key: Hashable = None) -> Slot:
        """``fn(value, number of leading dimensions)``."""
        where = ("features", fn, key, arg)
        step = self._known(where)
        if step is None:
            out = slot_like((arg,))
            self._keys[where] = step = self._write(kinds.Features, (arg,), (out,), label, fn=fn)
        return step.outs[0]

    def net(
        self,
        fn: Fn,
        args: Sequence[Slot],
        outs: Sequence[str],
        label: str,
        *,
        key: Hashable,
        pinned: str = "",
        batch: BatchKind | None = None,
    ) -> list[Slot]:
        """User code that sees one batch dimension and returns ``len(outs)`` values as a tuple."""
        given = tuple(args)
        where = ("net", fn, key, given)
        step = self._known(where)
        if step is None:
            slots = [slot_like(given, batch, n) for n in outs]
            self._keys[where] = step = self._write(
                kinds.Net, given, slots, label, fn=fn, pinned=pinned
            )
        return list(step.outs)

    def opaque(self, fn: Fn, args: Sequence[Slot], outs: Sequence[str], label: str) -> list[Slot]:
        """Foreign code: one step that is never shared and never leaves its loop."""
        slots = [self._in_bodies(slot_like(args, None, name)) for name in outs]
        step = self._write(kinds.Net, tuple(args), slots, label, fn=fn, pinned="foreign code")
        return list(step.outs)

    def look(self, slot: Slot, look: Callable[..., None], *args: Slot) -> None:
        """Look at ``args`` before ``slot`` is computed (see :mod:`pixyz.plan.looks`)."""
        self._looks.setdefault(slot, {})[look, args] = None

    def detach(self, arg: Slot) -> Slot:
        """Stop the gradient; always a visible step."""
        return self.point(rules.detach, arg, label=f"sg({arg.label or arg.step.label})")

    def reduce(
        self,
        fn: Fn,
        arg: Slot,
        axes: Sequence[Axis],
        *,
        batch: bool,
        label: str = "",
        mask: Slot | None = None,
    ) -> Slot:
        """``fn(value, dims)``: reduce over some axes and, if ``batch``, over batch and features
        too.
        """
        args = (arg,) if mask is None else (arg, mask)
        over = tuple([a for a in arg.axes if a in axes])
        if not over and (not batch or arg.batch == "none"):
            return arg

        def make() -> kinds.Reduce:
            kept = {a for slot in args for a in slot.axes} - set(over)
            out = Slot(order_axes(kept), "none" if batch else arg.batch)
            return self._write(kinds.Reduce, args, [out], label, fn=fn, over=over, over_batch=batch)

        return self._shared(("reduce", fn, over, batch, args), make).outs[0]

    def series(
        self,
        fn: Fn,
        args: Sequence[Slot],
        outs: Sequence[tuple[str, Axis | None]],
        over: Axis,
        label: str,
        *,
        key: Hashable,
    ) -> list[Slot]:
        """A function of whole series ``[T, N, ...]``; each result names the axis it has instead
        of ``over``.
        """
        given = tuple(args)
        rest = frozenset(a for s in given for a in s.axes if a.family is not over.family)

        def make() -> kinds.Series:
            slots = [slot_like(given, None, name) for name, _ in outs]
            for slot, (_, axis) in zip(slots, outs, strict=True):
                slot.axes = order_axes(rest | ({axis} if axis is not None else set()))
            return self._write(kinds.Series, given, slots, label, fn=fn, axis=over, rest=rest)

        return list(self._shared(("series", fn, key, given), make).outs)

    def relabel(self, arg: Slot, axis: Axis, label: str = "") -> Slot:
        """Read a value as a series: its first dimension becomes ``axis``."""
        known = {a for a in arg.axes if a.kind == "time"}
        if known == {axis}:
            return arg

        def make() -> kinds.Relabel:
            newest = order_axes(known)[:1]
            out = Slot(order_axes({a for a in arg.axes if a not in newest} | {axis}), arg.batch)
            return self._write(kinds.Relabel, (arg,), [out], label or arg.label, axis=axis)

        slot = self._shared(("relabel", axis, arg), make).outs[0]
        if axis.size is None and axis.length_of is None:
            axis.length_of = slot
        return slot

    def noise(self, fn: Fn, refs: Sequence[Slot], particles: Sequence[Axis], label: str) -> Slot:
        """Base noise of the shape of ``refs`` with ``particles`` in front; every call is a new
        draw.
        """
        out = slot_like(refs)
        out.axes = order_axes({*out.axes, *particles})
        return self._write(kinds.Noise, tuple(refs), [self._in_bodies(out)], label, fn=fn).outs[0]

    def expand(self, arg: Slot, like: Slot, axes: tuple[Axis, ...]) -> Slot:
        """Give ``arg`` (no axes or fewer) the leading dimensions ``axes`` and the batch of
        ``like``.
        """
        if arg.axes == axes and arg.batch == "full":
            return arg

        def make() -> kinds.Expand:
            return self._write(kinds.Expand, (arg, like), [Slot(axes, "full")], arg.label)

        return self._shared(("expand", axes, arg, like), make).outs[0]

    # ---------------------------------------------------------------- loops

    @contextmanager
    def body(self, loop: Loop) -> Iterator[None]:
        """Steps lowered here belong to the body of ``loop``."""
        self._bodies.append(loop)
        try:
            yield
        finally:
            self._bodies.pop()

    def open_loop(self, axis: Axis, *, reverse: bool, fission: bool, label: str) -> Loop:
        """Start a recurrence over ``axis``."""
        parent = self._bodies[-1] if self._bodies else None
        fission = fission and self._options.fission
        loop = Loop(axis, len(self.steps), reverse, fission, parent=parent, label=label)
        self.loops.append(loop)
        return loop

    def carry(self, loop: Loop, name: str, start: Slot) -> Slot:
        """The value carried into each step under ``name``; set its end with :meth:`close_carry`."""
        slot = Slot(order_axes({loop.axis, *start.axes}), "full")
        self._add(kinds.CarryIn((), (slot,), name, len(self.steps), loop))
        loop.carries.append(Carry(name, loop, slot, start))
        return slot

    def close_carry(self, loop: Loop, name: str, out: Slot) -> None:
        """Say which slot is carried on to the next step under ``name``."""
        for i, carry in enumerate(loop.carries):
            if carry.name == name:
                if set(out.axes) - set(carry.slot.axes):
                    raise PixyzError(
                        f"the carried variable {name!r} gets particles inside the step that its "
                        "start does not have; give sample_shape to the expectation that draws it"
                    )
                loop.carries[i] = replace(carry, out=out)

    # ---------------------------------------------------------------- the graph

    def graph(self, outputs: Mapping[str, Slot]) -> Graph:
        """What was written and the results need.

        Raises:
            PixyzError: a carried value has no end.
        """
        self._made.clear()  # some of it holds the builder, which is done
        carries = tuple(carry for loop in self.loops for carry in loop.carries)
        for carry in carries:
            if carry.out is None:
                raise PixyzError(
                    f"nothing in the step draws what is carried on under {carry.name!r}"
                )
        return Graph(
            tuple(self.steps),
            self.inputs,
            outputs,
            tuple(self.loops),
            terms=frozenset(self.terms.values()),
            looks={slot: tuple(looks) for slot, looks in self._looks.items()},
        ).but(carries=carries)

    # ---------------------------------------------------------------- internals

    def _in_bodies(self, slot: Slot) -> Slot:
        """What is drawn in a step of a loop is drawn anew at each step, whatever it depends on."""
        slot.axes = order_axes({*slot.axes, *(body.axis for body in self._bodies)})
        return slot

    def _known(self, key: Hashable) -> Step | None:
        """The formula or network that was written for ``key``, where such are shared."""
        return self._keys.get(key) if self._options.sharing else None

    def _shared(self, key: Hashable, make: Callable[[], S]) -> S:
        """Other steps: written once in any case."""
        if key not in self._keys:
            self._keys[key] = make()
        return self._keys[key]  # type: ignore[return-value]

    def _write(
        self, kind: type[S], args: Sequence[Slot], outs: Sequence[Slot], label: str, **more: object
    ) -> S:
        body = self._bodies[-1] if self._bodies else None
        return self._add(kind(tuple(args), tuple(outs), label, len(self.steps), body, **more))

    def _add(self, step: S) -> S:
        for slot in step.outs:
            slot.step = step
        self.steps.append(step)
        return step
