"""Faults of an actor and a learner in processes of their own: what is lost, what comes twice, which
ticks are missed.

One run goes through all faults, so many tries of each; at its end the replay is compared with the
actor's log row by row, and the log with what the environment itself wrote down at each of its
steps.  The environment is a counter at 50 ticks a second, the agent a small SAC that learns all the
time.  Between both ends is a proxy that cuts, delays, doubles, reorders and damages messages.  The
actor's log lies on a small file system that is filled now and then (root only; else that fault is
left out).  Both have a higher priority than other work, the actor the highest, where this is
allowed.  Appends a JSON line to ``results/online_faults.jsonl``.

    python benchmarks/online_faults.py
    python benchmarks/online_faults.py --tries 2 --out /tmp/faults.jsonl    # does it run at all?
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import zmq
from gymnasium import spaces
from timing import about, append

from agents.config import load_config
from agents.online import ActorSide, LearnerLink, LearnerSide, Meeting, Receiving, Record, RowLog
from agents.process import prepare_process
from agents.replay import ReplayBuffer
from agents.run import Stop
from agents.rundir import read_interface
from agents.settings import RunSettings
from envs import adapt

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results" / "online_faults.jsonl", HERE.parent / "docs" / "online.md"
HZ = 50.0
SETTINGS = [
    "agent.units=16",
    "agent.batch=16",
    "steps=100000000",
    "prefill=100",
    "train_ratio=32",
    "capacity=400000",
    "checkpoint_every=150",
    "log_every=1000",
    "threads=1",
    "env.id=counter",
]
STALLS = (0.1, 1.0, 10.0)
LINE = struct.Struct("<Qd")
DISK = "64m"


class Counter(gymnasium.Env[np.ndarray, np.ndarray]):
    """Counts its steps, and writes each one's number and time to a file before it says anything."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, trace: Path) -> None:
        self._file = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._count, self._time = os.fstat(self._file).st_size // LINE.size, 0

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._time = 0
        os.write(self._file, LINE.pack(0, time.monotonic()))  # a tick, and no step
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._count, self._time = self._count + 1, self._time + 1
        os.write(self._file, LINE.pack(self._count, time.monotonic()))
        return self._seen(), float(action[0]), False, self._time >= 100, {}

    def _seen(self) -> np.ndarray:
        return np.array([self._count % 1000, self._time / 100], np.float32)


def act(folder: Path, address: str) -> None:
    """The actor's process."""
    prepare_process(1)
    sys.setswitchinterval(0.001)
    settings = load_config(RunSettings, "sac/small", SETTINGS)
    with ActorSide(
        settings, lambda: adapt(Counter(folder / "trace")), folder / "disk" / "log", address, hz=HZ
    ) as side:
        side.log.keep = True
        if side.meet():
            side.act()


def learn(folder: Path, address: str) -> None:
    """The learner's process."""
    prepare_process(1)
    settings, run = load_config(RunSettings, "sac/small", SETTINGS), folder / "run"
    meeting = Meeting()
    receiving = Receiving(1, meeting.check)
    with LearnerLink(receiving, address) as link, Stop() as stop:
        resume = (run / "run.json").is_file()
        declared = read_interface(run) if resume else meeting.wait(stop)
        if declared is None:
            return
        with LearnerSide(settings, declared, receiving, meeting, arrived=link.arrived) as side:
            (side.resume if resume else side.begin)(run)
            side.train()
            print(dict(receiving.counts), dict(side.arrivals.counts), flush=True)
            side.say_goodbye()


class Proxy(threading.Thread):
    """Between both ends: passes messages on, or does what :attr:`fault` says to them."""

    def __init__(self, front: str, back: str) -> None:
        super().__init__(daemon=True)
        self._context = zmq.Context()
        self.front, self.back = self._context.socket(zmq.ROUTER), self._context.socket(zmq.DEALER)
        for socket in (self.front, self.back):
            socket.setsockopt(zmq.LINGER, 0)
        self.front.bind(front)
        self.back.connect(back)
        self.fault, self.rng, self.ending = "", random.Random(0), False
        self.passed = self.hit = 0
        self._peer, self._later = b"", list[tuple[float, str, bytes]]()
        self.start()

    def run(self) -> None:
        poller = zmq.Poller()
        poller.register(self.front, zmq.POLLIN)
        poller.register(self.back, zmq.POLLIN)
        while not self.ending:
            for socket, _ in poller.poll(5):
                parts = socket.recv_multipart()
                if socket is self.front:
                    self._peer = parts[0]
                self._treat("back" if socket is self.front else "front", parts[-1])
            now = time.monotonic()
            there, self._later = (
                [m for m in self._later if m[0] <= now],
                [m for m in self._later if m[0] > now],
            )
            for _, to, frame in sorted(there, key=lambda m: m[0]):
                self._pass(to, frame)

    def _treat(self, to: str, frame: bytes) -> None:
        hit = bool(self.fault) and (self.fault in ("cut", "delay") or self.rng.random() < 0.3)
        self.passed, self.hit = self.passed + 1, self.hit + hit
        if not hit:
            self._pass(to, frame)
        elif self.fault == "double":
            self._pass(to, frame)
            self._pass(to, frame)
        elif self.fault == "damage":
            at = self.rng.randrange(len(frame))
            self._pass(
                to, frame[:at] + bytes([frame[at] ^ (1 << self.rng.randrange(8))]) + frame[at + 1 :]
            )
        elif self.fault in ("delay", "reorder"):
            self._later.append(
                (
                    time.monotonic() + self.rng.random() * (1.0 if self.fault == "delay" else 0.3),
                    to,
                    frame,
                )
            )

    def _pass(self, to: str, frame: bytes) -> None:
        with suppress(zmq.ZMQError):
            if to == "back":
                self.back.send(frame, zmq.DONTWAIT)
            elif self._peer:
                self.front.send_multipart([self._peer, frame], zmq.DONTWAIT)


class Trial:
    """Both processes, the proxy, and what was seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.addresses = [f"ipc://{folder}/{name}" for name in ("front", "back")]
        self.proxy = Proxy(*self.addresses)
        self.said = (folder / "said.txt").open("ab")
        self.processes = {"actor": self.start("actor"), "learner": self.start("learner")}

    def start(self, role: str) -> subprocess.Popen[bytes]:
        """A process."""
        address = self.addresses[0 if role == "actor" else 1]
        told = ["--role", role, "--folder", str(self.folder), "--address", address]
        command = [sys.executable, str(Path(__file__).resolve()), *told]
        before = ["nice", "-n", "-10" if role == "actor" else "-5"] if os.geteuid() == 0 else []
        return subprocess.Popen([*before, *command], stdout=self.said, stderr=self.said)

    def steps(self) -> int:
        """Steps of the environment so far."""
        path = self.folder / "trace"
        return path.stat().st_size // LINE.size if path.exists() else 0

    def updates(self) -> str:
        """The newest checkpoint of the learner."""
        return max(
            (p.name for p in (self.folder / "run" / "checkpoints").glob("checkpoint-*[0-9]")),
            default="",
        )

    def wait(self, what: Callable[[], bool], seconds: float = 120.0) -> bool:
        """Wait until it is so; also that both processes live."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what():
                return True
            time.sleep(0.02)
        return False

    def advances(self) -> bool:
        """Both ends get on: steps are made, and a checkpoint that has newer rows is written."""
        steps, saved = self.steps(), self.updates()
        return self.wait(lambda: self.steps() > steps + 20) and self.wait(
            lambda: self.updates() > saved
        )

    def stop(self, role: str, seconds: float) -> None:
        """SIGSTOP for a while."""
        self.processes[role].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.processes[role].send_signal(signal.SIGCONT)

    def kill(self, role: str) -> None:
        """SIGKILL, and begin again."""
        self.processes[role].kill()
        self.processes[role].wait()
        time.sleep(0.2)
        self.processes[role] = self.start(role)

    def network(self, fault: str, seconds: float) -> None:
        """A fault of the network for a while."""
        self.proxy.fault = fault
        time.sleep(seconds)
        self.proxy.fault = ""

    def fill(self, seconds: float) -> None:
        """The actor's disk is full for a while."""
        path = self.folder / "disk" / "filler"
        with suppress(OSError), path.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        time.sleep(seconds)
        path.unlink()


def tried(
    trial: Trial, name: str, what: Callable[[int], None], tries: int, heals: bool
) -> dict[str, Any]:
    """So many tries of a fault; both ends must get on after each (``heals``), or after the last."""
    began, went_on = time.monotonic(), 0
    for i in range(tries):
        what(i)
        if heals or i == tries - 1:
            went_on += trial.advances()
        else:
            time.sleep(0.3)
    healed = went_on if heals else (tries if went_on else 0)
    print(f"{name}: {healed} of {tries} went on, {time.monotonic() - began:.0f} s", flush=True)
    return {"tries": tries, "went_on": healed, "span": (began, time.monotonic())}


def ticks(trace: np.ndarray, span: tuple[float, float]) -> dict[str, Any]:
    """Between steps within a span: the median, p99 and longest gap in ms, and the ticks that were
    missed.
    """
    at = trace["time"][(trace["time"] >= span[0] - 0.1) & (trace["time"] <= span[1])]
    gaps = np.diff(at)
    if not len(gaps):
        return {}
    parts = [round(1e3 * float(np.percentile(gaps, q)), 1) for q in (50, 99, 100)]
    missed = int(np.maximum(np.round(gaps * HZ) - 1, 0).sum())
    return {
        "ticks": len(at),
        "p50_ms": parts[0],
        "p99_ms": parts[1],
        "longest_ms": parts[2],
        "missed": missed,
    }


def compared(folder: Path) -> dict[str, Any]:
    """Rows of the log beside those of the replay,
    and the environment's own trace beside the log.
    """
    trace = np.fromfile(folder / "trace", np.dtype([("count", "<u8"), ("time", "<f8")]))
    with RowLog(folder / "disk" / "log", keep=True) as log:
        data = log.read(1, 10**9, 1 << 40)
    records = [Record.read(d) for d in data if d]
    spec = {k: (np.asarray(v).shape, np.asarray(v).dtype) for k, v in records[0].row.items()}
    with ReplayBuffer(spec, 400_000, 1, directory=folder / "run" / "replay") as replay:
        rows = replay.state_arrays()
    # an episode that was cut short is marked in the replay
    keys = [k for k in spec if k != "is_last"]
    same = all(np.array_equal(rows[k][0], np.array([r.row[k] for r in records])) for k in keys)
    return {
        "steps_made": int((trace["count"] > 0).sum()),
        "steps_logged": sum(r.frames for r in records),
        "rows_logged": len(records),
        "rows_in_replay": rows["is_first"].shape[1],
        "replay_is_log": same,
        "trace": trace,
    }


def table(results: Path) -> str:
    """The newest line, as Markdown."""
    line = json.loads(results.read_text(encoding="utf-8").splitlines()[-1])
    text = (
        "| fault | tries | both went on | ticks | p50, p99, longest between two ticks, "
        "ms | ticks missed |\n"
    )
    text += "|---|---|---|---|---|---|\n"
    for name, each in line["faults"].items():
        gaps = f"{each['p50_ms']:.0f}, {each['p99_ms']:.0f}, {each['longest_ms']:,.0f}"
        text += (
            f"| {name} | {each['tries']} | {each['went_on']} | {each['ticks']:,} | "
            f"{gaps} | {each['missed']:,} |\n"
        )
    same = (
        "the replay held these rows, each once and in order"
        if line["replay_is_log"]
        else "THE REPLAY DIFFERS"
    )
    return text + (
        f"\nThe environment made {line['steps_made']:,} steps, "
        f"{line['steps_logged']:,} of them are in the actor's log "
        f"({line['rows_logged']:,} rows); {same}. Of {line['messages']:,} messages "
        f"{line['messages_hit']:,} were hit.\n"
    )


def fill(page: Path, results: Path) -> str:
    """The page with the table in it."""
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- faults -->\n")
    return (
        f"{before}<!-- faults -->\n{table(results)}<!-- end -->{rest.partition('<!-- end -->')[2]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--table",
        action="store_true",
        help="only write the table of docs/online.md, from the results",
    )
    for name in ("role", "folder", "address"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role:
        {"actor": act, "learner": learn}[given.role](Path(given.folder), given.address)
        return
    if given.table:
        PAGE.write_text(fill(PAGE, RESULTS), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        (folder / "disk").mkdir()
        small = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder / "disk")],
            check=False,
        )
        try:
            line = measure(folder, given.tries, small.returncode == 0)
        finally:
            if small.returncode == 0:
                subprocess.run(["umount", str(folder / "disk")], check=False)
    append(given.out, {"benchmark": "online_faults", "hz": HZ, **line, **about()})
    print(line)


def measure(folder: Path, tries: int, disk: bool) -> dict[str, Any]:
    """All faults, and the comparison at the end."""
    trial = Trial(folder)
    assert trial.wait(lambda: trial.steps() > 50 and bool(trial.updates())), (
        folder / "said.txt"
    ).read_text()[-2000:]
    faults: dict[str, tuple[Callable[[int], None], bool]] = {
        "none": (lambda i: time.sleep(1.0), False),
        **{
            f"learner stopped {s:g} s": (lambda i, s=s: trial.stop("learner", s), False)
            for s in STALLS  # type: ignore[misc]
        },
        "actor stopped 0.5 s": (lambda i: trial.stop("actor", 0.5), False),
        **{
            f"network: {f}": (lambda i, f=f: trial.network(f, 1.0), False)  # type: ignore[misc]
            for f in ("cut", "delay", "double", "reorder", "damage")
        },
        **({"disk full": (lambda i: trial.fill(0.5), False)} if disk else {}),
        "learner killed": (lambda i: trial.kill("learner"), True),
        "actor killed": (lambda i: trial.kill("actor"), True),
    }
    found = {name: tried(trial, name, what, tries, heals) for name, (what, heals) in faults.items()}
    for role in ("actor", "learner"):  # the learner takes what is left, and saves
        if role == "learner":
            time.sleep(2.0)
        trial.processes[role].terminate()
        trial.processes[role].wait(60.0)
    trial.proxy.ending = True
    whole = compared(folder)
    trace = whole.pop("trace")
    for each in found.values():
        each.update(ticks(trace, each.pop("span")))
    said = (folder / "said.txt").read_text().strip().splitlines()
    return {
        "faults": found,
        **whole,
        "messages": trial.proxy.passed,
        "messages_hit": trial.proxy.hit,
        "said": said[-1][:400],
    }


if __name__ == "__main__":
    main()
