"""A robot with a camera: images pass as they are, and a broken one is a fault."""

from __future__ import annotations

import numpy as np
import pytest
from robot_parts import NAMES, Arm, limits

from envs import adapt
from envs.robot import RECORD, Features, RobotEnv, RobotError, SteppedClock


class Seeing(Arm):
    observation_features = {**dict.fromkeys(NAMES, float), "front": (4, 6, 3)}

    def get_observation(self):
        return {**self.pose, "front": np.full((4, 6, 3), 7, np.uint8)}


def test_an_image_is_an_observation_under_its_own_name() -> None:
    env = adapt(RobotEnv(Seeing(), limits(), clock=SteppedClock()))
    seen, _ = env.reset()
    assert (
        sorted(seen) == ["front", "state", "target"]
        and seen["front"].shape == (4, 6, 3)
        and seen["front"][0, 0, 0] == 7
    )
    assert seen["state"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "image", [None, np.zeros((4, 6), np.uint8), np.zeros((4, 6, 3), np.float32), "front"]
)
def test_what_is_no_image_holds(image) -> None:
    robot = Seeing()
    env = RobotEnv(robot, limits(), clock=SteppedClock())
    env.reset()
    robot.get_observation = lambda: {**robot.pose, "front": image}
    env.step([0.1, 0.1])
    assert env.step([0.1, 0.1])[4][RECORD].causes == ("driver",)


def test_what_has_no_form_is_refused() -> None:
    for declared in ({"a": str}, {"a": (3, 4)}, {"state": (2, 2, 3)}):
        with pytest.raises(RobotError, match="observation_features"):
            Features(declared)
