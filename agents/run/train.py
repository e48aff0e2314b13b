"""The loop: act, learn what is due, evaluate, save. It knows the contract and no agent.

train(agent, driver, replay, schedule, log)      an agent in environments
train(agent, None, windows, schedule, log)       from logs alone
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agents.agent import Learns
from agents.logger import Logger
from agents.run.driver import Moved, Moves, MovesApart
from agents.run.learner import Learner, Source
from agents.run.run import Run
from agents.run.schedule import Schedule, Together
from agents.run.signals import Stop
from worldmodels import ranks

Evaluate = Callable[[Stop], list[float] | None]
"""Judges the agent; None if it was asked to stop before it was done."""

Watch = Callable[[Run, Mapping[str, float]], None]
"""Called with the newest metrics, for a display."""


def train(
    agent: Learns,
    driver: Moves | None,
    replay: Source,
    schedule: Schedule,
    log: Logger | None = None,
    *,
    run: Run | None = None,
    evaluate: Evaluate | None = None,
    watch: Watch | None = None,
    log_every: int = 100,
) -> Run:
    """Train until the schedule is done or a signal asks to stop; an update that is being made is
    finished first.

    Args:
        agent: learns.
        driver: steps the environments and stores rows; None where there are none.
        replay: what is learned from.
        schedule: says what comes next.
        log: where numbers go, if there is no ``run``.
        run: saves the parts in its folder; without one nothing is saved.
        evaluate: judges the agent when the schedule says so.
        watch: sees the newest metrics.
        log_every: updates a line of the log; 0: none.

    Returns:
        The run: counters, and in ``run.stop`` whether it was stopped.

    Raises:
        RunError: three updates in a row met numbers that are not finite.
        EnvError: an environment broke its contract.
    """
    run = run or Run({}, log=log)
    learner = Learner(agent, replay, run.progress, run.directory)
    show = watch or (lambda run, metrics: None)
    with run.working() as stop:
        many = ranks.active()
        halves = driver if isinstance(driver, MovesApart) and not many else None
        if many:
            schedule = Together(schedule, lambda: stop.asked is not None)
        while many or stop.asked is None:
            what = schedule.next(run.progress, run.saved, learner.ready)
            if what == "done":
                break
            if what == "update":
                _update(run, learner, log_every, show)
            elif halves is not None and halves.stepping:
                _arrived(run, halves.end(), schedule)
            elif what == "act":
                assert driver is not None, "a schedule without environments never acts"
                _act(run, driver, halves, schedule)
            elif what == "save":
                run.save()
            else:
                numbers = evaluate(stop) if evaluate is not None else []
                if numbers is None:
                    break
                if numbers:
                    run.progress.evaluations.append((run.at, numbers))
                run.progress.judged = run.at
                show(run, {})
            if halves is None or not halves.stepping:
                run.tick()
        if halves is not None and halves.stepping:
            _arrived(run, halves.end(), schedule)
    return run


def _act(run: Run, driver: Moves, halves: MovesApart | None, schedule: Schedule) -> None:
    """A step; or, where environments are at work by themselves, its first half, so that the updates
    that it makes due are made meanwhile.
    """
    random = schedule.random(run.progress)
    if random or halves is None or not halves.apart:
        return _arrived(run, driver.step(random=random), schedule)
    _count(run, halves.begin(), schedule)
    run.hold()


def _count(run: Run, moved: Moved, schedule: Schedule) -> None:
    """Every row makes updates due, also one that ends an episode; an action is not taken there."""
    schedule.acted(run.progress, moved.frames, moved.actions)
    run.progress.actions -= moved.resets


def _arrived(run: Run, moved: Moved, schedule: Schedule) -> None:
    """Count what a step did; the log's lines have the order and numbers of one made at once."""
    _count(run, moved, schedule)
    lines = []
    for episode in moved.episodes:
        run.progress.returns.append((run.progress.steps, float(episode.ret)))
        lines.append(({"return": float(episode.ret), "length": episode.length}, "episode"))
    run.release(*lines)
    for failure in moved.failures:
        run.failed(failure)


def _update(run: Run, learner: Learner, log_every: int, show: Watch) -> None:
    p = run.progress
    p.credit = max(0.0, p.credit - 1.0)
    with run.moving():
        metrics = learner.update()
    if not metrics:
        return
    run.means.add(metrics)
    if log_every and run.means.count >= log_every:
        speed = {
            "updates": p.updates,
            "actions": p.actions,
            "seconds": p.seconds,
            "cpu_seconds": p.cpu_seconds,
        }
        run.write({**run.means.pop(), **speed}, "train")
    show(run, metrics)
