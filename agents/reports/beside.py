"""Runs beside each other: runs that differ in their seed alone, and went as far, are one line, with
an interval over seeds.

The score of a run is the mean of its last three evaluations.  An interval is over the scores of
seeds where there are several, else over the episodes of those evaluations: the percentile bootstrap
of :mod:`agents.statistics`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.config import flat, to_dict
from agents.errors import UsageError
from agents.outputs import check_file
from agents.plots import new_figure
from agents.policy import read_settings
from agents.reports.page import Page, drawn, note, table
from agents.reports.published import beside
from agents.run import read_part
from agents.statistics import bootstrap_interval, interquartile_mean
from worldmodels.words import counted

LAST = 3
"""Evaluations that a score is the mean of."""
HEAD = [
    "run",
    "environment",
    "seeds",
    "frames",
    "decisions",
    "updates",
    "CPU minutes",
    "score",
    "interquartile mean",
    "95 % bootstrap interval",
    "over",
]
APART = (
    "seed",
    "steps",
    "clip",
    "device",
    "threads",
    "tracker",
    "checkpoint_every",
    "checkpoint_minutes",
    "log_every",
    "start",
)
"""Settings that do not tell runs apart; a resumed run has other ``steps`` than it began with: what
it reached does. Where it started (``start``) tells it from one that started from nothing.
"""
Evaluation = tuple[int, list[float]]
"""Its frame, and the returns of its episodes."""


@dataclass(frozen=True)
class Member:
    """What one run reached.

    Args:
        folder: of the run: its name, or the path where another has the same name.
        label: agent and what tells its settings from others.
        env_id: of its environment.
        steps, actions, updates, cpu_minutes: spent.
        evaluations: frames and returns of each.
        random: the mean return of a random policy.
        seed: its seed.
        stride: environment steps that a step of its environments makes at most.

    >>> Member("a", "sac", "Pendulum-v1", 10, 5, 3, 0.1, [(5, [1.0]), (10, [3.0])], -9.0, 0).score
    2.0
    """

    folder: str
    label: str
    env_id: str
    steps: int
    actions: int
    updates: int
    cpu_minutes: float
    evaluations: list[Evaluation]
    random: float
    seed: int
    stride: int = 1

    @property
    def last(self) -> list[float]:
        """The episodes of the last evaluations."""
        return [r for _, returns in self.evaluations[-LAST:] for r in returns]

    @property
    def score(self) -> float:
        """Their mean."""
        return float(np.mean(self.last))


Group = list[Member]


def compare(
    runs: Sequence[str | Path], path: str | Path | None = None, published: bool = True
) -> str:
    """A table of runs of training; and, with ``path``, curves beside each other in one HTML file.

    Args:
        runs: folders.
        path: of the file.
        published: lay published returns beside those on dm_control.

    Raises:
        UsageError: a run has no evaluation or is there twice, the file cannot be written, or
            matplotlib is not installed.
        RunError, CheckpointError: one is no run of training, or has no sound checkpoint.
    """
    if path is not None:
        check_file(Path(path), "--html")
    groups = grouped([Path(run) for run in runs])
    rows, said = [row(group) for group in groups], again(groups)
    if path is not None:
        scored = f"{_scored([m for g in groups for m in g])}; frames count repeated actions."
        page = Page("Runs beside each other", scored)
        page.section("Scores", table(HEAD, rows))
        for env_id in dict.fromkeys(g[0].env_id for g in groups):
            here = [g for g in groups if g[0].env_id == env_id]
            dropped = [text for g in here if (text := left_out(g))]
            protocols = [f"{p.name}: {p.protocol}." for p, _ in beside(env_id)] if published else []
            notes = [note(text) for text in (*dropped, *protocols)]
            said += dropped
            page.section(
                env_id, drawn(_curves(here, env_id, published), f"curves on {env_id}"), *notes
            )
        page.write(Path(path))
    return "\n".join([text_table([HEAD, *rows]), *said])


def grouped(runs: Sequence[Path]) -> list[Group]:
    """Runs that differ in their seed alone and went as far together, in the order given; labels say
    what tells the others apart. Where a seed is there twice, each run is by itself.
    """
    if not runs:
        raise UsageError("compare: expected at least one run, got none")
    places = [run.resolve() for run in runs]
    twice = next((run for run, at in zip(runs, places, strict=True) if places.count(at) > 1), None)
    if twice is not None:
        raise UsageError(f"compare: expected each run once, got {twice} twice; leave one out")
    found = [(run, read_settings(run, "cpu")) for run in runs]
    plain = [_telling(settings) for _, settings in found]
    keys = list(dict.fromkeys(k for values in plain for k in values))
    telling = [
        k
        for k in keys
        if k not in ("agent.kind", "env.id") and len({repr(v.get(k)) for v in plain}) > 1
    ]
    alike = {v["agent.kind"] for v in plain}
    names = [place.name for place in places]
    groups: dict[str, Group] = {}
    for (run, settings), values in zip(found, plain, strict=True):
        kin = [v for v in plain if v["agent.kind"] == values["agent.kind"]]
        own = [k for k in telling if k in values and len({repr(v.get(k)) for v in kin}) > 1]
        name = values["agent.kind"] if len(alike) > 1 or not own else ""
        label = (
            " ".join([name, *(f"{k.removeprefix('agent.')}={values[k]}" for k in own)]).strip()
            or values["agent.kind"]
        )
        groups.setdefault(repr(sorted(map(repr, values.items()))), []).append(
            _member(run, names, settings, label)
        )
    lines = [line for group in groups.values() for line in _as_far(group)]
    return [part for line in lines for part in ([[m] for m in line] if _again(line) else [line])]


def _telling(settings: Any) -> dict[str, Any]:
    """The settings that tell a run apart."""
    values = flat({k: v for k, v in to_dict(settings).items() if k not in APART})
    return {**values, "start": None if settings.start is None else "given"}


def _as_far(group: Group) -> list[Group]:
    """A group's runs by how far they went, in the order given: those that ended less than a step of
    all environments apart are together.
    """
    ends: list[int] = []
    for steps in sorted(m.steps for m in group):
        if not ends or steps - ends[-1] >= group[0].stride:
            ends.append(steps)
    if len(ends) == 1:
        return [group]
    lines: dict[int, Group] = {}
    for member in group:
        end = max(e for e in ends if e <= member.steps)
        lines.setdefault(end, []).append(replace(member, label=f"{member.label} frames={end}"))
    return list(lines.values())


def _again(group: Group) -> bool:
    """Whether a seed is there more than once."""
    return len({m.seed for m in group}) < len(group)


def again(groups: Sequence[Group]) -> list[str]:
    """Which runs do not differ in their seed, either, in words.

    >>> one, two = (Member(name, "sac", "", 9, 0, 0, 0.0, [], 0.0, seed=3) for name in "ab")
    >>> again([[one], [two]])
    ['sac: a and b have one seed, 3, too; so each of its runs is a line.']
    """
    alike: dict[tuple[str, str, int], list[str]] = {}
    for member in (m for group in groups for m in group):
        key = (member.label, member.env_id, member.seed)
        alike.setdefault(key, []).append(member.folder)
    return [
        f"{label}: {' and '.join(folders)} have one seed, {seed}, too; "
        "so each of its runs is a line."
        for (label, _, seed), folders in alike.items()
        if len(folders) > 1
    ]


def row(group: Group) -> list[str]:
    """A line of the table."""
    scores, episodes = [m.score for m in group], [r for m in group for r in m.last]
    over, values = ("seed", scores) if len(group) > 1 else ("episode", episodes)
    low, high = bootstrap_interval(values)

    def mean(name: str) -> float:
        return float(np.mean([getattr(m, name) for m in group]))

    return [
        f"{group[0].label} ({', '.join(m.folder for m in group)})",
        group[0].env_id,
        str(len(group)),
        f"{mean('steps'):,.0f}",
        f"{mean('actions'):,.0f}",
        f"{mean('updates'):,.0f}",
        f"{mean('cpu_minutes'):.1f}",
        f"{np.mean(scores):,.1f}",
        f"{interquartile_mean(episodes):,.1f}",
        f"{low:,.1f} to {high:,.1f}",
        counted(len(values), over),
    ]


def _scored(members: Sequence[Member]) -> str:
    """What a score is, in words.

    >>> two, five = (Member("ab"[n > 2], "", "", 0, 0, 0, 0.0, [(1, [])] * n, 0, 0) for n in (2, 5))
    >>> _scored([two, two])
    "A score is the mean of a run's 2 evaluations"
    >>> _scored([two, five])
    "A score is the mean of a run's last 3 evaluations (a has 2)"
    """
    counts = {len(m.evaluations) for m in members}
    if max(counts) < LAST and len(counts) == 1:
        n = counts.pop()
        return (
            f"A score is the mean of a run's {'one evaluation' if n == 1 else f'{n} evaluations'}"
        )
    few = [f"{m.folder} has {len(m.evaluations)}" for m in members if len(m.evaluations) < LAST]
    said = f"A score is the mean of a run's last {LAST} evaluations"
    return f"{said} ({', '.join(few)})" if few else said


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side; the first two to the left.

    >>> print(text_table([["a", "b", "n"], ["long", "x", "10"]]))
    a     b   n
    long  x  10
    """
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    wide = [
        [
            c.ljust(w) if i < 2 else c.rjust(w)
            for i, (c, w) in enumerate(zip(r, widths, strict=True))
        ]
        for r in rows
    ]
    return "\n".join("  ".join(cells).rstrip() for cells in wide)


def _member(run: Path, names: Sequence[str], settings: Any, label: str) -> Member:
    p = read_part(run, "progress")[1]
    if not p["evaluations"]:
        raise UsageError(
            f"{run}: expected a run with an evaluation, got none yet; go on with it: "
            f"pixyz resume {run}"
        )
    random = float(np.mean(p["random"])) if p["random"] else float("nan")
    evaluations = [(int(at), [float(r) for r in found]) for at, found in p["evaluations"]]
    name = run.resolve().name
    return Member(
        name if names.count(name) == 1 else str(run),
        label,
        settings.env.id,
        int(p["steps"]),
        int(p["actions"]),
        int(p["updates"]),
        p["cpu_seconds"] / 60,
        evaluations,
        random,
        settings.seed,
        settings.env.num_envs * settings.env.action_repeat,
    )


def _curves(groups: Sequence[Group], env_id: str, published: bool) -> Any:
    figure = new_figure("the comparison")
    figure.set_size_inches(8.0, 4.8)
    axes = figure.add_subplot()
    for i, group in enumerate(groups):
        at, mean, low, high = _line(group)
        seeds = group[0].folder if len(group) == 1 else f"{len(group)} seeds"
        axes.fill_between(at, low, high, color=f"C{i}", alpha=0.2, linewidth=0)
        axes.plot(
            at,
            mean,
            "o-",
            color=f"C{i}",
            markersize=3.5,
            linewidth=1.7,
            label=f"{group[0].label} ({seeds})",
        )
    longest = max(m.steps for g in groups for m in g)
    for marker, (curve, points) in zip("sD^v", beside(env_id) if published else [], strict=False):
        shown = {
            frames: value for frames, value in points.items() if frames <= max(2 * longest, 100_000)
        }
        axes.plot(
            list(shown),
            list(shown.values()),
            f"{marker}:",
            color="0.35",
            markersize=5,
            linewidth=1.0,
            label=curve.name,
        )
    random = float(np.nanmean([m.random for g in groups for m in g]))
    axes.axhline(random, color="C3", linestyle="--", linewidth=1.0, label="random policy")
    axes.set_xlabel("environment frames (repeated actions counted)")
    axes.set_ylabel("return of an evaluation")
    axes.set_title(env_id, parse_math=False)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    return figure


def _line(group: Group) -> tuple[list[int], list[float], list[float], list[float]]:
    """Frames (their mean), mean and interval of the evaluations that all runs of a group have."""
    found = aligned(group)
    values = [
        [float(np.mean(returns)) for _, returns in each] if len(group) > 1 else each[0][1]
        for each in found
    ]
    bounds = [bootstrap_interval(v) for v in values]
    return (
        [round(float(np.mean([at for at, _ in each]))) for each in found],
        [float(np.mean(v)) for v in values],
        [low for low, _ in bounds],
        [high for _, high in bounds],
    )


def aligned(group: Group) -> list[list[Evaluation]]:
    """The evaluations that all runs of a group have, each as one of every run.

    An evaluation is made once the step that it is due in is over: those that were due at one frame
    lie less than a step of all environments apart.

    >>> one, two = (
    ...     Member("", "", "", 0, 0, 0, 0.0, [(at, []) for at in found], 0.0, 0, stride=4)
    ...     for found in ([101, 200, 303], [101, 203, 250, 302])
    ... )
    >>> [[at for at, _ in each] for each in aligned([one, two])]
    [[101, 101], [200, 203], [303, 302]]
    """
    rest, found = [deque(m.evaluations) for m in group], []
    while all(rest):
        first = min(r[0][0] for r in rest)
        due = [r.popleft() for r in rest if r[0][0] - first < group[0].stride]
        if len(due) == len(group):
            found.append(due)
    return found


def left_out(group: Group) -> str:
    """Which evaluations are not in a group's curve, in words; nothing if all are."""
    found = aligned(group)
    lacking = []
    for i, member in enumerate(group):
        kept = {each[i][0] for each in found}
        rest = [f"{at:,}" for at, _ in member.evaluations if at not in kept]
        lacking += [f"{member.folder} at {', '.join(rest)}"] if rest else []
    if not lacking:
        return ""
    return (
        f"{group[0].label}: its curve is of the {counted(len(found), 'evaluation')} that all of "
        f"its runs have, and leaves out those of {'; '.join(lacking)} frames."
    )
