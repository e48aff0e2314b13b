"""Simulated robots: what passes the link, what the board obeys, what each fault does; the same in
stepped and real time.
"""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")
from envs.robot import Faults, RobotEnv, RobotError, Served, SimulatedArm, SteppedClock, arm_limits
from envs.robot.board import read_trace
from envs.robot.faults import Channel
from envs.robot.models import TIMESTEP, Arm
from envs.robot.packet import COMMAND, Packet, pack, unpack

HOME = {"joint_1.pos": 0.0, "joint_2.pos": 3.6, "joint_3.pos": 1.4}


def connected(**options) -> tuple[SimulatedArm, SteppedClock]:
    clock = SteppedClock()
    robot = SimulatedArm(joints=3, clock=clock, **options)
    robot.connect()
    return robot, clock


def go(robot, clock, ticks: int, **command) -> dict[str, float]:
    """Command for some ticks of 50 ms; what is measured then."""
    for _ in range(ticks):
        robot.send_action({**HOME, **command})
        clock.sleep_until(clock.now() + 0.05)
    return robot.get_observation()


# ---------------------------------------------------------------- link


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 10**6))
def test_bytes_that_are_no_packet_are_none(noise: bytes, bit: int) -> None:
    assert unpack(noise) is None
    whole = pack(Packet(COMMAND, 1, 2, 3.0, np.array([0.5, 0.25])))
    bit %= 8 * len(whole)
    garbled = bytearray(whole)
    garbled[bit // 8] ^= 1 << bit % 8
    assert (
        unpack(bytes(garbled)) is None
        and unpack(whole[:-1]) is None
        and unpack(whole + b"x") is None
    )
    assert unpack(whole).serial == 2


def test_a_channel_delays_loses_and_repeats_by_its_shares() -> None:
    channel, count = Channel(np.random.default_rng(0)), 2000
    for k in range(count):
        channel.put(
            k.to_bytes(2, "big"),
            0.0,
            Faults(latency_ms=20.0, jitter_ms=5.0, loss=0.25, duplicate=0.1),
        )
    assert channel.due(0.0199) == []
    found = len(channel.due(0.025))
    assert abs(found / (0.75 * 1.1 * count) - (1.0 - math.exp(-1.0))) < 0.04, (
        "an exponential delay of 5 ms on top"
    )
    total = found + len(channel.due(9.0))
    assert abs(total / (0.75 * 1.1 * count) - 1.0) < 0.05 and channel.due(99.0) == []
    channel.put(b"x", 0.0, Faults(cut=True))
    assert channel.due(99.0) == []


def test_reordered_messages_are_all_there_in_another_order() -> None:
    channel = Channel(np.random.default_rng(0))
    sent = [k.to_bytes(2, "big") for k in range(200)]
    for k, each in enumerate(sent):
        channel.put(each, 0.005 * k, Faults(reorder=0.3))
    found = channel.due(99.0)
    assert sorted(found) == sent and found != sent


@pytest.mark.parametrize(
    "wrong", [{"loss": 1.5}, {"noise": math.nan}, {"latency_ms": -1.0}, {"broken": "x"}, {"jam": 1}]
)
def test_faults_that_make_no_sense_are_refused(wrong) -> None:
    with pytest.raises(RobotError, match="faults"):
        Faults.read(wrong)
    assert {f.name for f in fields(Faults)} >= {
        "latency_ms",
        "jitter_ms",
        "loss",
        "noise",
        "dropped",
        "stuck",
        "backlash",
    }


# ---------------------------------------------------------------- the board


def test_it_goes_where_it_is_told_as_its_servos_can() -> None:
    robot, clock = connected()
    after = go(robot, clock, 60, **{"joint_1.pos": 0.5})
    assert after["joint_1.pos"] == pytest.approx(
        0.5, abs=0.01
    ) and robot.observed_at == pytest.approx(clock.now())
    tip = robot.forward({name: after[name] for name in HOME})
    assert [after[k] for k in tip] == pytest.approx(list(tip.values()), abs=2e-3), (
        "forward kinematics"
    )


def test_the_same_seed_gives_the_same_bits() -> None:
    def run(seed: int) -> list[float]:
        robot, clock = connected(
            seed=seed, faults=Faults(noise=0.01, loss=0.1, jitter_ms=5.0, dropped=0.1)
        )
        return list(go(robot, clock, 20, **{"joint_1.pos": 0.2}).values())

    assert run(1) == run(1) != run(2)


def test_old_double_and_foreign_commands_do_nothing() -> None:
    robot, clock = connected()
    board = robot.board
    go(robot, clock, 2)
    session, serial = board.session, board.serial

    def told(goal: float, serial: int, session: int = session, age: float = 0.0) -> float:
        values = np.array([goal, 3.6, 1.4])
        board.receive(
            pack(Packet(COMMAND, session, serial, clock.now() - age, values)), clock.now()
        )
        clock.sleep_until(clock.now() + 0.01)
        return float(board._setpoint[0])

    assert told(0.1, serial + 1) == 0.1
    assert told(0.2, serial + 1) == 0.1 and told(0.2, serial) == 0.1, (
        "it had that one, or a later one"
    )
    assert told(0.3, serial + 9, session - 1) == 0.1, "the program that was connected before"
    assert told(0.4, serial + 9, age=0.3) == 0.1, "too long on its way"
    assert told(math.nan, serial + 9) == 0.1
    assert told(0.5, serial + 9) == 0.5
    board.receive(b"PXR1" + bytes(60), clock.now())
    board.receive(
        pack(Packet(COMMAND, session, serial + 10, clock.now(), np.zeros(7))), clock.now()
    )
    clock.sleep_until(clock.now() + 0.01)
    assert board._setpoint[0] == 0.5


def test_a_stop_holds_the_pose_until_the_next_hello() -> None:
    robot, clock = connected()
    moving = go(robot, clock, 8, **{"joint_1.pos": 0.6})
    robot.stop()
    held = go(robot, clock, 40, **{"joint_1.pos": 0.6})["joint_1.pos"]
    assert moving["joint_1.pos"] - 0.01 < held < 0.55
    robot.disconnect()
    robot.connect()
    assert go(robot, clock, 60, **{"joint_1.pos": 0.6})["joint_1.pos"] == pytest.approx(
        0.6, abs=0.01
    )


def test_a_stop_reaches_it_through_a_bad_link() -> None:
    robot, clock = connected(faults=Faults(loss=0.5, latency_ms=10.0, jitter_ms=10.0))
    go(robot, clock, 4)
    begun = clock.now()
    robot.stop()
    clock.sleep_until(begun + 0.25)
    assert robot.board.stopped
    robot.stop()  # again, and unconnected
    robot.disconnect()
    robot.stop()


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (
            {"stuck": "joint_1.pos"},
            lambda free, bad: abs(bad["joint_1.pos"]) < 0.01 < free["joint_1.pos"],
        ),
        (
            {"backlash": 0.1},
            lambda free, bad: 0.04 < free["joint_1.pos"] - bad["joint_1.pos"] < 0.06,
        ),
        ({"payload": 2.0}, lambda free, bad: free["tip.z"] - bad["tip.z"] > 2e-3),
        ({"frozen": True}, lambda free, bad: bad["joint_1.pos"] == pytest.approx(0.0, abs=1e-3)),
        (
            {"noise": 0.05},
            lambda free, bad: 0.0 < abs(free["joint_2.pos"] - bad["joint_2.pos"]) < 0.3,
        ),
        ({"broken": "nan"}, lambda free, bad: sum(math.isnan(v) for v in bad.values()) == 1),
        ({"broken": "inf"}, lambda free, bad: sum(math.isinf(v) for v in bad.values()) == 1),
        ({"broken": "huge"}, lambda free, bad: sum(v == 1e300 for v in bad.values()) == 1),
    ],
)
def test_each_fault_of_body_and_sensors(fault, seen) -> None:
    free = go(*connected(), 60, **{"joint_1.pos": 0.5})
    robot, clock = connected()
    robot.switch(**fault)
    bad = go(robot, clock, 60, **{"joint_1.pos": 0.5})
    assert seen(free, bad)
    robot.switch(**{name: getattr(Faults(), name) for name in fault})
    assert go(robot, clock, 40, **{"joint_1.pos": 0.5})["joint_1.pos"] == pytest.approx(
        0.5, abs=0.01
    ), "and off again"


def test_latency_and_drops_are_told_by_the_age() -> None:
    robot, clock = connected()
    robot.switch(latency_ms=40.0)
    go(robot, clock, 10)
    assert clock.now() - robot.observed_at == pytest.approx(0.04, abs=0.011)
    robot.switch(latency_ms=0.0, frozen=True)
    go(robot, clock, 10)
    assert clock.now() - robot.observed_at > 0.45
    robot.switch(frozen=False, cut=True)
    go(robot, clock, 10)
    with pytest.raises(RobotError, match="no such"):
        robot.switch(stuck="no such")


def test_the_environment_holds_through_a_cut_and_stops() -> None:
    clock = SteppedClock()
    robot = SimulatedArm(joints=3, clock=clock)
    env = RobotEnv(robot, arm_limits(3), clock=clock)
    env.reset()
    for _ in range(10):
        assert not env.step(env.action_space.high)[3]
    robot.switch(cut=True)
    begun = clock.now()
    while not env.step(env.action_space.high)[3]:
        pass
    bounds, waiting = env.limits, 0.25  # for an answer to the stop
    assert (
        clock.now() - begun
        <= (bounds.stale_ms + bounds.stop_ms) / 1000.0 + 2 * bounds.period + waiting
    )
    assert str(env.safety.latched).startswith("held too long: stale observation")
    robot.switch(cut=False)
    env.rearm()
    env.reset()
    assert not env.step(env.action_space.high)[3]


# ---------------------------------------------------------------- in its own process


def test_real_time_is_the_same_robot(tmp_path) -> None:
    trace = tmp_path / "trace"
    with Served("arm", options={"joints": 3}, trace=trace) as served:
        robot = SimulatedArm(joints=3, port=served.port)
        robot.connect()
        env = RobotEnv(robot, arm_limits(3, hz=50, stale_ms=2000.0, stop_ms=2000.0))
        env.reset()
        for _ in range(25):
            *_, truncated, info = env.step(env.action_space.high * [1.0, 0.0, 0.0])
            assert not truncated
        told = info["envs.robot"].command
        env.close()
        assert served.running
    rows = read_trace(trace, Arm(3))
    setpoints = rows["setpoint"]
    limits = arm_limits(3)
    low, high = (
        np.array([getattr(each, k) for each in limits.actions.values()]) for k in ("low", "high")
    )
    assert ((setpoints >= low) & (setpoints <= high)).all() and (
        np.diff(rows["time"]) >= 2 * TIMESTEP - 1e-6
    ).all()
    assert (
        np.abs(setpoints[:, 0] - told["joint_1.pos"]).min() < 1e-12 and rows["stopped"][-1] == 1.0
    )
