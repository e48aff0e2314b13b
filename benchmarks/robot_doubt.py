"""Does an ensemble of one-step predictors notice a robot that is not like its log?

    python benchmarks/robot_doubt.py --seeds 0 1 2
    python benchmarks/robot_doubt.py --seeds 0 --runs FOLDER     # keeps the runs there

The log is twenty minutes of the simulated arm at 20 Hz (``arm_logs.py``). ``pixyz pretrain doubt``
learns from it; thresholds are those of its validation part. Twenty other episodes are as
the log, and twenty of each disturbance: a payload that nobody announced, a stuck joint, play in the
gears. The area under the curve (AUROC) is that of one-second means of a score against those of the
usual episodes, and of drift that of windows of its own length, which do not overlap; alarms are of
means over ten ticks, or of drift, above the threshold. Appends a JSON line a seed to
``results/robot_doubt.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from itertools import pairwise
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
from worldmodels.doubt import SCORES, Doubt, Thresholds, scores, thresholds, with_drift
from worldmodels.drift import running
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


def windows(found: list[dict[str, Tensor]], trusted: Thresholds) -> dict[str, Tensor]:
    """Means of each score over seconds that do not overlap, drifts of windows that do not."""
    drift = trusted.drift
    assert drift is not None
    means = {k: torch.cat([running(f[k], SECOND)[::SECOND] for f in found]) for k in SCORES}
    drifts = [drift.of(running(f["residual"], drift.ticks)[:: drift.ticks]) for f in found]
    return means | {"drift": torch.cat(drifts)}


def above(found: dict[str, Tensor], trusted: Thresholds) -> dict[str, Tensor]:
    """Of each score, in which ticks of an episode it is above its threshold, ``[T - 1]``."""
    drift, steps = trusted.drift, len(found["residual"])
    assert drift is not None
    over = {k: running(found[k], trusted.ticks) > getattr(trusted, k) for k in SCORES}
    over["drift"] = drift.of(running(found["residual"], drift.ticks)) > drift.most
    return {k: torch.cat([v.new_zeros(steps - len(v)), v]) for k, v in over.items()}


def alarms(found: list[dict[str, Tensor]], trusted: Thresholds) -> dict[str, Any]:
    """The share of ticks above a threshold, of any score, how long the first one took, and in how
    many episodes each score had one.
    """
    share, first, counts = [], [], dict.fromkeys((*SCORES, "drift"), 0)
    for each in found:
        over = above(each, trusted)
        some = torch.stack(list(over.values())).any(0)
        share.append(some.float().mean())
        for name, ticks in over.items():
            counts[name] += bool(ticks.any())
        if bool(some.any()):
            first.append((int(some.float().argmax()) + 1) / SECOND)
    first.sort()
    return {
        "share": round(torch.stack(share).mean().item(), 5),
        "episodes": len(first),
        "by": counts,
        "seconds": round(first[len(first) // 2], 2) if first else None,
    }


def microseconds(model: OneStep, trusted: Thresholds, data: Episodes) -> dict[str, float]:
    """CPU time of what the scores of a tick cost: both passes of the networks, and all else."""
    episode = data[0]
    rows = {k: torch.from_numpy(episode[k]) for k in model.sizes}
    given = [{k: v[i : i + 1] for k, v in rows.items()} for i in range(len(episode["action"]))]
    action, doubt = torch.from_numpy(episode["action"][:1]), Doubt(trusted)
    begun, lately = time.process_time(), model.initial(1)
    kept = []
    for before, after in pairwise(given):
        apart = model.disagreement(before, action, lately)
        kept.append((float(apart), model.residual(before, action, after, lately)[0]))
        lately = model.follow(lately, before, action, after)
    middle = time.process_time()
    for apart_, residual in kept:
        doubt.add(disagreement=apart_)
        doubt.add(residual, surprise=float(residual.square().mean()))
    end, count = time.process_time(), 1e-6 * len(kept)
    return {"model": round((middle - begun) / count), "rest": round((end - middle) / count)}


def judged(model: OneStep, trusted: Thresholds, seed: int, count: int) -> dict[str, Any]:
    """All disturbances beside usual episodes."""
    usual = record(count, 1000 + seed).episodes
    known = [scores(model, e)._asdict() for e in usual]
    base, found = windows(known, trusted), {"usual": alarms(known, trusted)}
    for name, faults in DISTURBANCES.items():
        data = record(count, 2000 + seed, faults=faults).episodes
        known = [scores(model, e)._asdict() for e in data]
        other = windows(known, trusted)
        found[name] = {k: round(auroc(base[k], other[k]), 4) for k in base}
        found[name] |= alarms(known, trusted)
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
            OneStepSettings, "pretrain/doubt", [f"seed={seed}", "threads=1", *args.overrides]
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
            valid = trainer.data.valid
            trusted = with_drift(thresholds(model, valid), model, valid)
            trusted.save(directory / "thresholds.json")
        found = judged(model, trusted, seed, args.tests)
        line = {
            "benchmark": "robot_doubt",
            "seed": seed,
            "rows": log.episodes.steps,
            "tests": args.tests,
            "lately": list(settings.model.lately),
            "prior": settings.model.prior,
            "updates": trainer.run.progress.updates,
            "valid_bound": round(trainer.best[1], 3),
            "thresholds": asdict(trusted),
            "tick_us": microseconds(model, trusted, valid),
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
