"""How robots that learn are judged: those who know the task do it, those who hold still do not."""

from __future__ import annotations

import pytest

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")
import robot_online


@pytest.mark.parametrize(("task", "held"), [("Reach", 50.0), ("Stand", 0.01)])
def test_holding_the_first_pose_is_worth_little(task: str, held: float) -> None:
    env = robot_online.TASKS[task]()
    found = robot_online.arrivals(robot_online.programs(task, env)["hold"], env, 2, repeat=2)
    assert found["reached"] == found["stayed"] == 0.0 and 0.0 <= found["return"] < held


def test_who_knows_the_arm_arrives_at_all_goals_and_stays() -> None:
    env = robot_online.TASKS["Reach"]()
    known = robot_online.programs("Reach", env)["jacobian"]
    found = robot_online.arrivals(known, env, 5, repeat=2)
    assert found["reached"] == found["stayed"] == 1.0 and found["return"] > 75.0
    assert found == robot_online.arrivals(known, env, 5, repeat=2), "the same goals each time"


def test_a_robot_that_passes_its_goal_has_reached_it_and_not_stayed() -> None:
    env = robot_online.TASKS["Reach"]()
    known = robot_online.programs("Reach", env)["jacobian"]
    came = []

    def away(seen):
        came.append(float(abs(seen["to_goal"]).max()) < 0.02)
        return env.action_space.high if any(came) else known.act(seen)

    found = robot_online.arrivals(robot_online.Program(away), env, 1, repeat=1)
    assert any(came) and (found["reached"], found["stayed"]) == (1.0, 0.0)
