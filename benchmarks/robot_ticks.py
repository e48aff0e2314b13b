"""Ticks of the simulated arm: how even they are, and whether any command leaves the limits.

    python benchmarks/robot_ticks.py                          stepped: 100,000 ticks, 20 and 50 Hz
    python benchmarks/robot_ticks.py --minutes 10             real time, beside a watchdog,
                                                              while another multiplies matrices
    python benchmarks/robot_ticks.py --minutes 10 --nice -15  the program, the watchdog and the
    robot before others

What asks is not a good policy: most actions are three times as large as allowed, one in a hundred
is NaN, infinite or 1e300.  Every command that the driver is given is compared with range, step and
rate, and every setpoint that the robot took with the range.  In real time, in milliseconds: how
late ticks began, how far the time between two ticks was from a period, and from the beginning of a
tick to its command.  Appends a JSON line a rate to ``results/robot_ticks.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from agents.rundir import origin
from envs.robot import (
    RECORD,
    Faults,
    RobotEnv,
    Served,
    SimulatedArm,
    SteppedClock,
    Watched,
    arm_limits,
)
from envs.robot.board import Board, read_trace
from envs.robot.models import Arm

RESULTS = Path(__file__).parent / "results" / "robot_ticks.jsonl"
FAULTS = Faults(
    latency_ms=5.0,
    jitter_ms=5.0,
    loss=0.05,
    duplicate=0.05,
    reorder=0.05,
    corrupt=0.05,
    noise=0.002,
    dropped=0.05,
)
ABOVE = {"tip.z": {"low": 0.1, "high": 1.1, "margin": 0.08}}
BURN = "import numpy as np\nx = np.ones((400, 400))\nwhile True: x = (x @ x) * 1e-3"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ticks", type=int, default=100_000, help="of stepped time")
    parser.add_argument("--minutes", type=float, default=0.0, help="of real time")
    parser.add_argument("--hz", type=float, nargs="+", default=[20.0, 50.0])
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="write no result")
    args = parser.parse_args()
    os.nice(args.nice)
    about = {k: origin()[k] for k in ("commit", "dirty", "versions")}
    for hz in args.hz:
        line = real(hz, args.minutes) if args.minutes else stepped(hz, args.ticks)
        told = {
            "benchmark": "robot_ticks",
            "hz": hz,
            **line,
            "nice": args.nice,
            "load": os.getloadavg()[0],
            **about,
        }
        print(json.dumps(told), flush=True)
        if not args.dry:
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(told) + "\n")


class Recorded:
    """A driver, and every command that it was given, with its time."""

    def __init__(self, robot: Any, now: Any) -> None:
        self._robot, self._now = robot, now
        self.commands: list[list[float]] = []

    def send_action(self, action: dict[str, float]) -> Any:
        self.commands.append([self._now(), *action.values()])
        return self._robot.send_action(action)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._robot, name)


def outside(commands: np.ndarray, limits: Any, connected: list[int]) -> int:
    """How many commands break a limit. The first after a connection has none before it."""
    table = list(limits.actions.values())
    low, high, step, rate = (
        np.array([getattr(each, key) for each in table]) for key in ("low", "high", "step", "rate")
    )
    times, values = commands[:, 0], commands[:, 1:]
    bad = ~(np.isfinite(values) & (values >= low) & (values <= high)).all(1)
    change, elapsed = np.abs(np.diff(values, axis=0)), np.diff(times)[:, None]
    # its time is read a little later than safety's
    moved = (change > step) | (change > rate * elapsed + 1e-3 * step)
    moved[[k - 1 for k in connected if 0 < k <= len(moved)]] = False
    bad[1:] |= moved.any(1)
    return int(bad.sum())


def asked(rng: np.random.Generator, space: Any) -> np.ndarray:
    action = 3.0 * rng.uniform(space.low, space.high)
    if rng.random() < 0.01:
        action[rng.integers(len(action))] = rng.choice([np.nan, np.inf, -np.inf, 1e300])
    return np.asarray(action)


def act(
    env: RobotEnv, robot: Recorded, rng: np.random.Generator, ticks: int
) -> tuple[list[Any], list[int]]:
    """The records of ticks, and the numbers of the commands that came first after a connection."""
    records: list[Any] = []
    connected = [0]
    env.reset()
    while len(records) < ticks:
        *_, truncated, info = env.step(asked(rng, env.action_space))
        records.append(info[RECORD])
        if truncated:
            connected.append(len(robot.commands))
            env.rearm()
            env.reset()
    return records, connected


def stepped(hz: float, ticks: int) -> dict[str, Any]:
    clock, begun = SteppedClock(), time.process_time()
    arm = SimulatedArm(clock=clock, faults=FAULTS)
    taken = taken_by(arm.board)
    robot = Recorded(arm, clock.now)
    env = RobotEnv(robot, arm_limits(hz=hz, workspace=ABOVE), clock=clock, home=False)
    records, connected = act(env, robot, np.random.default_rng(0), ticks)
    return {
        "time": "stepped",
        **counted(env, robot, records, connected, np.array(taken)),
        "faults": vars(FAULTS),
        "seconds": clock.now(),
        "cpu_seconds": time.process_time() - begun,
    }


def taken_by(board: Board | None) -> list[np.ndarray]:
    """Every setpoint that a board in this process drives, from now on."""
    assert board is not None
    taken: list[np.ndarray] = []
    drive = board.body.drive

    def seen(setpoint: np.ndarray) -> None:
        if not taken or not np.array_equal(taken[-1], setpoint):
            taken.append(setpoint.copy())
        drive(setpoint)

    board.body.drive = seen  # type: ignore[method-assign]
    return taken


def real(hz: float, minutes: float) -> dict[str, Any]:
    limits = arm_limits(hz=hz, workspace=ABOVE)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Served("arm", faults=Faults(noise=0.002), trace=Path(scratch) / "t") as served,
    ):
        watched = Watched(
            "envs.robot.simulated:SimulatedArm", limits, options={"port": served.port}
        )
        robot = Recorded(watched, time.monotonic)
        env = RobotEnv(robot, limits, home=False)
        with subprocess.Popen(
            [sys.executable, "-c", BURN], preexec_fn=lambda: os.nice(19)
        ) as learner:
            try:
                records, connected = act(
                    env, robot, np.random.default_rng(0), round(60.0 * minutes * hz)
                )
            finally:
                learner.kill()
        env.close()
        setpoints = read_trace(Path(scratch) / "t", Arm())["setpoint"]
    found = counted(env, robot, records, connected, setpoints)
    times = np.array([each.time for each in records])
    parts = {
        "late_ms": [each.late for each in records],
        "interval_ms": np.abs(np.diff(times) - 1.0 / hz),
        "latency_ms": [each.latency for each in records],
    }
    spread = {
        k: dict(zip(("p50", "p99", "max"), np.percentile(v, [50, 99, 100]) * 1e3))
        for k, v in parts.items()
    }
    spread = {k: {p: round(float(ms), 3) for p, ms in v.items()} for k, v in spread.items()}
    return {
        "time": "real",
        **found,
        **spread,
        "missed": sum(each.missed for each in records),
        "minutes": minutes,
    }


def counted(
    env: RobotEnv, robot: Recorded, records: list[Any], connected: list[int], setpoints: np.ndarray
) -> dict[str, Any]:
    table = list(env.limits.actions.values())
    low, high = (np.array([getattr(each, key) for each in table]) for key in ("low", "high"))
    room = 0.1  # where it is held when it connects: gravity may pull it out of the range a little
    taken = ~(np.isfinite(setpoints) & (setpoints >= low - room) & (setpoints <= high + room)).all(
        1
    )
    return {
        "ticks": len(records),
        "commands": len(robot.commands),
        "commands_outside": outside(np.array(robot.commands), env.limits, connected),
        "setpoints": len(setpoints),
        "setpoints_outside": int(taken.sum()),
        "stops": sum(each.stopped is not None for each in records),
        "interventions": dict(env.safety.counts),
    }


if __name__ == "__main__":
    main()
