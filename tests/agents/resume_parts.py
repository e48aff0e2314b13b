"""A run that is stopped and resumed, beside one that is not: every saved part, and every line of the log."""

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

import torch

from agents.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CLOCKS = {"time", "seconds", "cpu_seconds"}

STOPPED_BY = {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}


def start(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "agents")])}
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "agents.cli", *arguments], env=env, stdout=said, stderr=said, cwd=folder,
        )


def updates(run: Path) -> int:
    """Lines of the log so far: how far a run is, roughly."""
    file = run / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def interrupted(arguments: list[str], run: Path, name: str, at: list[int]) -> int:
    """Run, send a signal whenever the log has as many lines as ``at`` says, and resume; the number of stops."""
    stops, command = 0, [*arguments, "--run", str(run)]
    for lines in at:
        process = start(command, run.parent)
        while process.poll() is None and updates(run) < lines:
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
    """What differs between two runs: names of saved tensors and data, lines of the log."""
    a, b = (load_checkpoint(run / "checkpoints") for run in (one, two))
    found = [k for k in a.tensors.keys() | b.tensors.keys() if not _equal(a.tensors.get(k), b.tensors.get(k))]
    found += _compare(_without_clocks(a.state), _without_clocks(b.state), "")
    logs = [[_without(json.loads(x)) for x in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    found += [f"line {i}: {x} {y}" for i, (x, y) in enumerate(zip(*logs)) if x != y]
    if len(logs[0]) != len(logs[1]):
        found.append(f"{len(logs[0])} and {len(logs[1])} lines of the log")
    if (one / "best").exists() or (two / "best").exists():
        left, right = (load_checkpoint(run / "best").tensors for run in (one, two))
        found += [f"best/{k}" for k in left if not _equal(left[k], right.get(k))]
    found += _replays(one / "replay", two / "replay")
    return found


def _replays(one: Path, two: Path) -> list[str]:
    """Every byte of every row."""
    if not one.exists():
        return []
    names = {p.name for folder in (one, two) for p in folder.glob("*.bin") if p.name != "counters.bin"}
    return [f"replay/{n}" for n in names if (one / n).read_bytes() != (two / n).read_bytes()]


def _equal(x: Any, y: Any) -> bool:
    return isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) and x.dtype == y.dtype and torch.equal(x, y)


def _without(line: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in line.items() if k not in CLOCKS}


def _without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_clocks(v) for k, v in value.items() if k not in CLOCKS}
    if isinstance(value, list):
        pair = len(value) == 2 and value[0] in CLOCKS
        return [value[0], None] if pair else [_without_clocks(v) for v in value]
    return value


def _compare(a: Any, b: Any, path: str) -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [x for k in a for x in _compare(a[k], b[k], f"{path}/{k}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [x for i, (x_, y_) in enumerate(zip(a, b, strict=True)) for x in _compare(x_, y_, f"{path}/{i}")]
    return [] if a == b else [f"{path}: {str(a)[:80]} and {str(b)[:80]}"]
