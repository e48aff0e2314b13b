"""What trials find out, as one frozen value; and the trial that is running.

A plan is first written for what is declared.  Its first run, a *trial*, calls networks with checks
that note what is otherwise: another parameter than the declared one, a number, a scale without
rows, a network that must stay in its loop, how many dimensions an input has in front of its batch.
Each is noted in :class:`Facts`, the plan is written again for these, and tried again
(:mod:`pixyz.plan.run.settle`).
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch

from pixyz.plan.graph.formula import Fn
from pixyz.plan.run.recall import Calls

Subject = Hashable
"""What is noted of: a distribution, a flow, a function; told apart by identity."""


@dataclass(frozen=True)
class Facts:
    """What trials have found about the networks and inputs of one key of a cache; it starts empty.

    Args:
        returns: the parameter that a network returns in the place of a declared one.
        also: the optional results that it returns too.
        numbers: the networks that return numbers or arrays.
        rowless: results without a batch dimension, and how many dimensions they would have with it.
        pinned: why a network stays in its loop.
        ranks: feature dimensions of inputs, by the numbers of dimensions with which they came.
        tried: networks that were called on two rows or more outside of their loop.

    Plans depend on all but the last two.

    >>> Facts().having("also", "q", ("scale",)).also
    {'q': ('scale',)}
    """

    returns: Mapping[Subject, Mapping[str, str]] = field(default_factory=dict)
    also: Mapping[Subject, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[Subject, bool] = field(default_factory=dict)
    rowless: Mapping[Subject, Mapping[str, int]] = field(default_factory=dict)
    pinned: Mapping[Subject, str] = field(default_factory=dict)
    ranks: Mapping[tuple[int, ...], Mapping[str, int]] = field(default_factory=dict, compare=False)
    tried: frozenset[Hashable] = field(default=frozenset(), compare=False)

    def having_returns(self, found: Mapping[Subject, Mapping[str, str]]) -> Facts:
        """These facts and what more networks return."""
        return replace(self, returns={**self.returns, **found})

    def having(self, what: str, of: Subject, value: object) -> Facts:
        """These facts and one more."""
        changes: dict[str, Any] = {what: {**getattr(self, what), of: value}}
        return replace(self, **changes)


class Unsettled(Exception):
    """A run has found something else than what its plan was written for; :func:`settle` catches
    it.
    """


@dataclass(frozen=True)
class Width:
    """What a density has told of its variable when it was called.

    Args:
        variable: its name.
        ndim: dimensions of the value.
        shape: of the widest parameter.
    """

    variable: str
    ndim: int
    shape: tuple[int, ...]

    def rank(self, given: int) -> tuple[int, int] | None:
        """Feature dimensions and batch size of the parameters, for a value with ``given``
        dimensions from its batch on.
        """
        shape = self.shape[self.ndim - given :]
        return (len(shape) - 1, shape[0]) if len(shape) > 1 else None


class Trial:
    """One first run, and what it finds.

    Args:
        facts: what is known.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.calls = Calls()
        self.waiting = False
        """Whether a network outside of its loop has only seen one row, which proves nothing."""
        self.answered: dict[Subject, Mapping[str, str]] = {}
        """The networks that returned what the plan was written for, and what."""
        self.widths: list[Width] = []
        """What densities told of their variables."""
        self.given: Mapping[str, int] = {}
        """Dimensions of inputs from their batch on; a run ends as soon as a density finds them
        too many.
        """

    def find(self, what: str, of: Subject, value: object) -> NoReturn:
        """Note a fact, which ends the run.

        Raises:
            Unsettled: always.
        """
        self.facts = self.facts.having(what, of, value)
        raise Unsettled

    def having_ranks(self, signature: tuple[int, ...], ranks: Mapping[str, int]) -> None:
        """Note how many feature dimensions inputs have that come with so many dimensions."""
        self.facts = self.facts.having("ranks", signature, ranks)

    def saw(self, network: Hashable, rows: int) -> None:
        """Note how many rows ``network`` was tried on."""
        if rows > 1:
            self.facts = replace(self.facts, tried=self.facts.tried | {network})
        else:
            self.waiting = True

    def begin(self, given: Mapping[str, int]) -> None:
        """Another run begins, whatever the last one has returned."""
        self.waiting, self.given = False, given
        self.answered.clear()
        self.widths.clear()


class _Trying(threading.local):
    trial: Trial | None = None
    """Of the innermost run of this thread, if it is a first one."""


TRYING = _Trying()


def current_trial() -> Trial | None:
    """The trial that runs in this thread; None in later runs, and where a compiler looks on."""
    return None if torch.compiler.is_compiling() else TRYING.trial


@contextmanager
def running(trial: Trial | None) -> Iterator[None]:
    """Within the context ``trial`` is the one that runs; None: a run that is not a first one."""
    outer, TRYING.trial = TRYING.trial, trial
    try:
        yield
    finally:
        TRYING.trial = outer


def call_once(function: Fn, /, *given: object, **named: object) -> Any:
    """``function(*given, **named)``, or what it returned for these values in an earlier try."""
    trial = current_trial()
    return function(*given, **named) if trial is None else trial.calls(function, given, named)
