"""Two real robots' logs, split by time: the open-loop error of a pretrained RSSM beside
persist-last, the mean and ridge.

    python benchmarks/robot_logs.py arm --seeds 0 1 2             # a SARCOS arm: 7 joints
    python benchmarks/robot_logs.py follower --seeds 0 1 2        # a wall follower: 24 sonars
    python benchmarks/robot_logs.py arm --ridge                   # intervals of ridge alone
    python benchmarks/robot_logs.py arm --data FOLDER updates=500 # a folder; changes

Settings are ``configs/pretrain/robot_log.yaml`` for both robots, chosen on the validation parts.
The first 80 % of a log are the training part, the next 10 % the validation part, the last 10 % the
test part.  Errors are root mean squares over features and windows, in standard deviations of the
training part, at 1, 5, 20 and 50 steps ahead, from 50 rows that are read and the recorded actions.
Appends a JSON line a seed to ``results/robot_logs.jsonl``, with the whole curves. Intervals of 90 %
are of the validation part; a line in ``results/robot_intervals.jsonl`` has the share of the test
part that they hold, at the same horizons and of all of them, and their mean width.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from agents.config import load_config, to_dict
from agents.logger import read_metrics
from agents.policy import load_model
from agents.pretrain import Pretrainer, report, trust
from agents.pretrain.fit import fitted
from agents.pretrain.settings import RSSMSettings
from agents.process import prepare_process
from agents.run import Run
from agents.rundir import open_run, origin
from worldmodels.data import Episodes, Split, checked, sarcos, wall_following
from worldmodels.open_loop import Ridge, moments

RESULTS = Path(__file__).parent / "results" / "robot_logs.jsonl"
INTERVALS = RESULTS.with_name("robot_intervals.jsonl")
ROBOTS = {"arm": sarcos, "follower": wall_following}


def held(found: dict[str, Any]) -> dict[str, Any]:
    """Of intervals: what they hold of the test part, at some horizons and on average, and how wide
    they are.
    """
    shares, width = found["coverage"]["all"], found["width"]
    mean = [sum(each) / len(each) for each in zip(*width.values())]
    at = {str(h): round(shares[h - 1], 4) for h in report.HORIZONS}
    return {
        "level": found["level"],
        "windows": found["windows"],
        "held": round(sum(shares) / len(shares), 4),
        "at": at,
        "width": {str(h): round(mean[h - 1], 4) for h in report.HORIZONS},
    }


def of_ridge(part: Split, settings: RSSMSettings) -> dict[str, Any]:
    """The same of ridge regression, which is cheap."""
    units = {k: scale for k, (_, scale) in moments(part.train).items()}
    ridge = Ridge(part.train, part.valid, settings.horizon)
    return trust.judge_intervals(ridge, part, settings, units)[1]


def only_ridge(robot: str, data: Episodes, changes: Sequence[str]) -> dict[str, Any]:
    """A line of ridge regression's intervals, which no seed changes."""
    begun = time.process_time()
    settings, part, _ = fitted(load_config(RSSMSettings, "pretrain/robot_log", changes), data)
    found = held(of_ridge(part, settings))
    minutes = round((time.process_time() - begun) / 60, 2)
    line = {"benchmark": "robot_intervals", "robot": robot, "model": "ridge", "seed": None}
    return {**line, **found, "cpu_minutes": minutes, "settings": to_dict(settings)}


def judged(robot: str, data: Episodes, run: Path) -> dict[str, Any]:
    """A line of the intervals of a run's best weights, however far it went."""
    begun = time.process_time()
    settings, part, _ = fitted(load_config(RSSMSettings, open_run(run)[0]), data)
    units = {k: scale for k, (_, scale) in moments(part.train).items()}
    model = report.MeanOfDraws(load_model(run), settings.draws, torch.device("cpu"))
    found = held(trust.judge_intervals(model, part, settings, units)[1])
    bounds = [x for x in read_metrics(run / "metrics.jsonl") if "valid_bound" in x]
    best = min(bounds, key=lambda x: x["valid_bound"])
    line = {"benchmark": "robot_intervals", "robot": robot, "model": "RSSM", "seed": settings.seed}
    line |= {"updates": bounds[-1]["step"], "best_update": best["step"]}
    minutes = (bounds[-1]["cpu_seconds"] + time.process_time() - begun) / 60
    return {**line, **found, "cpu_minutes": round(minutes, 2)}


def about_it(about: dict[str, Any]) -> dict[str, Any]:
    """Where a line comes from."""
    return {k: about[k] for k in ("commit", "dirty", "versions")}


def write(line: dict[str, Any], dry: bool, results: Path = RESULTS) -> None:
    """Append a line, or only print it."""
    print({k: v for k, v in line.items() if k not in ("curves", "settings", "bounds")}, flush=True)
    if not dry:
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("robot", choices=list(ROBOTS))
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument(
        "--data", type=Path, help="a folder with the log's file; downloaded if not given"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--runs", type=Path, help="keep the runs' folders here, with their pictures"
    )
    parser.add_argument("--ridge", action="store_true", help="intervals of ridge regression alone")
    parser.add_argument(
        "--judge", type=Path, help="intervals of the best weights of a run that is there"
    )
    parser.add_argument("--dry", action="store_true", help="write no result")
    args = parser.parse_args()
    data, about = checked(ROBOTS[args.robot](args.data)), origin()
    print(data)
    if args.judge:
        write(judged(args.robot, data, args.judge) | about_it(about), args.dry, INTERVALS)
        return
    if args.ridge:
        line = only_ridge(args.robot, data, args.overrides) | about_it(about)
        write(line, args.dry, INTERVALS)
        return
    for seed in args.seeds:
        settings = load_config(
            RSSMSettings, "pretrain/robot_log", [f"seed={seed}", *args.overrides]
        )
        prepare_process(settings.threads)
        with tempfile.TemporaryDirectory() as scratch:
            directory = (args.runs or Path(scratch)) / f"{args.robot}-seed{seed}"

            def say(run: Run, metrics: Mapping[str, float]) -> None:
                if "valid_bound" in metrics:
                    said = {k: round(v, 3) for k, v in metrics.items()}
                    print(run.at, said, flush=True)

            trainer = Pretrainer(settings, data, say)
            with trainer.resume(directory) if directory.exists() else trainer.begin(directory):
                trainer.train()
            settings = trainer.settings
            trainer.load_best()
            part = trainer.data
            valid = report.evaluate(
                trainer.model, Split(part.train, part.valid, part.valid), settings
            )
            found = report.write(directory, trainer.model, part, settings)
            print(f"validation\n{report.table(valid)}\ntest\n{report.table(found)}", flush=True)
            print(*trust.lines(found["trust"]), sep="\n", flush=True)
            p, (at, bound) = trainer.run.progress, trainer.best
            line = {
                "benchmark": "robot_logs",
                "robot": args.robot,
                "model": "RSSM",
                "seed": seed,
                "updates": p.updates,
                "best_update": at,
                "valid_bound": bound,
                "cpu_minutes": round(p.cpu_seconds / 60, 2),
                "at": {
                    name: {str(h): round(e["all"][h - 1], 4) for h in report.HORIZONS}
                    for name, e in found["rmse"].items()
                },
                "valid_at": {
                    str(h): round(valid["rmse"]["rssm"]["all"][h - 1], 4) for h in report.HORIZONS
                },
                "curves": {n: [round(x, 4) for x in e["all"]] for n, e in found["rmse"].items()},
                "windows": found["windows"],
                "parameters": sum(w.numel() for w in trainer.model.parameters()),
                "settings": to_dict(settings),
                "bounds": [
                    [x["step"], round(x["valid_bound"], 4)]
                    for x in read_metrics(directory / "metrics.jsonl")
                ],
                **about_it(about),
            }
        write(line, args.dry)
        own = {k: line[k] for k in ("robot", "model", "seed", "cpu_minutes")} | about_it(about)
        kept = {"benchmark": "robot_intervals", **own, **held(found["trust"]["intervals"])}
        write(kept, args.dry, INTERVALS)


if __name__ == "__main__":
    main()
