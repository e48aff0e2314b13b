"""``pixyz robot offline``: an agent from a log alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from agents.config import load_config
from agents.display import Display
from agents.offline import OfflineTrainer
from agents.process import prepare_process
from agents.run import Run
from agents.run_name import run_name
from agents.settings import RunSettings
from envs.robot import load_limits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("config", help="a name such as sac/offline, or a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="offline.penalty=2.0")
    parser.add_argument("--log", type=Path, required=True, help="a data set, such as logs/lerobot")
    parser.add_argument(
        "--model", type=Path, required=True, help="a run of `pixyz pretrain one_step` on this log"
    )
    parser.add_argument(
        "--limits", type=Path, help="of the robot: their steps are what the agent calls 1"
    )
    parser.add_argument("--run", type=Path, help="the run's folder; one that is there goes on")
    parser.set_defaults(command=offline)


def offline(given: argparse.Namespace) -> int:
    """Learn from a log, without a robot."""
    steps = load_limits(given.limits).actions.values() if given.limits else ()
    scale = [f"offline.action_scale={[each.step for each in steps]}"] if steps else []
    told = [f"offline.log={given.log}", f"offline.model={given.model}", *scale]
    settings = load_config(RunSettings, given.config, [*told, *given.overrides])
    prepare_process(settings.threads)
    run = given.run or Path("runs") / f"robot-{run_name(given.config, given.overrides, settings)}"
    title = f"offline seed {settings.seed}"
    with Display(total=settings.updates, title=title, unit="updates") as display:

        def watch(run: Run, metrics: Any) -> None:
            display.update(run.at, run.at, None, metrics)

        trainer = OfflineTrainer(settings, watch)
        with trainer.resume(run) if (run / "run.json").is_file() else trainer.begin(run):
            found = trainer.train()
    print(f"{found.at} updates, {found.progress.cpu_seconds / 60:.1f} CPU minutes, saved in {run}")
    print(f"go on with the robot: pixyz robot learn {given.config} --from {run}")
    return found.stop.code
