"""Tasks of the simulated robots, and environments of them for `envs.make` and `pixyz train`.

    envs.make("envs.robot.tasks:Reach")     the arm's wrist goes to a goal, at 20 Hz
    envs.make("envs.robot.tasks:Stand")     the quadruped stands up, or walks (speed=0.5), at 20 Hz

They run in stepped time (as fast as the machine can, the same every time), or with `real=True` in
real time, the robot in a process of its own. Rewards are computed here, from what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.robot.clock import RealClock, SteppedClock
from envs.robot.env import RobotEnv
from envs.robot.errors import RobotError
from envs.robot.faults import Faults
from envs.robot.limits import Limits
from envs.robot.models import arm_limits, quadruped_limits
from envs.robot.simulated import Simulated, SimulatedArm, SimulatedQuadruped
from envs.robot.task import Judgement
from envs.state import load_generator, save_generator

TIP = ("tip.x", "tip.y", "tip.z")
GOAL = "to_goal"


class ReachTask:
    """Bring the tip to a goal: reward ``1 / (1 + (d / 0.1)^2)`` a tick, at a distance ``d`` in
    metres.

    Goals are where the tip is at random angles within the middle of the limits, at least 0.1 m from
    where it is. `success`: it is within `near` of the goal.

    Args:
        limits: of the arm.
        forward: command -> where the tip would be.
        limit: ticks of an episode.

    >>> arm = SimulatedArm(joints=3, clock=SteppedClock())
    >>> task = ReachTask(arm_limits(3), arm.forward)
    >>> arm.connect()
    >>> task.begin(arm.get_observation(), np.random.default_rng(0))
    >>> task.judge(dict(zip(TIP, task.goal)), {}).success
    True
    """

    share = 0.8  # of the range of each joint

    def __init__(
        self, limits: Limits, forward: Any, limit: int | None = 100, near: float = 0.05
    ) -> None:
        self._limits, self._forward, self.limit, self.near = limits, forward, limit, near
        self.spaces: Mapping[str, spaces.Box] = {
            GOAL: spaces.Box(-np.inf, np.inf, (3,), np.float32)
        }
        self.goal = self._way = np.zeros(3)

    def begin(self, observation: Mapping[str, Any], rng: np.random.Generator) -> None:
        """Choose a goal."""
        table = self._limits.actions.values()
        low, high = np.array([each.low for each in table]), np.array([each.high for each in table])
        at = _tip(observation)
        while True:
            angles = (low + high) / 2 + self.share * (high - low) / 2 * rng.uniform(
                -1.0, 1.0, len(low)
            )
            goal = _tip(self._forward(dict(zip(self._limits.names, angles.tolist(), strict=True))))
            inside = all(each.low <= v <= each.high for each, v in self._bounds(goal))
            if inside and np.linalg.norm(goal - at) >= 0.1:
                break
        self.goal, self._way = goal, goal - at

    def judge(self, observation: Mapping[str, Any], sent: Mapping[str, float]) -> Judgement:
        """How near the tip is."""
        self._way = self.goal - _tip(observation)
        distance = float(np.linalg.norm(self._way))
        return Judgement(1.0 / (1.0 + (distance / 0.1) ** 2), success=distance <= self.near)

    def seen(self) -> Mapping[str, NDArray[Any]]:
        """The way from the tip to the goal (m)."""
        return {GOAL: np.asarray(self._way, np.float32)}

    def state(self) -> Any:
        """Goal and way."""
        return [self.goal.copy(), self._way.copy()]

    def load_state(self, state: Any) -> None:
        """Go on from `state()`."""
        self.goal, self._way = (np.array(each) for each in state)

    def _bounds(self, goal: NDArray[np.float64]) -> list[Any]:
        named = dict(zip(TIP, goal.tolist(), strict=True))
        return [
            (region, named[name])
            for name, region in self._limits.workspace.items()
            if name in named
        ]


class StandTask:
    """Stand up, and walk if `speed` (m/s) is not 0.

    The reward of a tick is ``clip(up, 0, 1) clip((height - 0.3) / 0.5, 0, 1)``, times
    ``clip(forward / speed, 0, 1)`` where it is to walk. `success`: the reward is above 0.85.

    >>> round(
    ...     StandTask()
    ...     .judge({"torso.up": 1.0, "torso.height": 0.55, "torso.forward": 0.0}, {})
    ...     .reward,
    ...     6,
    ... )
    0.5
    """

    def __init__(self, speed: float = 0.0, limit: int | None = 200) -> None:
        self.speed, self.limit = speed, limit
        self.spaces: Mapping[str, spaces.Box] = {}

    def begin(self, observation: Mapping[str, Any], rng: np.random.Generator) -> None:
        """Nothing to choose."""

    def judge(self, observation: Mapping[str, Any], sent: Mapping[str, float]) -> Judgement:
        """Upright, high, and forward."""
        up, height = float(observation["torso.up"]), float(observation["torso.height"])
        stands = _unit(up) * _unit((height - 0.3) / 0.5)
        goes = 1.0 if self.speed == 0.0 else _unit(float(observation["torso.forward"]) / self.speed)
        return Judgement(stands * goes, success=stands * goes > 0.85)

    def seen(self) -> Mapping[str, NDArray[Any]]:
        """Nothing to add."""
        return {}

    def state(self) -> Any:
        """It remembers nothing."""
        return None

    def load_state(self, state: Any) -> None:
        """Nothing to put back."""


class _SimulatedTask(RobotEnv):
    """A task of a simulated robot. A seed given to `reset`, and each episode where `again`, begins
    with the robot at rest, switched off and on.
    """

    robot: Simulated  # type: ignore[assignment]
    task: Any

    def __init__(
        self, robot: Simulated, limits: Limits, task: Any, clock: Any, again: bool, **options: Any
    ) -> None:
        super().__init__(robot, limits, task=task, clock=clock, **options)
        self._again = again
        self.restorable = isinstance(clock, SteppedClock)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Begin an episode."""
        if seed is not None:
            self.np_random = np.random.default_rng(seed)
        if self.restorable and (seed is not None or self._again):
            if seed is not None:
                self.clock.set(0.0)  # type: ignore[attr-defined]
            self.safety.rearm()
            self.robot.restart(int(self.np_random.integers(2**31)))
            self._connected = False
        return super().reset(options=options)

    def save_state(self) -> dict[str, Any]:
        """All that later ticks depend on (see `envs.Restorable`)."""
        kept = {key: getattr(self, key) for key in _KEPT}
        measured = None if self._measured is None else dict(self._measured)
        return {
            **kept,
            "measured": measured,
            "robot": self.robot.state(),
            "safety": self.safety.state(),
            "now": self.clock.now(),
            "ticker": self._ticker.state(),
            "task": self.task.state(),
            "rng": save_generator(self.np_random),
        }

    def load_state(self, state: Any) -> None:
        """Go on from `save_state()`."""
        for key in _KEPT:
            setattr(self, key, state[key])
        self._measured = state["measured"]
        self.clock.set(float(state["now"]))  # type: ignore[attr-defined]
        self.robot.load_state(state["robot"])
        self.safety.load_state(state["safety"])
        self._ticker.load_state(state["ticker"])
        self.task.load_state(state["task"])
        self.np_random = load_generator(state["rng"])


_KEPT = ("_measured_at", "_began", "_fault", "_count", "_running", "_connected")


def _clock(real: bool, port: int | None) -> Any:
    if port is not None and not real:
        raise RobotError("port: expected real=True with the port of a robot's process")
    return RealClock() if real else SteppedClock()


class Reach(_SimulatedTask):
    """The arm reaches for goals (`ReachTask`), from where it is: an episode begins where the last
    one ended.

    Args:
        joints: how many of the arm's 6 joints are moved, from the base.
        hz: ticks a second. `seconds`: of an episode.
        faults: what goes wrong, the fields of `envs.robot.faults.Faults`.
        real: real time. `port`: of a `Served` robot, else one is started.
        limits: others than `arm_limits`.

    >>> env = Reach(seconds=1.0)
    >>> observation, info = env.reset(seed=0)
    >>> sorted(observation), env.time_limit
    (['state', 'target', 'to_goal'], 20)
    """

    def __init__(
        self,
        joints: int = 3,
        hz: float = 20.0,
        seconds: float = 5.0,
        faults: Mapping[str, Any] | None = None,
        real: bool = False,
        port: int | None = None,
        limits: Any = None,
        **options: Any,
    ) -> None:
        clock = _clock(real, port)
        robot = SimulatedArm(
            joints, clock=clock, port=port, faults=Faults.read(dict(faults or {"noise": 0.001}))
        )
        above = {"tip.z": {"low": 0.1, "high": 1.1, "margin": 0.08}}  # the floor
        bounds = arm_limits(joints, hz, workspace=above) if limits is None else limits
        task = ReachTask(bounds, robot.forward, limit=round(seconds * hz))
        super().__init__(robot, bounds, task, clock, again=False, **{"home": False, **options})


class Stand(_SimulatedTask):
    """The quadruped stands up, or walks (`StandTask`); an episode begins with it lying.

    Args:
        speed: m/s; 0: stand. `hz`, `seconds`, `faults`, `real`, `port`, `limits`: as of `Reach`.

    >>> env = Stand()
    >>> observation, info = env.reset(seed=0)
    >>> observation["state"].shape, env.action_space.shape
    ((34,), (12,))
    """

    def __init__(
        self,
        speed: float = 0.0,
        hz: float = 20.0,
        seconds: float = 10.0,
        faults: Mapping[str, Any] | None = None,
        real: bool = False,
        port: int | None = None,
        limits: Any = None,
        **options: Any,
    ) -> None:
        clock = _clock(real, port)
        robot = SimulatedQuadruped(
            clock=clock, port=port, faults=Faults.read(dict(faults or {"noise": 0.005}))
        )
        bounds = quadruped_limits(hz) if limits is None else limits
        task = StandTask(speed, limit=round(seconds * hz))
        super().__init__(
            robot,
            bounds,
            task,
            clock,
            again=True,
            **{"home": False, "control": "absolute", **options},
        )


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _tip(values: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.array([float(values[name]) for name in TIP])
