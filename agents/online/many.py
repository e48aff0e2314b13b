"""Many simulated actors on a Ray cluster, each of them an :class:`~agents.online.actor.ActorSide`.

    Ray      starts a process an actor, on whatever machine has room, and again where one has died
    channel  rows and policies go over ZeroMQ as those of one actor do; nothing of them is pickled

What an actor had made when it died is in its log; the process that Ray starts in its place goes on
with it.  On another machine that log is not there, unless the folder is one that all machines see:
then the rows that the learner had not taken are lost, and no others.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from agents.environments import make_env
from agents.errors import UsageError
from agents.online.actor import ActorSide
from agents.process import prepare_process
from agents.settings import RunSettings

STORE = 80 << 20
"""Bytes of Ray's object store where it is started here; nothing large goes through it."""


def share(settings: RunSettings) -> RunSettings:
    """What each of ``env.num_envs`` actors does: its part of the steps.

    >>> from agents.settings import EnvSettings
    >>> own = share(RunSettings(env=EnvSettings(num_envs=4), steps=100, prefill=9))
    >>> own.steps, own.prefill
    (25, 3)
    """
    count = settings.env.num_envs
    return replace(
        settings,
        steps=math.ceil(settings.steps / count),
        prefill=math.ceil(settings.prefill / count),
    )


def act(settings: RunSettings, number: int, folder: Path, address: str, hz: float) -> int:
    """One actor, until its steps are made; the environment steps of its log.

    Raises:
        UsageError, EnvError: it does not fit the learner, or has no environment.
    """
    prepare_process(settings.threads)
    own, made = share(settings), partial(make_env, settings.env)
    with ActorSide(own, made, folder / f"actor-{number}", address, actor=number, hz=hz) as side:
        return side.act().progress.steps if side.meet() else 0


class RemoteActor:
    """What Ray makes a process of."""

    def __init__(
        self, settings: RunSettings, number: int, folder: str, address: str, hz: float
    ) -> None:
        self._given = settings, number, Path(folder), address, hz

    def act(self) -> int:
        """Act; called again in a new process where this one has died."""
        return act(*self._given)


def act_on_ray(
    settings: RunSettings,
    folder: Path,
    address: str,
    *,
    hz: float = 0.0,
    cpus: float = 1.0,
    cluster: str | None = None,
    say: Callable[[str], None] = print,
) -> list[int]:
    """Start ``env.num_envs`` actors on Ray and wait for them.

    Args:
        settings: the run, as the learner has it; its steps are divided among the actors.
        folder: of their logs, absolute on each machine.
        address: of the learner, as all machines see it.
        hz: ticks a second; 0: as fast as it goes.
        cpus: that Ray keeps for each.
        cluster: Ray's address; None: a Ray of this machine, which ends with this call.
        say: takes lines for a person.

    Returns:
        The environment steps of each.

    Raises:
        UsageError: Ray is not installed, or the learner refuses an actor.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # else all other work goes before actors
    try:
        import ray
    except ImportError as error:
        raise UsageError("many actors need Ray: pip install 'pixyz-worldmodels[ray]'") from error
    here = {"include_dashboard": False, "object_store_memory": STORE} if cluster is None else {}
    ray.init(address=cluster, configure_logging=False, **here)
    remote: Any = ray.remote(num_cpus=cpus, max_restarts=-1, max_task_retries=-1)(RemoteActor)
    given = str(folder.absolute()), address, hz
    actors = [remote.remote(settings, number, *given) for number in range(settings.env.num_envs)]
    try:
        numbers = {actor.act.remote(): number for number, actor in enumerate(actors)}
        steps = [0] * len(actors)
        while numbers:
            done, _ = ray.wait(list(numbers), timeout=1.0)  # a signal is heard in between
            for each in done:
                number = numbers.pop(each)
                steps[number] = _found(ray, each)
                say(f"actor {number} has made its {steps[number]} steps")
        return steps
    finally:
        for actor in actors:
            ray.kill(actor)
        ray.shutdown()


def _found(ray: Any, each: Any) -> int:
    """What an actor returned; its errors of ours as themselves."""
    try:
        return int(ray.get(each))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UsageError):
            raise UsageError(str(error.cause)) from error
        raise
