"""Compiling beside training: how long the first update takes, and what the change-over costs.

A DreamerV3 with ``agent.chunk`` learns from made data until it has changed over to compiled loops;
the compiler's cache is an empty folder of its own, and full in a second process that follows, which
finds what the first has compiled. Wall-clock and CPU seconds of this process, a JSON line in
``results/beside.jsonl``.

    python benchmarks/beside.py --chunk 8
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import about, append, prepare

from agents.build import build
from agents.config import load_config
from agents.settings import RunSettings
from agents.spaces import ActionSpec, Interface

RESULTS = Path(__file__).parent / "results" / "beside.jsonl"
SHAPES = {"position": (3,), "velocity": (2,)}
MORE = 10
"""Updates that are timed after the change-over, the median."""


def clocks() -> tuple[float, float]:
    """Of the wall and of this process."""
    return time.monotonic(), time.process_time()


def timed(update: Any) -> list[float]:
    """Wall-clock and CPU seconds of an update."""
    before = clocks()
    update()
    return [round(b - a, 3) for a, b in zip(before, clocks(), strict=True)]


def run(config: str, chunk: int) -> dict[str, Any]:
    """Learn until it has changed over, and a little more."""
    settings = load_config(RunSettings, config, [f"agent.chunk={chunk}"])
    kinds = {k: np.dtype(np.float32) for k in SHAPES}
    agent: Any = build(settings.agent, Interface(SHAPES, kinds, ActionSpec(1)))
    w = agent.window
    size = (w.rows, w.batch)
    batch = {k: torch.randn(*size, *s) for k, s in SHAPES.items()}
    batch |= {"action": torch.rand(*size, 1) * 2 - 1, "reward": torch.rand(*size)}
    batch |= {k: torch.zeros(size, dtype=torch.bool) for k in ("is_last", "is_terminal")}
    batch["is_first"] = torch.zeros(size, dtype=torch.bool)
    batch |= {k: torch.zeros(*size, *s) for k, s in agent.stored.items()}
    began, first = time.monotonic(), timed(lambda: agent.learn(batch))
    plain = []
    while agent._compiling is not None:
        plain.append(timed(lambda: agent.learn(batch)))
    over, waited = plain.pop(), time.monotonic() - began
    compiled = [timed(lambda: agent.learn(batch)) for _ in range(MORE + 2)]
    median = [np.median([x[1] for x in rows[2:]]).round(4).item() for rows in (plain, compiled)]
    return {
        "first_update": first,
        "seconds_until": round(waited, 1),
        "updates_until": len(plain) + 1,
        "change_over": [over, *compiled[:2]],
        "cpu_update": {"plain": median[0], "compiled": median[1]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="dreamer_v3/fast")
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--cache", help="a folder that is full already")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = given.cache or empty
        prepare()
        torch.manual_seed(0)
        found = run(given.config, given.chunk)
        line = {"benchmark": "beside", "config": given.config, "chunk": given.chunk}
        line |= {"cache": "full" if given.cache else "empty", **found}
        line |= {"load": round(os.getloadavg()[0], 1), **about()}
        append(given.out, line)
        print(found, flush=True)
        if not given.cache:
            command = [sys.executable, __file__, "--cache", empty, "--out", str(given.out)]
            command += ["--config", given.config, "--chunk", str(given.chunk)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
