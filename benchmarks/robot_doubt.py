"""Does an ensemble of one-step predictors notice a robot that is not like its log?

    python benchmarks/robot_doubt.py --seeds 0 1 2
    python benchmarks/robot_doubt.py --seeds 0 --runs FOLDER     # keeps the runs there

The log is twenty minutes of the simulated arm at 20 Hz (``arm_logs.py``). ``pixyz pretrain
one_step`` learns from it; thresholds are those of its validation part. Twenty other episodes are as
the log, and twenty of each disturbance: a payload that nobody announced, a stuck joint, play in the
gears. The area under the curve (AUROC) is that of one-second means of a score against those of the
usual episodes; alarms are of means over ten ticks above the threshold. Appends a JSON line a seed
to ``results/robot_doubt.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from arm_logs import record
from torch import Tensor

from agents.config import load_config
from agents.pretrain import Pretrainer
from agents.pretrain.models import StepModel
from agents.pretrain.settings import OneStepSettings
from agents.process import prepare_process
from agents.rundir import origin
from worldmodels.data import Episodes
from worldmodels.doubt import SCORES, Thresholds, running, scores, thresholds
from worldmodels.one_step import OneStep

RESULTS = Path(__file__).parent / "results" / "robot_doubt.jsonl"
DISTURBANCES: dict[str, dict[str, Any]] = {
    "payload 0.5 kg": {"payload": 0.5},
    "payload 1 kg": {"payload": 1.0},
    "payload 2 kg": {"payload": 2.0},
    "stuck joint 1": {"stuck": "joint_1.pos"},
    "stuck joint 2": {"stuck": "joint_2.pos"},
    "stuck joint 3": {"stuck": "joint_3.pos"},
    "backlash 0.05 rad": {"backlash": 0.05},
}
SECOND = 20


def auroc(usual: Tensor, other: Tensor) -> float:
    """The probability that one of ``other`` is above one of ``usual``; ties count a half.

    >>> auroc(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    0.875
    """
    above = (other[:, None] > usual).double() + 0.5 * (other[:, None] == usual).double()
    return above.mean().item()


def seconds(model: OneStep, data: Episodes) -> dict[str, Tensor]:
    """Means of each score over seconds that do not overlap."""
    found = [scores(model, e)._asdict() for e in data]
    return {k: torch.cat([running(f[k], SECOND)[::SECOND] for f in found]) for k in SCORES}


def alarms(model: OneStep, data: Episodes, trusted: Thresholds) -> dict[str, Any]:
    """The share of ticks above a threshold, of either score, and how long the first one took."""
    share, first = [], []
    for episode in data:
        found = scores(model, episode)._asdict()
        over = [running(found[k], trusted.ticks) > getattr(trusted, k) for k in SCORES]
        either = over[0] | over[1]
        share.append(either.float().mean())
        if bool(either.any()):
            first.append((int(either.float().argmax()) + trusted.ticks) / SECOND)
    first.sort()
    return {
        "share": round(torch.stack(share).mean().item(), 5),
        "episodes": len(first),
        "seconds": round(first[len(first) // 2], 2) if first else None,
    }


def judged(model: OneStep, trusted: Thresholds, seed: int, count: int) -> dict[str, Any]:
    """All disturbances beside usual episodes."""
    usual = record(count, 1000 + seed).episodes
    base, found = seconds(model, usual), {"usual": alarms(model, usual, trusted)}
    for name, faults in DISTURBANCES.items():
        data = record(count, 2000 + seed, faults=faults).episodes
        other = seconds(model, data)
        found[name] = {k: round(auroc(base[k], other[k]), 4) for k in SCORES}
        found[name] |= alarms(model, data, trusted)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=240, help="of the log")
    parser.add_argument("--tests", type=int, default=20, help="episodes of each disturbance")
    parser.add_argument("--runs", type=Path, help="keep the runs' folders here")
    parser.add_argument("--dry", action="store_true", help="write no result")
    args = parser.parse_args()
    about = origin()
    for seed in args.seeds:
        begun = time.process_time()
        settings = load_config(
            OneStepSettings, "pretrain/one_step", [f"seed={seed}", "threads=1", *args.overrides]
        )
        prepare_process(settings.threads)
        log = record(args.episodes, seed)
        with tempfile.TemporaryDirectory() as scratch:
            directory = (args.runs or Path(scratch)) / f"one_step-seed{seed}"
            trainer = Pretrainer(settings, log.episodes)
            with trainer.resume(directory) if directory.exists() else trainer.begin(directory):
                trainer.train()
            trainer.load_best()
            assert isinstance(trainer.model, StepModel)
            model = trainer.model.eval().model
            trusted = thresholds(model, trainer.data.valid)
            trusted.save(directory / "thresholds.json")
        found = judged(model, trusted, seed, args.tests)
        line = {
            "benchmark": "robot_doubt",
            "seed": seed,
            "rows": log.episodes.steps,
            "tests": args.tests,
            "updates": trainer.run.progress.updates,
            "valid_bound": round(trainer.best[1], 3),
            "thresholds": vars(trusted),
            "found": found,
            "cpu_minutes": round((time.process_time() - begun) / 60, 2),
            **{k: about[k] for k in ("commit", "dirty", "versions")},
        }
        print(json.dumps({k: line[k] for k in ("seed", "found", "cpu_minutes")}, indent=1))
        if not args.dry:
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
