"""The actor: it has the robot, acts at its rate whatever the learner does, and logs every row
before it is sent.

    the loop of ``train``  ->  Reporting.step  ->  newest policy in  ->  Driver.step  ->  a record
    in the log

The loop is that of training in one process; it has a schedule that only acts, and nothing to learn
from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.errors import RunError
from agents.online.beat import Beat
from agents.online.log import RowLog
from agents.online.record import Record
from agents.online.sending import Sending
from agents.online.weights import Weights
from agents.run.driver import Driver, Moved
from agents.run.progress import Progress
from agents.run.schedule import Next
from envs.robot.clock import Ticker


class LostLearnerError(RunError):
    """The learner has been silent for longer than the actor may act without it."""


@dataclass(frozen=True)
class Acting:
    """A schedule that only acts.

    Args:
        steps: environment steps of the run.
        prefill: environment steps of random actions.

    >>> Acting(steps=2, prefill=1).next(Progress(steps=2), saved=0, ready=False)
    'done'
    """

    steps: int
    prefill: int

    def next(self, progress: Progress, saved: int, ready: bool) -> Next:
        """The next action, until the steps are made."""
        return "done" if progress.steps >= self.steps else "act"

    def random(self, progress: Progress) -> bool:
        """Whether actions are drawn at random."""
        return progress.steps < self.prefill

    def acted(self, progress: Progress, frames: int, actions: int) -> None:
        """Count."""
        progress.steps += frames
        progress.actions += actions


class Nothing:
    """What an actor learns from.

    >>> Nothing().can_sample(1)
    False
    """

    def can_sample(self, length: int) -> bool:
        """No."""
        return False

    def sample(self, batch: int, length: int) -> dict[str, Any]:
        """There is nothing."""
        raise RuntimeError("an actor learns from nothing")

    def update(self, index: Any, values: Mapping[str, Any]) -> int:
        """Nothing was written."""
        return 0


class Newest:
    """Where a driver puts a row until the log has it.

    >>> newest = Newest()
    >>> newest.add({"x": np.zeros((1, 3))})
    >>> newest.take()["x"].shape
    (3,)
    """

    def __init__(self) -> None:
        self._row: Mapping[str, Any] | None = None

    def add(self, rows: Mapping[str, Any]) -> None:
        """Keep it."""
        self._row = rows

    def mark_abandoned(self, streams: Any = None) -> None:
        """The next row is a first one: the learner sees it there."""

    @property
    def waiting(self) -> bool:
        """Whether a row is here."""
        return self._row is not None

    def take(self) -> dict[str, Any]:
        """The row of the one environment, and forget it."""
        assert self._row is not None
        row, self._row = self._row, None
        return {k: np.asarray(v)[0] for k, v in row.items()}


class Reporting:
    """A driver of one environment whose rows go into a log, and which takes the newest policy
    before it acts.

    Until a policy has come actions are random.

    Args:
        driver: its store is a :class:`Newest`.
        log: takes the records.
        sending: has the newest policy.
        weights: of the driver's actor.
        beat: how regular the ticks are.
        ticker: paces an environment that has no rate of its own; None: it has.
        alone: seconds without a word from the learner after which no action follows; 0: it acts on
            for ever.
        notes: what else was seen of a step.
        clock: seconds.

    Attributes:
        version: of the newest policy; ``acted``: of the one that acted last; -1: none, and random
            actions.
        steps: environment steps of the log.

    Raises:
        LostLearnerError: by :meth:`step`, before it acts.
    """

    def __init__(
        self,
        driver: Driver,
        log: RowLog,
        sending: Sending,
        weights: Weights,
        *,
        beat: Beat | None = None,
        ticker: Ticker | None = None,
        alone: float = 0.0,
        notes: Callable[[], dict[str, Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert isinstance(driver.store, Newest) and driver.count == 1, (
            "expected a driver of one environment with a Newest"
        )
        self.driver, self.log, self.sending, self.weights = driver, log, sending, weights
        self.beat, self.ticker, self.alone, self.clock = beat or Beat(), ticker, alone, clock
        self._newest: Newest = driver.store
        self._notes = notes or dict
        self.version = self.acted = -1
        self.steps = last_steps(log)

    def step(self, *, random: bool = False) -> Moved:
        """One tick: the newest policy, an action, its row in the log."""
        self._look()
        if self.ticker is not None:
            tick = self.ticker.wait()
            self.beat.tick(self.clock(), tick.late, tick.missed)
        random = random or self.version < 0
        self.acted = -1 if random else self.version
        moved = self.driver.step(random=random)
        self._write(moved, self.acted)
        return moved

    def finish(self) -> None:
        """Log the newest row, after which no step comes."""
        self.driver.finish()
        if self._newest.waiting:
            self._write(Moved(0, 0, []), self.version)

    def _look(self) -> None:
        newest = self.sending.take()
        if newest is not None:
            self.version, arrays = newest
            self.weights.put(arrays)
        silent = self.clock() - self.sending.heard
        if self.alone and silent > self.alone:
            raise LostLearnerError(
                f"the learner has been silent for {silent:.0f} s, and the actor may act alone for "
                f"{self.alone:g} s; every row is "
                "in its log: start it again when the learner is back"
            )

    def _write(self, moved: Moved, version: int) -> None:
        self.steps += moved.frames
        episodes = [(float(e.ret), int(e.length), int(e.frames)) for e in moved.episodes]
        record = Record(
            self._newest.take(),
            moved.frames,
            moved.actions,
            self.steps,
            episodes,
            version,
            self._notes(),
        )
        self.log.append(record.data())


def last_steps(log: RowLog) -> int:
    """Environment steps up to the last record of a log."""
    for number in range(log.next - 1, log.first - 1, -1):
        data = log.read(number, 1)[0]
        if data:  # else a number that was given away
            return Record.read(data).steps
    return 0
