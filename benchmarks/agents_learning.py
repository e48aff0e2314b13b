"""Which agent learns how much from how many frames: one setting for all tasks, a JSON line a run in
``results/learning.jsonl``.

    python benchmarks/agents_learning.py tdmpc/small --tasks walker_walk --seeds 0 1 2
    python benchmarks/agents_learning.py dreamer_v3/fast --tasks CartPole-v1 --frames 15000
    python benchmarks/agents_learning.py tdmpc/small --read runs/agents/RUN
    python benchmarks/agents_learning.py tdmpc/small --again runs/agents/RUN --set agent.margin=0.05

Frames count action repeat.  Evaluations are 10 episodes of the best action (a planner's mean).
``score`` is the mean of the last three evaluations.  A run that was stopped goes on; one that is in
the file already is left out.

``--again`` evaluates the checkpoints that a finished run has kept, with changes of what only its
best action reads: an evaluation leaves the random numbers of training as they were, so these are
the evaluations that the run would have had with the changes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from learning import RESULTS

import agents
from agents.config import config_names, load_config
from agents.logger import read_metrics
from agents.run.evaluate import Judge
from agents.rundir import open_run, origin
from agents.settings import RunSettings

TASKS = (
    "cartpole_balance",
    "cartpole_swingup",
    "reacher_easy",
    "finger_spin",
    "pendulum_swingup",
    "walker_stand",
    "walker_walk",
)


def environment(task: str) -> str:
    """``walker_walk`` -> ``dm_control/walker-walk-v0``; an environment's id is itself."""
    return f"dm_control/{task.replace('_', '-')}-v0" if task in TASKS else task


def result(run: Path, name: str) -> dict[str, object]:
    """The line of a finished run."""
    config, info = open_run(run)
    lines = read_metrics(run / "metrics.jsonl")
    evaluations = [(x["step"], round(x["eval_return"], 1)) for x in lines if "eval_return" in x]
    last = [x for x in lines if x["kind"] == "train"][-1]
    agent = config["agent"]
    return {
        "benchmark": "agents_learning",
        "config": name,
        "kind": agent["kind"],
        "env": config["env"]["id"],
        "seed": info["seed"],
        "score": round(float(np.mean([r for _, r in evaluations[-3:]])), 1),
        "evaluations": evaluations,
        "random": round(next(x["random_return"] for x in lines if "random_return" in x), 1),
        # an episode may end within a repeated action: a run stops some frames late
        "frames": min(max(x["step"] for x in lines), config["steps"]),
        "decisions": last["actions"],
        "updates": last["updates"],
        "minutes": round(last["seconds"] / 60, 1),
        "cpu_minutes": round(last["cpu_seconds"] / 60, 1),
        "action_repeat": config["env"]["action_repeat"],
        "train_ratio": config["train_ratio"],
        "agent": agent,
        "evaluation": f"{config['eval_episodes']} episodes, best action",
        "commit": info["commit"],
        "dirty": info["dirty"],
        "versions": info["versions"],
        "cores": info["cores"],
        "threads": config["threads"],
    }


def known() -> set[tuple[object, ...]]:
    """Config, environment, seed and frames of the runs in the file."""
    if not RESULTS.exists():
        return set()
    lines = [json.loads(x) for x in RESULTS.read_text(encoding="utf-8").splitlines()]
    own = [x for x in lines if x["benchmark"] == "agents_learning" and "changes" not in x]
    return {(x["config"], x["env"], x["seed"], x["frames"]) for x in own}


FASTER = ("agent.compile_from=",)
"""Changes of a config that make it faster, and else change the last digits alone: they do not mark
a line.
"""

BEST_ACTION = {"margin"}
"""Settings of an agent that nothing but the best action reads."""


def evaluated(run: Path, changes: Sequence[str]) -> dict[str, Any]:
    """What the line of a finished run says otherwise if the checkpoints that it kept are
    evaluated with ``changes``.
    """
    allowed = {f"agent.{key}" for key in BEST_ACTION}
    if wrong := {change.split("=")[0] for change in changes} - allowed:
        raise SystemExit(f"--again: expected changes of {sorted(allowed)}, got {sorted(wrong)}")
    config, _ = open_run(run)
    settings = load_config(RunSettings, config, changes)
    agent = config["agent"] | {k: getattr(settings.agent, k) for k in BEST_ACTION}
    torch.set_num_threads(settings.threads or 1)
    judge = Judge(settings.env, settings.eval_episodes, settings.seed, settings.eval_limit)
    found = []
    for checkpoint in sorted((run / "checkpoints").glob("checkpoint-*")):
        with tempfile.TemporaryDirectory() as scratch:
            at = Path(scratch)
            for name in ("run.json", "interface.json"):
                shutil.copy(run / name, at / name)
            (at / "config.yaml").write_text(yaml.safe_dump(config | {"agent": agent}))
            shutil.copytree(checkpoint, at / "checkpoints" / checkpoint.name)
            returns = judge.actor(agents.load(at).actor)
        found.append((int(checkpoint.name.split("-")[1]), round(float(np.mean(returns)), 1)))
        print(found[-1], flush=True)
    return {
        "evaluations": found,
        "score": round(float(np.mean([mean for _, mean in found[-3:]])), 1),
        "agent": agent,
        "evaluated": {k: origin()[k] for k in ("commit", "dirty")},
    }


def record(run: Path, name: str, changes: Sequence[str] = (), again: bool = False) -> None:
    """Append the line of a finished run; ``changes`` of the config mark it."""
    line = result(run, name) | ({"changes": list(changes)} if changes else {})
    line |= evaluated(run, changes) if again else {}
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(
        {
            k: line[k]
            for k in ("env", "seed", "score", "evaluations", "frames", "updates", "cpu_minutes")
        },
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", choices=config_names())
    parser.add_argument(
        "--tasks", nargs="+", default=list(TASKS), help="of dm-control, or ids of environments"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--eval-every", type=int, default=10_000)
    parser.add_argument("--runs", type=Path, default=Path("runs/agents"))
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        help="changes of the config, key=value; they mark the lines, but for agent.compile_from",
    )
    parser.add_argument(
        "--read",
        type=Path,
        nargs="+",
        default=[],
        help="only write the lines of these finished runs",
    )
    parser.add_argument(
        "--again",
        type=Path,
        nargs="+",
        default=[],
        help="evaluate the checkpoints of these finished runs with the changes",
    )
    given = parser.parse_args()
    marks = [change for change in given.set if not change.startswith(FASTER)]
    for run in [*given.read, *given.again]:
        record(run, given.config, marks, run in given.again)
    for seed in () if given.read or given.again else given.seeds:
        for task in given.tasks:
            if not marks and (given.config, environment(task), seed, given.frames) in known():
                continue
            name = "-".join([given.config, task, *marks, f"seed{seed}"]).replace("/", "-")
            run = given.runs / name
            command = [sys.executable, "-m", "agents.cli"]
            changes = [f"steps={given.frames}", f"eval_every={given.eval_every}"]
            if (run / "checkpoints").exists():
                command += ["resume", str(run), *changes]
            else:
                command += [
                    "train",
                    given.config,
                    f"env.id={environment(task)}",
                    f"seed={seed}",
                    *changes,
                    *given.set,
                ]
                command += ["--run", str(run)]
            subprocess.run(command, check=True)
            record(run, given.config, marks)


if __name__ == "__main__":
    main()
