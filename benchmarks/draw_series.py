"""Results of models of series as one picture: two robots' logs in open loop, the chorales.

python benchmarks/draw_series.py docs/series.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
STYLES = {
    "rssm": ("C0", "-"),
    "ridge": ("C1", "-"),
    "persist": ("0.55", "--"),
    "mean": ("0.55", ":"),
}


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RESULTS / name).read_text(encoding="utf-8").splitlines()]


def main(path: str) -> None:
    figure = Figure(figsize=(12.0, 4.3), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    logs = read("robot_logs.jsonl")
    for axes, robot, title in (
        (left, "arm", "SARCOS arm (0.11 s a step)"),
        (middle, "follower", "wall follower (1/9 s a step)"),
    ):
        runs = [r for r in logs if r["robot"] == robot]
        for name, (color, line) in STYLES.items():
            curves = np.array([r["curves"][name] for r in runs])
            ahead = np.arange(1, curves.shape[1] + 1)
            axes.plot(
                ahead,
                curves.mean(0),
                line,
                color=color,
                label=f"{name} ({len(runs)} seeds)" if name == "rssm" else name,
            )
            if name == "rssm":
                axes.fill_between(
                    ahead, curves.min(0), curves.max(0), color=color, alpha=0.2, linewidth=0
                )
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("steps ahead")
        axes.set_ylim(bottom=0)
    left.set_ylabel("open-loop RMSE (standard deviations)")
    for run in read("jsb.jsonl"):
        curve = [c for c in run["curve"] if c["beta"] >= 1.0]
        flows = run["arguments"].get("flows")
        label = (
            f"seed {run['seed']}, {run['epochs']} epochs{f', {flows} flow' if flows else ''}: "
            f"{run['test_bound']:.2f}"
        )
        right.plot(
            [c["cpu_hours"] * 60 for c in curve], [c["test_bound"] for c in curve], label=label
        )
    right.set_title("DMM on the JSB chorales, test bound", fontsize="medium")
    right.set_xlabel("CPU minutes, one thread")
    right.set_ylabel("nats a frame")
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        axes.legend(
            fontsize="small",
            ncols=2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            frameon=False,
        )
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
