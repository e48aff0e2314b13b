"""What the model of a log believes of moving a base that was all but held in that log.

    python benchmarks/offline_beliefs.py --seeds 0 1 2 --runs FOLDER     # models are kept there

The model is that of ``offline_arm.py --log ahead``. At rows of another such log where the arm is
more than 0.1 m from its goal, the next tick is made three times: with the program's action, and
with the base to the left and to the right as fast as it can. Beside each stand the reward that the
model believes in and the disagreement of its members. Appends a JSON line a seed to
``results/offline_beliefs.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arm_logs import LOGS, NOISE, clumsy, record
from offline_arm import pretrained
from timing import append

from agents.policy import load_model
from agents.pretrain.models import StepModel
from agents.process import prepare_process
from agents.rundir import origin
from envs.robot.tasks import GOAL
from worldmodels.one_step import OneStep

RESULTS = Path(__file__).parent / "results" / "offline_beliefs.jsonl"
FAR = 0.1
"""Metres from the goal."""


def beliefs(
    model: OneStep, kind: str, seed: int, episodes: int, gain: float = 0.1, noise: float = 0.8
) -> dict[str, Any]:
    """Means over far rows, every tenth one: of the reward that came, of the one that was believed
    in, and of the disagreement; with the program's action and with the base at full speed.
    """
    task, moved, _ = LOGS[kind]
    env, made = task(faults={"noise": NOISE}), list[tuple[bool, Any, Any, float]]()
    move = clumsy(env, np.random.default_rng(seed), gain, noise)
    step = next(iter(env.limits.actions.values())).step
    for number in range(episodes):
        seen, _ = env.reset(seed=seed if number == 0 else None)
        over, tick = False, 0
        while not over:
            action = move(seen) * np.array(moved)
            if tick % 10 == 0 and np.linalg.norm(seen[GOAL]) > FAR:
                kept = env.save_state()
                for base in (-step, step):
                    fast = np.array([base, *action[1:]])
                    made.append((True, seen, fast, env.step(fast)[1]))
                    env.load_state(kept)
                made.append((False, seen, action, env.step(action)[1]))
                env.load_state(kept)
            seen, _, terminated, truncated, _ = env.step(action)
            over, tick = terminated or truncated, tick + 1
    env.close()
    torch.manual_seed(seed)
    found: dict[str, Any] = {"rows": sum(not fast for fast, *_ in made)}
    for name, wanted in (("program", False), ("base", True)):
        rows = [row[1:] for row in made if row[0] is wanted]
        obs = {k: torch.tensor(np.stack([r[0][k] for r in rows])).float() for k in model.sizes}
        action = torch.tensor(np.stack([r[1] for r in rows])).float()
        imagined = model.imagine(obs, action)
        found[name] = {
            "came": round(float(np.mean([r[2] for r in rows])), 3),
            "believed": round(imagined.reward.mean().item(), 3),
            "doubt": round(imagined.doubt.mean().item(), 3),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--log", choices=LOGS, default="ahead")
    parser.add_argument("--model-updates", type=int, default=1500, help="of the ensemble")
    parser.add_argument("--episodes", type=int, default=24, help="that are looked at")
    parser.add_argument("--runs", type=Path, default=Path("runs/offline_beliefs"))
    parser.add_argument("--dry", action="store_true", help="write no result")
    args = parser.parse_args()
    prepare_process(1)
    for seed in args.seeds:
        log = record(240, seed, kind=args.log).episodes
        model = load_model(pretrained(log, args.runs, seed, f"updates={args.model_updates}"))
        assert isinstance(model, StepModel)
        about = origin()
        line = {
            "benchmark": "offline_beliefs",
            "seed": seed,
            "log": args.log,
            "model_updates": args.model_updates,
            **beliefs(model.model, args.log, 1000 + seed, args.episodes),
            **{k: about[k] for k in ("commit", "dirty", "versions")},
        }
        print(json.dumps(line), flush=True)
        if not args.dry:
            append(RESULTS, line)


if __name__ == "__main__":
    main()
