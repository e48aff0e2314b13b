"""What a robot is to do: rewards are computed here, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class Judgement(NamedTuple):
    """What a tick was worth; whether the task ended (not: was cut short); whether it was done.

    >>> Judgement(-0.2).terminated
    False
    """

    reward: float
    terminated: bool = False
    success: bool = False


class Task(Protocol):
    """A task. `spaces` is what it adds to the observation, such as a goal; `limit` the ticks of an
    episode.

    >>> FreeTask().judge({"elbow.pos": 0.0}, {"elbow.pos": 0.0})
    Judgement(reward=0.0, terminated=False, success=False)
    """

    spaces: Mapping[str, spaces.Box]
    limit: int | None

    def begin(self, observation: Mapping[str, Any], rng: np.random.Generator) -> None:
        """An episode begins, here."""
        ...

    def judge(self, observation: Mapping[str, Any], sent: Mapping[str, float]) -> Judgement:
        """What was measured (the driver's names) after `sent` was sent."""
        ...

    def seen(self) -> Mapping[str, NDArray[Any]]:
        """The values of `spaces` now."""
        ...


class FreeTask:
    """No reward but that of a person's success key (1).

    >>> FreeTask(limit=100).limit
    100
    """

    def __init__(self, limit: int | None = None) -> None:
        self.spaces: Mapping[str, spaces.Box] = {}
        self.limit = limit

    def begin(self, observation: Mapping[str, Any], rng: np.random.Generator) -> None:
        """Nothing to choose."""

    def judge(self, observation: Mapping[str, Any], sent: Mapping[str, float]) -> Judgement:
        """Nothing to say."""
        return Judgement(0.0)

    def seen(self) -> Mapping[str, NDArray[Any]]:
        """Nothing to add."""
        return {}
