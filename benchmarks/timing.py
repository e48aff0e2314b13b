"""How benchmarks take times: contenders in turn in one process, CPU seconds of one thread, medians
of ratios by round.

A contender in another process (an old library with the same import name) is :class:`Remote` and
says what it took; all others are functions and timed here.
"""

from __future__ import annotations

import gc
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from agents.process import prepare_process
from agents.rundir import origin


class Remote(Protocol):
    """A contender in another process."""

    def run(self, times: int) -> float:
        """Do it so often; the CPU seconds of all together."""


Task = Callable[[], None] | Remote


def prepare() -> None:
    """One thread, and an allocator that keeps freed blocks: for all contenders alike."""
    prepare_process(1)


def contend(
    tasks: Mapping[str, Task], rounds: int, repeat: int | Mapping[str, int] = 1, warmup: int = 3
) -> dict[str, list[float]]:
    """CPU seconds of each contender in each round (of ``repeat`` calls); the order of turns changes
    from round to round.
    """
    for task in tasks.values():
        spend(task, warmup)
    names, seconds = list(tasks), {name: [] for name in tasks}
    gc.collect()
    gc.freeze()  # what was made before is not traversed again and again while contenders allocate
    for i in range(rounds):
        for name in random.Random(i).sample(names, len(names)):
            times = repeat if isinstance(repeat, int) else repeat[name]
            seconds[name].append(spend(tasks[name], times) / times)
    return seconds


def spend(task: Task, times: int) -> float:
    """CPU seconds of so many calls."""
    if not callable(task):
        return task.run(times)
    began = time.process_time()
    for _ in range(times):
        task()
    return time.process_time() - began


def compiling(task: Callable[[], None], runs: int = 1) -> float:
    """Seconds of the first runs, which compile;
    nothing that an earlier process compiled is used.
    """
    from torch._inductor import config

    began = time.monotonic()
    with config.patch(force_disable_caches=True):
        for _ in range(runs):
            task()
    return round(time.monotonic() - began, 1)


def record(
    path: Path | None,
    what: str,
    of: Mapping[str, Any],
    seconds: Mapping[str, list[float]],
    baseline: str,
    pairs: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Append a JSON line: medians, ratios to ``baseline`` round by round (median, first and third
    quartile).

    Args:
        path: the file; None only prints.
        pairs: further ratios, the first contender's time over the second's, under ``"a/b"``.
    """
    ratios = {k: by_round(v, seconds[baseline]) for k, v in seconds.items() if k != baseline}
    ratios |= {
        f"{a}/{b}": by_round(seconds[a], seconds[b])
        for a, b in pairs
        if a in seconds and b in seconds
    }
    line = {
        "benchmark": what,
        **of,
        "rounds": len(seconds[baseline]),
        "baseline": baseline,
        "cpu_seconds": {k: round(statistics.median(v), 6) for k, v in seconds.items()},
        "ratio": {k: round(statistics.median(v), 3) for k, v in ratios.items()},
        "quartiles": {k: [round(q, 3) for q in _quartiles(v)] for k, v in ratios.items()},
        **about(),
    }
    if path is not None:
        append(path, line)
    print(what, *(f"{k}={v}" for k, v in of.items()), line["ratio"], flush=True)
    return line


def about() -> dict[str, Any]:
    """Where a measurement was made: threads, machine, commit, versions."""
    found = {k: v for k, v in origin().items() if k in ("commit", "dirty", "versions")}
    found["versions"] = {
        **found["versions"],
        **{n: metadata.version(n) for n in ("pyro-ppl",) if _installed(n)},
    }
    return {"threads": 1, "machine": platform.processor() or platform.machine(), **found}


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a JSON line to a file of results."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def by_round(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Ratios of times, round by round."""
    return [x / y for x, y in zip(a, b, strict=True)]


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high
