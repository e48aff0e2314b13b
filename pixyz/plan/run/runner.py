"""A plan and what its runs have shown of shapes: new kinds of shapes are looked at."""

from __future__ import annotations

import torch

from pixyz.plan.once import RUNNING
from pixyz.plan.run.facts import Trial, Unsettled, current_trial, running
from pixyz.plan.run.plan import Function, Plan, Results
from pixyz.types import Values

Signature = tuple[int, ...]
"""The numbers of dimensions of the inputs."""


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
        self._shapes: list[object] | None = None
        self._kinds: set[tuple[object, ...]] = set()

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
        if current_trial() is not None:  # it is a network of another plan's trial that runs this
            with running(None):
                return self._call(args, plan.function, plan.looking)
        return self._call(args, plan.function, plan.looking)

    def try_out(self, x: Values, trial: Trial, looks: bool) -> Results:
        """The same, as a part of ``trial``; without ``looks`` shapes are not looked at.

        Raises:
            Unsettled: the plan was written for something else.
        """
        plan = self.plan
        args = plan.arguments(x)
        with running(trial):
            if looks:
                return self._call(args, plan.trial, plan.looking_trial)
            return self._once(plan.trial, args)

    def _call(self, args: list[object], plain: Function, looking: Function) -> Results:
        """Call the one function or the other: ``looking`` where the kind of shapes is new."""
        shapes = [getattr(a, "shape", None) for a in args]
        if shapes == self._shapes:
            return self._once(plain, args)
        kind = tuple([s if s is None else tuple([n == 1 for n in s]) for s in shapes])
        found = self._once(plain if kind in self._kinds else looking, args)
        self._kinds.add(kind)
        self._shapes = shapes
        return found

    def _once(self, function: Function, args: list[object]) -> Results:
        outer, RUNNING.held = RUNNING.held, {}
        try:
            return function(*args)
        except (KeyError, TypeError, IndexError) as error:
            if self.settled and self.plan.raised(error):
                raise Unsettled from error
            raise
        finally:
            RUNNING.held = outer


def signature(args: list[object]) -> Signature:
    """The numbers of dimensions of the inputs."""
    return tuple([getattr(a, "ndim", 0) for a in args])
