"""The learning curves of ``results/learning.jsonl`` as one picture: a panel a task, a line a seed.

python benchmarks/draw_learning.py docs/learning.png              # the lines of learning.py
python benchmarks/draw_learning.py docs/agents.png tdmpc/small    # one config of agents_learning.py
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results" / "learning.jsonl"


def wanted(run: dict, config: str | None) -> bool:
    """A line of ``learning.py``; or of ``agents_learning.py``, of a config with the settings that
    ship.
    """
    if config is None:
        return run["benchmark"] == "learning"
    return (
        run["benchmark"] == "agents_learning" and run["config"] == config and not run.get("changes")
    )


def main(path: str, config: str | None = None) -> None:
    tasks: dict[str, list[dict]] = defaultdict(list)
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        if wanted(run, config):
            tasks[run["env"]].append(run)
    figure = Figure(figsize=(4.0 * len(tasks), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (env, runs) in zip(
        figure.subplots(1, len(tasks), squeeze=False)[0], tasks.items(), strict=True
    ):
        for run in sorted(runs, key=lambda r: r["seed"]):
            steps, returns = zip(*run["evaluations"], strict=True)
            axes.plot(
                steps, returns, "o-", markersize=3, label=f"seed {run['seed']}: {run['score']:.0f}"
            )
        random = sum(r["random"] for r in runs) / len(runs)
        axes.axhline(
            random, color="0.4", linestyle="--", linewidth=1, label=f"random: {random:.0f}"
        )
        minutes = sum(r["cpu_minutes"] for r in runs) / len(runs)
        axes.set_title(f"{env}\n{minutes:.1f} CPU minutes a run, one thread", fontsize="medium")
        axes.set_xlabel("environment steps")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", title="mean of the last three", title_fontsize="small")
    figure.axes[0].set_ylabel("return, mean of 10 evaluation episodes")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
