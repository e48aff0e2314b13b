"""Who stops the robot when the program, the watchdog or the driver hangs or dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from robot_parts import NAMES, Arm, limits

from envs.robot import RECORD, RobotEnv, RobotError, RobotStopped, Watched, make_driver
from envs.robot.watching import Watchdog

# a loaded machine is no fault
SLOW = {
    "watchdog_ms": 1500.0,
    "stale_ms": 1500.0,
    "stop_ms": 1500.0,
}


def dog(**changes) -> tuple[Watchdog, Arm]:
    found = Watchdog("robot_parts:Arm", {}, limits(**changes))
    assert found.answer("connect", None, 0.0) == ("ok", None)
    return found, found.driver


def test_it_passes_on_what_is_within_the_limits() -> None:
    watchdog, arm = dog()
    assert watchdog.answer("observe", None, 0.0)[1][0] == dict.fromkeys(NAMES, 0.0)
    kind, sent = watchdog.answer("send", dict.fromkeys(NAMES, 0.05), 0.05)
    assert (kind, sent) == ("ok", dict.fromkeys(NAMES, 0.05)) and arm.commands == [sent]
    kind, sent = watchdog.answer("send", dict.fromkeys(NAMES, 5.0), 0.1)
    assert sent == pytest.approx(dict.fromkeys(NAMES, 0.15)), "whatever the program thinks"
    assert watchdog.answer("send", dict.fromkeys(NAMES, float("nan")), 0.15)[1] == sent


def test_it_holds_after_its_limit_and_then_stops() -> None:
    watchdog, arm = dog()
    assert watchdog.due() is None, "nothing has been sent yet"
    watchdog.answer("send", dict.fromkeys(NAMES, 0.05), 1.0)
    assert watchdog.due() == pytest.approx(1.2)
    watchdog.watch(1.19)
    assert len(arm.commands) == 1
    while (now := watchdog.due()) is not None:
        watchdog.watch(now)
        assert arm.stops == (now >= 1.8 - 1e-9), f"at {now}"
    assert arm.commands == [dict.fromkeys(NAMES, 0.05)] * 13, "200 ms, then 600 ms at 20 Hz"
    assert (
        watchdog.answer("send", dict.fromkeys(NAMES, 0.1), 2.0)[0] == "stopped"
        and len(arm.commands) == 13
    )
    assert watchdog.answer("observe", None, 2.0)[0] == "stopped"
    assert watchdog.answer("connect", None, 2.0) == ("ok", None)
    assert watchdog.answer("send", dict.fromkeys(NAMES, 0.1), 2.1)[0] == "ok"


def test_a_command_ends_the_holding_and_rest_ends_the_watching() -> None:
    watchdog, arm = dog()
    watchdog.answer("send", dict.fromkeys(NAMES, 0.05), 1.0)
    watchdog.watch(1.3)
    assert [each.cause for each in watchdog.gate.log] == ["watchdog"]
    watchdog.answer("send", dict.fromkeys(NAMES, 0.1), 1.4)
    watchdog.watch(1.5)
    assert len(arm.commands) == 3 and arm.stops == 0
    watchdog.answer("rest", None, 1.5)
    assert watchdog.due() is None


def test_a_driver_that_raises_does_not_keep_it_from_stopping() -> None:
    watchdog, arm = dog()
    watchdog.answer("send", dict.fromkeys(NAMES, 0.05), 1.0)
    arm.send = lambda arm, action: 1 / 0
    assert watchdog.answer("send", dict.fromkeys(NAMES, 0.1), 1.05)[0] == "error"
    watchdog.watch(1.3)
    watchdog.watch(1.9)
    assert arm.stops == 1 and watchdog.gate.latched is not None


# ---------------------------------------------------------------- in its own process


def written(path: Path) -> list[str]:
    return (
        [json.loads(line)[0] for line in path.read_text(encoding="utf-8").splitlines()]
        if path.exists()
        else []
    )


def until(what, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def robot(tmp_path: Path):
    made = Watched(
        "watched_arm:WrittenArm", limits(**SLOW), options={"path": str(tmp_path / "told")}
    )
    yield made
    made.disconnect()


def test_it_moves_stops_and_connects_again(robot, tmp_path: Path) -> None:
    env = RobotEnv(robot, limits(**SLOW))
    env.reset()
    *_, truncated, info = env.step([0.05, 0.0])
    assert not truncated and info["envs.sent"][0] == pytest.approx(0.05)
    pid = robot.pid
    env.close()
    assert robot.pid is None and written(tmp_path / "told")[-1] == "stop"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    env.reset()
    assert robot.pid not in (None, pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_watchdog_is_ended_and_the_robot_stopped(
    robot, tmp_path: Path, how: signal.Signals
) -> None:
    env = RobotEnv(robot, limits(**SLOW))
    env.reset()
    pid = robot.pid
    os.kill(pid, how)
    *_, truncated, info = env.step([0.05, 0.0])
    assert (
        truncated
        and "did not answer" in info[RECORD].stopped
        and written(tmp_path / "told")[-1] == "stop"
    )
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RobotStopped):
        env.reset()
    env.rearm()
    env.reset()
    assert not env.step([0.05, 0.0])[3]


def test_a_driver_that_hangs_is_a_lost_watchdog(tmp_path: Path) -> None:
    options = {"path": str(tmp_path / "told"), "observe_hangs": True}
    bounds = limits(**{**SLOW, "watchdog_ms": 300.0})
    robot = Watched("watched_arm:WrittenArm", bounds, options=options)
    robot.connect()
    for _ in range(3):
        robot.get_observation()
    with pytest.raises(RobotStopped, match="did not answer to 'observe'"):
        robot.get_observation()
    assert written(tmp_path / "told") == ["stop"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_program_that_dies_or_hangs_leaves_a_stopped_robot(
    tmp_path: Path, how: signal.Signals
) -> None:
    told = tmp_path / "told"
    code = f"""
import sys; sys.path[:] = {sys.path!r}
from robot_parts import limits
from envs.robot import RobotEnv, Watched
bounds = limits(watchdog_ms=300.0, stale_ms=1500.0, stop_ms=300.0)
env = RobotEnv(Watched("watched_arm:WrittenArm", bounds, options={{"path": {str(told)!r}}}), bounds)
env.reset()
while True:
    env.step([0.0, 0.0])
    print("on", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None and program.stdout.readline() == b"on\n"
        program.send_signal(how)
        until(lambda: written(told)[-1] == "stop")
        program.kill()
    assert "send" in written(told)


def test_what_cannot_be_sent_or_made_is_refused() -> None:
    with pytest.raises(RobotError, match="plain data"):
        Watched("robot_parts:Arm", limits(), options={"observe": len})
    for spec, said in (
        ("robot_parts", "module:Class"),
        ("no_such:Arm", "no_such"),
        ("robot_parts:Leg", "Leg"),
    ):
        with pytest.raises(RobotError, match=said):
            make_driver(spec)
