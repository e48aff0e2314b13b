"""Plan: the compiled function of an objective, and the cache that keeps one for each structure."""

from __future__ import annotations

import itertools
import linecache
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from pixyz.plan.builder import Builder
from pixyz.plan.emit import Emitter
from pixyz.plan.fission import Block, Schedule, schedule
from pixyz.plan.graph import Axis, Slot, Step
from pixyz.plan.leads import Layout, OpenDensity, arrange, axes_of, guess_ranks, learned_ranks, widen
from pixyz.plan.options import Options, debugging
from pixyz.plan.random import random_states, restore_random_states
from pixyz.plan.structure import Clock, newest_change
from pixyz.types import PixyzError, VariableError

_number = itertools.count()


class Plan:
    """A straight-line function that computes named results from named inputs.

    ``print(plan)`` shows the steps, where each went (hoisted, in a loop, sunk), the notes and the source.
    """

    def __init__(
        self, builder: Builder, outputs: Mapping[str, Slot], owner: str, options: Options | None = None
    ) -> None:
        self.owner = owner
        self.outputs = list(outputs)
        self.decisions = dict(builder.decisions)
        self.proven = False
        """Whether it ran to its end: the networks return the parameters that it reads."""
        self._slots = list(outputs.values())
        self._schedule: Schedule = schedule(builder, self._slots)
        live = {s for item in self._schedule.items for s in _steps(item)}
        self.networks = sum(s.kind == "net" for s in live)
        self.inputs = [n for n, slot in builder.inputs.items() if slot.step in live]
        emitter = Emitter(
            [builder.inputs[n] for n in self.inputs], self._slots, self._schedule, options, checked=debugging()
        )
        self.source = emitter.source()
        self.filename = f"<pixyz plan {next(_number)}>"
        namespace = emitter.namespace
        exec(compile(self.source, self.filename, "exec"), namespace)
        linecache.cache[self.filename] = (len(self.source), None, self.source.splitlines(True), self.filename)
        weakref.finalize(self, linecache.cache.pop, self.filename, None)
        self.function: Callable[..., tuple[Any, ...]] = namespace["plan"]
        self._namespace, self._networks = namespace, emitter.networks
        self._trusted = True
        self.trust(False)
        self.ranks, self.watch = _watched(builder, self.inputs, self.open_densities(), live)
        self.plain: set[tuple[int, ...]] = set()
        """Numbers of dimensions of the inputs that need no leading axes; the cache's, for all plans of a key."""
        for name, loop in emitter.loops.items():
            loop.bind(*(namespace[f"{name}_{part}"] for part in ("steps", "step", "shapes")))

    def run(self, x: Mapping[str, Any]) -> tuple[Any, ...]:
        """Compute the results, in the order of ``outputs``.

        Raises:
            VariableError: an input variable is missing.
        """
        try:
            args = [x[name] for name in self.inputs]
        except KeyError:
            raise self._missing(x) from None
        for i, most in self.watch:
            if getattr(args[i], "ndim", 0) > most and tuple([getattr(a, "ndim", 0) for a in args]) not in self.plain:
                raise Relead(self)
        try:
            return self.function(*args)
        except (KeyError, TypeError, IndexError):
            if not self._trusted or not self._networks:
                raise
            self.trust(False)
        return self.function(*args)

    def trust(self, trusted: bool = True) -> None:
        """Call networks directly, or check at each call that they return what is read."""
        if trusted != self._trusted:
            self._trusted = trusted
            self._namespace.update({k: n.module if trusted else n.checked for k, n in self._networks.items()})

    def open_densities(self) -> list[OpenDensity]:
        """The densities whose parameters tell how many feature dimensions their variable has."""
        return [n for n in self._networks.values() if isinstance(n, OpenDensity)]

    def _missing(self, x: Mapping[str, Any]) -> VariableError:
        absent = [n for n in self.inputs if n not in x]
        return VariableError(
            f"{self.owner} needs the variables {self.inputs}, got {sorted(map(str, x))}: {absent} missing; "
            "add them to the dict (or draw them inside the expression)"
        )

    @property
    def notes(self) -> list[str]:
        """Why a step stayed in a loop, and what else is worth knowing."""
        return self._schedule.notes

    def counts(self) -> dict[str, int]:
        """How many steps are hoisted, looped, sunk or outside of any series."""
        found: dict[str, int] = {}
        for item in self._schedule.items:
            for step in _steps(item):
                place = self._schedule.place.get(step, "once").split()[0]
                found[place] = found.get(place, 0) + 1
        return found

    def __str__(self) -> str:
        number: dict[Slot, str] = {}
        lines = [f"plan of {self.owner}"]

        def show(item: Step | Block, depth: int) -> None:
            pad = "  " * depth
            if isinstance(item, Block):
                lines.append(f"{pad}loop over {item.loop.axis!r}{' reversed' if item.loop.reverse else ''}:")
                for carry in item.carries:
                    number[carry.slot] = f"%{len(number)}"
                    lines.append(f"{pad}  {number[carry.slot]} = carry {carry.name}")
                for inner in item.items:
                    show(inner, depth + 1)
                return
            for slot in item.outs:
                number.setdefault(slot, f"%{len(number)}")
            args = ", ".join(number.get(a, "?") for a in item.args)
            outs = ", ".join(number[s] for s in item.outs)
            what = self._schedule.place.get(item, "")
            quiet = "" if item in self._schedule.grad else "  (no grad)"
            lines.append(f"{pad}{outs} = {item.kind} {item.label}({args}){'  [' + what + ']' if what else ''}{quiet}")

        for item in self._schedule.items:
            show(item, 1)
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines) + "\n\n" + self.source


def _watched(
    builder: Builder, inputs: Sequence[str], open_densities: Sequence[OpenDensity], live: Iterable[Step]
) -> tuple[dict[str, int], tuple[tuple[int, int], ...]]:
    """The known feature dimensions of inputs, and which inputs may have how many dimensions without a second look."""
    led = any(slot.axes for slot in builder.inputs.values())
    if led or any(a.kind == "time" for step in live for slot in step.outs for a in slot.axes):
        return dict(builder.ranks), ()
    most = {d.variable: 2 for d in open_densities} | {n: rank + 1 for n, rank in builder.ranks.items()}
    return dict(builder.ranks), tuple((i, most[n]) for i, n in enumerate(inputs) if n in most)


def _steps(item: Step | Block) -> list[Step]:
    if isinstance(item, Step):
        return [item]
    return [s for inner in item.items for s in _steps(inner)] + [c.slot.step for c in item.carries]


class Relower(Exception):
    """A network returned other (accepted) parameters than the plan was built for: build it again."""


class Relead(Relower):
    """An input has more dimensions than the plan was written for."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("an input has leading dimensions")
        self.plan = plan


class PlanCache:
    """Plans by structure: what was asked for, and which optional inputs are there. Values never enter the key."""

    def __init__(self) -> None:
        self._plans: dict[Any, list[Plan]] = {}
        self._options = Options()
        self.quick: dict[Any, Plan] = {}
        """Plans by key that ran, and that serve whatever optional inputs are there."""
        self.seen = Clock.now
        """The newest change of any structure that was looked at."""
        self._lock = threading.Lock()
        self._learned: dict[Any, dict[str, int]] = {}
        self._plain: dict[Any, set[tuple[int, ...]]] = {}

    def refresh(self, modules: Iterable[nn.Module]) -> bool:
        """Drop the plans if one of ``modules`` was changed since they were built; whether they were dropped."""
        now, changed = Clock.now, newest_change(modules) > self.seen
        self.seen = now
        if changed:
            self._plans, self.quick, self._learned, self._plain = {}, {}, {}, {}
        return changed

    def get(
        self, key: Any, given: Mapping[str, Any], build: Callable[[Builder], Mapping[str, Slot]], owner: Callable[[], str],
        leads: Mapping[str, tuple[Axis, ...]] | None = None,
    ) -> Plan:
        """The plan for ``key`` whose decisions on optional inputs match ``given``; built at the first call."""
        key = (key, debugging())
        if (plan := self._known(key, given)) is not None:
            return plan
        with self._lock:
            if (plan := self._known(key, given)) is not None:  # another thread was faster
                return plan
            builder = Builder(frozenset(given), self._options, leads)
            plan = Plan(builder, build(builder), owner(), self._options)
            plan.plain = self._plain.setdefault(key, set())
            self._plans.setdefault(key, []).append(plan)
        return plan

    def _known(self, key: Any, given: Mapping[str, Any]) -> Plan | None:
        for plan in self._plans.get(key, ()):
            if not plan.decisions or all((name in given) == flag for name, flag in plan.decisions.items()):
                return plan
        return None

    def run(
        self, key: Any, values: Mapping[str, Any], build: Callable[[Builder], Mapping[str, Slot]], owner: Callable[[], str]
    ) -> dict[str, Any]:
        """Run the plan for ``key``: results by name."""
        try:
            return self._run(key, values, None, build, owner)
        except Relead as found:
            return self._run_with_leads(found.plan, key, values, build, owner)

    def _run_with_leads(
        self, base: Plan, key: Any, values: Mapping[str, Any], build: Callable[[Builder], Mapping[str, Slot]],
        owner: Callable[[], str],
    ) -> dict[str, Any]:
        """Run a plan for inputs with leading dimensions, or find that they have none."""
        signature = tuple([getattr(values[n], "ndim", 0) for n in base.inputs])
        told = self._learned.get((key, signature))
        if told is not None:
            return self._run(*self._led(base, key, values, told)[1], build, owner)
        drawn, guesses, failed = random_states(), guess_ranks(base.open_densities(), base.inputs, values), None
        told = {}
        for _ in range(8):  # what is learned from conditions that were not led may have to be learned again
            layout, (where, given, leads) = self._led(base, key, values, told)
            self.get(where, given, build, owner, leads).trust(False)
            found, error = {}, None
            try:
                found = self._run(where, given, leads, build, owner)
            except Exception as raised:  # with the wrong dimensions in front, most likely
                error = failed = failed or raised
            plan = self.get(where, given, build, owner, leads)
            plan.trust(plan.proven)
            told = learned_ranks(plan.open_densities(), base.inputs, values, layout)
            if arrange(base.inputs, values, {**base.ranks, **told}) == layout:
                if error is None:
                    self._learned[key, signature] = told
                    return found
                told = next(guesses, {})
                if not told:
                    break
            restore_random_states(drawn)
        base.plain.discard(signature)
        assert failed is not None
        raise failed

    def _led(
        self, base: Plan, key: Any, values: Mapping[str, Any], ranks: Mapping[str, int]
    ) -> tuple[Layout, tuple[Any, Mapping[str, Any], Mapping[str, tuple[Axis, ...]] | None]]:
        """Which inputs are led at known feature dimensions; key, values and axes of the plan for that."""
        signature = tuple([getattr(values[n], "ndim", 0) for n in base.inputs])
        layout = arrange(base.inputs, values, {**base.ranks, **ranks})
        if not layout:
            base.plain.add(signature)
            return layout, (key, values, None)
        base.plain.discard(signature)
        wide, sizes = widen(layout, values)
        return layout, ((key, tuple(layout.items()), sizes), wide, axes_of(layout, sizes))

    def _run(
        self, key: Any, values: Mapping[str, Any], leads: Mapping[str, tuple[Axis, ...]] | None,
        build: Callable[[Builder], Mapping[str, Slot]], owner: Callable[[], str],
    ) -> dict[str, Any]:
        attempts = 0
        while True:
            plan = self.get(key, values, build, owner, leads)
            drawn = None if plan.proven else random_states()
            try:
                found = dict(zip(plan.outputs, plan.run(values), strict=True))
                if not plan.proven:
                    plan.proven = True
                    plan.trust()
                    if not plan.decisions and not debugging():
                        self.quick[key] = plan
                return found
            except Relead:
                raise
            except Relower:  # what the unfinished first run drew is drawn again
                if drawn is not None:
                    restore_random_states(drawn)
                self._plans.pop((key, debugging()), None)
                self.quick.pop(key, None)
                attempts += 1
                if attempts > 4 * plan.networks:
                    raise PixyzError(f"{owner()}: a network returns other parameters at each call") from None

    def set_options(self, **changes: Any) -> None:
        """Change how plans are made; those that are there are dropped (see :class:`pixyz.plan.options.Options`)."""
        self._options = replace(self._options, **changes)
        self._plans, self.quick, self._learned, self._plain = {}, {}, {}, {}

    def __len__(self) -> int:
        return sum(map(len, self._plans.values()))

    def __getstate__(self) -> dict[str, Any]:
        return {"options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self._options = state.get("options", Options())

    def __deepcopy__(self, memo: dict[int, Any]) -> PlanCache:
        twin = PlanCache()
        twin._options = self._options
        return twin
