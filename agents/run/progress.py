"""How far a run is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Progress:
    """Counters of a run; saved with it.

    Args:
        steps: environment steps, repeated actions counted; 0 in a run without an environment.
        actions, updates: counts; actions that were taken, none where an episode begins.
        refused: updates that were not made, since a number was not finite; ``in_a_row`` without one
            between them.
        credit: updates that are due.
        returns: ``(steps, return)`` of finished training episodes.
        evaluations: ``(steps or updates, [numbers])``.
        random: returns of the random policy.
        judged: steps or updates at the last evaluation.
        seconds, cpu_seconds: spent so far, evaluations included.

    >>> progress = Progress(steps=8, evaluations=[(8, [1.0])])
    >>> again = Progress()
    >>> again.load_state(progress.state())
    >>> again == progress
    True
    """

    steps: int = 0
    actions: int = 0
    updates: int = 0
    refused: int = 0
    in_a_row: int = 0
    credit: float = 0.0
    returns: list[tuple[int, float]] = field(default_factory=list)
    evaluations: list[tuple[int, list[float]]] = field(default_factory=list)
    random: list[float] = field(default_factory=list)
    judged: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def state(self) -> dict[str, Any]:
        """All of them."""
        return asdict(self)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Be as it was."""
        for name, value in state.items():
            setattr(self, name, value)
        self.returns = [(int(a), float(b)) for a, b in self.returns]
        self.evaluations = [(int(a), [float(x) for x in b]) for a, b in self.evaluations]
