"""The end of a run: a curve, and a comparison with a random policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.errors import UsageError


def draw_curve(
    path: Path, *, train: Sequence[tuple[int, float]], evaluations: Sequence[tuple[int, float, float]],
    random: float | None, title: str,
) -> None:
    """Write a picture of returns over environment steps.

    Args:
        path: of the picture; the ending says the format, such as .png.
        train: step and return of each training episode.
        evaluations: step, mean and standard deviation of each evaluation.
        random: the mean return of a random policy.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import StrMethodFormatter
    except ImportError:
        raise UsageError("curve: expected the package matplotlib; pip install pixyz-worldmodels[plots]") from None
    figure = Figure(figsize=(7.0, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if train:
        steps, returns = np.asarray(train, float).T
        axes.plot(steps, returns, "o", color="0.5", alpha=0.45, markersize=3, markeredgewidth=0, label="training")
    if evaluations:
        at, mean, spread = np.asarray(evaluations, float).T
        axes.fill_between(at, mean - spread, mean + spread, color="C0", alpha=0.2, linewidth=0)
        if len(at) == 1:  # a band has no width there
            axes.vlines(at, mean - spread, mean + spread, color="C0", alpha=0.4)
        axes.plot(at, mean, "o-", color="C0", markersize=4, linewidth=1.8, label="evaluation (mean, deviation)")
    if random is not None:
        axes.axhline(random, color="C3", linestyle="--", linewidth=1.2, label=f"random policy ({random:,.1f})")
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
    figure.savefig(path, dpi=130)


def comparison(learned: Sequence[float], random: Sequence[float]) -> str:
    """Mean and standard error of the returns of two policies, as a small table.

    Example:
        >>> print(comparison([8.0, 10.0], [1.0]))
                           return  episodes
        learned policy  9.0 ± 1.0         2
        random policy     1.0 ± -         1
    """
    lines = [("", "return", "episodes")]
    for name, returns in (("learned policy", learned), ("random policy", random)):
        mean = f"{np.mean(returns):.1f}" if len(returns) else "-"
        error = f"{np.std(returns, ddof=1) / len(returns) ** 0.5:.1f}" if len(returns) > 1 else "-"
        lines.append((name, f"{mean} ± {error}", str(len(returns))))
    width = max(len(row[1]) for row in lines) + 2
    return "\n".join(f"{name:14}{value:>{width}}{count:>10}" for name, value, count in lines)
