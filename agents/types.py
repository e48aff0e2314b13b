"""What agents and loops say to each other. Series are time-major, ``[T, B, ...]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

State = dict[str, Tensor]
"""What an agent remembers between actions: named tensors ``[B, ...]``."""

Batch = Mapping[str, Tensor]
"""Recorded sequences ``[T, B, ...]``: observation keys, ``action``, ``reward``, ``is_first``, ``is_last``,
``is_terminal``, and what the agent stored with them.  Reward and flags arrive with the observation; the action is
taken after it."""


@dataclass(frozen=True)
class Learned:
    """What an update returns.

    Args:
        metrics: numbers for the log.
        stored: refreshed values to write back to the replay, ``[T, B, ...]`` (the last ``T`` steps of the batch).
    """

    metrics: dict[str, float]
    stored: dict[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Agent(Protocol):
    """An agent. ``act`` never trains, ``learn`` never acts."""

    def initial(self, batch: int) -> State:
        """The state before the first observation."""
        ...

    def act(self, obs: Mapping[str, Tensor], state: State, *, explore: bool = False) -> tuple[Tensor, State]:
        """Actions ``[B, A]`` after observations ``[B, ...]`` (with ``is_first [B]``), and the new state."""
        ...

    def learn(self, batch: Batch) -> Learned:
        """One update."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The weights and running estimates."""
        ...
