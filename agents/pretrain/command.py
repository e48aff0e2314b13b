"""From a log to a judged world model, in a run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.display import Display
from agents.pretrain import report, trust
from agents.pretrain.settings import PretrainSettings
from agents.pretrain.trainer import Pretrainer
from agents.replay.episodes import is_replay, read_replay
from agents.run import Run
from worldmodels import ranks
from worldmodels.data import Episodes, checked, read_unchecked
from worldmodels.data.check import OnBad

CHANGEABLE = (
    "updates",
    "patience",
    "eval_every",
    "checkpoint_every",
    "checkpoint_minutes",
    "threads",
    "device",
    "data",
)
"""What `pixyz resume RUN key=value` may change in a pretraining run."""


def open_data(settings: PretrainSettings) -> Episodes:
    """The checked data of a run.

    Raises:
        DataError, ReplayError: it cannot be read, or has problems.
    """
    return checked(
        open_log(settings.data, settings.format, settings.on_bad, settings.keys), settings.on_bad
    )


def open_log(
    path: str | Path, form: str = "auto", on_bad: OnBad = "refuse", keys: Sequence[str] = ()
) -> Episodes:
    """A log of any form, a run's replay too, with whatever values are there.

    Raises:
        DataError, ReplayError: it cannot be read.
    """
    path = Path(path).expanduser()
    if form == "replay" or (form == "auto" and is_replay(path)):
        return read_replay(path)
    return read_unchecked(path, form, on_bad=on_bad, keys=keys or None)


def run(settings: PretrainSettings, data: Episodes, directory: Path, *, resume: bool) -> Run:
    """Train, then write the report; not when stopped."""
    if not resume:
        print(data)
    with Display(
        total=settings.updates, title=f"{settings.kind} seed {settings.seed}", unit="updates"
    ) as display:

        def watch(run: Run, metrics: Mapping[str, float]) -> None:
            display.update(run.at, run.at, None, metrics)

        trainer = Pretrainer(settings, data, watch)
        if trainer.fit.open:
            display.message(str(trainer.fit))
        display.message(str(trainer.choice))
        with trainer.resume(directory) if resume else trainer.begin(directory):
            stop = trainer.train().stop
        if stop.asked:
            display.message(
                f"stopped at update {trainer.run.at}, saved; go on with: pixyz resume {directory}"
            )
            return trainer.run
        if ranks.rank():  # process 0 writes the report
            return trainer.run
    p, (at, bound) = trainer.run.progress, trainer.best
    trainer.load_best()
    found = report.write(directory, trainer.model, trainer.data, trainer.settings)
    print(
        f"validation bound {bound:.3f} nats a frame at update {at} of {p.updates}, "
        f"{p.seconds / 60:.1f} minutes, {p.cpu_seconds / 60:.1f} CPU minutes"
    )
    print(
        f"open loop on the test part ({found['windows']} windows, {found['seen']} rows read), "
        f"errors in {report.unit(found)}:"
    )
    print(report.table(found))
    print(trainer.choice, *trust.lines(found["trust"]), sep="\n")
    for line in [*report.better(found), *report.worse(found)]:
        print(line)
    print(f"pictures: {directory}/open_loop.png, forecast.png, forecast.gif")
    return trainer.run
