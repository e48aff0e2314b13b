"""What comes next in a run: one decision, from counters alone, so that a stopped run goes on where
it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from agents.run.progress import Progress
from worldmodels import ranks

Next = Literal["update", "act", "evaluate", "save", "done"]


class Schedule(Protocol):
    """Decides what a run does next.

    >>> isinstance(Offline(updates=10, evaluate=5).next(Progress(), saved=0, ready=True), str)
    True
    """

    def next(self, progress: Progress, saved: int, ready: bool) -> Next:
        """What comes next.

        Args:
            progress: the counters.
            saved: steps (or updates) at the last checkpoint.
            ready: there is something to learn from.
        """
        ...

    def random(self, progress: Progress) -> bool:
        """Whether the next actions are drawn at random, not by the agent."""
        ...

    def acted(self, progress: Progress, frames: int, actions: int) -> None:
        """Count what the environments did. Of a step that they make by themselves its actions are
        counted when they are chosen, and its frames when it is done.
        """
        ...


@dataclass(frozen=True)
class Online:
    """Act, learn what that has made due, evaluate and save now and then.

    Args:
        steps: environment steps of the run.
        prefill: environment steps of random actions; no update is made before their end.
        per_action: updates that an action makes due (train ratio / rows of an update).
        evaluate, save: environment steps between evaluations and between checkpoints; 0: only at
            the end.
        prefill_updates: random actions make updates due, too, at their end; else they make none.

    >>> plan, progress = Online(steps=4, prefill=1, per_action=0.5, evaluate=0, save=0), Progress()
    >>> found = []
    >>> while (what := plan.next(progress, saved=0, ready=True)) not in ("evaluate", "done"):
    ...     found.append(what)
    ...     if what == "act":
    ...         plan.acted(progress, frames=1, actions=1)
    ...     else:
    ...         progress.credit -= 1
    >>> found
    ['act', 'act', 'update', 'act', 'act', 'update']
    """

    steps: int
    prefill: int
    per_action: float
    evaluate: int = 0
    save: int = 0
    prefill_updates: bool = False

    def next(self, progress: Progress, saved: int, ready: bool) -> Next:
        """Updates that are due, then an evaluation, then a checkpoint, then the next action."""
        p, over = progress, progress.steps >= self.steps
        if p.credit >= 1.0 and ready and not self.random(p):
            return "update"
        if crossed(p.judged, p.steps, self.evaluate) or (over and p.judged < p.steps):
            return "evaluate"
        if crossed(saved, p.steps, self.save):
            return "save"
        return "done" if over else "act"

    def random(self, progress: Progress) -> bool:
        """Whether actions are drawn at random, not by the agent."""
        return progress.steps < self.prefill

    def acted(self, progress: Progress, frames: int, actions: int) -> None:
        """Count, and make updates due."""
        progress.steps += frames
        progress.actions += actions
        if self.prefill_updates or not self.random(progress):
            progress.credit += actions * self.per_action


@dataclass(frozen=True)
class Offline:
    """Learn from what is there.

    Args:
        updates: of the run.
        evaluate, save: updates between validations and between checkpoints.
        patience: validations without a better one after which it ends; 0: never. The validations
            are the first numbers of ``progress.evaluations``; smaller is better.

    >>> Offline(updates=10, evaluate=5).next(Progress(updates=5), saved=0, ready=True)
    'evaluate'
    """

    updates: int
    evaluate: int
    save: int = 0
    patience: int = 0

    def next(self, progress: Progress, saved: int, ready: bool) -> Next:
        """A validation where one is due, then a checkpoint, then the next update."""
        p, over = progress, progress.updates >= self.updates
        if p.judged < p.updates and (p.updates % self.evaluate == 0 or over):
            return "evaluate"
        if over or (self.patience and self.waited(p) >= self.patience):
            return "done"
        if saved < p.updates and self.save and p.updates % self.save == 0:
            return "save"
        return "update"

    @staticmethod
    def waited(progress: Progress) -> int:
        """Validations since the best one."""
        bounds = [numbers[0] for _, numbers in progress.evaluations]
        return len(bounds) - 1 - bounds.index(min(bounds)) if bounds else 0

    def random(self, progress: Progress) -> bool:
        """Nothing acts here."""
        return False

    def acted(self, progress: Progress, frames: int, actions: int) -> None:
        """Nothing acts here."""
        raise RuntimeError("an offline schedule has no environment; take Online")


@dataclass(frozen=True)
class Together:
    """A schedule that several processes follow in step (:mod:`worldmodels.ranks`): what each of
    them wants is told to all, and all do the first of these that one wants: be done, save,
    evaluate, act. So all update at once.

    Args:
        own: the schedule of this process.
        stopped: whether it was asked to stop.

    >>> together = Together(Offline(updates=1, evaluate=1), stopped=lambda: False)
    >>> together.next(Progress(), saved=0, ready=True)
    'update'
    """

    own: Schedule
    stopped: Callable[[], bool]

    def next(self, progress: Progress, saved: int, ready: bool) -> Next:
        """What all do."""
        own = "done" if self.stopped() else self.own.next(progress, saved, ready)
        return ORDER[ranks.least(ORDER.index(own))]

    def random(self, progress: Progress) -> bool:
        """Whether actions are drawn at random; what this process's schedule says."""
        return self.own.random(progress)

    def acted(self, progress: Progress, frames: int, actions: int) -> None:
        """Count what this process did."""
        self.own.acted(progress, frames, actions)


ORDER: tuple[Next, ...] = ("done", "save", "evaluate", "act", "update")


def crossed(before: int, now: int, every: int) -> bool:
    """Whether a multiple of ``every`` lies in (before, now]."""
    return every > 0 and now // every > before // every
