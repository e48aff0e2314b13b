"""Faults of a robot's program, watchdog, process, link, numbers, limits and clock: is it stopped in
time, and does it go on?

    python benchmarks/robot_faults.py                         20 tries a fault, 20 minutes
    python benchmarks/robot_faults.py --faults cut nan_action --tries 3
    python benchmarks/robot_faults.py --nice -10              all of it before other processes

The simulated arm at 20 Hz, 3 joints, limits 150 ms (stale), 200 ms (watchdog), 600 ms (held too
long).  Faults of processes are made in real time with real signals; those of link, numbers and
clock in stepped time, on the same code.  The moment of a fault is drawn anew for each try, and the
policy wants to go as far as it may all the time.  Of each fault:

    stop_s      from the fault to the robot's own stop flag, or, where nothing reaches the robot any
                more, to when the
                program stopped; its limit is in ``limit_s``: what safety or the watchdog wait for,
                and a tick.  None where it is right to go on
    hold_s      from the fault to the last change of the robot's setpoint
    outside     setpoints that the robot took outside of its range, or farther from the one before
                than a step for each
                tick since (a link loses commands)
    restarted   tries after which the arm moved again, when the fault was over and somebody had
                re-armed

Appends a JSON line a fault to ``results/robot_faults.jsonl``.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents.rundir import origin
from envs.robot import (
    RECORD,
    Limits,
    LimitsError,
    RobotEnv,
    RobotError,
    Served,
    SimulatedArm,
    SteppedClock,
    Watched,
    arm_limits,
)
from envs.robot.board import read_trace
from envs.robot.models import TIMESTEP, Arm

RESULTS = Path(__file__).parent / "results" / "robot_faults.jsonl"
JOINTS = 3
LIMITS = arm_limits(JOINTS)
TICK = LIMITS.period
STALE, STOP, DOG = (ms / 1000.0 for ms in (LIMITS.stale_ms, LIMITS.stop_ms, LIMITS.watchdog_ms))
DRIVER = "envs.robot.simulated:SimulatedArm"


Run = Callable[[np.random.Generator], "Try"]


class Try(NamedTuple):
    """Seconds to the stop and to the last change of the setpoint (None: it went on), broken limits,
    whether it went on after.
    """

    stop: float | None
    hold: float | None
    outside: int
    restarted: bool


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="write no result")
    args = parser.parse_args()
    os.nice(args.nice)
    about = {k: origin()[k] for k in ("commit", "dirty", "versions")}
    for name in args.faults:
        run, limit = FAULTS[name]
        tries = [run(np.random.default_rng([7, k])) for k in range(args.tries)]
        told = {
            "benchmark": "robot_faults",
            "fault": name,
            **summary(tries, limit),
            "load": os.getloadavg()[0],
            **about,
        }
        print(json.dumps({k: v for k, v in told.items() if k not in about}), flush=True)
        if not args.dry:
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told) + "\n")


def summary(tries: list[Try], limit: float | None) -> dict[str, Any]:
    stops, holds = (
        [getattr(each, key) for each in tries if getattr(each, key) is not None]
        for key in ("stop", "hold")
    )
    as_it_should = sum(
        (t.stop is None) if limit is None else (t.stop is not None and t.stop <= limit + 1e-9)
        for t in tries
    )
    return {
        "tries": len(tries),
        "limit_s": None if limit is None else round(limit, 4),
        "stop_s": spread(stops),
        "hold_s": spread(holds),
        "as_it_should": as_it_should,
        "outside": sum(t.outside for t in tries),
        "restarted": sum(t.restarted for t in tries),
    }


def spread(seconds: list[float]) -> dict[str, float] | None:
    return (
        {"median": round(float(np.median(seconds)), 4), "max": round(max(seconds), 4)}
        if seconds
        else None
    )


# ---------------------------------------------------------------- stepped time


def stepped(
    make: Callable[..., Any],
    recover: Callable[[SimulatedArm], None] = lambda arm: None,
    seconds: float = 3.0,
) -> Run:
    """A try: some ticks, `make` the fault (it may return what becomes of actions), and look for
    some seconds.
    """

    def run(rng: np.random.Generator) -> Try:
        clock = Jumping()
        arm = SimulatedArm(JOINTS, clock=clock, seed=int(rng.integers(1000)))
        env = RobotEnv(arm, LIMITS, clock=clock, home=False)
        env.reset()
        outside = Outside(arm)
        direction = rng.choice([-1.0, 1.0], JOINTS)
        for _ in range(int(rng.integers(3, 12))):
            env.step(env.action_space.high * direction)
        # it comes at any moment of a tick
        clock.sleep_until(clock.now() + float(rng.uniform(0.0, 0.9)) * TICK)
        spoil = make(env, arm, clock, rng) or (lambda action: action)
        begun, at = outside.now(), clock.now()
        outside.since(begun)
        truncated = False
        while not truncated and outside.now() - begun < seconds:
            *_, truncated, _ = env.step(spoil(env.action_space.high * direction))
        stop, hold = (
            None if each is None else each - begun
            for each in (outside.stopped_at, outside.changed_at)
        )
        if truncated and stop is None:  # it cannot be told
            stop = latched(env) - at
        hold = None if stop is None else hold
        recover(arm)
        return Try(stop, hold, outside.count, moves(env, again=truncated))

    return run


def latched(env: RobotEnv) -> float:
    """When the program stopped, by its clock."""
    return next(
        each.time for each in env.safety.log if each.cause in ("held too long", "watchdog", "clock")
    )


class Jumping(SteppedClock):
    """A clock that somebody sets, for the program and the robot."""

    def jump(self, seconds: float) -> None:
        self._now += seconds


class Outside:
    """Looks at every setpoint that a board in this process takes."""

    def __init__(self, arm: SimulatedArm) -> None:
        assert arm.board is not None
        self.board, self.count = arm.board, 0
        table = list(LIMITS.actions.values())
        self._low, self._high, self._step = (
            np.array([getattr(each, k) for each in table]) for k in ("low", "high", "step")
        )
        self._last = arm.board._setpoint.copy()
        self._session, self._taken_at = arm.board.session, self.now()
        self.stopped_at: float | None = None
        self.changed_at = 0.0
        self._drive = arm.board.body.drive
        arm.board.body.drive = self.see  # type: ignore[method-assign]

    def now(self) -> float:
        return self.board._steps * TIMESTEP

    def since(self, now: float) -> None:
        self.changed_at, self.stopped_at = now, None

    def see(self, setpoint: np.ndarray) -> None:
        taken = self.board._setpoint
        if not np.array_equal(taken, self._last):
            fresh = self.board.stopped or self.board.session != self._session
            allowed = self._step * ticks(self.now() - self._taken_at)
            self.count += broken(self._last, taken, self._low, self._high, allowed, fresh)
            self._taken_at = self.now()
            if not self.board.stopped:
                self.changed_at = self.now()
            self._last, self._session = taken.copy(), self.board.session
        if self.board.stopped and self.stopped_at is None:
            self.stopped_at = self.now()
        self._drive(setpoint)


def ticks(seconds: float) -> int:
    """The ticks in which commands may have been lost, and one may be late."""
    return max(1, math.ceil((seconds + 0.02) / TICK))


def broken(last: Any, taken: Any, low: Any, high: Any, allowed: Any, fresh: bool) -> bool:
    """Whether a setpoint breaks a limit; one of a stop or a hello is where the robot is, wherever
    that is.
    """
    if fresh:
        return False
    inside = (
        np.isfinite(taken).all() and (taken >= low - 1e-9).all() and (taken <= high + 1e-9).all()
    )
    return not (inside and (np.abs(taken - last) <= allowed + 1e-9).all())


def moves(env: RobotEnv, again: bool) -> bool:
    """Whether it moves, after a person has re-armed where there was a stop."""
    try:
        if again:
            if env.safety.latched is not None:
                env.rearm()
            env.reset()
        before = env.safety.last
        toward = np.array(
            [
                np.sign((each.low + each.high) / 2 - before[name])
                for name, each in LIMITS.actions.items()
            ]
        )
        for _ in range(10):
            *_, truncated, _ = env.step(env.action_space.high * toward)
            if truncated:
                return False
        after = env.safety.last
        return (
            max(abs(after[name] - before[name]) for name in after)
            > 3 * LIMITS.actions[env.names[0]].step
        )
    except RobotError:
        return False


def switched(**faults: Any) -> Run:
    off = {
        "loss": 0.0,
        "latency_ms": 0.0,
        "jitter_ms": 0.0,
        "duplicate": 0.0,
        "reorder": 0.0,
        "corrupt": 0.0,
        "cut": False,
        "frozen": False,
        "broken": None,
    }
    return stepped(lambda env, arm, clock, rng: arm.switch(**faults), lambda arm: arm.switch(**off))


def asked(value: float) -> Run:
    """A policy that says this, in one number or all."""

    def make(
        env: RobotEnv, arm: SimulatedArm, clock: Any, rng: np.random.Generator
    ) -> Callable[[np.ndarray], np.ndarray]:
        which = rng.random(JOINTS) < 0.5
        which[rng.integers(JOINTS)] = True
        return lambda action: np.where(which, value, action)

    return stepped(make)


def jump(low: float, high: float) -> Run:
    """The clock is set by seconds between `low` and `high`."""

    def make(env: RobotEnv, arm: SimulatedArm, clock: Jumping, rng: np.random.Generator) -> None:
        clock.jump(float(rng.uniform(low, high)))

    return stepped(make)


# ---------------------------------------------------------------- limits


def refused(spoil: Callable[[dict[str, Any], str, str], None]) -> Run:
    """Limits at fault: no environment is made, and nothing has been sent."""

    def run(rng: np.random.Generator) -> Try:
        values = copy.deepcopy(LIMITS.plain())
        spoil(
            values,
            str(rng.choice(list(values["actions"]))),
            str(rng.choice(["low", "high", "step", "rate"])),
        )
        clock = SteppedClock()
        arm = SimulatedArm(JOINTS, clock=clock)
        try:
            RobotEnv(arm, Limits.read(values), clock=clock)
        except LimitsError:
            assert arm.board is not None
            told = arm.board.session
            return Try(None, None, int(told != 0), moves(started(arm, clock), again=False))
        return Try(0.0, None, 1, False)

    return run


def started(arm: SimulatedArm, clock: SteppedClock) -> RobotEnv:
    env = RobotEnv(arm, LIMITS, clock=clock, home=False)
    env.reset()
    return env


def missing(values: dict[str, Any], name: str, key: str) -> None:
    del values["actions"][name][key]


def not_a_number(values: dict[str, Any], name: str, key: str) -> None:
    values["actions"][name][key] = math.nan


def turned(values: dict[str, Any], name: str, key: str) -> None:
    each = values["actions"][name]
    if key in ("low", "high"):
        each["low"], each["high"] = each["high"], each["low"]
    else:
        each[key] = -each[key]


# ---------------------------------------------------------------- processes, in real time

PROGRAM = """
import json, sys
path, port = json.loads(sys.argv[1])
sys.path[:] = path
from envs.robot import RobotEnv, Watched, arm_limits
limits = arm_limits(3)
options = {"joints": 3, "port": port}
robot = Watched("envs.robot.simulated:SimulatedArm", limits, options=options)
env = RobotEnv(robot, limits, home=False)
env.reset()
while True:
    env.step(env.action_space.high)
    print("on", flush=True)
"""


def program(how: signal.Signals) -> Run:
    """The program of the robot gets a signal; another one is started afterwards."""

    def run(rng: np.random.Generator) -> Try:
        with tempfile.TemporaryDirectory() as scratch, served_arm(Path(scratch)) as robot:
            argv = [sys.executable, "-c", PROGRAM, json.dumps([sys.path, robot.port])]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
                assert child.stdout is not None
                for _ in range(int(rng.integers(3, 12))):
                    child.stdout.readline()
                time.sleep(float(rng.uniform(0.0, TICK)))
                begun = time.monotonic()
                child.send_signal(how)
                time.sleep(2.0 * (DOG + STOP))
                child.kill()
            env = watched(robot)[0]
            with suppress(RobotError):
                env.reset()
            again = moves(env, again=False)
            env.close()
            return traced(Path(scratch) / "t", begun, again)

    return run


def watchdog(how: signal.Signals) -> Run:
    """The watchdog gets a signal."""
    return beside(lambda served, dog: os.kill(dog.pid, how))


def robot_process(how: signal.Signals) -> Run:
    """The robot gets a signal: after SIGSTOP it is woken when the program has given up, after
    SIGKILL a new one starts.
    """
    return beside(lambda served, dog: os.kill(served.pid, how), robot=how)


def beside(hurt: Callable[[Served, Watched], None], robot: signal.Signals | None = None) -> Run:
    """A try in real time in which one of the processes beside the program is hurt."""

    def run(rng: np.random.Generator) -> Try:
        with tempfile.TemporaryDirectory() as scratch, served_arm(Path(scratch)) as served:
            env, dog = watched(served)
            env.reset()
            for _ in range(int(rng.integers(3, 12))):
                *_, truncated, info = env.step(env.action_space.high)
                if truncated:
                    raise RuntimeError(
                        f"stopped before the fault: {info[RECORD].stopped}; "
                        f"is the machine too busy?"
                    )
            time.sleep(float(rng.uniform(0.0, 0.9 * TICK)))
            begun = time.monotonic()
            hurt(served, dog)
            truncated = False
            while not truncated:
                *_, truncated, _ = env.step(env.action_space.high)
            noticed = latched(env) - begun
            if robot == signal.SIGSTOP:
                os.kill(served.pid, signal.SIGCONT)
                time.sleep(0.5)
            if robot == signal.SIGKILL:
                port = served.port
                served.close()
                with Served("arm", options={"joints": JOINTS}, port=port):
                    again = moves(env, again=True)
                    env.close()
                return Try(noticed, None, 0, again)
            again = moves(env, again=True)
            env.close()
            found = traced(Path(scratch) / "t", begun, again)
            return found if robot is None else found._replace(stop=noticed)

    return run


def served_arm(scratch: Path) -> Served:
    return Served("arm", options={"joints": JOINTS}, trace=scratch / "t")


def watched(served: Served) -> tuple[RobotEnv, Watched]:
    dog = Watched(DRIVER, LIMITS, options={"joints": JOINTS, "port": served.port})
    return RobotEnv(dog, LIMITS, home=False), dog


def traced(path: Path, begun: float, again: bool) -> Try:
    """What the robot itself wrote down."""
    rows = read_trace(path, Arm(JOINTS))
    table = list(LIMITS.actions.values())
    low, high, step = (
        np.array([getattr(each, key) for each in table]) for key in ("low", "high", "step")
    )
    setpoints, stopped, session = rows["setpoint"], rows["stopped"] > 0, rows["session"]
    outside, taken_at = 0, rows["time"][0]
    for k in range(1, len(setpoints)):
        if not np.array_equal(setpoints[k], setpoints[k - 1]):
            fresh = bool(stopped[k] or session[k] != session[k - 1])
            outside += broken(
                setpoints[k - 1],
                setpoints[k],
                low,
                high,
                step * ticks(rows["time"][k] - taken_at),
                fresh,
            )
            taken_at = rows["time"][k]
    first = np.flatnonzero((rows["time"] >= begun) & stopped)
    stop = float(rows["time"][first[0]] - begun) if len(first) else None
    end = first[0] if len(first) else len(setpoints)
    changed = [
        k
        for k in range(1, end)
        if not np.array_equal(setpoints[k], setpoints[k - 1]) and rows["time"][k] >= begun
    ]
    hold = max(0.0, float(rows["time"][changed[-1]] - begun)) if changed else 0.0
    return Try(stop, hold, outside, again)


# seconds: the robot writes down where it is every 10 ms, on a machine that does more than this
SLACK = 0.02
SEEN = TIMESTEP  # of the robot in stepped time: it takes what it is told at its next timestep
FAULTS: dict[str, tuple[Run, float | None]] = {
    "program SIGKILL": (program(signal.SIGKILL), TICK + SLACK),
    "program SIGSTOP": (program(signal.SIGSTOP), DOG + STOP + TICK + SLACK),
    "watchdog SIGKILL": (watchdog(signal.SIGKILL), TICK + SLACK),
    "watchdog SIGSTOP": (watchdog(signal.SIGSTOP), DOG + TICK + SLACK),
    "robot SIGKILL": (robot_process(signal.SIGKILL), STALE + STOP + TICK + SLACK),
    "robot SIGSTOP": (robot_process(signal.SIGSTOP), STALE + STOP + TICK + SLACK),
    "link cut": (switched(cut=True), STALE + STOP + TICK + SEEN),
    "link delayed 0.5 s": (switched(latency_ms=500.0), STALE + STOP + TICK + 0.5 + SEEN),
    "link loses half": (switched(loss=0.5), None),
    "link says all twice": (switched(duplicate=1.0), None),
    "link reorders half": (switched(reorder=0.5, latency_ms=5.0), None),
    "link corrupts half": (switched(corrupt=0.5), None),
    "observations NaN": (switched(broken="nan"), STOP + TICK + SEEN),
    "observations infinite": (switched(broken="inf"), STOP + TICK + SEEN),
    "observations 1e300": (switched(broken="huge"), STOP + TICK + SEEN),
    "observations frozen": (switched(frozen=True), STALE + STOP + TICK + SEEN),
    "actions NaN": (asked(math.nan), STOP + TICK + SEEN),
    "actions infinite": (asked(math.inf), STOP + TICK + SEEN),
    "actions 1e300": (asked(1e300), None),
    "clock forward": (jump(0.2, 3600.0), None),
    "clock back": (jump(-3600.0, -0.2), TICK + SEEN),
    "limit missing": (refused(missing), None),
    "limit NaN": (refused(not_a_number), None),
    "limit reversed": (refused(turned), None),
}


if __name__ == "__main__":
    main()
