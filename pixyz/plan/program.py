"""Plan: the compiled function of an objective, and the cache that keeps one for each structure."""

from __future__ import annotations

import itertools
import linecache
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from pixyz.plan.builder import Builder
from pixyz.plan.emit import Emitter
from pixyz.plan.fission import Block, Schedule, schedule
from pixyz.plan.graph import Slot, Step
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


def _steps(item: Step | Block) -> list[Step]:
    if isinstance(item, Step):
        return [item]
    return [s for inner in item.items for s in _steps(inner)] + [c.slot.step for c in item.carries]


class Relower(Exception):
    """A network returned other (accepted) parameters than the plan was built for: build it again."""


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

    def refresh(self, modules: Iterable[nn.Module]) -> bool:
        """Drop the plans if one of ``modules`` was changed since they were built; whether they were dropped."""
        now, changed = Clock.now, newest_change(modules) > self.seen
        self.seen = now
        if changed:
            self._plans, self.quick = {}, {}
        return changed

    def get(
        self, key: Any, given: Mapping[str, Any], build: Callable[[Builder], Mapping[str, Slot]], owner: Callable[[], str]
    ) -> Plan:
        """The plan for ``key`` whose decisions on optional inputs match ``given``; built at the first call."""
        key = (key, debugging())
        for plan in self._plans.get(key, ()):
            if not plan.decisions or all((name in given) == flag for name, flag in plan.decisions.items()):
                return plan
        with self._lock:
            builder = Builder(frozenset(given), self._options)
            plan = Plan(builder, build(builder), owner(), self._options)
            self._plans.setdefault(key, []).append(plan)
        return plan

    def run(
        self, key: Any, values: Mapping[str, Any], build: Callable[[Builder], Mapping[str, Slot]], owner: Callable[[], str]
    ) -> dict[str, Any]:
        """Run the plan for ``key``: results by name."""
        attempts = 0
        while True:
            plan = self.get(key, values, build, owner)
            drawn = None if plan.proven else random_states()
            try:
                found = dict(zip(plan.outputs, plan.run(values), strict=True))
                if not plan.proven:
                    plan.proven = True
                    plan.trust()
                    if not plan.decisions and not debugging():
                        self.quick[key] = plan
                return found
            except Relower:  # what the unfinished first run drew is drawn again
                if drawn is not None:
                    restore_random_states(drawn)
                self._plans.pop((key, debugging()), None)
                self.quick.pop(key, None)
                attempts += 1
                if attempts > 2 * plan.networks:
                    raise PixyzError(f"{owner()}: a network returns other parameters at each call") from None

    def set_options(self, **changes: Any) -> None:
        """Change how plans are made; those that are there are dropped (see :class:`pixyz.plan.options.Options`)."""
        self._options = replace(self._options, **changes)
        self._plans, self.quick = {}, {}

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
