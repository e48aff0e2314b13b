"""How long an action takes: p50 and p99 of ``agent.act`` and of ``agents.load(run).act``, on one
thread.

The agent is DreamerV3 with the ``fast`` preset on dm-control's cart-pole, untrained (the time does
not depend on the weights). ``act`` takes tensors and gives tensors; ``policy.act`` takes the
observation as the environment gives it, checks it, and gives the action in the environment's units.
Wall-clock times, each call by itself, after 200 that are not counted.  The machine should do
nothing else meanwhile.  Appends a JSON line to ``results/acting.jsonl``.

    python benchmarks/acting.py
    python benchmarks/acting.py --calls 100 --out /tmp/acting.jsonl    # does it run at all?
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import about, append, prepare

import agents
from agents.config import load_config
from agents.run import Trainer
from agents.settings import RunSettings
from envs import make

WARMUP = 200


def milliseconds(call: Callable[[], Any], calls: int) -> dict[str, float]:
    """Of each call by itself: p50 and p99."""
    for _ in range(WARMUP):
        call()
    taken = []
    for _ in range(calls):
        began = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - began) / 1e6)
    parts = statistics.quantiles(taken, n=100)
    return {"p50": round(parts[49], 3), "p99": round(parts[98], 3)}


def measure(config: str, calls: int) -> dict[str, dict[str, float]]:
    """Both, of an agent that a run has just begun with."""
    settings = load_config(RunSettings, config, ["threads=1"])
    e = settings.env
    raw = make(
        e.id, action_repeat=e.action_repeat, time_limit=e.time_limit, seed=0, **e.options
    ).env
    observation, _ = raw.reset(seed=0)
    with tempfile.TemporaryDirectory() as folder:
        with Trainer(settings).begin(Path(folder) / "run") as trainer:
            trainer.run.save()
            agent, interface = trainer.agent, trainer.view
            rows = trainer.envs.reset()
            given = {k: v[:1] for k, v in interface.tensors(rows, agent.device).items()}
        policy = agents.load(Path(folder) / "run")
    state = agent.initial(1)

    def act() -> None:
        nonlocal state
        _, state = agent.act(given, state)

    return {
        "agent.act": milliseconds(act, calls),
        "policy.act": milliseconds(lambda: policy.act(observation), calls),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="dreamer_v3/cartpole_swingup")
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parent / "results" / "acting.jsonl"
    )
    given = parser.parse_args()
    prepare()
    torch.manual_seed(0)
    found = measure(given.config, given.calls)
    line = {
        "benchmark": "acting",
        "config": given.config,
        "calls": given.calls,
        "milliseconds": found,
        **about(),
    }
    append(given.out, line)
    print(found)


if __name__ == "__main__":
    main()
