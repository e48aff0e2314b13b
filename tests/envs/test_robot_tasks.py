"""Tasks of simulated robots in stepped time: repeatable, restorable, possible; and the checker of
drivers.
"""

from __future__ import annotations

import numpy as np
import pytest
from robot_parts import NAMES, Arm, limits

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")
import envs
from envs.robot import RECORD, LimitsError, RobotError, SteppedClock, check_robot
from envs.robot.tasks import GOAL, Reach, Stand, StandTask


@pytest.mark.parametrize("name", ["Reach", "Stand"])
def test_the_contract_with_saved_states(name: str) -> None:
    env = envs.make(f"envs.robot.tasks:{name}", seconds=1.0)
    envs.check_env(env, steps=50)
    assert env.restorable and env.time_limit == 20


def test_rows_say_what_was_sent() -> None:
    vector = envs.make_vector("envs.robot.tasks:Reach", 2, seed=0, seconds=1.0)
    vector.reset()
    rows = [vector.step(np.full((2, 3), 1.0, np.float32)) for _ in range(60)]
    sent = np.stack([row["action"][0] for row in rows if not row["is_first"][0]])
    assert (
        sent.shape[1:] == (3,) and np.allclose(sent[:10], 1.0, atol=1e-6) and sent[-1].min() < 0.5
    ), "at its limits"


def ik(env: Reach, way: np.ndarray) -> np.ndarray:
    """A step of damped least squares to the goal, by finite differences."""
    angles = np.array(list(env.safety.last.values()))

    def tip(q: np.ndarray) -> np.ndarray:
        return np.array(list(env.robot.forward(dict(zip(env.names, q))).values()))

    jacobian = np.stack([(tip(angles + 1e-4 * e) - tip(angles)) / 1e-4 for e in np.eye(3)], 1)
    step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(3), way)
    return np.clip(step, env.action_space.low, env.action_space.high)


def test_goals_are_reached_by_who_knows_the_arm_and_not_by_chance() -> None:
    env, rng = Reach(), np.random.default_rng(0)
    done = {"ik": [], "random": []}
    seen, _ = env.reset(seed=3)
    for episode in range(16):
        kind, truncated = ("ik", "random")[episode % 2], False
        while not truncated:
            drawn = rng.uniform(env.action_space.low, env.action_space.high)
            action = ik(env, seen[GOAL].astype(float)) if kind == "ik" else drawn
            seen, reward, _, truncated, info = env.step(action)
            distance = np.linalg.norm(seen[GOAL])
            assert reward == pytest.approx(1.0 / (1.0 + (distance / 0.1) ** 2), abs=1e-5)
        assert info[RECORD].stopped is None
        done[kind].append(info[RECORD].success)
        seen, _ = env.reset()
    assert np.mean(done["ik"]) == 1.0 and np.mean(done["random"]) < 0.3


def test_standing_is_worth_more_than_lying() -> None:
    def run(leg: list[float]) -> float:
        env, total, truncated = Stand(seconds=3.0), 0.0, False
        env.reset(seed=0)
        while not truncated:
            _, reward, _, truncated, info = env.step(np.tile(leg, 4))
            total += reward
        assert info[RECORD].success == (reward > 0.85)
        return total

    assert run([0.0, -1.0, 0.8]) < 1.0 and run([0.0, 0.6, 0.4]) > 45.0
    walking = StandTask(speed=0.5)
    assert (
        walking.judge({"torso.up": 1.0, "torso.height": 0.9, "torso.forward": 0.25}, {}).reward
        == 0.5
    )


def test_a_task_can_be_learned_by_the_command_s_settings() -> None:
    env = envs.make(
        "envs.robot.tasks:Reach",
        faults={"noise": 0.001, "latency_ms": 20.0, "stuck": "joint_3.pos"},
        seconds=1.0,
    )
    env.reset(seed=0)
    before = env.unwrapped._measured["joint_3.pos"]
    for _ in range(10):
        *_, info = env.step(np.ones(3, np.float32))
    assert abs(env.unwrapped._measured["joint_3.pos"] - before) < 0.02 and info[RECORD].causes == ()


# ---------------------------------------------------------------- check_robot


class Turned(Arm):
    """Its joints go the wrong way."""

    def get_observation(self):
        return {name: -value for name, value in self.pose.items()}


class Degrees(Arm):
    """It measures in degrees what it is told in radians."""

    def get_observation(self):
        return {name: 57.3 * value for name, value in self.pose.items()}


class Dead(Arm):
    def send_action(self, action):
        return action


class Silent(Arm):
    def send_action(self, action):
        super().send_action(action)


class Same(Arm):
    def get_observation(self):
        return self.pose


class Crashing(Arm):
    def stop(self) -> None:
        raise ConnectionError("not connected")


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        (Turned(), "units and signs"),
        (Degrees(), "units and signs"),
        (Dead(), "units and signs"),
        (Silent(), "send_action: expected what was sent"),
        (Same(), "dict of its own"),
    ],
)
def test_a_driver_at_fault_is_told(arm: Arm, said: str) -> None:
    with pytest.raises(RobotError, match=said):
        check_robot(arm, limits(), ticks=10, move=True, clock=SteppedClock())
    assert arm.stops >= 2 and not arm.is_connected
    with pytest.raises(ConnectionError):
        check_robot(Crashing(), limits(), clock=SteppedClock())


def test_a_good_driver_is_measured_and_left_where_it_was() -> None:
    arm = Arm()
    report = check_robot(arm, limits(), ticks=10, clock=SteppedClock())
    assert arm.commands == [] and "bit for bit" in str(report)
    report = check_robot(arm, limits(), ticks=10, move=True, clock=SteppedClock())
    assert report.followed == pytest.approx(
        dict.fromkeys(NAMES, 1.0)
    ) and arm.pose == pytest.approx(dict.fromkeys(NAMES, 0.0))
    with pytest.raises((LimitsError, RobotError), match=r"shoulder|limits"):
        check_robot(
            arm,
            limits(actions={"wrist.pos": {"low": -1, "high": 1, "step": 0.1, "rate": 1}}),
            clock=SteppedClock(),
        )


class Dated(Arm):
    """It says the date of an observation, and not the monotonic clock's time."""

    observed_at = 1.8e9


def test_a_date_is_no_time() -> None:
    with pytest.raises(RobotError, match=r"time\.monotonic"):
        check_robot(Dated(), limits(), ticks=10, clock=SteppedClock())
