"""Logs of the simulated arm under a clumsy program, as from a person before anything learns.

Used by ``robot_doubt.py`` and ``offline_arm.py``. The program goes a part of the way to the goal
and wanders beside it; an episode is five seconds, and begins where the last one ended. Two
programs are known by name (:data:`LOGS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from envs.adapted import SENT
from envs.robot import RECORD
from envs.robot.tasks import GOAL, TIP, Reach
from worldmodels.data import Episodes, make_episode

Array = np.ndarray[Any, Any]
NOISE = 0.001
"""Of every sensor, in its own unit."""


class Ahead(Reach):
    """Goals ahead of the arm, where its base has next to nothing to do: the base's part of a goal
    is within 0.06 rad.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.task.share = np.array([0.05, 0.8, 0.8])


class Kind(NamedTuple):
    """A kind of log.

    Args:
        task: that it is recorded with.
        moved: of each joint, the share of what the program would do that is sent.
        loose: of the last episodes all is sent in so many.
    """

    task: type[Reach]
    moved: tuple[float, ...]
    loose: int = 0


EVERYWHERE = "everywhere"
LOGS = {
    EVERYWHERE: Kind(Reach, (1.0, 1.0, 1.0)),
    "ahead": Kind(Ahead, (0.02, 1.0, 1.0)),
    "loosened": Kind(Ahead, (0.02, 1.0, 1.0), loose=2),
}
"""``ahead``: the base was all but held; ``loosened``: but for ten seconds at the end."""


class Recorded(NamedTuple):
    """Episodes with actions in the driver's units, their returns, the share that was successful."""

    episodes: Episodes
    returns: Array
    success: float


def clumsy(env: Reach, rng: np.random.Generator, gain: float, noise: float) -> Callable[..., Array]:
    """A program: the share ``gain`` of the way to the goal, by the joints' Jacobian, and wandering
    of ``noise`` times the largest step.
    """
    names, wander = env.limits.names, np.zeros(len(env.limits.names))
    step = np.array([each.step for each in env.limits.actions.values()])

    def tip(pose: Mapping[str, float]) -> Array:
        found = env.robot.forward(pose)
        return np.array([found[name] for name in TIP])

    def move(seen: Mapping[str, Array]) -> Array:
        nonlocal wander
        pose = dict(zip(names, seen["state"][: len(names)].tolist()))
        here, small = tip(pose), 1e-3
        moved = [tip({**pose, n: pose[n] + small}) - here for n in names]
        jacobian = np.stack(moved, -1) / small
        way = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(3), seen[GOAL])
        wander = 0.9 * wander + np.sqrt(1 - 0.9**2) * rng.normal(size=len(names))
        return np.clip(gain * way / step + noise * wander, -1.0, 1.0) * step

    return move


def held(env: Reach, rng: np.random.Generator, ticks: int) -> Callable[..., Array]:
    """A program that knows nothing: a uniform action, for so many ticks."""
    step = np.array([each.step for each in env.limits.actions.values()])
    count, action = 0, step

    def move(seen: Mapping[str, Array]) -> Array:
        nonlocal count, action
        if count % ticks == 0:
            action = rng.uniform(-1.0, 1.0, len(step)) * step
        count += 1
        return action

    return move


def record(
    count: int,
    seed: int,
    gain: float = 0.1,
    noise: float = 0.8,
    faults: Mapping[str, Any] | None = None,
    hold: int = 0,
    kind: str = EVERYWHERE,
) -> Recorded:
    """Episodes of the arm in stepped time.

    Args:
        count: of them, 100 ticks each at 20 Hz.
        seed: of goals, sensors and wandering.
        gain, noise: of :func:`clumsy`.
        faults: of the robot, beside the noise of its sensors.
        hold: ticks of :func:`held`, in the place of :func:`clumsy`; 0: not so.
        kind: of :data:`LOGS`.
    """
    task, shares, loose = LOGS[kind]
    env = task(faults={"noise": NOISE, **(faults or {})})
    rng = np.random.default_rng(seed)
    move = held(env, rng, hold) if hold else clumsy(env, rng, gain, noise)
    episodes, returns, success = [], [], 0
    for number in range(count):
        seen, _ = env.reset(seed=seed if number == 0 else None)
        rows, sent, rewards, over = [seen], [], [0.0], False
        moved = np.array(shares if number < count - loose else [1.0] * len(shares))
        while not over:
            seen, reward, terminated, truncated, info = env.step(move(seen) * moved)
            over = terminated or truncated
            rows.append(seen)
            sent.append(info[SENT])
            rewards.append(reward)
        series = {k: np.stack([row[k] for row in rows]) for k in seen}
        episodes.append(make_episode(f"{number}", series, np.stack(sent), np.array(rewards)))
        returns.append(sum(rewards))
        success += info[RECORD].success
    env.close()
    return Recorded(Episodes(episodes, 20.0, "arm"), np.array(returns), success / count)
