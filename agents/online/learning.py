"""The learner: rows of actors into the replay, updates under the ratio's limit, policies out.

    the loop of ``train``  ->  Arrivals.step  ->  rows that have come  ->  replay
                           ->  Learner.update  ->  a policy now and then  ->  Receiving.publish

A checkpoint says how far it had each actor's log, together with the replay of that moment: what
came later comes again from the logs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.agent import Nested
from agents.online.receiving import Arrived, Receiving
from agents.online.record import Record, RecordError
from agents.online.shown import Shown
from agents.replay import ReplayBuffer, ReplayError
from agents.run.driver import Moved
from agents.run.progress import Progress
from agents.run.run import Run
from agents.run.schedule import Next, Online, crossed
from envs import Episode

MOST = 256
"""Rows that are taken in between two updates, at most."""


@dataclass(frozen=True)
class Streaming(Online):
    """As :class:`agents.run.Online`, for actions that somebody else takes: rows that have come go
    before updates, and what is due has a limit, so that a learner which was away does not have to
    catch up.

    Args:
        waiting: rows that have come and are not in the replay.
        owed: updates that may be due, at most.

    >>> plan = Streaming(steps=9, prefill=0, per_action=0.5, waiting=lambda: 0, owed=2.0)
    >>> progress = Progress()
    >>> plan.acted(progress, frames=8, actions=8)
    >>> progress.credit, plan.next(progress, saved=0, ready=True)
    (2.0, 'update')
    """

    waiting: Callable[[], int] = lambda: 0
    owed: float = 1e4

    def next(self, progress: Progress, saved: int, ready: bool) -> Next:
        """Rows that wait; a checkpoint that is due, which updates may not put off; then what
        :class:`agents.run.Online` says.
        """
        if progress.steps < self.steps and self.waiting():
            return "act"
        if crossed(saved, progress.steps, self.save):
            return "save"
        return super().next(progress, saved, ready)

    def acted(self, progress: Progress, frames: int, actions: int) -> None:
        """Count, and make updates due, up to the limit."""
        super().acted(progress, frames, actions)
        progress.credit = min(progress.credit, self.owed)


class Arrivals:
    """What the loop acts by where the environments are elsewhere: rows of actors, into the replay.

    A row that does not fit is left out, with the rest of its episode; its number counts as taken. A
    first row after one that was not a last one says that the episode before it was cut short.

    Args:
        receiving: has the rows.
        replay: takes them, a stream an actor.
        wait: waits for rows where there are none.
        shown: takes those in which a person intervened, too.

    Attributes:
        counts: rows taken, left out, and by policies of which version.
        version: of the policy that took the newest row.
    """

    def __init__(
        self,
        receiving: Receiving,
        replay: ReplayBuffer,
        wait: Callable[[], Any] = lambda: time.sleep(0.02),
        shown: Shown | None = None,
    ) -> None:
        self.receiving, self.replay, self.wait, self.shown = receiving, replay, wait, shown
        self.logs: dict[int, tuple[str, int]] = {}
        # the newest row was not a last one
        self._open = dict.fromkeys(range(receiving.actors), False)
        self._skipping = dict.fromkeys(range(receiving.actors), False)
        self._steps = dict.fromkeys(range(receiving.actors), 0)
        self.counts: Counter[str] = Counter()
        self.version = -1

    def step(self, *, random: bool = False) -> Moved:
        """Take in what has come; waits a moment where nothing has."""
        rows = self.receiving.take(MOST)
        if not rows:
            self.wait()
            rows = self.receiving.take(MOST)
        frames = actions = resets = 0
        episodes: list[Episode] = []
        for row in rows:
            record = self._read(row)
            if record is None:
                continue
            # also those of rows that could not be read
            frames += max(0, record.steps - self._steps[row.actor])
            self._steps[row.actor] = record.steps
            episodes += [Episode(row.actor, *episode) for episode in record.episodes]
            if self._add(row.actor, record):
                actions += record.actions
                resets += record.actions * bool(record.row["is_last"])
        return Moved(frames, actions, episodes, resets=resets)

    def _read(self, arrived: Arrived) -> Record | None:
        """The record, if it is one; its number counts as taken in any case."""
        actor = arrived.actor
        if self.logs.get(actor, ("", 0))[0] != arrived.log:
            self._steps[actor] = 0
        self.logs[actor] = arrived.log, arrived.number
        if not arrived.data:  # a number that a log gave away
            return None
        try:
            return Record.read(arrived.data)
        except RecordError:
            self._leave(actor)
            return None

    def _add(self, actor: int, record: Record) -> bool:
        """Whether the record's row is in the replay now."""
        try:
            first = bool(record.row["is_first"])
            if self._skipping[actor] and not first:
                self.counts["left out"] += 1
                return False
            if first and self._open[actor]:
                self.replay.mark_abandoned([actor])
            self.replay.add({k: np.asarray(v)[None] for k, v in record.row.items()}, [actor])
            if self.shown is not None:
                self.shown.add(actor, record)
        except (ReplayError, KeyError, TypeError, ValueError):
            self._leave(actor)
            return False
        self._skipping[actor], self._open[actor] = False, not bool(record.row["is_last"])
        self.counts["taken"] += 1
        self.version = record.version
        return True

    def _leave(self, actor: int) -> None:
        self.counts["left out"] += 1
        self._skipping[actor] = True

    # ---------------------------------------------------------------- saving

    def state(self) -> Nested:
        """How far each actor's log is in the replay."""
        return {
            "logs": [[actor, log, number] for actor, (log, number) in self.logs.items()],
            "open": list(self._open.values()),
            "skipping": list(self._skipping.values()),
            "steps": list(self._steps.values()),
        }

    def load_state(self, state: Nested) -> None:
        """Go on from there: actors send what came later again."""
        self.logs = {int(actor): (str(log), int(number)) for actor, log, number in state["logs"]}
        self._open = dict(enumerate(state["open"]))
        self._skipping = dict(enumerate(state["skipping"]))
        self._steps = dict(enumerate(state["steps"]))
        self.receiving.begin(self.logs)


class LearnerRun(Run):
    """A run that tells its actors, after every checkpoint, which rows two of them hold.

    Args:
        arrivals: one of the parts.
    """

    def __init__(self, arrivals: Arrivals, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._arrivals = arrivals
        self._saved: dict[int, tuple[str, int]] = {}

    def save(self) -> Path | None:
        """Write a checkpoint. Actors need not keep what is in the one before: that is what there is
        should this one be damaged.
        """
        logs = dict(self._arrivals.logs)
        path = super().save()
        if path is not None:
            self._arrivals.receiving.kept(self._saved)
            self._saved = logs
        return path


class Publisher:
    """Publishes a policy after an update, if the last one is old enough.

    Args:
        receiving: tells actors.
        take: copies of the weights.
        seconds: between two policies, at least.
        clock: seconds.

    >>> import numpy as np
    >>> receiving = Receiving(1, lambda about: None)
    >>> publisher = Publisher(receiving, lambda: {"w": np.zeros(2)}, seconds=1.0, clock=lambda: 0.0)
    >>> publisher.offer(1), publisher.offer(2)
    (True, False)
    """

    def __init__(
        self,
        receiving: Receiving,
        take: Callable[[], Mapping[str, Any]],
        seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.receiving, self.take, self.seconds, self.clock = receiving, take, seconds, clock
        self._last = float("-inf")

    def offer(self, version: int) -> bool:
        """Publish the weights as they are now as this version, unless the last one is newer than
        ``seconds``.
        """
        now = self.clock()
        if now - self._last < self.seconds:
            return False
        self._last = now
        self.receiving.publish(version, self.take())
        return True
