"""Does it learn: trains a config with several seeds and appends a JSON line a run to
``results/learning.jsonl``.

    python benchmarks/learning.py dreamer_v3/pendulum --seeds 0 1 2 --runs runs/learning

Evaluations are 10 episodes under the policy's mean action.  ``score`` is the mean of the last three
evaluations.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from agents.config import config_names
from agents.logger import read_metrics
from agents.rundir import open_run

RESULTS = Path(__file__).parent / "results" / "learning.jsonl"


def result(run: Path, name: str) -> dict[str, object]:
    """The line of a finished run."""
    config, info = open_run(run)
    lines = read_metrics(run / "metrics.jsonl")
    evaluations = [(x["step"], round(x["eval_return"], 1)) for x in lines if "eval_return" in x]
    last = [x for x in lines if x["kind"] == "train"][-1]
    agent, model = config["agent"], config["agent"]["model"]
    return {
        "benchmark": "learning",
        "config": name,
        "env": config["env"]["id"],
        "seed": info["seed"],
        "score": round(float(np.mean([r for _, r in evaluations[-3:]])), 1),
        "evaluations": evaluations,
        "random": round(next(x["random_return"] for x in lines if "random_return" in x), 1),
        "steps": max(x["step"] for x in lines),
        "updates": last["updates"],
        "minutes": round(last["seconds"] / 60, 1),
        "cpu_minutes": round(last["cpu_seconds"] / 60, 1),
        "action_repeat": config["env"]["action_repeat"],
        "train_ratio": config["train_ratio"],
        "batch": [agent["batch"], agent["length"]],
        "horizon": agent["horizon"],
        "deter": model["deter"],
        "latents": [model["groups"], model["classes"]],
        "units": agent["units"],
        "evaluation": f"{config['eval_episodes']} episodes, policy mean",
        "commit": info["commit"],
        "dirty": info["dirty"],
        "versions": info["versions"],
        "cores": info["cores"],
        "threads": config["threads"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", choices=config_names())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/learning"))
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    for seed in given.seeds:
        run = given.runs / f"{given.config.replace('/', '-')}-seed{seed}"
        command = [sys.executable, "-m", "agents.cli"]
        if (run / "checkpoints").exists():
            command += ["resume", str(run)]
        else:
            command += ["train", given.config, f"seed={seed}", *given.overrides, "--run", str(run)]
        subprocess.run(command, check=True)
        line = result(run, given.config)
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(
            yaml.safe_dump(
                {
                    k: line[k]
                    for k in ("env", "seed", "score", "random", "steps", "updates", "minutes")
                }
            )
        )


if __name__ == "__main__":
    main()
