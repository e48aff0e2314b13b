"""The end of a run: a curve, and a comparison with a random policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.plots import new_figure
from agents.statistics import INTERVAL, summarize


def draw_curve(path: Path, **of: Any) -> None:
    """Write the picture of :func:`curve`.

    Args:
        path: of the picture; the ending says the format, such as .png.
        of: arguments of :func:`curve`.

    Raises:
        UsageError: matplotlib is not installed.
    """
    curve(**of).savefig(path, dpi=130)


def curve(
    *,
    train: Sequence[tuple[int, float]],
    evaluations: Sequence[tuple[int, Sequence[float]]],
    random: Sequence[float],
    title: str,
) -> Any:
    """A figure of returns over environment steps.

    Args:
        train: step and return of each training episode.
        evaluations: step and returns of each evaluation; drawn as their mean and its 95 % bootstrap
            interval.
        random: returns of a random policy; its mean is drawn.
        title: above it.

    Raises:
        UsageError: matplotlib is not installed.
    """
    figure = new_figure("the curve")
    from matplotlib.ticker import StrMethodFormatter

    figure.set_size_inches(7.0, 4.4)
    axes = figure.add_subplot()
    if train:
        steps, returns = np.asarray(train, float).T
        axes.plot(
            steps,
            returns,
            "o",
            color="0.5",
            alpha=0.45,
            markersize=3,
            markeredgewidth=0,
            label="training",
        )
    if evaluations:
        found = [summarize(returns) for _, returns in evaluations]
        at, mean = [step for step, _ in evaluations], [s.mean for s in found]
        low, high = [s.low for s in found], [s.high for s in found]
        axes.fill_between(at, low, high, color="C0", alpha=0.2, linewidth=0)
        if len(at) == 1:  # a band has no width there
            axes.vlines(at, low, high, color="C0", alpha=0.4)
        axes.plot(
            at,
            mean,
            "o-",
            color="C0",
            markersize=4,
            linewidth=1.8,
            label=f"evaluation: mean, {INTERVAL}",
        )
    if random:
        mean_random = float(np.mean(random))
        axes.axhline(
            mean_random,
            color="C3",
            linestyle="--",
            linewidth=1.2,
            label=f"random policy: mean ({mean_random:,.1f})",
        )
    axes.set_xlabel("environment steps (repeated actions counted)")
    axes.set_ylabel("episode return")
    axes.set_title(title, parse_math=False)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3, fontsize="small", frameon=False)
    return figure


def comparison(policies: Mapping[str, Sequence[float]]) -> str:
    """A table of the returns of policies: mean, its 95 % bootstrap interval, interquartile mean,
    episodes.

    Example:
        >>> print(
        ...     comparison(
        ...         {"learned policy": [8.0, 10.0], "random policy": [1.0], "sampled policy": []}
        ...     )
        ... )
                        mean return  95 % bootstrap interval  interquartile mean  episodes
        learned policy          9.0              8.0 to 10.0                 9.0         2
        random policy           1.0                        -                 1.0         1
        sampled policy            -                        -                   -         0
    """
    lines = [("", "mean return", INTERVAL, "interquartile mean", "episodes")]
    for name, returns in policies.items():
        if not returns:
            lines.append((name, "-", "-", "-", "0"))
            continue
        s = summarize(returns)
        interval = f"{s.low:.1f} to {s.high:.1f}" if s.count > 1 else "-"
        lines.append((name, f"{s.mean:.1f}", interval, f"{s.middle:.1f}", str(s.count)))
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))])
        for line in lines
    )
