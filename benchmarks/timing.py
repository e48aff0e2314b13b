"""How benchmarks take times: contenders in turn in one process, CPU seconds of one thread, medians of ratios by round.

A contender in another process (an old library with the same import name) is a callable that returns the seconds it took;
all others are timed here.
"""

from __future__ import annotations

import gc
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.process import prepare_process
from agents.rundir import origin

Task = Callable[[], "float | None"]


def prepare() -> None:
    """One thread, and an allocator that keeps freed blocks: for all contenders alike."""
    prepare_process(1)


def contend(tasks: Mapping[str, Task], rounds: int, repeat: int = 1, warmup: int = 3) -> dict[str, list[float]]:
    """CPU seconds of each contender in each round (of ``repeat`` calls); who begins changes from round to round."""
    for task in tasks.values():
        for _ in range(warmup):
            task()
    names, seconds = list(tasks), {name: [] for name in tasks}
    gc.collect()
    for i in range(rounds):
        shift = i % len(names)
        for name in names[shift:] + names[:shift]:
            task, told = tasks[name], 0.0
            began = time.process_time()
            for _ in range(repeat):
                told += task() or 0.0
            seconds[name].append((told or time.process_time() - began) / repeat)
    return seconds


def record(
    path: Path, what: str, about: Mapping[str, Any], seconds: Mapping[str, list[float]], baseline: str
) -> dict[str, Any]:
    """Append a JSON line: medians, ratios to ``baseline`` round by round (median, first and third quartile)."""
    ratios = {k: [a / b for a, b in zip(v, seconds[baseline], strict=True)] for k, v in seconds.items() if k != baseline}
    line = {
        "benchmark": what, **about, "rounds": len(seconds[baseline]), "threads": 1, "baseline": baseline,
        "cpu_seconds": {k: round(statistics.median(v), 6) for k, v in seconds.items()},
        "ratio": {k: round(statistics.median(v), 3) for k, v in ratios.items()},
        "quartiles": {k: [round(q, 3) for q in _quartiles(v)] for k, v in ratios.items()},
        "machine": platform.processor() or platform.machine(),
        **{k: v for k, v in origin().items() if k in ("commit", "dirty", "versions")},
    }
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(what, *(f"{k}={v}" for k, v in about.items()), line["ratio"], flush=True)
    return line


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high
