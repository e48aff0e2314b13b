"""A task that needs memory: an RSSM that draws little, one that draws much, an agent without it.

The task is ``envs.memory:MemoryChain``: a cue at the first step, a choice ``length`` steps later,
1 for the right one and -1 for the other. Who forgets gets 0 in the mean, or what the cues of an
evaluation are worth to who always does the same. A JSON line a run in ``results/memory.jsonl``.

    python benchmarks/memory.py rssm --seeds 0 1 2
    python benchmarks/memory.py rssm_64 sac
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from timing import about, append, prepare

from agents.config import load_config
from agents.logger import read_metrics
from agents.run import Trainer
from agents.settings import RunSettings

RESULTS = Path(__file__).parent / "results" / "memory.jsonl"
CASES = {
    "rssm": ("dreamer_v3/memory", []),
    "rssm_64": ("dreamer_v3/memory", ["agent.model.groups=8", "agent.model.classes=8"]),
    "sac": (
        "sac/small",
        [
            "env.id=envs.memory:MemoryChain",
            "env.action_repeat=1",
            "prefill=200",
            "eval_every=400",
            "eval_episodes=100",
        ],
    ),
}


def run(name: str, length: int, steps: int, seed: int) -> dict[str, Any]:
    """One training run, in a folder that is thrown away."""
    config, changes = CASES[name]
    given = [*changes, f"env.options.length={length}", f"steps={steps}", f"seed={seed}"]
    settings = load_config(RunSettings, config, [*given, "threads=1"])
    with tempfile.TemporaryDirectory() as folder:
        with Trainer(settings).begin(Path(folder) / "run") as trainer:
            trainer.train()
        lines = read_metrics(Path(folder) / "run" / "metrics.jsonl")
    last = [x for x in lines if x["kind"] == "train"][-1]
    return {
        "benchmark": "memory",
        "case": name,
        "config": config,
        "changes": changes,
        "length": length,
        "seed": seed,
        "frames": settings.steps,
        "updates": last["updates"],
        "cpu_minutes": round(last["cpu_seconds"] / 60, 1),
        "evaluations": [[x["step"], x["eval_return"]] for x in lines if "eval_return" in x],
        "random": next(x["random_return"] for x in lines if "random_return" in x),
        **about(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", choices=list(CASES))
    parser.add_argument("--length", type=int, default=1, help="steps between cue and choice")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    prepare()
    for case in given.cases:
        for seed in given.seeds:
            line = run(case, given.length, given.steps, seed)
            print(case, seed, line["evaluations"], line["updates"], flush=True)
            append(given.out, line)


if __name__ == "__main__":
    main()
