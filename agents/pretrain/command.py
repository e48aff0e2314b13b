"""``pixyz pretrain MODEL --data PATH``: from a log to a judged world model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from agents.config import load_config
from agents.display import Display
from agents.errors import UsageError
from agents.pretrain import report
from agents.pretrain.settings import KINDS, PretrainSettings
from agents.pretrain.trainer import Pretrainer
from agents.process import prepare_process
from agents.replay.episodes import is_replay, read_replay
from agents.run import Run
from worldmodels.data import Episodes, checked, read_episodes

CHANGEABLE = (
    "updates", "patience", "eval_every", "checkpoint_every", "checkpoint_minutes", "threads", "device", "data",
)
"""What `pixyz resume RUN key=value` may change in a pretraining run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("model", choices=list(KINDS), help="what is trained")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes, such as seed=1 model.deter=256")
    parser.add_argument("--data", type=Path, required=True, help="a file or folder: npz, CSV, Minari, LeRobot v3, a run's replay")
    parser.add_argument("--format", default=None, help="of the data, where it cannot be found out")
    parser.add_argument("--config", help="a name such as pretrain/dreamer_v3, or a YAML file (default: pretrain/MODEL)")
    parser.add_argument("--run", type=Path, help="the run's folder (default: runs/pretrain-MODEL-DATA-seedSEED)")


def pretrain(given: argparse.Namespace) -> int:
    """Start a run."""
    values = [f"data={given.data}", *([f"format={given.format}"] if given.format else []), *given.overrides]
    settings = load_config(KINDS[given.model], given.config or f"pretrain/{given.model}", values)
    if settings.kind != given.model:
        raise UsageError(f"{given.config} is a config of {settings.kind}, not of {given.model}")
    prepare_process(settings.threads)
    data = open_data(settings)
    print(data)
    directory = given.run or Path("runs") / f"pretrain-{given.model}-{given.data.stem}-seed{settings.seed}"
    return run(settings, data, directory, resume=False)


def open_data(settings: PretrainSettings) -> Episodes:
    """The checked data of a run.

    Raises:
        DataError, ReplayError: it cannot be read, or has problems.
    """
    path = Path(settings.data).expanduser()
    if settings.format == "replay" or (settings.format == "auto" and is_replay(path)):
        return checked(read_replay(path), settings.on_bad)
    form = "auto" if settings.format == "replay" else settings.format
    return read_episodes(path, form, on_bad=settings.on_bad, keys=settings.keys or None)


def run(settings: PretrainSettings, data: Episodes, directory: Path, *, resume: bool) -> int:
    """Train, then write the report; 130 or so when stopped."""
    with Display(total=settings.updates, title=f"{settings.kind} seed {settings.seed}", unit="updates") as display:

        def watch(run: Run, metrics: Mapping[str, float]) -> None:
            display.update(run.at, run.at, None, metrics)

        trainer = Pretrainer(settings, data, watch)
        display.message(str(trainer.choice))
        with trainer.resume(directory) if resume else trainer.begin(directory):
            stop = trainer.train().stop
        if stop.asked:
            display.message(f"stopped at update {trainer.run.at}, saved; go on with: pixyz resume {directory}")
            return stop.code
    p, (at, bound) = trainer.run.progress, trainer.best
    trainer.load_best()
    found = report.write(directory, trainer.model, trainer.data, trainer.settings)
    print(f"validation bound {bound:.3f} nats a frame at update {at} of {p.updates}, "
          f"{p.seconds / 60:.1f} minutes, {p.cpu_seconds / 60:.1f} CPU minutes")
    print(f"open loop on the test part ({found['windows']} windows, {settings.seen} rows read), errors in standard deviations:")
    print(report.table(found))
    print(trainer.choice)
    for line in report.worse(found):
        print(line)
    print(f"pictures: {directory}/open_loop.png, forecast.png, forecast.gif")
    return 0
