"""How long an action takes: p50 and p99 of ``agent.act`` and of ``agents.load(run).act``, on one
thread.

The agent is DreamerV3 with the ``fast`` preset on dm-control's cart-pole, untrained (the time does
not depend on the weights). ``act`` takes tensors and gives tensors; ``policy.act`` takes the
observation as the environment gives it, checks it, and gives the action in the environment's units.
Wall-clock times, each call by itself, after 200 that are not counted.  The machine should do
nothing else meanwhile.  Appends a JSON line to ``results/acting.jsonl``.

    python benchmarks/acting.py
    python benchmarks/acting.py --calls 100 --out /tmp/acting.jsonl    # does it run at all?
    git worktree add --detach ../before d4d712a
    python benchmarks/acting.py --beside ../before --rounds 7
    python benchmarks/acting.py --compiled --rounds 7

``--compiled`` times both as they are and compiled (``agents.load(run, compiled=True)``), in turn in
one process, and how long compiling took. ``--beside`` times this tree and another one in turn, each
round a process a tree, on whatever machine there is: the line has the median over rounds of this
tree's times to the other's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from timing import about, append, by_round, prepare

import agents
from agents.config import load_config
from agents.environments import make_env
from agents.run import Trainer
from agents.settings import RunSettings

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


@contextmanager
def begun(config: str) -> Iterator[tuple[Path, Any, Any, dict[str, torch.Tensor]]]:
    """A run that has just begun: its folder, its agent, what the environment gives first, and the
    same as the agent takes it.
    """
    settings = load_config(RunSettings, config, ["threads=1"])
    raw = make_env(settings.env, seed=0).env
    observation, _ = raw.reset(seed=0)
    with tempfile.TemporaryDirectory() as folder:
        with Trainer(settings).begin(Path(folder) / "run") as trainer:
            trainer.run.save()
            agent, interface = trainer.agent, trainer.view
            rows = trainer.envs.reset()
            given = {k: v[:1] for k, v in interface.tensors(rows, agent.device).items()}
        yield Path(folder) / "run", agent, observation, given


def acting(actor: Any, given: dict[str, torch.Tensor]) -> Callable[[], None]:
    """A call that acts, and remembers."""
    state = actor.initial(1)

    def act() -> None:
        nonlocal state
        _, state = actor.act(given, state)

    return act


def measure(config: str, calls: int) -> dict[str, dict[str, float]]:
    """Both, of an agent that a run has just begun with."""
    with begun(config) as (run, agent, observation, given):
        policy = agents.load(run)
        return {
            "agent.act": milliseconds(acting(agent, given), calls),
            "policy.act": milliseconds(lambda: policy.act(observation), calls),
        }


def compiled(config: str, calls: int, rounds: int) -> dict[str, Any]:
    """Both as they are and compiled, in turn: `ratio` is the median over rounds of compiled to not
    compiled.
    """
    with begun(config) as (run, _, observation, given):
        plain = agents.load(run)
        start = time.perf_counter()
        fast = agents.load(run, compiled=True)
        seconds = time.perf_counter() - start
        contenders = {
            "agent.act": acting(plain.actor, given),
            "agent.act compiled": acting(fast.actor, given),
            "policy.act": lambda: plain.act(observation),
            "policy.act compiled": lambda: fast.act(observation),
        }
        times: dict[str, list[float]] = {
            f"{name} {part}": [] for name in contenders for part in ("p50", "p99")
        }
        for _ in range(rounds):
            for name, call in contenders.items():
                for part, taken in milliseconds(call, calls).items():
                    times[f"{name} {part}"].append(taken)
    return {
        "benchmark": "acting_compiled",
        "rounds": rounds,
        "seconds": round(seconds, 1),
        "milliseconds": times,
        "ratio": {
            f"{call} {part}": round(
                statistics.median(
                    by_round(times[f"{call} compiled {part}"], times[f"{call} {part}"])
                ),
                3,
            )
            for call in ("agent.act", "policy.act")
            for part in ("p50", "p99")
        },
    }


def measured(tree: Path, config: str, calls: int) -> dict[str, Any]:
    """The line that a tree's own copy of this script writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "acting.jsonl"
        told = ["--config", config, "--calls", str(calls), "--out", str(out)]
        subprocess.run(
            [sys.executable, "benchmarks/acting.py", *told],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        line: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return line


def beside(other: Path, config: str, calls: int, rounds: int) -> dict[str, Any]:
    """This tree and another one in turn: `ratio` is the median over rounds of this to that."""
    trees = {"this": Path(__file__).resolve().parent.parent, "other": other.resolve()}
    lines: dict[str, list[dict[str, Any]]] = {name: [] for name in trees}
    for _ in range(rounds):
        for name, tree in trees.items():
            lines[name].append(measured(tree, config, calls))
    times = {
        name: {
            f"{call} {part}": [x["milliseconds"][call][part] for x in found]
            for call in ("agent.act", "policy.act")
            for part in ("p50", "p99")
        }
        for name, found in lines.items()
    }
    return {
        "benchmark": "acting_beside",
        "rounds": rounds,
        "other": lines["other"][0]["commit"],
        "milliseconds": times,
        "ratio": {
            key: round(statistics.median(by_round(these, times["other"][key])), 3)
            for key, these in times["this"].items()
        },
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
    parser.add_argument("--beside", type=Path, metavar="TREE", help="another checkout, in turn")
    parser.add_argument("--compiled", action="store_true", help="as it is and compiled, in turn")
    parser.add_argument("--rounds", type=int, default=7, help="of --beside and --compiled")
    given = parser.parse_args()
    prepare()
    torch.manual_seed(0)
    if given.beside:
        found = beside(given.beside, given.config, given.calls, given.rounds)
    elif given.compiled:
        found = compiled(given.config, given.calls, given.rounds)
    else:
        found = {"benchmark": "acting", "milliseconds": measure(given.config, given.calls)}
    append(given.out, {**found, "config": given.config, "calls": given.calls, **about()})
    print(found.get("ratio") or found["milliseconds"])


if __name__ == "__main__":
    main()
