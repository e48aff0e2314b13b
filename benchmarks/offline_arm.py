"""An agent from twenty minutes of the simulated arm's log alone, with and without the penalty.

    python benchmarks/offline_arm.py --seeds 0 1 2
    python benchmarks/offline_arm.py --log ahead --seeds 0 1 2   # the base was all but held
    python benchmarks/offline_arm.py --log ahead --penalties 0 -- offline.action_scale=[]
    python benchmarks/offline_arm.py --seeds 0 --runs FOLDER     # keeps the runs there

The log is that of ``arm_logs.py``: a clumsy program, no agent. An ensemble of one-step predictors
learns from it (``configs/pretrain/one_step.yaml``), and SAC learns inside it
(``configs/sac/offline.yaml``), paid less where the members disagree, or not. Judged as in
``robot_online.py``: the mean return of goals that nobody has learned from, beside that of the log,
and how often the arm arrives, before the agent has moved it once. Appends a JSON line a seed and
penalty to ``results/offline_arm.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from arm_logs import EVERYWHERE, LOGS, Recorded, record
from robot_online import arrivals
from timing import append

import agents
from agents.config import load_config
from agents.offline import OfflineTrainer
from agents.pretrain import Pretrainer
from agents.pretrain.settings import OneStepSettings
from agents.process import prepare_process
from agents.rundir import origin
from agents.settings import RunSettings
from envs.robot import arm_limits
from worldmodels.data import Episodes

RESULTS, GOALS = Path(__file__).parent / "results" / "offline_arm.jsonl", 40


def pretrained(log: Episodes, folder: Path, seed: int, *changes: str) -> Path:
    """A run of the ensemble on the log; one that is there is taken as it is, it has come to its
    end.
    """
    run, part = folder / f"one_step-seed{seed}", folder / f".one_step-seed{seed}"
    settings = load_config(
        OneStepSettings, "pretrain/one_step", [f"seed={seed}", "threads=1", *changes]
    )
    if not run.exists():
        shutil.rmtree(part, ignore_errors=True)  # it was interrupted
        with Pretrainer(settings, log).begin(part) as trainer:
            trainer.train()
        part.rename(run)
    return run


def offline(
    log: Recorded, kind: str, model: Path, folder: Path, seed: int, *changes: str
) -> dict[str, Any]:
    """An agent from the log and its model, judged by goals of the log's kind."""
    begun = time.process_time()
    step = [each.step for each in arm_limits(3).actions.values()]
    told = [f"seed={seed}", f"offline.model={model}", f"offline.action_scale={step}", *changes]
    settings = load_config(RunSettings, "sac/offline", told)
    doubts: list[float] = []
    trainer = OfflineTrainer(settings, log=log.episodes)
    with trainer.begin(folder):
        trainer.watch = lambda run, metrics: doubts.append(trainer.imagination.doubt)
        trainer.train()
    minutes = (time.process_time() - begun) / 60
    assert settings.offline is not None
    tail = doubts[-max(1, len(doubts) // 10) :]
    return {
        "penalty": settings.offline.penalty,
        "horizon": settings.offline.horizon,
        "bounded": not settings.offline.action_scale,  # by the log's largest actions
        "updates": trainer.run.progress.updates,
        "goals": GOALS,
        **arrivals(agents.load(folder), LOGS[kind].task(), GOALS, repeat=1),
        "log_return": round(float(log.returns.mean()), 2),
        "log_success": round(log.success, 3),
        "rows": log.episodes.steps,
        "doubt": round(float(np.mean(tail)), 4),
        "cpu_minutes": round(minutes, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--penalties", type=float, nargs="+", default=[1.0, 0.0])
    parser.add_argument("--episodes", type=int, default=240, help="of the log, five seconds each")
    parser.add_argument("--log", choices=LOGS, default=EVERYWHERE)
    parser.add_argument("--gain", type=float, default=0.1, help="of the clumsy program")
    parser.add_argument("--noise", type=float, default=0.8, help="of the clumsy program")
    parser.add_argument("--hold", type=int, default=0, help="random actions for so many ticks")
    parser.add_argument("--model-updates", type=int, default=3000, help="of the ensemble")
    parser.add_argument("--runs", type=Path, help="keep the runs' folders here")
    parser.add_argument("--dry", action="store_true", help="write no result")
    args = parser.parse_args()
    prepare_process(1)
    about = origin()
    for seed in args.seeds:
        log = record(args.episodes, seed, args.gain, args.noise, hold=args.hold, kind=args.log)
        with tempfile.TemporaryDirectory() as scratch:
            folder = args.runs or Path(scratch)
            model = pretrained(log.episodes, folder, seed, f"updates={args.model_updates}")
            for penalty in args.penalties:
                run = folder / f"offline-seed{seed}-penalty{penalty:g}"
                more = [f"offline.penalty={penalty}", *args.overrides]
                line = {
                    "benchmark": "offline_arm",
                    "seed": seed,
                    "log": None if args.log == EVERYWHERE else args.log,
                    "gain": None if args.hold else args.gain,
                    "noise": None if args.hold else args.noise,
                    "hold": args.hold,
                    "model_updates": args.model_updates,
                    **offline(log, args.log, model, run, seed, *more),
                    **{k: about[k] for k in ("commit", "dirty", "versions")},
                }
                print(json.dumps(line), flush=True)
                if not args.dry:
                    append(RESULTS, line)


if __name__ == "__main__":
    main()
