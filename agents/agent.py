"""The contract of agents, on one screen. Loops use nothing of an agent that is not here;
``check_agent`` tests it.

    Saves    state() and load_state(): everything that must come back for a run to go on exactly
    Actor    acts; what it remembers between actions is a value that is handed in and back
    Learns   learns from windows of a replay or a log
    Agent    both

Series are time-major, ``[T, B, ...]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
"""What an actor remembers between actions: named tensors ``[B, ...]``; empty if it remembers
nothing.
"""

Batch = Mapping[str, Tensor]
"""Recorded sequences ``[T, B, ...]``: observation keys, ``action``, ``reward``, ``is_first``,
``is_last``, ``is_terminal``, and what the actor stored with them.  Reward and flags arrive with the
observation; the action is taken after it.
"""

Choose = Callable[[Mapping[str, Tensor], State, bool], tuple[Tensor, State]]
"""An action ``[B, A]`` and the state after it, from observations with ``is_first``, a state, and
whether to explore.
"""

Nested = Any
"""Dicts, lists and tuples of tensors, numpy arrays, numbers, text, bools and None."""


@dataclass(frozen=True)
class Window:
    """What ``learn`` wants from a replay.

    Args:
        batch: sequences.
        length: rows of a sequence that are learned from.
        lead: rows before them that only say how the sequence starts.

    >>> Window(batch=16, length=64, lead=1).rows
    65
    """

    batch: int
    length: int
    lead: int = 0

    @property
    def rows(self) -> int:
        """Rows of a sequence, the lead included."""
        return self.length + self.lead


@dataclass(frozen=True)
class Learned:
    """What an update returns.

    Args:
        metrics: numbers for the log.
        stored: refreshed values of ``Actor.stored`` to write back to the replay, ``[T, B, ...]``
            (the last ``T`` rows of the batch).
        priority: how much each of these rows surprised, ``[T, B]``, at least 0; ``[1, B]`` of an
            agent that says it of a sequence, at its first row; None of one that does not say.

    >>> Learned({"loss": 0.5}).stored
    {}
    """

    metrics: dict[str, float]
    stored: dict[str, Tensor] = field(default_factory=dict)
    priority: Tensor | None = None


class Saves(Protocol):
    """A part of a run that is saved with it: an agent, a driver, a replay, a schedule, random
    generators.
    """

    def state(self) -> Nested:
        """All that changes while it works, in values that later work does not change."""
        ...

    def load_state(self, state: Nested) -> None:
        """Be as it was when ``state`` was taken."""
        ...


@runtime_checkable
class Actor(Protocol):
    """Acts, and never trains.

    It may have ``reads``, the observations that acting needs: a policy then does without the others
    (:meth:`agents.policy.Policy.act`), and an exported file has no input for them. And it may have
    ``memoryless``: where that is true, its state holds nothing of earlier observations that matters
    and ``stored`` is empty, and it is not asked while actions are random.

    >>> from agents.dreamer.v3 import DreamerV3
    >>> all(hasattr(DreamerV3, name) for name in ("stored", "device", "initial", "act", "acted"))
    True
    """

    @property
    def stored(self) -> Mapping[str, tuple[int, ...]]:
        """What of its state the replay keeps beside a row: key -> shape."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its observations must be."""
        ...

    def initial(self, rows: int) -> State:
        """The state before the first observation of ``rows`` environments."""
        ...

    def act(
        self, obs: Mapping[str, Tensor], state: State, *, explore: bool = False
    ) -> tuple[Tensor, State]:
        """Actions ``[B, A]`` in [-1, 1] (one-hot for choices) after observations ``[B, ...]`` and
        ``is_first [B]``.

        Where ``is_first``, the old state does not count. ``explore`` draws as in training; else the
        best action.
        """
        ...

    def acted(self, state: State, action: Tensor) -> State:
        """The state if ``action [B, A]`` was done in place of the one that ``act`` gave."""
        ...


class Learns(Saves, Protocol):
    """Learns from windows: an agent, or a world model of logs."""

    @property
    def device(self) -> torch.device:
        """Where its batches must be."""
        ...

    @property
    def window(self) -> Window:
        """What ``learn`` wants from a replay."""
        ...

    def learn(self, batch: Batch) -> Learned:
        """One update from ``window.rows`` rows of ``window.batch`` sequences.

        Raises:
            NotFinite: the loss or the gradient is not finite; nothing has moved.
        """
        ...


@runtime_checkable
class Agent(Actor, Learns, Protocol):
    """An actor that learns; ``act`` never trains, ``learn`` never acts.

    A class in the table of :mod:`agents.build`, or one of yours as ``module:Class``, also has
    ``Config``, a frozen dataclass with the field ``kind``, and is made by ``Class(shapes, action,
    config)``. One that can be exported (:mod:`agents.export`) has ``exports``, name ->
    :data:`Choose`: the first is what ``act`` does, without a look at any number.

    >>> from agents.dreamer.v3 import DreamerV3
    >>> all(
    ...     hasattr(DreamerV3, name)
    ...     for name in ("window", "acting", "learn", "state", "load_state")
    ... )
    True
    """

    @property
    def acting(self) -> nn.Module:
        """The weights that acting needs; a snapshot for an actor elsewhere is its state dict."""
        ...
