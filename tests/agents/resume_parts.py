"""A run that is stopped and resumed, beside one that is not: every saved part, and every line of
the log.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.checkpoint import load_checkpoint, unflatten_state

ROOT = Path(__file__).resolve().parents[2]
CLOCKS = {"time", "seconds", "cpu_seconds", "mark"}

STOPPED_BY = {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}


def start(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "agents")]),
    }
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "agents.cli", *arguments],
            env=env,
            stdout=said,
            stderr=said,
            cwd=folder,
        )


def updates(run: Path) -> int:
    """Lines of the log so far: how far a run is, roughly."""
    file = run / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def interrupted(arguments: list[str], run: Path, name: str, at: list[int]) -> int:
    """Run, send a signal whenever the log has as many lines as ``at`` says (one more than at its
    start, at least), and resume; the number of stops.
    """
    stops, command = 0, [*arguments, "--run", str(run)]
    for lines in at:
        wanted = max(lines, updates(run) + 1)
        process = start(command, run.parent)
        while process.poll() is None and updates(run) < wanted:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(getattr(signal, name))
            stops += 1
        code = process.wait(timeout=120)
        assert code in (0, STOPPED_BY[name]), (code, (run.parent / "said.txt").read_text()[-2000:])
        if code == 0:
            return stops
        saved = (run / "checkpoints").exists() and any((run / "checkpoints").glob("checkpoint-*"))
        command = ["resume", str(run)] if saved else command
        if not saved:  # killed before the first checkpoint: begin anew
            shutil.rmtree(run, ignore_errors=True)
    process = start(command, run.parent)
    code = process.wait(timeout=300)
    assert code == 0, (run.parent / "said.txt").read_text()[-2000:]
    return stops


def differences(one: Path, two: Path) -> list[str]:
    """What differs between two runs: saved tensors and data, lines of the log,
    rows of the replay.
    """
    a, b = (saved(run / "checkpoints") for run in (one, two))
    found = _compare(a, b, "")
    logs = [
        [_without(json.loads(x)) for x in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (one, two)
    ]
    found += [f"line {i}: {x} {y}" for i, (x, y) in enumerate(zip(*logs)) if x != y]
    if len(logs[0]) != len(logs[1]):
        found.append(f"{len(logs[0])} and {len(logs[1])} lines of the log")
    if (one / "best").exists() or (two / "best").exists():
        found += _compare(*(saved(run / "best") for run in (one, two)), "best")
    return found + _replays(one / "replay", two / "replay")


def saved(folder: Path) -> Any:
    """All that the newest checkpoint holds, but clocks and the replay's count of states."""
    found = load_checkpoint(folder)
    return _without(unflatten_state(found.tensors, found.state["nested"]))


def _replays(one: Path, two: Path) -> list[str]:
    """Every byte of every row."""
    if not one.exists():
        return []
    names = {
        p.name for folder in (one, two) for p in folder.glob("*.bin") if p.name != "counters.bin"
    }
    return [f"replay/{n}" for n in names if (one / n).read_bytes() != (two / n).read_bytes()]


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in CLOCKS}
    return [_without(v) for v in value] if isinstance(value, (list, tuple)) else value


def _compare(a: Any, b: Any, path: str) -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [x for k in a for x in _compare(a[k], b[k], f"{path}/{k}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [x for i in range(len(a)) for x in _compare(a[i], b[i], f"{path}/{i}")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return [] if a.dtype == b.dtype and np.array_equal(a, b) else [path]
    return [] if type(a) is type(b) and a == b else [f"{path}: {str(a)[:80]} and {str(b)[:80]}"]
