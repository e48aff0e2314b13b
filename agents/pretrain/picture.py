"""A picture of an episode: lines over time for vectors, a strip of frames for images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.errors import UsageError
from agents.plots import new_figure
from worldmodels.data import Episode

MOST, FRAMES = 12, 8


def draw_episode(path: Path, episode: Episode, rate: float | None = None) -> None:
    """Write a picture, a panel for each observation, the action and the reward; a reward that is 0
    throughout is left out.

    Args:
        path: of the picture; its ending says the format.
        episode: any.
        rate: rows a second, for the axis.

    Raises:
        UsageError: matplotlib is not installed, or the picture cannot be written.
    """
    figure = new_figure("a picture")
    keys = [*episode.observations, *(["action"] if "action" in episode.series else [])]
    keys += ["reward"] if np.any(episode["reward"]) else []
    figure.set_size_inches(9.0, 1.9 * len(keys) + 0.6)
    time = np.arange(len(episode)) / (rate or 1.0)
    for row, key in enumerate(keys):
        axes, series = figure.add_subplot(len(keys), 1, row + 1), np.asarray(episode[key])
        axes.set_title(key, fontsize="medium", loc="left", parse_math=False)
        if series.ndim == 4:
            _draw_frames(axes, series, time)
        else:
            _draw_lines(axes, series.reshape(len(series), -1), time)
    axes.set_xlabel("seconds" if rate else "rows")
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {path}: {error}") from None


def _draw_lines(axes: Any, series: NDArray[Any], time: NDArray[Any]) -> None:
    shown = series[:, :MOST]
    style = "." if len(time) == 1 else "-"
    for i, line in enumerate(shown.T):
        axes.plot(time, line, style, linewidth=1.1, label=f"{i}")
    if len(shown.T) > 1:
        more = f" of {series.shape[1]}" if series.shape[1] > MOST else ""
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            fontsize="x-small",
            frameon=False,
            ncols=1 + (len(shown.T) > 6),
            title=f"{len(shown.T)}{more}" if more else None,
            title_fontsize="x-small",
        )
    axes.set_xlim(time[0], time[-1] if len(time) > 1 else time[0] + 1)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_frames(axes: Any, series: NDArray[Any], time: NDArray[Any]) -> None:
    chosen = np.linspace(0, len(series) - 1, min(FRAMES, len(series))).astype(int)
    strip = np.concatenate(list(series[chosen]), 1)
    shown = strip[..., :3] if strip.shape[-1] >= 3 else strip[..., 0]
    axes.imshow(shown, cmap="gray", interpolation="nearest")
    width = series.shape[2]
    axes.set_xticks(
        [width * (i + 0.5) for i in range(len(chosen))],
        [f"{time[t]:g}" for t in chosen],
        fontsize="small",
    )
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
