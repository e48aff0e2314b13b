"""What is reported of robots: the page's tables, and the scripts on a little of their work."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")
import robot_faults
import robot_tables
import robot_ticks


def test_the_page_shows_what_the_results_say() -> None:
    assert robot_tables.page() == robot_tables.PAGE.read_text(encoding="utf-8")


def test_nothing_in_the_results_broke_a_limit() -> None:
    ticks, faults = (
        robot_tables.newest("robot_ticks.jsonl", "time", "hz"),
        robot_tables.newest("robot_faults.jsonl", "fault"),
    )
    assert {(line["time"], line["hz"]) for line in ticks} == {
        (t, hz) for t in ("real", "stepped") for hz in (20.0, 50.0)
    }
    assert all(line["commands_outside"] == line["setpoints_outside"] == 0 for line in ticks)
    assert {line["fault"] for line in faults} == set(robot_faults.FAULTS)
    assert all(line["outside"] == 0 and line["restarted"] == line["tries"] >= 20 for line in faults)


@pytest.mark.parametrize("hz", [20.0, 50.0])
def test_ticks_with_faults_stay_within_the_limits(hz: float) -> None:
    found = robot_ticks.stepped(hz, 300)
    assert found["ticks"] == 300 and found["commands_outside"] == found["setpoints_outside"] == 0
    assert found["interventions"]["step"] > 250


def test_a_command_outside_is_counted() -> None:
    limits = robot_ticks.arm_limits(3)
    commands = np.array([[0.05 * k, 0.02 * k, 3.6, 1.4] for k in range(6)])
    assert robot_ticks.outside(commands, limits, [0]) == 0
    for row, column, value in ((3, 1, np.nan), (3, 2, 4.31), (3, 1, 0.09)):
        bad = commands.copy()
        bad[row, column] = value
        assert robot_ticks.outside(bad, limits, [0]) >= 1
    bad = commands.copy()
    bad[3:, 0] -= 0.04  # 20 mrad in 10 ms
    assert robot_ticks.outside(bad, limits, [0]) == 1


TRIED = [
    "link cut",
    "link reorders half",
    "observations NaN",
    "actions infinite",
    "clock back",
    "limit NaN",
]


@pytest.mark.parametrize("fault", TRIED)
def test_a_fault_is_tried(fault: str) -> None:
    run, limit = robot_faults.FAULTS[fault]
    found = robot_faults.summary([run(np.random.default_rng(k)) for k in range(2)], limit)
    assert (found["as_it_should"], found["outside"], found["restarted"]) == (2, 0, 2)
