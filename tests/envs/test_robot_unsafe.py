"""What a driver, a program or a person does at a bad moment moves no robot further than the limits
say, and stops it in the end.
"""

from __future__ import annotations

import os
import socket
import threading
import time

import numpy as np
import pytest
from robot_parts import EACH, NAMES, Arm, Moments, limits

from envs import VectorEnv, adapt
from envs.robot import (
    RECORD,
    FreeTask,
    RobotEnv,
    RobotError,
    RobotStopped,
    Safety,
    SteppedClock,
    Wishes,
    check_robot,
)
from envs.robot.watching import Talk, Watchdog
from envs.wire import receive, send

UP, DOWN = np.array([0.1, 0.1]), np.array([-0.1, -0.1])
SPEED = {"low": -1.0, "high": 1.0, "step": 0.1, "rate": 4.0, "hold": 0.0}


def env_of(arm: Arm, clock=None, *, bounds=None, **more) -> RobotEnv:
    return RobotEnv(arm, bounds or limits(), clock=clock or SteppedClock(), **more)


def dog_of(arm: Arm, **changes) -> Watchdog:
    found = Watchdog("robot_parts:Arm", {}, limits(**changes))
    found.driver = arm
    assert found.answer("connect", None, 0.0) == ("ok", None)
    return found


def raises(arm, action):
    raise OSError("the bus")


def elbow(arm: Arm) -> list[float]:
    return [command["elbow.pos"] for command in arm.commands]


# ---------------------------------------------------------------- a driver that cannot send


def test_a_driver_that_cannot_send_any_more_is_stopped_in_time() -> None:
    arm = Arm()
    env = env_of(arm)
    env.reset()
    env.step(UP)
    arm.send = raises
    ticks = 1
    while not env.step(UP)[3]:
        ticks += 1
    assert ticks <= 13 and arm.stops == 1, "600 ms at 20 Hz"
    assert "send_action raised OSError" in str(env.safety.latched)


def test_a_pause_does_not_hide_that() -> None:
    arm = Arm()
    env = env_of(arm, person=Moments({k: Wishes(pause=True) for k in range(3, 900)}))
    env.reset()
    arm.send = raises
    for _ in range(3):
        env.step(UP)
    assert arm.stops and env.safety.latched is not None
    assert len(arm.commands) <= 15, "600 ms at 20 Hz, most of them in the pause"


def test_nor_does_the_watchdog_take_it_for_a_command() -> None:
    arm = Arm()
    dog = dog_of(arm)
    dog.answer("send", dict.fromkeys(NAMES, 0.05), 0.05)
    arm.send, now = raises, 0.05
    while arm.stops == 0 and now < 5.0:
        now += 0.05
        assert dog.answer("send", dict.fromkeys(NAMES, 0.05), now)[0] == "error"
        dog.watch(now)
    assert now <= 0.05 + 0.2 + 0.6 + 0.1


def test_what_may_have_been_sent_counts() -> None:
    """It sends, and then fails to say so: each time the next command is near to both."""
    arm = Arm()
    env = env_of(arm)
    env.reset()
    arm.send = raises
    for k in range(8):
        env.step(UP if k % 2 == 0 else DOWN)
    assert np.abs(np.diff([0.0, *elbow(arm)])).max() <= 0.1 + 1e-9


def test_all_that_may_be_in_force_bounds_the_next_command() -> None:
    safety = Safety(limits(stop_ms=1e9))
    safety.begin(dict.fromkeys(NAMES, 0.0), 0.0)
    rng, possible, now = np.random.default_rng(0), np.zeros((1, 2)), 0.0
    for _ in range(300):
        now += 0.05
        asked = dict(zip(NAMES, rng.uniform(-1.0, 1.0, 2), strict=True))
        command = safety.decide(asked, now=now, observed_at=now, decided_at=now).command
        found = np.array([command[name] for name in NAMES])
        assert np.abs(found - possible).max() <= 0.1 + 1e-9
        if rng.random() < 0.5:
            safety.unsure(command, now)
            possible = np.vstack([possible, found])
        else:
            assert safety.sent(command, now) is None
            possible = found[None]


# ---------------------------------------------------------------- stops


def test_a_stop_that_raises_is_tried_again() -> None:
    arm, tries = Arm(), []

    def stop() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("busy")

    arm.stop = stop
    env = env_of(arm)
    env.reset()
    env.stop()
    assert len(tries) == 2
    tries.clear()
    dog = dog_of(arm)
    dog.answer("send", dict.fromkeys(NAMES, 0.05), 0.05)
    kind, said = dog.answer("stop", None, 1.0)
    assert kind == "error" and "tried again" in said
    dog.watch(dog.due())
    assert len(tries) == 2 and dog.due() is None
    assert dog.answer("stop", None, 2.0)[0] == "ok"


def test_a_driver_that_sends_something_else_while_it_is_watched_is_stopped() -> None:
    arm = Arm()
    dog = dog_of(arm)
    dog.answer("send", dict.fromkeys(NAMES, 0.05), 0.05)
    arm.send = lambda arm, action: {name: at + 0.3 for name, at in action.items()}
    dog.watch(dog.due())
    assert arm.stops == 1 and "the driver sent" in dog.gate.latched


def test_the_watchdog_watches_while_the_program_does_not_read() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    arm = Arm(observe=lambda arm: {**arm.pose, "front": image})
    dog = dog_of(arm)
    ours, theirs = socket.socketpair()
    talk = Talk(theirs, dog, os.getppid())
    with ours, theirs:
        dog.answer("send", dict.fromkeys(NAMES, 0.05), time.monotonic())
        send(ours, [1, "observe", None])
        writing = threading.Thread(target=talk.once)
        writing.start()
        end = time.monotonic() + 20.0
        while arm.stops == 0 and time.monotonic() < end:
            time.sleep(0.05)
        assert arm.stops == 1 and writing.is_alive(), "it stopped, and goes on writing"
        serial, kind, found, _ = receive(ours, time.monotonic() + 20.0)
        writing.join(20.0)
    assert (serial, kind) == (1, "ok") and np.array_equal(found[0]["front"], image)


def test_a_program_that_is_gone_is_known_by_its_number_too() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(EOFError):
        Talk(theirs, dog_of(Arm()), os.getpid()).once()


@pytest.mark.parametrize("what", ["pass_on", "hold", "halt", "_send__"])
def test_the_watchdog_does_what_its_messages_name_and_no_more(what) -> None:
    arm = Arm()
    dog = dog_of(arm)
    dog.answer("send", dict.fromkeys(NAMES, 0.05), 0.05)
    kind, said = dog.answer(what, dict.fromkeys(NAMES, 9.0), 0.1)
    assert kind == "error" and "expected one of ['connect', 'observe'" in said
    assert elbow(arm) == [0.05] and arm.stops == 0


# ---------------------------------------------------------------- velocities


def speed_env(arm: Arm, **more) -> RobotEnv:
    return env_of(arm, bounds=limits(actions={name: SPEED for name in NAMES}), **more)


def test_a_velocity_is_braked_where_an_episode_ends_and_where_one_begins() -> None:
    arm, told = Arm(), []
    env = speed_env(arm, task=FreeTask(limit=10), on_tick=told.append)
    env.reset()
    while not env.step(UP)[3]:
        pass
    assert np.allclose(elbow(arm)[-11:], np.arange(10, -1, -1) / 10) and arm.stops == 0
    assert told[-1].command["elbow.pos"] == pytest.approx(1.0), "the episode's last tick"
    count = len(arm.commands)
    env.reset()
    assert set(elbow(arm)[count:]) == {0.0}


def test_the_watchdog_brakes_a_velocity_that_rests() -> None:
    arm = Arm()
    dog = dog_of(arm, actions={name: SPEED for name in NAMES})
    for k in range(1, 9):
        dog.answer("send", dict.fromkeys(NAMES, 0.1 * k), 0.05 * k)
    assert dog.answer("rest", None, 0.41)[0] == "ok"
    while (due := dog.due()) is not None:
        dog.watch(due)
    assert elbow(arm)[-1] == 0.0 and arm.stops == 0
    dog.answer("send", dict.fromkeys(NAMES, 0.05), 9.0)
    arm.send = raises
    dog.answer("rest", None, 9.1)
    while (due := dog.due()) is not None and due < 20.0:
        dog.watch(due)
    assert arm.stops == 1, "it cannot be braked"


# ---------------------------------------------------------------- the workspace


def test_a_position_goes_back_the_way_it_came() -> None:
    def observe(arm):
        return {**arm.pose, "z": arm.pose["elbow.pos"]}

    arm = Arm(observe=observe)
    arm.observation_features = {**dict.fromkeys(NAMES, float), "z": float}
    bounds = limits(workspace={"z": {"low": -0.55, "high": 0.55, "margin": 0.2}})
    env = env_of(arm, bounds=bounds)
    env.reset()
    for _ in range(40):
        record = env.step(UP)[4][RECORD]
        assert arm.pose["elbow.pos"] <= 0.65
    assert "workspace" in [each.cause for each in env.safety.log] and record.stopped is None
    assert elbow(arm)[5:9] == pytest.approx([0.5, 0.6, 0.5, 0.6]), "out by one, and back in"


def test_what_lags_goes_back_further_than_one_command() -> None:
    safety, places = Safety(limits(workspace={"z": {"low": -1.0, "high": 0.3, "margin": 9.0}})), []
    safety.begin(dict.fromkeys(NAMES, 0.0), 0.0)
    for k in range(1, 40):  # what is measured is five commands old
        now = 0.05 * k
        safety.observe({"z": places[-5] if len(places) >= 5 else 0.0})
        verdict = safety.decide(dict.fromkeys(NAMES, 1.0), now=now, observed_at=now, decided_at=now)
        assert safety.sent(verdict.command, now) is None
        places.append(verdict.command["elbow.pos"])
    assert max(places) == pytest.approx(0.8), "the first that was measured outside is five behind"
    assert min(places[places.index(max(places)) :]) <= 0.3 + 1e-9


def test_a_velocity_stands_where_it_leaves_the_workspace() -> None:
    class Base(Arm):
        z = 0.0

        def send_action(self, action):
            self.z += 0.05 * action["elbow.pos"]
            return super().send_action(action)

    arm = Base(observe=lambda arm: {"z": arm.z})
    arm.observation_features = {"z": float}
    each = {**SPEED, "step": 0.5, "rate": 20.0, "home": 0.0}
    workspace = {"z": {"low": -1.0, "high": 1.0, "margin": 0.5}}
    env = env_of(
        arm,
        bounds=limits(actions={name: each for name in NAMES}, workspace=workspace),
        control="absolute",
    )
    env.reset()
    for _ in range(60):
        outside = arm.z > 1.0
        env.step(np.ones(2))
        assert not outside or elbow(arm)[-1] <= 0.5, "braking, not driving on"
    assert elbow(arm)[-1] == 0.0 and arm.z < 1.2 and arm.stops == 0


def test_the_first_look_at_a_robot_stays_in_the_workspace() -> None:
    class Tip(Arm):
        lowest = 9.0
        observation_features = {**dict.fromkeys(NAMES, float), "z": float}

        def get_observation(self):
            return {**self.pose, "z": self.forward(self.pose)["z"]}

        def forward(self, command):
            return {"z": 0.12 - command["elbow.pos"]}

        def send_action(self, action):
            self.lowest = min(self.lowest, self.forward(action)["z"])
            return super().send_action(action)

    arm, bounds = Tip(), limits(workspace={"z": {"low": 0.1, "high": 3.0, "margin": 0.03}})
    with pytest.raises(RobotError, match=r"elbow.pos: expected room to move by 0.4, got: .* z = "):
        check_robot(arm, bounds, clock=SteppedClock(), move=True)
    assert arm.lowest >= 0.1 and arm.stops > 0


# ---------------------------------------------------------------- beginnings


def falling() -> Arm:
    arm = Arm()
    arm.stop = lambda: arm.pose.update(dict.fromkeys(NAMES, -0.9))
    return arm


@pytest.mark.parametrize("disconnects", [True, False])
def test_after_close_commands_start_from_where_the_robot_is(disconnects) -> None:
    arm = falling()
    if not disconnects:
        arm.disconnect = lambda: 1 / 0
    env = env_of(arm, home=False)
    env.reset()
    for _ in range(9):
        env.step(UP)
    env.close()
    count = len(arm.commands)
    env.reset()
    assert elbow(arm)[count:] == [-0.9]


def test_a_vector_that_makes_it_anew_does_so_too() -> None:
    class Once(FreeTask):
        count = 0

        def judge(self, measured, sent):
            self.count += 1
            if self.count == 9:
                raise ZeroDivisionError
            return super().judge(measured, sent)

    arm = falling()
    env = env_of(arm, home=False, task=Once())
    vector = VectorEnv([lambda: adapt(env)], seed=0)
    vector.reset()
    for _ in range(9):
        vector.step(np.ones((1, 2), np.float32))
    assert elbow(arm)[-2:] == pytest.approx([0.9, -0.9]), "where it fell to, and no command back"


def test_a_pause_holds_on_the_way_home_too() -> None:
    arm = Arm()
    arm.pose = dict.fromkeys(NAMES, 0.9)
    clock = SteppedClock()
    env = env_of(arm, clock, person=Moments({k: Wishes(pause=True) for k in range(2, 900)}))
    threading.Timer(0.3, lambda: setattr(env.person, "at", {})).start()
    env.reset()
    held = elbow(arm)
    assert held.count(held[3]) > 20 and held[-1] == pytest.approx(0.0)


def test_a_driver_that_rounds_comes_home() -> None:
    arm = Arm(send=lambda arm, action: {n: round(v / 0.006) * 0.006 for n, v in action.items()})
    arm.pose = dict.fromkeys(NAMES, 0.9)
    env_of(arm, bounds=limits(actions={n: {**EACH, "home": 0.1} for n in NAMES})).reset()
    assert elbow(arm)[-1] == pytest.approx(0.1)


def test_a_stop_in_a_vector_is_a_stop() -> None:
    env = env_of(Arm())
    vector = VectorEnv([lambda: adapt(env)], seed=0)
    vector.reset()
    env.stop("the key")
    vector.step(np.ones((1, 2), np.float32))
    with pytest.raises(RobotStopped, match=r"environment 0, .*the key") as error:
        vector.step(np.ones((1, 2), np.float32))
    assert error.value.cause == "person: the key"
    env.rearm()
    vector.reset()
