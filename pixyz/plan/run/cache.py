"""PlanCache: the plans of an objective or a distribution, one for each structure, and how they are
run.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from pixyz.plan.graph import Axis, Slot
from pixyz.plan.options import Options, debugging
from pixyz.plan.random import random_states, restore_random_states
from pixyz.plan.run.leads import Layout, Unled, arrange, axes_of, learned_ranks, widen
from pixyz.plan.run.plan import Plan, Relead, Relower
from pixyz.plan.run.recall import Tries, trying
from pixyz.plan.structure import Clock, Structured, newest_change, reading
from pixyz.plan.write import Builder
from pixyz.types import PixyzError


@contextlib.contextmanager
def watched(plan: Plan, values: Mapping[str, Any], layout: Layout) -> Iterator[None]:
    """Run a plan with checks; it ends as soon as a density sees a value with more dimensions than
    ``layout`` knows of.
    """
    plan.trust(False)
    plan.looks = False
    for density in plan.open_densities():
        if density.variable in values:
            density.given = values[density.variable].ndim - layout.get(density.variable, 0)
    try:
        yield
    finally:
        for density in plan.open_densities():
            density.given = None
        plan.looks = True
        plan.trust(plan.proven)


MOST_KEYS = 64
"""How many keys have plans at a time; the oldest are dropped (a key for each ``sample_shape``,
say).
"""

Build = Callable[[Builder], Mapping[str, Slot]]
Leads = Mapping[str, tuple[Axis, ...]]


class Kept:
    """What a cache holds until structure or options change; it is dropped as a whole, and late runs
    write to the dropped one.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.plans: dict[Any, list[Plan]] = {}
        self.quick: dict[Any, Plan] = {}
        """Plans by key that ran, and that serve whatever optional inputs are there."""
        self.plain: dict[Any, set[tuple[int, ...]]] = {}
        self.learned: dict[Any, dict[str, int]] = {}
        self.read: list[weakref.ref[Structured]] = []
        """Objects outside the library of which something was read while the plans were written."""

    def known(self, key: Any, given: Mapping[str, Any]) -> Plan | None:
        """The plan for ``key`` whose decisions on optional inputs match ``given``."""
        for plan in self.plans.get(key, ()):
            if not plan.decisions or all(
                (name in given) == flag for name, flag in plan.decisions.items()
            ):
                return plan
        return None

    def drop(self, key: Any) -> None:
        """Forget the plans of ``key``."""
        self.plans.pop((key, debugging()), None)
        self.quick.pop(key, None)


class PlanCache:
    """Plans by structure: what was asked for, and which optional inputs are there. Values never
    enter the key.

    >>> from pixyz.losses import Parameter
    >>> loss = 2 * Parameter("a")
    >>> loss.eval({"a": 1.0}), loss.eval({"a": 3.0}), len(loss._plans)
    (tensor(2.), tensor(6.), 1)
    """

    def __init__(self, options: Options | None = None) -> None:
        self._kept = Kept(options or Options())
        self.seen = Clock.now
        """The newest change of any structure that was looked at."""
        self._lock = threading.RLock()

    @property
    def options(self) -> Options:
        """How plans are made."""
        return self._kept.options

    @property
    def quick(self) -> dict[Any, Plan]:
        """Plans by key that ran, and that serve whatever optional inputs are there."""
        return self._kept.quick

    def refresh(self, modules: Iterable[nn.Module]) -> bool:
        """Drop the plans if one of ``modules`` was changed since they were built; whether they were
        dropped.
        """
        read = [one for ref in self._kept.read if (one := ref()) is not None]
        now, changed = Clock.now, newest_change([*modules, *read]) > self.seen
        if changed:
            self._kept = Kept(self._kept.options)
        self.seen = now
        return changed

    def get(
        self,
        key: Any,
        given: Mapping[str, Any],
        build: Build,
        owner: Callable[[], str],
        leads: Leads | None = None,
        kept: Kept | None = None,
    ) -> Plan:
        """The plan for ``key`` whose decisions on optional inputs match ``given``; built at the
        first call.
        """
        kept = self._kept if kept is None else kept
        key = (key, debugging())
        if (plan := kept.known(key, given)) is not None:
            return plan
        with self._lock:
            if (plan := kept.known(key, given)) is not None:  # another thread was faster
                return plan
            builder = Builder(frozenset(given), kept.options, leads)
            with reading() as read:
                options = replace(kept.options, checked=debugging())
                plan = Plan(builder, build(builder), owner(), options)
            kept.read += map(weakref.ref, read)
            plan.plain = kept.plain.setdefault(key, set())
            kept.plans.setdefault(key, []).append(plan)
            if len(kept.plans) > MOST_KEYS:
                oldest = next(iter(kept.plans))
                kept.plans.pop(oldest)
                kept.plain.pop(oldest, None)
                kept.quick.pop(oldest[0], None)
        return plan

    def run(
        self, key: Any, values: Mapping[str, Any], build: Build, owner: Callable[[], str]
    ) -> dict[str, Any]:
        """Run the plan for ``key``: results by name."""
        kept = self._kept
        with trying() as tries:
            try:
                return self._run(kept, key, values, None, build, owner, tries)
            except Relead as found:
                base = found.plan
            return self._run_led(kept, base, key, values, build, owner, tries)

    def _run_led(
        self,
        kept: Kept,
        base: Plan,
        key: Any,
        values: Mapping[str, Any],
        build: Build,
        owner: Callable[[], str],
        tries: Tries,
    ) -> dict[str, Any]:
        """Run a plan for inputs with leading dimensions, or find that they have none."""
        signature = tuple([getattr(values[n], "ndim", 0) for n in base.inputs])

        def at(ranks: Mapping[str, int]) -> tuple[Layout, Any, Mapping[str, Any], Leads | None]:
            layout = arrange(base.inputs, values, {**base.ranks, **ranks})
            if not layout:
                base.plain.add(signature)
                return layout, key, values, None
            base.plain.discard(signature)
            wide, sizes = widen(layout, values)
            return layout, (key, tuple(layout.items()), sizes), wide, axes_of(layout, sizes)

        if (key, signature) not in kept.learned:
            states, ranks = random_states(), dict[str, int]()
            # what a density tells of conditions that are led only later is asked again
            for _ in base.inputs:
                layout, where, given, leads = at(ranks)
                with (
                    watched(self.get(where, given, build, owner, leads, kept), values, layout),
                    contextlib.suppress(Unled),
                ):
                    self._run(kept, where, given, leads, build, owner, tries)
                plan = self.get(where, given, build, owner, leads, kept)
                before, ranks = (
                    ranks,
                    learned_ranks(plan.open_densities(), base.inputs, values, layout),
                )
                restore_random_states(states)
                tries.again()
                if ranks == before:
                    break
            kept.learned[key, signature] = ranks
        _, where, given, leads = at(kept.learned[key, signature])
        return self._run(kept, where, given, leads, build, owner, tries)

    def _run(
        self,
        kept: Kept,
        key: Any,
        values: Mapping[str, Any],
        leads: Leads | None,
        build: Build,
        owner: Callable[[], str],
        tries: Tries,
    ) -> dict[str, Any]:
        attempts = 0
        while True:
            plan = self.get(key, values, build, owner, leads, kept)
            drawn = None if plan.proven else random_states()
            tries.first = not plan.proven
            try:
                found = dict(zip(plan.outputs, plan.run(values), strict=True))
                if not plan.proven:
                    plan.proven = not plan.on_trial
                    plan.trust()
                    if plan.proven and not plan.decisions and not debugging():
                        kept.quick[key] = plan
                return found
            except Relead:
                raise
            except Relower:  # what the unfinished first run drew is drawn again
                if drawn is not None:
                    restore_random_states(drawn)
                tries.again()
                kept.drop(key)
                attempts += 1
                if attempts > 4 * plan.networks:
                    raise PixyzError(
                        f"{owner()}: a network returns other parameters at each call"
                    ) from None

    def set_options(self, **changes: Any) -> None:
        """Change how plans are made; those that are there are dropped (see
        :class:`pixyz.plan.options.Options`).
        """
        self._kept = Kept(replace(self._kept.options, **changes))

    def __len__(self) -> int:
        return sum(map(len, self._kept.plans.values()))

    def __getstate__(self) -> dict[str, Any]:
        return {"options": self._kept.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state.get("options"))  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> PlanCache:
        return PlanCache(self._kept.options)
