"""Actors on Ray that are killed again and again: what the learner has at the end.

A learner and ``pixyz robot actors`` with two actors, in processes of their own, as the commands
start them: a small SAC on a counter at 20 ticks a second.  Each actor is killed (SIGKILL) so many
times, at a random moment after it has gone on.  Then both commands are stopped, and the replay is
compared with the beginning of the actors' logs, row by row: each row once and in order.  What a log
holds beyond it is what was made in the last moment before the stop.  Needs the extra ``ray``.
Appends a JSON line to ``results/ray_actors.jsonl``.

    python benchmarks/ray_actors.py --kills 5
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import about, append

from agents.online import Record, RowLog
from agents.replay import ReplayBuffer

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "ray_actors.jsonl"
ACTORS, HZ, CAPACITY = 2, 20.0, 200_000
SETTINGS = [
    "env.id=gymnasium_counter:Counter",
    f"env.num_envs={ACTORS}",
    "agent.units=16",
    "agent.batch=16",
    "steps=1000000",
    "prefill=100",
    "train_ratio=32",
    f"capacity={CAPACITY}",
    "checkpoint_every=100",
    "threads=1",
]
COUNTER = '''
import gymnasium
import numpy as np


class Counter(gymnasium.Env):
    """Counts its steps."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        seen = np.array([self.count], np.float32)
        return seen, float(action[0]), False, self.count >= 50, {}
'''


class Trial:
    """The two commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "gymnasium_counter.py").write_text(COUNTER, encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        path = [str(HERE.parent), str(folder), os.environ.get("PYTHONPATH", "")]
        self._env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
        given = ["sac/small", *SETTINGS]
        learner = [*given, "--bind", address, "--run", str(folder / "run")]
        self.learner = self._start("learner", learner)
        logs = ["--log", str(folder / "logs"), "--hz", str(HZ), "--cpus", "0.1"]
        self.actors = self._start("actors", [*given, "--learner", address, *logs])

    def _start(self, role: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{role}.txt").open("ab") as said:
            command = [sys.executable, "-m", "agents.cli", "robot", role, *arguments]
            return subprocess.Popen(
                command, env=self._env, stdout=said, stderr=said, cwd=self.folder
            )

    def said(self) -> str:
        """The end of what both wrote."""
        return "\n".join(
            (self.folder / f"{role}.txt").read_text(errors="replace")[-2000:]
            for role in ("learner", "actors")
        )

    def log(self, number: int) -> Path:
        """The folder of an actor's log."""
        return self.folder / "logs" / f"actor-{number}"

    def process(self, number: int) -> int:
        """The process that has an actor's log."""
        found = re.search(r"process (\d+)", (self.log(number) / ".lock").read_text())
        assert found is not None, self.said()
        return int(found[1])

    def size(self, number: int) -> int:
        """Bytes of an actor's log."""
        return sum(file.stat().st_size for file in self.log(number).glob("rows-*.bin"))

    def goes_on(self, number: int, seconds: float = 180.0) -> float:
        """Wait until an actor's log grows; the seconds that it took."""
        began, size = time.monotonic(), self.size(number)
        while self.size(number) == size:
            assert time.monotonic() < began + seconds and self.actors.poll() is None, self.said()
            time.sleep(0.01)
        return time.monotonic() - began


def measure(folder: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill each actor so many times, stop both commands, compare."""
    trial = Trial(folder)
    took = []
    try:
        for number in range(ACTORS):
            trial.goes_on(number)
        for _ in range(kills):
            for number in range(ACTORS):
                time.sleep(rng.uniform(0.5, 2.0))
                os.kill(trial.process(number), signal.SIGKILL)
                took.append(trial.goes_on(number))
        assert trial.actors.poll() is None and trial.learner.poll() is None, trial.said()
        for process in (trial.actors, trial.learner):
            process.send_signal(signal.SIGINT)
            process.wait(60.0)
            time.sleep(3.0)  # the learner takes what is left, and saves
    finally:
        for process in (trial.actors, trial.learner):
            process.kill()
    return {
        "kills": len(took),
        "seconds_until_it_went_on": [round(t, 1) for t in took],
        **compared(folder, trial),
    }


def compared(folder: Path, trial: Trial) -> dict[str, Any]:
    """Rows of the logs beside those of the replay.

    Raises:
        AssertionError: a row of the replay is not the log's.
    """
    logs = []
    for number in range(ACTORS):
        with RowLog(trial.log(number), keep=True) as log:
            logs.append([Record.read(d) for d in log.read(1, 10**9, 1 << 40) if d])
    spec = {k: (np.asarray(v).shape, np.asarray(v).dtype) for k, v in logs[0][0].row.items()}
    with ReplayBuffer(spec, CAPACITY, ACTORS, directory=folder / "run" / "replay") as replay:
        rows = replay.state_arrays()
    written = rows["counters"][2]
    for number, records in enumerate(logs):
        n = int(written[number])
        for key in set(spec) - {"is_last"}:  # an episode that was cut short is marked in the replay
            logged = np.array([r.row[key] for r in records[:n]])
            assert np.array_equal(rows[key][number][:n], logged), (number, key)
    return {
        "rows_logged": [len(records) for records in logs],
        "rows_in_replay": written.tolist(),
        "begun_anew": [sum(bool(r.row["is_first"]) for r in records) for records in logs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=5, help="of each actor")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ray-actors-") as name:
        line = measure(Path(name), given.kills, random.Random(0))
    append(given.out, {"benchmark": "ray_actors", "actors": ACTORS, "hz": HZ, **line, **about()})
    print(line)


if __name__ == "__main__":
    main()
