"""An agent and what it learns from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agents.agent import Learned, Learns, Window
from agents.errors import RunError
from agents.guard import NotFinite
from agents.replay.loader import to_arrays, to_tensors
from agents.replay.priorities import PRIORITY
from agents.run.progress import Progress

STRIKES = 3


class Source(Protocol):
    """What an agent learns from: a replay, or windows of a log.

    >>> from agents.replay import ReplayBuffer
    >>> all(hasattr(ReplayBuffer, name) for name in ("can_sample", "sample", "update"))
    True
    """

    def can_sample(self, length: int) -> bool:
        """Whether there are sequences of ``length`` rows."""
        ...

    def sample(self, batch: int, length: int) -> dict[str, Any]:
        """Sequences ``[T, B, ...]``, and ``index [T, B, 2]`` where values can be written back."""
        ...

    def update(self, index: Any, values: Mapping[str, Any]) -> int:
        """Write values back to rows that were sampled."""
        ...


class Learner:
    """Draws windows, lets the agent learn, writes back what it refreshed.

    An update that the agent refuses, since a number is not finite, is counted and left out; its
    batch with the rows' numbers is kept in ``not_finite`` of the run's folder. Three in a row end
    the run.

    Args:
        agent: learns.
        source: the replay.
        progress: counts updates.
        directory: where refused batches are kept; they are not if None.
    """

    def __init__(
        self, agent: Learns, source: Source, progress: Progress, directory: Path | None = None
    ) -> None:
        self.agent, self.source, self.progress, self.directory = agent, source, progress, directory
        self.window: Window = agent.window

    @property
    def ready(self) -> bool:
        """There is enough to learn from."""
        return self.source.can_sample(self.window.rows)

    def update(self) -> dict[str, float]:
        """One update; its metrics, none if it was refused.

        Raises:
            RunError: the third refusal in a row.
        """
        p, w = self.progress, self.window
        sample = self.source.sample(w.batch, w.rows)
        index = sample.pop("index", None)
        try:
            learned = self.agent.learn(to_tensors(sample, self.agent.device, pin_memory=True))
        except NotFinite as error:
            self._refused(error, sample, index)
            return {}
        if index is not None:
            self._write(index[-w.length :], learned)
        p.updates += 1
        p.in_a_row = 0
        return learned.metrics

    def _write(self, index: Any, learned: Learned) -> None:
        """What the agent refreshed, and what surprised it, to the rows that it learned from."""
        if learned.stored:
            self.source.update(index, to_arrays(learned.stored, lead=2))
        if learned.priority is not None and getattr(self.source, "prioritizes", False):
            ranked = {PRIORITY: learned.priority}
            self.source.update(index[: len(learned.priority)], to_arrays(ranked, lead=2))

    def _refused(self, error: NotFinite, sample: Mapping[str, Any], index: Any) -> None:
        p = self.progress
        p.refused += 1
        p.in_a_row += 1
        where = ""
        if self.directory is not None:
            folder = self.directory / "not_finite"
            folder.mkdir(exist_ok=True)
            file = folder / f"update-{p.updates:09d}-{p.refused}.npz"
            arrays = {k: np.asarray(v) for k, v in sample.items()} | (
                {} if index is None else {"index": index}
            )
            np.savez_compressed(file, **arrays)
            where = f"; the batch and the numbers of its rows are in {file}"
        text = f"update {p.updates}: {error}{where}"
        if p.in_a_row >= STRIKES:
            raise RunError(
                f"{text}; {STRIKES} in a row: the run is saved as it was before them, "
                f"try a smaller agent.lr"
            )
        warnings.warn(f"{text}; training goes on without it", stacklevel=3)
