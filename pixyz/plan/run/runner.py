"""A plan and what its runs have shown of shapes: new kinds of shapes are looked at."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pixyz.plan.once import RUNNING
from pixyz.plan.run.facts import TRYING, Trial, Unsettled, running
from pixyz.plan.run.notes import explain
from pixyz.plan.run.plan import Function, Plan, Results
from pixyz.types import Values

Signature = tuple[int, ...]
"""The numbers of dimensions of the inputs."""
Shapes = list[Sequence[int] | None]
"""Of the inputs; None of what has none."""


class Runner:
    """Runs a plan.

    Args:
        plan: the plan.
        plain: signatures with which no input has dimensions in front of its batch.
    """

    def __init__(self, plan: Plan, plain: set[Signature]) -> None:
        self.plan, self.plain = plan, plain
        self.settled = False
        """Whether a trial has found that the plan is right."""
        self._shapes: Shapes | None = None
        self._kinds: set[tuple[object, ...]] = set()

    def serves(self, given: Values) -> bool:
        """Whether the plan was written for the optional inputs that are there."""
        decisions = self.plan.decisions
        return not decisions or all([(n in given) is there for n, there in decisions.items()])

    def suspects(self, args: list[object]) -> bool:
        """Whether an input has more dimensions than the plan was written for."""
        for i, most in self.plan.watch:
            if getattr(args[i], "ndim", 0) > most:
                return signature(args) not in self.plain
        return False

    def run(self, x: Values) -> Results:
        """The results, in the order of the plan's outputs.

        Raises:
            VariableError: an input variable is missing.
            Unsettled: an input has leading dimensions, or a network returns something else than
                it did.
        """
        plan = self.plan
        args = plan.arguments(x)
        if plan.watch and self.suspects(args):
            raise Unsettled
        if torch.compiler.is_compiling():
            return plan.function(*args)
        shapes = [getattr(a, "shape", None) for a in args]
        if TRYING.trial is None:
            plain = shapes == self._shapes
            return self._once(plan.function, args) if plain else self._new(args, shapes)
        with running(None):  # a network of another plan's trial runs this
            return self._new(args, shapes)

    def try_out(self, x: Values, trial: Trial, looks: bool) -> Results:
        """The same, as a part of ``trial``; without ``looks`` shapes are not looked at.

        Raises:
            Unsettled: the plan was written for something else.
        """
        plan = self.plan
        args = plan.arguments(x)
        with running(trial):
            if looks:
                shapes = [getattr(a, "shape", None) for a in args]
                return self._new(args, shapes, trial=True)
            return self._once(plan.forms.trial, args)

    def _new(self, args: list[object], shapes: Shapes, trial: bool = False) -> Results:
        """Run on shapes that may be new: a kind of shapes that is new is looked at."""
        plan = self.plan
        kind = tuple([s if s is None else tuple([n == 1 for n in s]) for s in shapes])
        if kind in self._kinds:
            found = self._once(plan.forms.trial if trial else plan.function, args)
        else:
            found = self._once(plan.forms.looking_trial if trial else plan.forms.looking, args)
        self._kinds.add(kind)
        self._shapes = shapes
        return found

    def _once(self, function: Function, args: list[object]) -> Results:
        outer, RUNNING.held = RUNNING.held, {}
        try:
            return function(*args)
        except Exception as error:
            known = isinstance(error, (KeyError, TypeError, IndexError))
            if known and self.settled and self.plan.raised(error):
                raise Unsettled from error
            if wrong := explain(error, self.plan, args):
                raise wrong from error
            raise
        finally:
            RUNNING.held = outer


def signature(args: list[object]) -> Signature:
    """The numbers of dimensions of the inputs."""
    return tuple([getattr(a, "ndim", 0) for a in args])
