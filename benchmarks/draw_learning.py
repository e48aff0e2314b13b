"""The learning curves of ``results/learning.jsonl`` as one picture: a panel a task, a line a seed,
and what others published for as many frames.

    python benchmarks/draw_learning.py docs/learning.png              # the lines of learning.py
    python benchmarks/draw_learning.py docs/planner.png tdmpc/small   # of agents_learning.py
    python benchmarks/draw_learning.py docs/agents.png sac/small dreamer_v1/small
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from agents.reports.published import BRO, DREAMER_V3

RESULTS = Path(__file__).parent / "results" / "learning.jsonl"
COLUMNS = 3


def wanted(run: dict, configs: tuple[str, ...]) -> bool:
    """A line of ``learning.py``; or of ``agents_learning.py``, of these configs with the settings
    that ship.
    """
    if not configs:
        return run["benchmark"] == "learning"
    return (
        run["benchmark"] == "agents_learning"
        and run["config"] in configs
        and not run.get("changes")
    )


def newest(runs: list[dict]) -> list[dict]:
    """Without lines of ``learning.py`` whose config and seed were run again."""
    last = {(r["config"], r["seed"]): r for r in runs if r["benchmark"] == "learning"}
    return [r for r in runs if r["benchmark"] != "learning" or r is last[r["config"], r["seed"]]]


def others(axes: Axes, env: str, frames: int) -> None:
    """Returns that were published for up to so many frames."""
    task = env.removeprefix("dm_control/").removesuffix("-v0")
    for known, mark in ((DREAMER_V3, "x"), (BRO, "+")):
        found = {at: r for at, r in known.returns.get(task, {}).items() if at <= frames}
        if found:
            axes.plot(
                [*found],
                [*found.values()],
                mark,
                color="k",
                markersize=9,
                markeredgewidth=2,
                path_effects=[withStroke(linewidth=4, foreground="w")],
                zorder=9,
                label=known.name,
            )


def style(run: dict, runs: list[dict], configs: tuple[str, ...]) -> dict[str, Any]:
    """A colour for each seed; or for each config, and for its shorter runs in the panel another
    one, as a thinner line that lies on top: a run of the same seed may be its longer one's
    beginning.
    """
    if not configs:
        return {"color": f"C{run['seed']}"}
    longer = {r["frames"] for r in runs if r["config"] == run["config"]}
    rank = sorted(longer, reverse=True).index(run["frames"])
    colour = f"C{configs.index(run['config']) + len(configs) * rank}"
    return {"color": colour, "zorder": 2 + rank, "linewidth": 1.0 if rank else 2.2}


def main(path: str, *configs: str) -> None:
    tasks: dict[str, list[dict]] = defaultdict(list)
    for run in newest([json.loads(x) for x in RESULTS.read_text(encoding="utf-8").splitlines()]):
        if wanted(run, configs):
            tasks[run["env"]].append(run)
    columns = min(COLUMNS, len(tasks))
    lines = -(-len(tasks) // columns)
    size = (4.0 * columns, (4.8 if configs else 4.4) * lines)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel in panels[len(tasks) :]:
        panel.set_axis_off()
    for axes, (env, runs) in zip(panels, tasks.items(), strict=False):
        for run in sorted(runs, key=lambda r: (r["config"], r.get("frames", 0), r["seed"])):
            steps, returns = zip(*run["evaluations"], strict=True)
            alike = [r for r in runs if all(r.get(k) == run.get(k) for k in ("config", "frames"))]
            scores = ", ".join(f"{r['score']:.0f}" for r in alike)
            label = f"seed {run['seed']}: {run['score']:.0f}"
            if configs:
                label = f"{run['config']}, {run['frames']:,}: {scores}" if run is alike[0] else ""
            axes.plot(
                steps,
                returns,
                "o-",
                markersize=3,
                **style(run, runs, configs),
                label=label,
            )
        random = sum(r["random"] for r in runs) / len(runs)
        axes.axhline(
            random, color="0.4", linestyle="--", linewidth=1, label=f"random: {random:.0f}"
        )
        if configs:
            others(axes, env, max(r["frames"] for r in runs))
        minutes = [r["cpu_minutes"] for r in runs]
        mean, least, most = sum(minutes) / len(minutes), min(minutes), max(minutes)
        each = f"{least:.1f} to {most:.1f}" if configs and least < most else f"{mean:.1f}"
        agent = "" if configs else f"{runs[0]['config'].partition('/')[0]} on "
        axes.set_title(f"{agent}{env}\n{each} CPU minutes a run, one thread", fontsize="medium")
        axes.set_xlabel("environment steps")
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.legend(
            fontsize="small",
            title="mean of the last three",
            title_fontsize="small",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
        )
    for axes in panels[::columns]:
        axes.set_ylabel("return, mean of 10 evaluation episodes")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
