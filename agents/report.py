"""The end of a run: a curve and a comparison with a random policy."""

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
        train: step and return of each training episode.
        evaluations: step, mean and standard deviation of each evaluation.
        random: the mean return of a random policy.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("the curve needs matplotlib: pip install 'pixyz-worldmodels[plots]'") from None
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if train:
        steps, returns = zip(*train, strict=True)
        axes.plot(steps, returns, ".", color="0.6", markersize=3, label="training")
    if evaluations:
        at, mean, spread = np.asarray(evaluations, float).T
        axes.fill_between(at, mean - spread, mean + spread, color="C0", alpha=0.2, linewidth=0)
        axes.plot(at, mean, "o-", color="C0", markersize=4, label="evaluation (mean, deviation)")
    if random is not None:
        axes.axhline(random, color="C3", linestyle="--", linewidth=1, label=f"random policy ({random:.0f})")
    axes.set_xlabel("environment steps (repeated actions counted)")
    axes.set_ylabel("episode return")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize="small", frameon=False)
    figure.savefig(path, dpi=120)


def comparison(learned: Sequence[float], random: Sequence[float]) -> str:
    """Mean and standard error of the returns of two policies, as a small table."""
    rows = [("learned policy", learned), ("random policy", random)]
    lines = [f"{'':16}{'return':>10}{'+-':>8}{'episodes':>10}"]
    for name, returns in rows:
        error = np.std(returns, ddof=1) / len(returns) ** 0.5 if len(returns) > 1 else float("nan")
        lines.append(f"{name:16}{np.mean(returns):10.1f}{error:8.1f}{len(returns):10d}")
    return "\n".join(lines)
