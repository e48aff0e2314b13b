"""Trials: a plan is run, written again for what was found, and run again, until nothing is found.

This is the only place where a run is begun again; what an unfinished one drew is put back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pixyz.plan.random import random_states, restore_random_states
from pixyz.plan.run.facts import Facts, Trial, Unsettled
from pixyz.plan.run.leads import Layout, learned_ranks
from pixyz.plan.run.plan import Results
from pixyz.plan.run.runner import Runner, signature
from pixyz.types import PixyzError, Values


@dataclass(frozen=True)
class Form:
    """A plan for a request, and the values on which it runs.

    Args:
        runner: of the plan.
        values: those of the request, with equal leading dimensions where they have some.
        layout: how many of these each input has.
    """

    runner: Runner
    values: Values
    layout: Layout

    def run(self) -> dict[str, Any]:
        """The results by name."""
        return self.named(self.runner.run(self.values))

    def named(self, found: Results) -> dict[str, Any]:
        """Results by name."""
        return dict(zip(self.runner.plan.outputs, found, strict=True))


class Request(Protocol):
    """What was asked for: it writes plans for it, and keeps what is found."""

    values: Values

    @property
    def name(self) -> str:
        """What the plan is of, for messages."""
        ...

    def facts(self) -> Facts:
        """What is known."""
        ...

    def form(self, facts: Facts, ranks: Mapping[str, int] | None = None) -> Form:
        """The plan for ``facts``; ``ranks`` of inputs that may have leading dimensions."""
        ...

    def drop(self, form: Form) -> None:
        """Forget a plan that was written for something else."""
        ...

    def keep(self, form: Form, trial: Trial) -> None:
        """Keep a plan that ran, and what was found."""
        ...


def settle(request: Request) -> tuple[Form, Results]:
    """The plan that is right, and its results, after as many trials as it takes.

    Raises:
        PixyzError: a network returns something else in each trial.
    """
    trial, drawn = Trial(request.facts()), random_states()
    ranks: Mapping[str, int] = {}
    tries = 0
    while True:
        form = request.form(trial.facts)
        plan, args = form.runner.plan, form.runner.plan.arguments(request.values)
        known = trial.facts.ranks.get(signature(args))
        led = form.runner.suspects(args)
        if led:
            form = request.form(trial.facts, ranks if known is None else known)
        learning = led and known is None
        trial.begin(_given(form, request, plan.inputs) if learning else {})
        facts, found = trial.facts, None
        with contextlib.suppress(Unsettled):
            found = form.runner.try_out(form.values, trial, looks=not learning)
        if found is not None and not learning:
            request.keep(form, trial)
            return form, found
        if learning and trial.facts == facts:
            told = learned_ranks(
                trial.widths, plan.open_inputs, plan.inputs, request.values, form.layout
            )
            if told == ranks or tries >= len(plan.inputs):
                trial.having_ranks(signature(args), told)
            ranks = told
        else:
            request.drop(form)
        restore_random_states(drawn)  # what an unfinished run drew is drawn again
        trial.calls.again()
        tries += 1
        if tries > 4 * plan.networks + 2 * len(plan.inputs) + 2:
            what = "a network returns other parameters at each call"
            raise PixyzError(f"{request.name}: {what}")


def _given(form: Form, request: Request, inputs: list[str]) -> dict[str, int]:
    """Dimensions of inputs from their batch on."""
    values = {n: request.values[n] for n in inputs if hasattr(request.values[n], "ndim")}
    return {n: x.ndim - form.layout.get(n, 0) for n, x in values.items()}
