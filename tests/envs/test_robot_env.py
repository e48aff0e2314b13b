"""A robot as an environment, in stepped time: what is sent, what is recorded, who may end what."""

from __future__ import annotations

import math
import os
import termios

import numpy as np
import pytest
from robot_parts import EACH, NAMES, Arm, Jumping, Moments, limits

import envs
from envs.robot import (
    RECORD,
    FreeTask,
    Keyboard,
    RobotEnv,
    RobotError,
    RobotStopped,
    SteppedClock,
    Wishes,
)


def made(arm=None, **options) -> tuple[RobotEnv, Arm]:
    arm = arm or Arm()
    options = {"clock": SteppedClock(), **options}
    return RobotEnv(arm, options.pop("limits", limits()), **options), arm


def test_the_action_that_was_sent_is_told_in_the_action_space() -> None:
    env, arm = made()
    env.reset()
    seen, reward, terminated, truncated, info = env.step([0.5, -0.05])
    assert np.allclose(info["envs.sent"], [0.1, -0.05]) and info[RECORD].causes == ("step",)
    assert arm.commands[-1] == pytest.approx({"shoulder.pos": 0.1, "elbow.pos": -0.05})
    assert np.allclose(seen["state"], [0.1, -0.05]) and np.allclose(seen["target"], [0.1, -0.05])
    assert (reward, terminated, truncated) == (0.0, False, False)


def test_absolute_commands() -> None:
    env, _ = made(control="absolute")
    env.reset()
    sent = [env.step([0.25, 0.0])[4]["envs.sent"][0] for _ in range(4)]
    assert np.allclose(sent, [0.1, 0.2, 0.25, 0.25]) and env.action_space.high[0] == 1.0


def test_rows_hold_what_was_sent() -> None:
    env, _ = made(task=FreeTask(limit=3))
    vector = envs.VectorEnv([lambda: env])
    vector.reset()
    rows = [vector.step(np.array([[1.0, -0.5]], np.float32)) for _ in range(2)]
    assert np.allclose(rows[0]["action"], [[1.0, -0.5]])
    for _ in range(12):
        env.robot.pose["elbow.pos"] = 0.0
        rows.append(vector.step(np.array([[1.0, -0.5]], np.float32)))
    assert all(("action" in row) == (not row["is_first"][0]) for row in rows)


def test_it_goes_home_slowly() -> None:
    arm = Arm()
    arm.pose = {"shoulder.pos": 0.5, "elbow.pos": -0.25}
    env, _ = made(arm)
    env.reset()
    path = np.array([[0.5, -0.25]] + [[c[name] for name in NAMES] for c in arm.commands])
    assert np.allclose(path[-1], 0.0) and np.abs(np.diff(path, axis=0)).max() <= 0.25 * 0.1 + 1e-12
    assert len(path) == 1 + 20


def test_it_begins_where_it_is_if_asked() -> None:
    arm = Arm()
    arm.pose = {"shoulder.pos": 0.5, "elbow.pos": -0.25}
    env, _ = made(arm, home=False)
    env.reset()
    assert arm.commands == [{"shoulder.pos": 0.5, "elbow.pos": -0.25}]


@pytest.mark.parametrize(
    "action", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, 0.0], [1e300, 0.0]]
)
def test_a_policy_that_fails_moves_nothing_far(action) -> None:
    env, arm = made()
    env.reset()
    for _ in range(30):
        *_, truncated, info = env.step(action)
        if truncated:
            break
    path = np.array([[c[name] for name in NAMES] for c in arm.commands])
    assert (
        np.isfinite(path).all()
        and np.abs(path).max() <= 1.0
        and np.abs(np.diff(path, axis=0)).max() <= 0.1
    )
    assert truncated == (not math.isfinite(action[0])) and arm.stops == truncated
    assert not truncated or info[RECORD].stopped.startswith("held too long: schema")


@pytest.mark.parametrize(
    "broken",
    [
        lambda arm: {**arm.pose, "elbow.pos": math.nan},
        lambda arm: {**arm.pose, "elbow.pos": math.inf},
        lambda arm: {**arm.pose, "elbow.pos": 1e300},
        lambda arm: {"elbow.pos": 0.0},
        lambda arm: None,
        lambda arm: {**arm.pose, "elbow.pos": "0"},
        lambda arm: 1 / 0,
    ],
)
def test_a_broken_observation_holds_and_then_stops(broken) -> None:
    env, arm = made()
    env.reset()
    before, *_ = env.step([0.05, 0.05])
    arm.observe = broken
    env.step([0.05, 0.05])
    rows = [env.step([0.1, 0.1]) for _ in range(3)]
    assert all(info[RECORD].held and "driver" in info[RECORD].causes for *_, info in rows)
    assert np.allclose([info["envs.sent"] for *_, info in rows], 0.0)
    assert all(np.isfinite(seen["state"]).all() for seen, *_ in rows)
    arm.observe = None
    assert not env.step([0.05, 0.05])[4][RECORD].stopped  # one more tick measures again
    assert np.allclose(env.step([0.05, 0.05])[4]["envs.sent"], 0.05)
    arm.observe = broken
    ticks = 0
    while not env.step([0.0, 0.0])[3]:
        ticks += 1
    assert arm.stops == 1 and ticks <= 1 + 600 / 50 and np.isfinite(before["state"]).all()


def test_a_stop_latches_until_somebody_looks() -> None:
    env, arm = made(person=Moments({4: Wishes(stop=True)}))
    env.reset()
    for _ in range(2):
        assert not env.step([0.05, 0.0])[3]
    sent = len(arm.commands)
    *_, truncated, info = env.step([0.05, 0.0])
    while not truncated:
        *_, truncated, info = env.step([0.05, 0.0])
    assert info[RECORD].stopped.startswith("person") and arm.stops == 1
    for call in (lambda: env.step([0.0, 0.0]), env.reset):
        with pytest.raises(RobotStopped, match="rearm"):
            call()
    commands = len(arm.commands)
    assert commands >= sent
    env.rearm()
    env.reset()
    assert len(arm.commands) > commands


def test_a_person_moves_it_and_ends_episodes() -> None:
    hand = {"shoulder.pos": 0.9, "elbow.pos": 0.0}
    wishes = {
        3: Wishes(action=hand),
        4: Wishes(pause=True),
        5: Wishes(pause=True),
        7: Wishes(success=True),
    }
    env, _ = made(person=Moments(wishes))
    env.reset()
    rows = [env.step([0.0, 0.05])]
    while not (rows[-1][2] or rows[-1][3]):
        rows.append(env.step([0.0, 0.05]))
    hands = [info for *_, info in rows if info[RECORD].intervened]
    assert len(hands) == 1 and hands[0]["envs.sent"][0] == pytest.approx(0.1), (
        "the person is limited too"
    )
    assert rows[-1][1:3] == (1.0, True) and rows[-1][4][RECORD].success
    assert env.safety.counts["person"] == 2


def test_a_jump_of_the_clock_moves_nothing_far() -> None:
    clock = Jumping()
    env, arm = made(clock=clock)
    env.reset()
    env.step([0.1, 0.1])
    clock.jump(3600.0)
    *_, info = env.step([0.1, 0.1])
    assert info[RECORD].held and info[RECORD].missed > 1000
    assert env.step([0.1, 0.1])[4][RECORD].causes == ("rate",), "the late tick began at once"
    assert env.step([0.1, 0.1])[4][RECORD].causes == ()
    clock.jump(-10.0)
    *_, truncated, info = env.step([0.1, 0.1])
    assert truncated and info[RECORD].stopped.startswith("clock") and arm.stops == 1


def test_nothing_is_sent_in_a_dry_run() -> None:
    env, arm = made(dry_run=True)
    env.reset()
    assert (
        not env.step([0.1, 0.1])[3] and arm.commands == [] and env.safety.last["elbow.pos"] == 0.1
    )
    env.stop()
    assert arm.stops == 0


def test_what_does_not_fit_is_refused_before_anything_moves() -> None:
    class Deaf(Arm):
        send_action = None

    class Other(Arm):
        action_features = {"wrist.pos": float}

    for arm, said in ((Deaf(), "send_action"), (Other(), "wrist.pos")):
        with pytest.raises(RobotError, match=said):
            made(arm)
    with pytest.raises(RobotError, match=r"tip\.z"):
        made(limits=limits(workspace={"tip.z": {"low": 0, "high": 1}}))


def test_a_driver_that_is_slow_is_stale() -> None:
    arm, clock = Arm(), SteppedClock()
    env, _ = made(arm, clock=clock)
    env.reset()
    arm.observed_at = clock.now()
    held = [env.step([0.01, 0.0])[4][RECORD].held for _ in range(6)]
    assert held == [False, False, False, True, True, True], "150 ms at 20 Hz"


def test_the_rate_is_counted_from_when_it_was_really_sent() -> None:
    clock = SteppedClock()

    def slowly(arm, action):
        clock.sleep_until(clock.now() + 0.04)
        times.append(clock.now())
        return action

    times: list[float] = []
    env, arm = made(
        Arm(send=slowly),
        clock=clock,
        limits=limits(actions={n: {**EACH, "rate": 2.0} for n in NAMES}),
    )
    env.reset()
    for k in range(8):
        clock.sleep_until(clock.now() + (0.005 if k % 2 else 0.0))
        env.step([0.1, 0.1])
    goals = np.array([c["elbow.pos"] for c in arm.commands])
    starts = np.array(times) - 0.04
    assert (np.diff(goals) <= 2.0 * (starts[1:] - np.array(times)[:-1]) + 1e-9).all() and goals[
        -1
    ] > 0.0


def test_a_stop_ends_a_pause() -> None:
    def lost(arm, action):
        if len(arm.commands) > 4:
            raise RobotStopped("watchdog: lost")
        return action

    env, arm = made(
        Arm(send=lost), person=Moments(dict.fromkeys(range(3, 1000), Wishes(pause=True)))
    )
    env.reset()
    env.step([0.05, 0.0])
    env.step([0.05, 0.0])
    *_, truncated, info = env.step([0.05, 0.0])
    assert truncated and info[RECORD].stopped == "watchdog: lost" and arm.stops >= 1


def test_keys_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "r") as terminal, os.fdopen(ours, "wb", buffering=0) as fingers:
        monkeypatch.setattr("sys.stdin", terminal)
        before = termios.tcgetattr(theirs)

        class Leader:
            command = None

            def get_action(self):
                return self.command

        with Keyboard(Leader()) as keyboard:
            assert keyboard.wishes() == Wishes()
            for keys, wished in (
                (b" ", Wishes(pause=True)),
                (b"", Wishes(pause=True)),
                (b" s", Wishes(success=True)),
                (b"R", Wishes(reset=True)),
                (b"  f", Wishes(failure=True)),
                (b"x", Wishes(stop=True)),
                (b"\x1b", Wishes(stop=True)),
                (b"q", Wishes()),
            ):
                fingers.write(keys)
                assert keyboard.wishes() == wished, keys
            Leader.command = {"elbow.pos": 0.1}
            assert keyboard.wishes().action == {"elbow.pos": 0.1}
        assert termios.tcgetattr(theirs) == before, "the terminal is put back"
