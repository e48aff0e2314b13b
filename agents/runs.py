"""A run from beginning to end: a folder, a display, training, the report. The command does nothing
else.

start(settings, folder)    a new run
resume(folder)             goes on with one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from agents.config import load_config
from agents.display import Display
from agents.errors import UsageError
from agents.pretrain import KINDS, PretrainSettings, command
from agents.pretrain.start import start_from
from agents.process import check_plots, prepare_process
from agents.report import comparison, draw_curve
from agents.reports import write_report
from agents.run import Run, Trainer
from agents.rundir import open_run
from agents.settings import RunSettings
from agents.video import clip
from pixyz.types import PixyzError
from worldmodels import ranks

CHANGEABLE = (
    "steps",
    "eval_every",
    "eval_episodes",
    "eval_limit",
    "checkpoint_every",
    "checkpoint_minutes",
    "log_every",
    "threads",
    "clip",
    "tracker",
    "device",
)
"""What may change when a training run goes on."""


def start(settings: RunSettings | PretrainSettings, folder: str | Path) -> Run:
    """Train in a new folder, with a display on the standard error and a report on the standard
    output.

    Ctrl+C, SIGTERM and SIGHUP save the run and stop it: ``run.stop.asked`` says so.

    Args:
        settings: of an agent, or of a world model that learns from logs.
        folder: of the run; it must not be there, or be empty.

    Raises:
        UsageError, EnvError, DataError: something does not fit; nothing was written.
    """
    prepare_process(settings.threads)
    check_plots()
    if isinstance(settings, PretrainSettings):
        return _pretrain(settings, Path(folder), resume=False)
    return _train(settings, Path(folder), resume=False)


def resume(folder: str | Path, changes: Sequence[str] = ()) -> Run:
    """Go on with a run, of :func:`start`, of the command or of a :class:`agents.Trainer`.

    Args:
        folder: of the run.
        changes: such as ``"steps=20000"``.

    Raises:
        UsageError: it is no run, or a change is of something that a run keeps.
    """
    directory = Path(folder)
    config, _ = open_run(directory)
    changeable = command.CHANGEABLE if "kind" in config else CHANGEABLE
    fixed = [text for text in changes if text.partition("=")[0] not in changeable]
    if fixed:
        raise UsageError(
            f"a run goes on with what it began with; {fixed[0]!r} cannot change, "
            f"only {', '.join(changeable)}"
        )
    check_plots()
    if "kind" in config:
        for key, value in {"predicts": "value", "split": "time", "seen": 50, "horizon": 50}.items():
            config.setdefault(key, value)  # of a run from before there was a choice
        logged = load_config(KINDS.get(config["kind"], KINDS["rssm"]), config, changes)
        prepare_process(logged.threads)
        return _pretrain(logged, directory, resume=True)
    settings = load_config(RunSettings, config, changes)
    prepare_process(settings.threads)
    return _train(settings, directory, resume=True)


def _pretrain(settings: PretrainSettings, directory: Path, *, resume: bool) -> Run:
    run = command.run(settings, command.open_data(settings), directory, resume=resume)
    if not run.stop.asked and not ranks.rank():
        _write_page(directory)
    return run


def _train(settings: RunSettings, directory: Path, *, resume: bool) -> Run:
    with Display(total=settings.steps, title=f"{settings.env.id} seed {settings.seed}") as display:

        def watch(run: Run, metrics: Mapping[str, float]) -> None:
            p = run.progress
            recent = [r for _, r in p.returns[-5:]]
            ret = float(np.mean(recent)) if recent else None
            display.update(p.steps, p.updates, ret, metrics, int(p.credit))

        with Trainer(settings, watch, display.phase) as trainer:
            if settings.start is not None and not resume:
                start_from(trainer.agent, Path(settings.start))
            (trainer.resume if resume else trainer.begin)(directory)
            run = trainer.train()
        if run.stop.asked:
            display.message(
                f"stopped at step {run.at}, saved; go on with: pixyz resume {directory}"
            )
            return run
    _report(run, settings, directory)
    return run


def _report(run: Run, settings: RunSettings, directory: Path) -> None:
    p, picture = run.progress, directory / "curve.png"
    draw_curve(
        picture,
        train=p.returns,
        evaluations=p.evaluations,
        random=p.random,
        title=f"{settings.agent.kind}, {settings.env.id}, seed {settings.seed}",
    )
    print(
        comparison(
            {
                "learned policy": p.evaluations[-1][1] if p.evaluations else [],
                "random policy": p.random,
            }
        )
    )
    print(
        f"{p.steps} environment steps (action repeat {settings.env.action_repeat}), "
        f"{p.updates} updates, "
        f"{p.seconds / 60:.1f} minutes, {p.cpu_seconds / 60:.1f} CPU minutes"
    )
    print(f"curve: {picture}")
    if settings.clip:
        print(clip(directory))
    _write_page(directory)


def _write_page(directory: Path) -> None:
    """``report.html``; what hinders it is said, since the run is done and saved."""
    try:
        print(f"report: {write_report(directory)}")
    except (UsageError, PixyzError, OSError, ValueError) as error:
        print(f"no report: {' '.join(str(error).split())}")
