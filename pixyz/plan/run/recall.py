"""What networks returned in a try of a first run that was not finished: the next try takes it, and
does not call them again.

A plan's first run may find that a network returns other parameters than the plan was written for.
The plan is written again and run from the beginning, on the same draws
(:mod:`pixyz.plan.run.cache`).
A network that is called with the same values as in the try before has its result already; each
result is taken once, so a plan that calls a network twice does so here, too. Values that have a
history of their own (a drawn latent variable with a gradient) are another call: what was returned
for them leads back into the earlier try, and the first run's gradients would differ from later ones
in their last bits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pixyz.plan.random import random_states, restore_random_states


@dataclass(frozen=True)
class Call:
    """A call of a network, what it returned, and the random generators before and after it."""

    function: Callable[..., Any]
    given: tuple[Any, ...]
    named: Mapping[str, Any]
    grad: bool
    before: list[Tensor]
    after: list[Tensor]
    found: Any

    def answers(
        self, function: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]
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


class Tries:
    """The calls of a run: of the tries before, and of this one; they are kept until a plan has
    proven itself.
    """

    def __init__(self) -> None:
        self.first = False
        """Whether the plan that runs has not run before."""
        self.earlier: list[Call] = []
        self.now: list[Call] = []

    def again(self) -> None:
        """A try has ended without a result: its calls answer those of the next one."""
        self.earlier, self.now = self.now + self.earlier, []

    def forget(self) -> None:
        """What was returned so far does not hold: a network kept something of a call, and it was
        put back.
        """
        self.earlier, self.now = [], []


class _Running(threading.local):
    tries = Tries()
    """Of the innermost run of this thread."""


_RUNNING = _Running()


@contextmanager
def trying() -> Iterator[Tries]:
    """The tries of a run;
    within the context :func:`call_once` and :func:`forget_calls` mean these.
    """
    outer, _RUNNING.tries = _RUNNING.tries, Tries()
    try:
        yield _RUNNING.tries
    finally:
        _RUNNING.tries = outer


def forget_calls() -> None:
    """See :meth:`Tries.forget`."""
    _RUNNING.tries.forget()


def call_once(function: Callable[..., Any], /, *given: Any, **named: Any) -> Any:
    """``function(*given, **named)``, or what it returned for these values in an earlier try."""
    if torch.compiler.is_compiling() or not (tries := _RUNNING.tries).first:
        return function(*given, **named)
    for i, call in enumerate(tries.earlier):
        if call.answers(function, given, named):
            if call.draws:
                restore_random_states(call.after)
            tries.now.append(tries.earlier.pop(i))
            return call.found
    before = random_states()
    found = function(*given, **named)
    tries.now.append(
        Call(function, given, named, torch.is_grad_enabled(), before, random_states(), found)
    )
    return found


def _same(a: Any, b: Any) -> bool:
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
