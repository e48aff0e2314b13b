"""``report.html`` of a run: what it reached, its curve, losses, objective, settings, and what to
type next.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from agents.build import build
from agents.config import flat, load_config, to_dict
from agents.errors import UsageError
from agents.logger import read_metrics
from agents.plots import new_figure
from agents.policy import guards, read_settings
from agents.pretrain import report as pretraining
from agents.pretrain.models import build as build_model
from agents.pretrain.settings import KINDS
from agents.report import curve
from agents.reports.formula import formula
from agents.reports.page import Page, code, drawn, facts, note, picture, table
from agents.run import Offline, Progress, read_part
from agents.rundir import open_run, read_interface
from agents.settings import RunSettings
from agents.spaces import Interface
from agents.statistics import INTERVAL, summarize
from worldmodels.words import counted

REPORT = "report.html"
APART = ("step", "time", "kind", "updates", "actions", "seconds", "cpu_seconds", "best")
"""Columns of the log that are no losses."""
MOST = 12


def write_report(run: str | Path) -> Path:
    """Write ``report.html`` into a run's folder, from what lies there.

    Raises:
        RunError, CheckpointError: it is no run, or has no sound checkpoint.
        UsageError: matplotlib is not installed, or the file cannot be written.
    """
    directory = Path(run)
    config, origin = open_run(directory)
    page = (_pretrained if "kind" in config else _trained)(directory, config, origin)
    try:
        return page.write(directory / REPORT)
    except OSError as error:
        raise UsageError(f"cannot write {directory / REPORT}: {error.strerror or error}") from None


def _trained(directory: Path, config: Mapping[str, Any], origin: Mapping[str, Any]) -> Page:
    settings = read_settings(directory, "cpu")
    progress = read_part(directory, "progress")[1]
    e = settings.env
    page = Page(f"{settings.agent.kind} on {e.id}, seed {settings.seed}", _origin(origin))
    finals = progress["evaluations"][-1][1] if progress["evaluations"] else []
    learned = f"{summarize(finals).mean:,.1f}" if finals else "not evaluated"
    page.section(
        "What it reached",
        facts(
            [
                ("learned return", learned),
                ("environment steps", f"{progress['steps']:,} of {settings.steps:,}"),
                ("actions", f"{progress['actions']:,}"),
                ("updates", f"{progress['updates']:,}"),
                ("minutes", f"{progress['seconds'] / 60:.1f}"),
                ("CPU minutes", f"{progress['cpu_seconds'] / 60:.1f}"),
            ]
        ),
        _returns({"learned policy": finals, "random policy": progress["random"]}),
        note(
            f"An evaluation is {counted(settings.eval_episodes, 'episode')} under the policy's "
            f"best action; environment steps count repeated actions "
            f"(action repeat {e.action_repeat}). "
            f"The interval holds the mean of 95 % of resampled episodes."
        ),
    )
    page.section(
        "Curve",
        _curve(progress, f"{settings.agent.kind}, {e.id}, seed {settings.seed}"),
        picture(directory / "clip.gif", "an episode of the learned policy"),
    )
    page.section("Losses", _losses(directory, "train", "environment steps"))
    see, do = guards(directory)
    agent: Any = build(settings.agent, Interface.from_spaces(see.space, do.space))
    page.section("Objective", _objective(agent), _weights(agent))
    page.section("Settings that differ from the defaults", _changed(settings, _defaults(settings)))
    page.section(
        "What to type next",
        code(
            f"pixyz resume {directory}{_further('steps', progress['steps'], settings.steps)}\n"
            f"pixyz evaluate {directory} --video a.gif\npixyz save {directory} FOLDER\n\n"
            f"import agents\npolicy = "
            f"agents.load({str(directory)!r})\naction = policy.act(observation)"
        ),
    )
    return page


def _pretrained(directory: Path, config: Mapping[str, Any], origin: Mapping[str, Any]) -> Page:
    cls = KINDS[config["kind"]]
    settings: Any = load_config(cls, {**config, "device": "cpu", "threads": 0})
    progress, about = read_part(directory, "progress")[1], read_interface(directory)
    page = Page(f"{settings.kind} on {settings.data}, seed {settings.seed}", _origin(origin))
    best = (
        min((numbers[0], at) for at, numbers in progress["evaluations"])
        if progress["evaluations"]
        else (math.nan, 0)
    )
    page.section(
        "What it reached",
        facts(
            [
                ("validation bound, nats a frame", f"{best[0]:.3f}"),
                ("at update", f"{best[1]:,} of {progress['updates']:,}"),
                ("minutes", f"{progress['seconds'] / 60:.1f}"),
                ("CPU minutes", f"{progress['cpu_seconds'] / 60:.1f}"),
            ]
        ),
    )
    if (directory / "open_loop.json").is_file():
        found = json.loads((directory / "open_loop.json").read_text(encoding="utf-8"))
        steps = pretraining.shown(found)
        rows = [
            [name, *(f"{errors['all'][h - 1]:.3f}" for h in steps)]
            for name, errors in found["rmse"].items()
        ]
        said = [f"{name} is left out: {why}" for name, why in found.get("left_out", {}).items()] + [
            *pretraining.better(found),
            *pretraining.worse(found),
        ]
        page.section(
            "Open loop",
            table(["steps ahead", *map(str, steps)], rows),
            note(
                f"Errors in {pretraining.unit(found)} on {found['windows']} windows of the test "
                f"part; "
                f"{found['seen']} rows are read."
            ),
            *map(note, said),
            picture(directory / "open_loop.png", "errors against the horizon"),
            picture(directory / "forecast.png", "truth and prediction of one window"),
            picture(directory / "forecast.gif", "truth and prediction, moving"),
        )
    page.section("Losses", _losses(directory, "pretrain", "updates"))
    model = build_model(
        settings, {k: tuple(s) for k, s in about["shapes"].items()}, int(about["action_size"])
    )
    page.section("Objective", _objective(model.model), _weights(model))
    page.section("Settings that differ from the defaults", _changed(settings, cls()))
    page.section(
        "What to type next",
        code(
            f"pixyz resume {directory}{_longer(progress, settings)}\n"
            f"pixyz save {directory} FOLDER\n\n"
            f"import agents\nmodel = agents.load_model({str(directory)!r})\nmodel.forecast(seen, "
            f"action, steps)"
        ),
    )
    return page


# ---------------------------------------------------------------- parts


def _further(unit: str, done: int, wanted: int) -> str:
    """What a finished run is told for going on; nothing for one that was stopped.

    >>> _further("steps", 100, 100), _further("steps", 60, 100)
    (' steps=200', '')
    """
    return f" {unit}={2 * wanted}" if done >= wanted else ""


def _longer(progress: Mapping[str, Any], settings: Any) -> str:
    """The same of a model of a log, which also ends where validations stay."""
    waited = Offline.waited(Progress(evaluations=progress["evaluations"]))
    stays = settings.patience and waited >= settings.patience
    more = _further("updates", progress["updates"], settings.updates)
    return f"{more} patience={2 * waited}" if stays else more


def _origin(origin: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in (origin.get("versions") or {}).items())
    commit = str(origin.get("commit") or "unknown")[:10] + (
        " with changes" if origin.get("dirty") else ""
    )
    return (
        f"Begun {str(origin.get('started', 'at an unknown time'))[:16].replace('T', ' ')} UTC; "
        f"commit {commit}; {versions}"
    )


def _returns(policies: Mapping[str, Sequence[float]]) -> str:
    rows = []
    for name, returns in policies.items():
        if returns:
            s = summarize(returns)
            interval = f"{s.low:,.1f} to {s.high:,.1f}" if s.count > 1 else "-"
            rows.append([name, f"{s.mean:,.1f}", interval, f"{s.middle:,.1f}", s.count])
    return (
        table(["", "mean return", INTERVAL, "interquartile mean", "episodes"], rows) if rows else ""
    )


def _curve(progress: Mapping[str, Any], title: str) -> str:
    """Returns as the newest checkpoint has them: a picture in the folder is of the last end."""
    train, evaluations = progress["returns"], progress["evaluations"]
    if not (train or evaluations):
        return ""
    figure = curve(train=train, evaluations=evaluations, random=progress["random"], title=title)
    return drawn(figure, "returns over environment steps")


def _losses(directory: Path, kind: str, unit: str) -> str:
    """Small pictures of everything that the log holds over the run."""
    rows = [row for row in read_metrics(directory / "metrics.jsonl") if row["kind"] == kind]
    names = list(dict.fromkeys(k for row in rows for k in row if k not in APART))[:MOST]
    if not names or len(rows) < 2:
        return ""
    figure = new_figure()
    columns = min(3, len(names))
    lines = math.ceil(len(names) / columns)
    figure.set_size_inches(3.2 * columns, 1.9 * lines + 0.2)
    for i, name in enumerate(names):
        axes = figure.add_subplot(lines, columns, i + 1)
        axes.plot(
            [r["step"] for r in rows if name in r],
            [r[name] for r in rows if name in r],
            color="C0",
            linewidth=1.1,
        )
        axes.set_title(name, fontsize="small", parse_math=False)
        axes.tick_params(labelsize="x-small")
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return drawn(figure, "losses") + note(f"Over {unit}.")


def _objective(owner: Any) -> str:
    objective = getattr(owner, "objective", None)
    return "" if objective is None else f'<div class="wide">{formula(str(objective))}</div>'


def _weights(owner: Any) -> str:
    if not isinstance(owner, torch.nn.Module):
        return ""
    return note(f"{sum(p.numel() for p in owner.parameters() if p.requires_grad):,} weights.")


def _changed(settings: Any, defaults: Any) -> str:
    usual = flat(to_dict(defaults))
    pairs = [(k, v) for k, v in flat(to_dict(settings)).items() if usual.get(k) != v]
    return table(["", ""], pairs) if pairs else note("None.")


def _defaults(settings: RunSettings) -> RunSettings:
    """Those of the run's own agent."""
    try:
        return replace(RunSettings(), agent=type(settings.agent)(kind=settings.agent.kind))
    except TypeError:  # an agent of one's own, whose settings have no defaults
        return RunSettings()
