"""A doubt holds the robot, and stops it when it lasts; a person and a pause are not doubted."""

from __future__ import annotations

import numpy as np
import pytest
from robot_parts import Arm, Moments, limits

from envs.robot import RECORD, RobotEnv, RobotStopped, SteppedClock, Wishes


class Written:
    """Doubts in the asks of `at`, and keeps what it was told."""

    def __init__(self, at=(), error=None) -> None:
        self.at, self.error = at, error
        self.asked, self.came_of, self.begun = [], [], []

    def begin(self, seen) -> None:
        self.begun.append(seen["state"].copy())

    def ask(self, seen, action):
        self.asked.append((seen["state"].copy(), np.array(action)))
        if self.error is not None and len(self.asked) == 2:
            raise self.error
        return "unlike the log" if len(self.asked) - 1 in self.at else None

    def came(self, sent, seen) -> None:
        self.came_of.append((np.array(sent), seen["state"].copy()))


def of(doubt, **more):
    return RobotEnv(Arm(), limits(), clock=SteppedClock(), doubt=doubt, **more)


def test_what_is_doubted_is_not_sent() -> None:
    doubt = Written(at={1})
    env = of(doubt)
    env.reset()
    action = np.array([0.05, -0.02])
    poses, causes = [], []
    for _ in range(3):
        seen, _, _, truncated, info = env.step(action)
        poses.append(seen["state"].tolist())
        causes.append(info[RECORD].causes)
        assert not truncated
    np.testing.assert_allclose(poses, [[0.05, -0.02], [0.05, -0.02], [0.10, -0.04]], atol=1e-6)
    assert causes == [(), ("doubt",), ()]
    assert env.safety.counts["doubt"] == 1 and env.safety.log[-1].detail == "unlike the log"
    assert len(doubt.begun) == 1
    np.testing.assert_allclose(doubt.asked[1][0], [0.05, -0.02], atol=1e-6)
    np.testing.assert_allclose(doubt.asked[1][1], action)
    np.testing.assert_allclose(
        [sent for sent, _ in doubt.came_of], [action, [0, 0], action], atol=1e-9
    )
    np.testing.assert_allclose([seen for _, seen in doubt.came_of], poses)


def test_a_doubt_that_lasts_stops_the_robot() -> None:
    env = of(Written(at=range(1000)))
    env.reset()
    ticks, truncated = 0, False
    while not truncated:
        *_, truncated, info = env.step(np.zeros(2))
        ticks += 1
    assert info[RECORD].stopped == "held too long: doubt: unlike the log"
    assert 600 - 50 <= 50 * ticks <= 600 + 50 and env.robot.stops == 1
    with pytest.raises(RobotStopped, match="held too long: doubt: unlike the log"):
        env.step(np.zeros(2))


@pytest.mark.parametrize("error", [ValueError("no weights"), ZeroDivisionError()])
def test_one_that_fails_is_a_doubt_until_the_next_episode(error) -> None:
    doubt = Written(error=error)
    env = of(doubt)
    env.reset()
    causes = [env.step(np.array([0.05, 0.0]))[-1][RECORD].causes for _ in range(4)]
    assert causes == [(), ("doubt",), ("doubt",), ("doubt",)]
    assert f"ask raised {type(error).__name__}" in env.safety.log[-1].detail
    env.reset()
    assert env.step(np.zeros(2))[-1][RECORD].causes == ()


def test_a_person_is_not_doubted_and_a_pause_is_a_new_beginning() -> None:
    doubt = Written(at=range(1000))
    moves = Wishes(action={"shoulder.pos": 0.05, "elbow.pos": 0.0})
    # 0: on the way home; then the person moves it; then a pause of two ticks
    env = of(doubt, person=Moments({1: moves, 2: Wishes(pause=True), 3: Wishes(pause=True)}))
    env.reset()
    info = env.step(np.zeros(2))[-1]
    assert info[RECORD].intervened and info[RECORD].causes == () and not doubt.asked
    info = env.step(np.zeros(2))[-1]
    assert info[RECORD].causes == ("doubt",) and len(doubt.begun) == 3
