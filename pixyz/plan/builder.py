"""Builder and Scope: where distributions and losses write their steps.

The builder emits a step once for each key (operation, argument slots), so parameters that several
terms need are computed once.  Base noise never has a key: two expectations draw twice.  A
:class:`Scope` says which slot a variable name means at a place of the expression; shadowing is
lexical and a bound variable never leaves its scope.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pixyz.plan import rules
from pixyz.plan.graph import Axis, BatchKind, Carry, Loop, Slot, Step, order_axes
from pixyz.plan.options import Options
from pixyz.types import PixyzError

FOLDED = (operator.add, operator.sub, operator.mul, operator.truediv, operator.neg)


class Builder:
    """Collects the steps of one plan.

    Args:
        given: the variable names that the call provides; decides which optional inputs are read.
        options: whether the networks and formulas of a key are written once, whether loops are
            split.
        leads: the leading axes of inputs that have some (see :mod:`pixyz.plan.leads`).

    >>> builder = Builder()
    >>> x = builder.input("x")
    >>> builder.point(operator.abs, x) is builder.point(operator.abs, x)  # written once
    True
    """

    def __init__(
        self,
        given: frozenset[str] = frozenset(),
        options: Options | None = None,
        leads: Mapping[str, tuple[Axis, ...]] | None = None,
    ) -> None:
        self.steps: list[Step] = []
        self.inputs: dict[str, Slot] = {}
        self.decisions: dict[str, bool] = {}
        self.terms: dict[str, Slot] = {}
        self.returned: dict[str, Slot] = {}
        self.notes: list[str] = []
        self.loops: list[Loop] = []
        self.ranks: dict[str, int] = {}
        """How many feature dimensions an input has, where a density of it knows."""
        self.stands_for: dict[Slot, Slot] = {}
        """A value that has as many feature dimensions as an input, because a flow took that to it.
        """
        self._leads = leads or {}
        self._given = given
        self._options = options or Options()
        self._keys: dict[Hashable, Step] = {}
        self._bodies: list[Loop] = []
        self.batch_n: Slot | None = None
        self.sample_mean = False  # take means in the place of draws
        self.direct = False  # a call of a distribution itself, not an expression
        # names of Parameters that are given with a batch, [B]
        self.rows: frozenset[str] = frozenset()
        self.series_axes: dict[Slot, Axis] = {}
        self.origin: dict[Slot, tuple[Any, ...]] = {}
        """What a drawn value was computed from, for densities that would have to compute it back.
        """

    # ---------------------------------------------------------------- inputs and constants

    def input(self, name: str, batch: BatchKind = "full") -> Slot:
        """The slot of an input variable."""
        if name not in self.inputs:
            step = self._step("input", None, (), label=name, batch=batch)
            step.body = None
            step.outs[0].axes = self._leads.get(name, ())
            self.inputs[name] = step.outs[0]
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

    def attribute(self, module: Any, name: str, label: str = "", batch: BatchKind = "one") -> Slot:
        """``module.name``, read at each run (a buffer or a parameter)."""
        return self.point(rules.Attribute(module, name), label=label or name, batch=batch)

    def states(self, fn: Callable[[], Any], axis: Axis, label: str) -> Slot:
        """All values of a finite variable, ``[S, ...]`` from ``fn()``, along ``axis``."""
        slot = self._step("point", fn, (), label=label, batch="one").outs[0]
        slot.axes = (axis,)
        return slot

    # ---------------------------------------------------------------- steps

    def point(
        self,
        fn: Callable[..., Any],
        *args: Slot,
        label: str = "",
        batch: BatchKind | None = None,
        key: Hashable = None,
    ) -> Slot:
        """A formula that broadcasts: densities, arithmetic, draws from noise; arithmetic of numbers
        is done here.
        """
        folded = self._folded(fn, args)
        if folded is not None:
            return folded
        return self._shared("point", fn, args, label, batch, key).outs[0]

    def features(
        self, fn: Callable[..., Any], arg: Slot, label: str = "", key: Hashable = None
    ) -> Slot:
        """``fn(value, number of leading dimensions)``."""
        return self._shared("features", fn, (arg,), label, None, key).outs[0]

    def mean_of_sums(self, slot: Slot, label: str) -> Slot | None:
        """The mean over the batch, at once, of what is a weighted sum of sums over features; None
        if ``slot`` is none.
        """
        terms = self._feature_sums(slot)
        if terms is None:
            return None
        return self.point(
            rules.MeanOfSums(tuple(w for w, _ in terms)),
            *(x for _, x in terms),
            label=label,
            batch="none",
        )

    def net(
        self,
        fn: Callable[..., Any],
        args: Sequence[Slot],
        outs: Sequence[str],
        label: str,
        *,
        key: Hashable,
        pinned: str = "",
        detach: bool = False,
    ) -> list[Slot]:
        """User code that sees one batch dimension and returns ``len(outs)`` values as a tuple."""
        step = self._shared("net", fn, tuple(args), label, None, key, labels=outs)
        step.pinned, step.multiple = pinned, True
        return step.outs

    def opaque(
        self, fn: Callable[..., Any], args: Sequence[Slot], outs: Sequence[str], label: str
    ) -> list[Slot]:
        """Foreign code: one step that is never shared and never leaves its loop."""
        step = self._step("net", fn, tuple(args), label=label, labels=outs)
        step.multiple, step.pinned = True, "foreign code"
        self._in_bodies(step)
        return step.outs

    @staticmethod
    def look(slot: Slot, look: Callable[..., None], *args: Slot) -> None:
        """Look at ``args`` before ``slot`` is computed, when a plan runs on new shapes (see
        :mod:`pixyz.plan.looks`).
        """
        if (look, args) not in slot.step.looks:
            slot.step.looks.append((look, args))

    def detach(self, arg: Slot) -> Slot:
        """Stop the gradient; always a visible step."""
        slot = self.point(rules.detach, arg, label=f"sg({arg.label or arg.step.label})")
        slot.step.detach = True
        return slot

    def reduce(
        self,
        fn: Callable[..., Any],
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
        over = tuple(a for a in arg.axes if a in set(axes))
        if not over and (not batch or arg.batch == "none"):
            return arg
        step = self._shared("reduce", fn, args, label, None, ("over", over, batch))
        if not step.over and not step.over_batch:
            step.over, step.over_batch = over, batch
            kept = tuple(a for a in step.outs[0].axes if a not in set(over))
            step.outs[0].axes = kept
            step.outs[0].batch = "none" if batch else arg.batch
        return step.outs[0]

    def series(
        self,
        fn: Callable[..., Any],
        args: Sequence[Slot],
        outs: Sequence[tuple[str, Axis | None]],
        over: Axis,
        label: str,
        *,
        key: Hashable,
    ) -> list[Slot]:
        """A function of whole series ``[T, N, ...]``; each result names the axis it has instead of
        ``over``.
        """
        family = over.family
        step = self._shared(
            "series", fn, tuple(args), label, None, key, labels=[name for name, _ in outs]
        )
        step.over, step.multiple = (over,), True
        rest = {a for slot in args for a in slot.axes if a.family is not family}
        step.extra = rest
        for slot, (_, axis) in zip(step.outs, outs, strict=True):
            slot.axes = order_axes(rest | ({axis} if axis is not None else set()))
        return step.outs

    def relabel(self, arg: Slot, axis: Axis, label: str = "") -> Slot:
        """Read a value as a series: its first dimension becomes ``axis``."""
        known = {a for a in arg.axes if a.kind == "time"}
        if known == {axis}:
            return arg
        slot = self._shared(
            "series", rules.same, (arg,), label or arg.label, None, ("relabel", axis)
        ).outs[0]
        slot.step.over, slot.step.extra = (axis,), "relabel"
        newest = order_axes(known)[:1]
        slot.axes = order_axes({a for a in arg.axes if a not in newest} | {axis})
        if axis.size is None and axis.length_of is None:
            axis.length_of = slot
        return slot

    def noise(
        self, fn: Callable[..., Any], refs: Sequence[Slot], particles: Sequence[Axis], label: str
    ) -> Slot:
        """Base noise of the shape of ``refs`` with ``particles`` in front; every call is a new
        draw.
        """
        step = self._step("noise", fn, tuple(refs), label=label)
        step.outs[0].axes = order_axes(set(step.outs[0].axes) | set(particles))
        self._in_bodies(step)
        return step.outs[0]

    def expand(self, arg: Slot, like: Slot, axes: tuple[Axis, ...]) -> Slot:
        """Give ``arg`` (no axes or fewer) the leading dimensions ``axes`` and the batch of
        ``like``.
        """
        if arg.axes == axes and arg.batch == "full":
            return arg
        slot = self._shared("expand", None, (arg, like), arg.label, "full", ("to", axes)).outs[0]
        slot.axes = axes
        return slot

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
        loop = Loop(
            axis, len(self.steps), reverse=reverse, fission=fission, parent=parent, label=label
        )
        self.loops.append(loop)
        return loop

    def carry(self, loop: Loop, name: str, start: Slot) -> Slot:
        """The value carried into each step under ``name``; set its end with :meth:`close_carry`."""
        step = self._step("carry", None, (), label=name, batch="full")
        step.loop = step.body = loop
        slot = step.outs[0]
        slot.axes = order_axes({loop.axis, *start.axes})
        loop.carries.append(Carry(name, slot, start))
        return slot

    def close_carry(self, loop: Loop, name: str, out: Slot) -> None:
        """Say which slot is carried on to the next step under ``name``."""
        for carry in loop.carries:
            if carry.name == name:
                if set(out.axes) - set(carry.slot.axes):
                    raise PixyzError(
                        f"the carried variable {name!r} gets particles inside the step "
                        f"that its start does not have; "
                        "give sample_shape to the expectation that draws it"
                    )
                carry.out = out

    # ---------------------------------------------------------------- internals

    def _folded(self, fn: Callable[..., Any], args: tuple[Slot, ...]) -> Slot | None:
        """Arithmetic on numbers; adding 0 and multiplying by 1; signs, which move outward until
        they cancel.
        """
        if fn not in FOLDED:
            return None
        plain = [a.step.args[0] if a.step.fn is operator.neg else None for a in args]
        if any(plain):
            return self._signs(fn, args, plain)
        numbers = [a.step.fn.value if isinstance(a.step.fn, rules.Constant) else None for a in args]
        if all(n is not None for n in numbers):
            return (
                None if fn is operator.truediv and numbers[1] == 0 else self.constant(fn(*numbers))
            )
        neutral = {operator.add: 0, operator.sub: 0, operator.mul: 1, operator.truediv: 1}.get(fn)
        if neutral is None or any(a.step.kind == "input" for a in args):
            return None
        if numbers[1] == neutral:
            return args[0]
        return args[1] if numbers[0] == neutral and fn in (operator.add, operator.mul) else None

    def _signs(
        self, fn: Callable[..., Any], args: tuple[Slot, ...], plain: list[Slot | None]
    ) -> Slot | None:
        """The same value with fewer changes of sign; ``plain`` holds the arguments without theirs,
        where they have one.
        """
        a, b = plain[0], plain[-1]
        if fn is operator.neg:
            return a
        if fn is operator.sub and b is not None:
            return (
                self.point(operator.add, args[0], b)
                if a is None
                else self.point(operator.sub, b, a)
            )
        if fn is operator.add and a is not None and b is not None:
            return self.point(operator.neg, self.point(operator.add, a, b))
        if fn is operator.add:
            i, minus = (0, b) if b is not None else (1, a)
            assert minus is not None
            return self.point(operator.sub, args[i], minus)
        if fn is operator.mul:
            i = 0 if b is not None else 1  # the factor without a sign takes it, if it is a number
            other, value = args[i], args[i].step.fn
            rest = b if b is not None else a
            if isinstance(value, rules.Constant) and rest is not None and rest is not other:
                return self.point(operator.mul, self.constant(-value.value), rest)
        return None

    def _feature_sums(self, slot: Slot) -> list[tuple[float, Slot]] | None:
        """``slot`` ``[B]`` as a weighted sum of terms whose features are not summed yet; None if it
        is no such sum.
        """
        step = slot.step
        if slot.batch != "full" or slot.axes or slot in self.terms.values():
            return None
        if step.kind == "features" and step.fn is rules.sum_features:
            raw = step.args[0]
            return [(1, raw)] if raw.batch == "full" and not raw.axes else None
        if step.kind != "point":
            return None
        if step.fn is operator.neg:
            return _scaled(self._feature_sums(step.args[0]), -1)
        if len(step.args) != 2 or step.fn not in FOLDED:
            return None
        a, b = step.args
        if step.fn in (operator.mul, operator.truediv):
            value, rest = (
                (a, b)
                if isinstance(a.step.fn, rules.Constant) and step.fn is operator.mul
                else (b, a)
            )
            if not isinstance(value.step.fn, rules.Constant):
                return None
            number = value.step.fn.value
            if step.fn is operator.truediv and number == 0:
                return None
            return _scaled(
                self._feature_sums(rest), number if step.fn is operator.mul else 1 / number
            )
        first, second = self._feature_sums(a), self._feature_sums(b)
        if first is None or second is None:
            return None
        return first + (_scaled(second, -1 if step.fn is operator.sub else 1) or [])

    def _in_bodies(self, step: Step) -> None:
        """What is drawn in a step of a loop is drawn anew at each step, whatever it depends on."""
        for slot in step.outs:
            slot.axes = order_axes({*slot.axes, *(body.axis for body in self._bodies)})

    def _shared(
        self,
        kind: Any,
        fn: Callable[..., Any] | None,
        args: tuple[Slot, ...],
        label: str,
        batch: BatchKind | None,
        key: Hashable,
        labels: Sequence[str] = ("",),
    ) -> Step:
        full = (kind, fn, key, tuple(id(a) for a in args))
        step = self._keys.get(full)
        if step is None or (not self._options.sharing and kind in ("net", "point", "features")):
            step = self._step(kind, fn, args, label=label, batch=batch, labels=labels)
            self._keys[full] = step
        return step

    def _step(
        self,
        kind: Any,
        fn: Callable[..., Any] | None,
        args: tuple[Slot, ...],
        label: str,
        batch: BatchKind | None = None,
        labels: Sequence[str] = ("",),
    ) -> Step:
        step = Step(
            kind, fn, args, label, len(self.steps), body=self._bodies[-1] if self._bodies else None
        )
        if batch is None:
            kinds = {a.batch for a in args}
            batch = "full" if "full" in kinds else "one" if "one" in kinds else "none"
        axes = order_axes({axis for a in args for axis in a.axes})
        step.outs = [Slot(step, axes, batch, name) for name in labels]
        self.steps.append(step)
        return step


def _scaled(terms: list[tuple[float, Slot]] | None, by: float) -> list[tuple[float, Slot]] | None:
    return None if terms is None else [(by * weight, slot) for weight, slot in terms]


class Scope:
    """Which slot a name means here.

    Args:
        builder: unbound names become inputs of its plan.
        values: names bound here.
        parent: the enclosing scope.
        rename: inner name -> outer name; look-ups of an inner name go to the parent under the outer
            name.

    >>> builder = Builder()
    >>> scope = Scope(builder).renamed({"x": "y"})
    >>> scope.lookup("x") is builder.inputs["y"]
    True
    """

    def __init__(
        self,
        builder: Builder,
        values: Mapping[str, Slot] | None = None,
        parent: Scope | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        self.builder = builder
        self.values: dict[str, Slot] = dict(values or {})
        self.parent = parent
        self.rename = dict(rename or {})
        self.keep: frozenset[Axis] = parent.keep if parent is not None else frozenset()
        self.masks: dict[Axis, Slot] = dict(parent.masks) if parent is not None else {}
        self.path: dict[str, tuple[Hashable, Slot]] = parent.path if parent is not None else {}
        self.particles: tuple[Axis, ...] = parent.particles if parent is not None else ()

    def lookup(self, name: str) -> Slot:
        """The slot that ``name`` means; an unbound name becomes an input."""
        if self.rename:
            assert self.parent is not None
            return self.parent.lookup(self.rename.get(name, name))
        if name in self.values:
            return self.values[name]
        if self.parent is not None:
            return self.parent.lookup(name)
        return self.builder.input(name)

    def bound(self, name: str) -> bool:
        """Whether ``name`` means something else than an input."""
        if self.rename:
            assert self.parent is not None
            return self.parent.bound(self.rename.get(name, name))
        return name in self.values or (self.parent is not None and self.parent.bound(name))

    def child(self, values: Mapping[str, Slot] | None = None) -> Scope:
        """A scope inside this one."""
        return Scope(self.builder, values, parent=self)

    def renamed(self, rename: Mapping[str, str]) -> Scope:
        """This scope as seen by a distribution whose variables carry other
        names (inner -> outer).
        """
        return Scope(self.builder, parent=self, rename=rename) if rename else self

    def outer_name(self, name: str) -> str:
        """The name under which the enclosing expression knows ``name``."""
        if self.rename and self.parent is not None:
            return self.parent.outer_name(self.rename.get(name, name))
        return name
