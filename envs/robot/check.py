"""A contract test for drivers, with their limits: run it on your own before anything else does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.robot.clock import Clock, RealClock, Ticker
from envs.robot.contract import Robot, check_methods
from envs.robot.errors import RobotError
from envs.robot.features import Features
from envs.robot.limits import Limits, load_limits
from envs.robot.safety import Safety
from envs.robot.verdict import first_pose

_FOLLOWS = (0.3, 2.0)  # how far a joint may come of the way that it was told
_SETTLING = 0.5  # seconds
_SLOW = 0.25  # of step and rate: what is tried for the first time is tried slowly


@dataclass(frozen=True)
class Report:
    """What `check_robot` measured. Times in milliseconds, of reading an observation and of its age;
    `late` is how late ticks began.

    `followed`: of each action that was tried, the share of the way told that was measured; empty
    where nothing was sent. `remarks`: what keeps the contract and may still be wrong.

    >>> Report(100, 20.0, 0, (0.1, 0.4), (0.2, 0.3), (5.0, 9.0), {}, ()).hz
    20.0
    """

    ticks: int
    hz: float
    missed: int
    late: tuple[float, float]
    read: tuple[float, float]
    age: tuple[float, float]
    followed: Mapping[str, float]
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        rows = [f"{self.ticks} ticks at {self.hz:g} Hz, {self.missed} missed; ms at p50 and p99:"]
        for name in ("late", "read", "age"):
            rows.append(f"  {name:5}" + "".join(f"{ms:9.2f}" for ms in getattr(self, name)))
        rows += [
            f"  {name} went {100.0 * share:.0f} % of the way told"
            for name, share in self.followed.items()
        ]
        return "\n".join([*rows, *(f"  note: {remark}" for remark in self.remarks)])


def check_robot(
    robot: Robot,
    limits: Limits | str | Path | Mapping[str, Any],
    *,
    ticks: int = 100,
    move: bool = False,
    clock: Clock | None = None,
) -> Report:
    """Check that a driver keeps the contract and fits its limits; it is disconnected at the end.

    Reads `ticks` observations at the rate of the limits. With `move`, it then moves each action
    that is also measured under its name, one after the other, slowly, by four steps and back,
    within the limits, and looks whether the robot follows: units and signs that are wrong show
    there. Nothing is sent without `move`, but `stop` is called. Raises RobotError, LimitsError at
    the first broken promise.

    >>> from envs.robot import SteppedClock
    >>> from envs.robot.models import arm_limits
    >>> from envs.robot.simulated import SimulatedArm
    >>> clock = SteppedClock()
    >>> report = check_robot(
    ...     SimulatedArm(joints=3, clock=clock), arm_limits(3), clock=clock, move=True
    ... )
    >>> report.missed, [round(share, 1) for share in report.followed.values()]
    (0, [1.0, 1.0, 1.0])
    """
    check_methods(robot)
    bounds, clock = load_limits(limits), clock or RealClock()
    declared = getattr(robot, "action_features", None)
    if declared is not None and set(declared) != set(bounds.names):
        raise RobotError(
            f"limits: actions: expected limits of {sorted(declared)}, got {sorted(bounds.names)}"
        )
    robot.stop()  # it works before connect(), too
    robot.connect()
    try:
        features = Features.of(robot)
        features.need(bounds.workspace, "limits: workspace")
        report = _read(robot, bounds, features, clock, ticks)
        safety = Safety(bounds, getattr(robot, "forward", None))
        safety.begin(first_pose(bounds, _good(robot, features)), clock.now())
        if move:
            followed = {
                n: _follow(robot, safety, features, clock, n)
                for n in bounds.names
                if n in features.numbers
            }
            report = Report(**{**vars(report), "followed": followed})
        robot.stop()
        robot.stop()
    except BaseException:
        with suppress(Exception):
            robot.stop()
        raise
    finally:
        robot.disconnect()
    robot.stop()  # and after it
    return report


def _read(robot: Robot, limits: Limits, features: Features, clock: Clock, ticks: int) -> Report:
    ticker = Ticker(limits.hz, clock)
    late, took, ages, missed, before, same = [], [], [], 0, None, 0
    for _ in range(ticks):
        tick = ticker.wait()
        begun = clock.now()
        raw = robot.get_observation()
        now = clock.now()
        at = getattr(robot, "observed_at", None)
        _check(features.fault(raw))
        if raw is before:
            raise RobotError(
                "get_observation: expected a dict of its own at each call, got the one before; "
                "return a copy"
            )
        same += before is not None and all(raw[name] == before[name] for name in features.numbers)
        before = raw
        missed += tick.missed
        late.append(tick.late)
        took.append(now - begun)
        ages.append(0.0 if at is None else abs(now - float(at)))
    read = _percentiles(took)
    if read[0] > 1000.0 * limits.period:
        raise RobotError(
            f"get_observation: expected less than a tick of {1000.0 * limits.period:g} ms, "
            f"got {read[0]:.1f} ms; lower hz"
        )
    if _percentiles(ages)[0] > limits.stale_ms:
        raise RobotError(
            f"observed_at: expected seconds of time.monotonic, within stale_ms of now, got "
            f"{_percentiles(ages)[0]:.0f} ms off"
        )
    remarks = []
    if features.numbers and same == ticks - 1:
        remarks.append("all observations were equal, bit for bit: is the robot measured at all?")
    if missed:
        remarks.append(f"{missed} ticks were missed: something takes longer than a tick")
    return Report(
        ticks, limits.hz, missed, _percentiles(late), read, _percentiles(ages), {}, tuple(remarks)
    )


def _follow(robot: Robot, safety: Safety, features: Features, clock: Clock, name: str) -> float:
    """Move one action there and back; the share of the way there that was measured."""
    limit, ticker = safety.limits.actions[name], Ticker(safety.limits.hz, clock)
    start = safety.last
    way = 4.0 * limit.step
    if start[name] + way > limit.high:
        way = -way
    if not limit.low <= start[name] + way <= limit.high:
        way = (limit.low + limit.high) / 2.0 - start[name]
    before = float(_good(robot, features)[name])
    found = []
    safety.slowly(_SLOW)
    for goal in (start[name] + way, start[name]):
        settled = clock.now() + _SETTLING + safety.limits.seconds({name: way}, _SLOW)
        while clock.now() < settled:
            ticker.wait()
            safety.observe(_good(robot, features))
            now = clock.now()
            at = getattr(robot, "observed_at", None)
            verdict = safety.decide(
                {**start, name: goal},
                now=now,
                observed_at=now if at is None else float(at),
                decided_at=now,
            )
            if verdict.held or verdict.stop is not None or "workspace" in verdict.causes:
                got = verdict.stop or safety.log[-1].detail
                raise RobotError(
                    f"{name}: expected room to move by {way:g}, got: {got}; "
                    "move the robot to where there is"
                )
            sent = robot.send_action(dict(verdict.command))
            if not isinstance(sent, Mapping):
                raise RobotError(
                    f"send_action: expected what was sent, name -> number, "
                    f"got {type(sent).__name__}"
                )
            _check(safety.sent(sent, now))
        found.append(float(_good(robot, features)[name]) - before)
    share = found[0] / way
    if not _FOLLOWS[0] <= share <= _FOLLOWS[1]:
        raise RobotError(
            f"{name}: told to go {way:g}, expected it to be measured, got {found[0]:g}; "
            f"are units and signs of "
            "send_action and get_observation the same, and is the drive on?"
        )
    return share


def _good(robot: Robot, features: Features) -> Mapping[str, Any]:
    raw = robot.get_observation()
    _check(features.fault(raw))
    return raw


def _check(fault: str | None) -> None:
    if fault is not None:
        raise RobotError(fault if fault.startswith("sent") else f"get_observation: {fault}")


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    p50, p99 = np.percentile(np.array(seconds) * 1000.0, [50, 99])
    return float(p50), float(p99)
