"""What networks returned in a run that was not finished: the next one takes it, and does not call
them again.

A trial may find that a network returns other parameters than the plan was written for.  The plan is
written again and run from the beginning, on the same draws (:mod:`pixyz.plan.run.settle`).  A
network that is called with the same values as in the run before has its result already; each result
is taken once, so a plan that calls a network twice does so here, too.  Values that have a history
of their own (a drawn latent variable with a gradient) are another call: what was returned for them
leads back into the earlier run, and the first run's gradients would differ from later ones in their
last bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pixyz.plan.graph.formula import Fn
from pixyz.plan.random import random_states, restore_random_states
from pixyz.types import Values


@dataclass(frozen=True)
class Call:
    """A call of a network, what it returned, and the random generators before and after it."""

    function: Fn
    given: tuple[object, ...]
    named: Values
    grad: bool
    before: list[Tensor]
    after: list[Tensor]
    found: object

    def answers(
        self,
        function: Fn,
        given: tuple[object, ...],
        named: Values,
    ) -> bool:
        """Whether a call with these values would return the same."""
        if self.function != function or self.grad != torch.is_grad_enabled():
            return False
        if not (_same(self.given, given) and _same(self.named, named)):
            return False
        return not self.draws or _equal(self.before, random_states())

    @property
    def draws(self) -> bool:
        """Whether random numbers were drawn."""
        return not _equal(self.before, self.after)


class Calls:
    """The calls of a trial: of the runs before, and of this one."""

    def __init__(self) -> None:
        self._earlier: list[Call] = []
        self._now: list[Call] = []

    def again(self) -> None:
        """A run has ended without a result: its calls answer those of the next one."""
        self._earlier, self._now = self._now + self._earlier, []

    def forget(self) -> None:
        """What was returned so far does not hold: a network kept something of a call, and it was
        put back.
        """
        self._earlier, self._now = [], []

    def __call__(
        self,
        function: Fn,
        given: tuple[object, ...],
        named: Values,
    ) -> Any:
        """``function(*given, **named)``, or what it returned for these values in an earlier run."""
        for i, call in enumerate(self._earlier):
            if call.answers(function, given, named):
                if call.draws:
                    restore_random_states(call.after)
                self._now.append(self._earlier.pop(i))
                return call.found
        before = random_states()
        found = function(*given, **named)
        grad = torch.is_grad_enabled()
        self._now.append(Call(function, given, named, grad, before, random_states(), found))
        return found


def _same(a: object, b: object) -> bool:
    if a is b:
        return True
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(held, b[name]) for name, held in a.items())
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)) or a.requires_grad != b.requires_grad:
        return False
    if a.grad_fn is not None or b.grad_fn is not None:
        # gradients would pass through both tries, and add up in another order than in later runs
        return False
    return (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device) and torch.equal(a, b)


def _equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))
