"""A call of an expression or a distribution: the plans for it, and what is kept of them."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch

from pixyz.debugging import debugging
from pixyz.plan.graph import Axis, Slot
from pixyz.plan.options import Options
from pixyz.plan.run import collector
from pixyz.plan.run.facts import Facts, Trial
from pixyz.plan.run.leads import arrange, axes_of, widen
from pixyz.plan.run.plan import Plan
from pixyz.plan.run.runner import Runner, Signature, signature
from pixyz.plan.run.settle import Form
from pixyz.plan.structure import Structured, reading
from pixyz.plan.write import Builder, Scope
from pixyz.types import Values

MOST_KEYS = 64
"""How many keys have plans at a time; the oldest are dropped (a ``sample_shape`` is one, say)."""

NOTHING = Facts()
Full = tuple[Hashable, bool]
"""A key, and whether values are checked."""
Build = Callable[[Scope], Mapping[str, Slot]]
Leads = Mapping[str, tuple[Axis, ...]]


class Kept:
    """What a cache holds until structure or options change; it is dropped as a whole, and late runs
    write to the dropped one.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.facts: dict[Hashable, Facts] = {}
        """What trials have found, by key."""
        self.plans: dict[Full, list[Runner]] = {}
        self.quick: dict[Hashable, Runner] = {}
        """Of each key a plan that is settled; it serves some values (:meth:`Runner.serves`)."""
        self.plain: dict[Full, set[Signature]] = {}
        """Numbers of dimensions with which no input has leading ones."""
        self.read: list[weakref.ref[Structured]] = []
        """Objects outside the library of which something was read while the plans were written."""

    def known(self, key: Full, given: Values) -> Runner | None:
        """The plan for ``key`` whose decisions on optional inputs match ``given``."""
        for runner in self.plans.get(key, ()):
            if runner.serves(given):
                return runner
        return None

    def drop(self, key: Hashable, runner: Runner) -> None:
        """Forget one plan of ``key``."""
        with contextlib.suppress(ValueError):
            self.plans.get((key, debugging()), []).remove(runner)
        self.quick.pop(key, None)

    def add(self, key: Full, runner: Runner) -> None:
        """Keep a plan; the oldest keys are dropped."""
        self.plans.setdefault(key, []).append(runner)
        if len(self.plans) > MOST_KEYS:
            oldest = next(iter(self.plans))
            self.plans.pop(oldest)
            self.plain.pop(oldest, None)
            self.quick.pop(oldest[0], None)
            self.facts.pop(oldest[0], None)


class Call:
    """What was asked for: the plans for it are found or written here.

    Args:
        kept: what is there.
        lock: held while a plan is written.
        key: what was asked for, in one value.
        values: of the variables.
        build: writes the steps.
        owner: what the plan is of, for messages.
    """

    def __init__(
        self,
        kept: Kept,
        lock: threading.RLock,
        key: Hashable,
        values: Values,
        build: Build,
        owner: Callable[[], str],
    ) -> None:
        self.kept, self.lock, self.key, self.values = kept, lock, key, values
        self.build, self.owner = build, owner

    @property
    def name(self) -> str:
        """What the plan is of."""
        return self.owner()

    def facts(self) -> Facts:
        """What is known."""
        return self.kept.facts.get(self.key, NOTHING)

    def settled(self) -> Form | None:
        """The plan that needs no trial, if there is one."""
        runner = self.kept.known((self.key, debugging()), self.values)
        if runner is None:
            return None
        if runner.plan.watch and runner.suspects(args := runner.plan.arguments(self.values)):
            facts = self.facts()
            ranks = facts.ranks.get(signature(args))
            form = None if ranks is None else self.form(facts, ranks)
            return form if form is not None and form.runner.settled else None
        return Form(runner, self.values, {}) if runner.settled else None

    def form(self, facts: Facts, ranks: Mapping[str, int] | None = None) -> Form:
        """The plan for ``facts``; ``ranks`` of inputs that may have leading dimensions."""
        runner = self._runner(self.key, self.values, facts)
        if ranks is None:
            return Form(runner, self.values, {})
        plan = runner.plan
        layout = arrange(plan.inputs, self.values, {**plan.ranks, **ranks})
        if not layout:
            if signature(args := plan.arguments(self.values)) in facts.ranks:
                runner.plain.add(signature(args))
            return Form(runner, self.values, {})
        wide, sizes = widen(layout, self.values)
        where = (self.key, tuple(layout.items()), sizes)
        return Form(self._runner(where, wide, facts, axes_of(layout, sizes)), wide, layout)

    def drop(self, form: Form) -> None:
        """Forget a plan that was written for something else."""
        self.kept.drop(self._where(form), form.runner)

    def keep(self, form: Form, trial: Trial) -> None:
        """Keep a plan that ran, and what was found."""
        self.kept.facts[self.key] = trial.facts
        runner = form.runner
        runner.settled = runner.settled or not trial.waiting
        if runner.settled:
            _ = runner.plan.function  # made here, not within a torch.compile that runs it
        if runner.settled and not debugging():
            self.kept.quick[self._where(form)] = runner

    def _where(self, form: Form) -> Hashable:
        """The key of a form."""
        if not form.layout:
            return self.key
        return self.key, tuple(form.layout.items()), widen(form.layout, self.values)[1]

    def _runner(
        self,
        key: Hashable,
        given: Values,
        facts: Facts,
        leads: Leads | None = None,
    ) -> Runner:
        """The plan for ``key``: one that is settled, or was written for ``facts``."""
        kept, full = self.kept, (key, debugging())
        runner = kept.known(full, given)
        if runner is not None and (runner.settled or runner.plan.facts == facts):
            return runner
        with self.lock:
            runner = kept.known(full, given)  # another thread may have been faster
            if runner is not None and (runner.settled or runner.plan.facts == facts):
                return runner
            if runner is not None:
                kept.drop(key, runner)
            with collector.waiting():
                plan = self._written(given, facts, leads)
            runner = Runner(plan, kept.plain.setdefault(full, set()))
            kept.add(full, runner)
        return runner

    def _written(self, given: Values, facts: Facts, leads: Leads | None) -> Plan:
        """A new plan."""
        kept = self.kept
        options = replace(kept.options, checked=True) if debugging() else kept.options
        builder = Builder(frozenset(given), options, leads, facts)
        # tensors that a plan holds may be needed for a gradient later
        with _no_inference(), reading() as read:
            plan = Plan(builder, self.build(Scope(builder)), self.owner(), options)
        kept.read += map(weakref.ref, read)
        return plan


def _no_inference() -> AbstractContextManager[object]:
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()
