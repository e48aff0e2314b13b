"""Whatever is asked, what is sent is within the limits; what is not known holds, and then stops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from robot_parts import NAMES, limits

from envs.robot import RobotError, RobotStopped, Safety

ANY = st.floats(allow_nan=True, allow_infinity=True, width=64)
NEAR = st.floats(-2.0, 2.0)
ASKED = st.one_of(
    st.fixed_dictionaries({name: st.one_of(ANY, NEAR) for name in NAMES}),
    st.dictionaries(st.text(max_size=3), ANY, max_size=3),
    st.sampled_from(
        [None, 3, "x", {NAMES[0]: "1", NAMES[1]: 0.0}, {NAMES[0]: True, NAMES[1]: 0.0}]
    ),
    st.sampled_from(
        [
            {NAMES[0]: [1], NAMES[1]: 1},
            {NAMES[0]: 10**400, NAMES[1]: 1},
            {NAMES[0]: None, NAMES[1]: 1},
        ]
    ),
)


def begun(**changes) -> Safety:
    safety = Safety(limits(**changes))
    safety.begin(dict.fromkeys(NAMES, 0.0), 0.0)
    assert safety.sent(dict.fromkeys(NAMES, 0.0), 0.0) is None
    return safety


def ask(safety: Safety, asked, now: float, age: float = 0.0, thought: float = 0.0):
    verdict = safety.decide(asked, now=now, observed_at=now - age, decided_at=now - thought)
    if verdict.stop is None:
        assert safety.sent(verdict.command, now) is None
    return verdict


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(ASKED, st.floats(1e-6, 0.2)), min_size=1, max_size=30))
def test_commands_stay_within_range_step_and_rate(asks) -> None:
    safety, now, last = begun(stop_ms=1e9), 0.0, np.zeros(2)
    for asked, elapsed in asks:
        now += elapsed
        verdict = ask(safety, asked, now)
        command = np.array([verdict.command[name] for name in NAMES])
        assert np.isfinite(command).all() and (np.abs(command) <= 1.0).all()
        assert (np.abs(command - last) <= min(0.1, 4.0 * elapsed * (1 + 1e-9))).all()
        fine = (
            isinstance(asked, dict)
            and set(asked) == set(NAMES)
            and all(type(v) is float and math.isfinite(v) for v in asked.values())
        )
        assert verdict.held == (not fine)
        last = command


def test_what_is_asked_within_the_limits_is_sent_as_it_is() -> None:
    safety, asked = begun(), {"shoulder.pos": 0.07, "elbow.pos": -0.1}
    verdict = ask(safety, asked, 0.05)
    assert verdict.command == asked and verdict.causes == () and not safety.counts


def test_causes_come_in_their_order() -> None:
    verdict = ask(begun(), {"shoulder.pos": 3.0, "elbow.pos": 0.0}, 0.01)
    assert verdict.causes == ("range", "step", "rate") and verdict.command["shoulder.pos"] == 0.04


@pytest.mark.parametrize(
    ("age", "thought", "cause"), [(0.2, 0.0, "stale observation"), (0.0, 0.2, "stale decision")]
)
def test_what_is_stale_holds_and_then_stops(age: float, thought: float, cause: str) -> None:
    safety, asked = begun(), dict.fromkeys(NAMES, 0.05)
    ask(safety, asked, 0.05)
    held = [ask(safety, dict.fromkeys(NAMES, 0.5), 0.05 * k, age, thought) for k in range(2, 14)]
    assert all(v.causes == (cause,) and v.command == asked and v.held for v in held)
    assert ask(safety, asked, 0.7, age, thought).stop is not None  # 600 ms after the first
    assert ask(safety, asked, 0.75).stop == safety.latched  # it latches
    with pytest.raises(RobotStopped, match="held too long"):
        safety.check()
    safety.rearm()
    safety.check()
    with pytest.raises(RobotError, match="call begin"):
        ask(safety, asked, 0.8)


def test_a_good_tick_ends_the_holding() -> None:
    safety, asked = begun(), dict.fromkeys(NAMES, 0.05)
    for k in range(1, 200):
        assert ask(safety, asked if k % 10 == 0 else None, 0.05 * k).stop is None
    assert safety.counts["schema"] == 180


def test_a_clock_that_goes_back_stops_and_one_that_jumps_holds() -> None:
    safety = begun()
    ask(safety, dict.fromkeys(NAMES, 0.05), 0.05)
    far = safety.decide(dict.fromkeys(NAMES, 0.5), now=100.0, observed_at=0.05, decided_at=100.0)
    assert far.held and far.causes == ("stale observation",)
    assert "went back" in str(
        safety.decide(dict.fromkeys(NAMES, 0.5), now=99.0, observed_at=99.0, decided_at=99.0).stop
    )
    assert (
        begun()
        .decide(dict.fromkeys(NAMES, 0.5), now=math.nan, observed_at=0.0, decided_at=0.0)
        .stop
        is not None
    )


def test_the_workspace_leads_back_and_its_margin_stops() -> None:
    safety = begun(workspace={"z": {"low": 0.0, "high": 1.0, "margin": 0.1}})
    safety.observe({"z": 0.5})
    ask(safety, dict.fromkeys(NAMES, 0.05), 0.05)
    safety.observe({"z": 0.9})
    ask(safety, dict.fromkeys(NAMES, 0.1), 0.1)
    safety.observe({"z": 1.05})
    back = ask(safety, dict.fromkeys(NAMES, 0.2), 0.15)
    assert back.causes == ("workspace",)
    assert back.command == dict.fromkeys(NAMES, 0.05), "the last one under which it was inside"
    safety.observe({"z": 1.11})
    assert "beyond the margin" in str(ask(safety, dict.fromkeys(NAMES, 0.1), 0.2).stop)


def test_a_command_that_leads_outside_is_not_sent() -> None:
    bounds = limits(workspace={"z": {"low": 0.0, "high": 1.0}})
    safety = Safety(bounds, forward=lambda command: {"z": 10.0 * command["elbow.pos"]})
    safety.begin(dict.fromkeys(NAMES, 0.0), 0.0)
    safety.observe({"z": 0.0})
    assert ask(safety, dict.fromkeys(NAMES, 0.09), 0.05).causes == ()
    for k in range(2, 40):  # whoever pushes against the border is not stopped for it
        verdict = ask(safety, dict.fromkeys(NAMES, 0.15), 0.05 * k)
        assert verdict.causes == ("workspace",) and verdict.command == dict.fromkeys(NAMES, 0.09)


def test_a_velocity_is_held_at_nought_without_a_jump() -> None:
    each = {"low": -1.0, "high": 1.0, "step": 0.1, "rate": 4.0, "home": 0.0, "hold": 0.0}
    safety = begun(actions={name: each for name in NAMES})
    for k in range(1, 6):
        ask(safety, dict.fromkeys(NAMES, 0.1 * k), 0.05 * k)
    speeds = [ask(safety, None, 0.05 * k).command["elbow.pos"] for k in range(6, 13)]
    assert np.allclose(speeds, [0.4, 0.3, 0.2, 0.1, 0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    "sent",
    [{"shoulder.pos": math.nan, "elbow.pos": 0.0}, {"shoulder.pos": 0.5, "elbow.pos": 0.0}, None],
)
def test_a_driver_that_sent_something_else_stops(sent) -> None:
    safety = begun()
    safety.decide(dict.fromkeys(NAMES, 0.05), now=0.05, observed_at=0.05, decided_at=0.05)
    assert safety.sent(sent, 0.05) is not None and str(safety.latched).startswith("sent")


def test_a_first_pose_far_outside_is_refused() -> None:
    safety = Safety(limits())
    safety.begin({"shoulder.pos": 1.05, "elbow.pos": 0.0}, 0.0)
    assert safety.last["shoulder.pos"] == 1.0
    for shoulder, said in ((1.2, "by hand"), (math.nan, "finite")):
        pose = {"shoulder.pos": shoulder, "elbow.pos": 0.0}
        with pytest.raises(RobotError, match=said):
            safety.begin(pose, 0.0)
