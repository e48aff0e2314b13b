"""The open-loop report: errors against the horizon beside baselines, pictures, a video.

evaluate   the numbers, as plain data
write      open_loop.json, open_loop.png, forecast.png, forecast.gif
table      the numbers as text
unit       what they are counted in
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.plots import new_figure
from agents.pretrain import trust
from agents.pretrain.models import PretrainModel
from agents.pretrain.settings import PretrainSettings
from agents.run.parts import seeded
from worldmodels.data import Episode, Episodes, Split, pad, windows
from worldmodels.open_loop import (
    Forecaster,
    PersistLast,
    Ridge,
    TrainingMean,
    moments,
    open_loop,
    roughness,
)

HORIZONS = (1, 5, 20, 50)
Series = Mapping[str, NDArray[Any]]


class MeanOfDraws:
    """A pretrained model as a forecaster: the mean of ``draws`` predictions."""

    def __init__(self, model: PretrainModel, draws: int, device: torch.device) -> None:
        self.model, self.draws, self.device = model, draws, device

    @torch.no_grad()
    def forecast(
        self, seen: Mapping[str, Tensor], action: Tensor | None, steps: int
    ) -> dict[str, Tensor]:
        """See :class:`worldmodels.open_loop.Forecaster`."""
        given = {k: v.to(self.device) for k, v in seen.items()}
        found = self.model.forecast(
            given, None if action is None else action.to(self.device), steps, self.draws
        )
        return {k: v.cpu() for k, v in found.items()}

    @torch.no_grad()
    def spread(
        self, seen: Mapping[str, Tensor], action: Tensor | None, steps: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Mean and deviation of the draws, ``[steps, B, ...]`` each."""
        given = {k: v.to(self.device) for k, v in seen.items()}
        told = None if action is None else action.to(self.device)
        drawn = self.model.drawn(given, told, steps, max(2, self.draws))
        return (
            {k: v.mean(2).cpu() for k, v in drawn.items()},
            {k: v.std(2).cpu() for k, v in drawn.items()},
        )


def evaluate(model: PretrainModel, data: Split, settings: PretrainSettings) -> dict[str, Any]:
    """Root mean square errors of the model and the baselines on the test part, in standard
    deviations of the training part (images: in pixels of the log, see :func:`unit`), a list over
    the horizon for each forecaster and key.

    Raises:
        DataError: no test episode has ``seen + horizon`` rows.
    """
    s = settings
    train, valid, test = data
    parts = windows(test, s.seen + s.horizon, s.stride)
    units = _units(train)
    contenders: dict[str, Forecaster] = {
        s.kind: MeanOfDraws(model, s.draws, torch.device(s.device)),
        "persist": PersistLast(),
        "mean": TrainingMean(train),
    }
    left_out = {}
    if any(len(shape) != 1 for shape in train.shapes.values()):
        left_out["ridge"] = "images"
    elif min(max(map(len, part)) for part in (train, valid)) < s.horizon + Ridge.LAGS:
        left_out["ridge"] = f"no training or validation episode has {s.horizon + Ridge.LAGS} rows"
    else:
        contenders["ridge"] = Ridge(train, valid, s.horizon)
    with seeded(s.seed):
        rmse = {
            name: {k: v.tolist() for k, v in open_loop(f, parts, s.seen, units).items()}
            for name, f in contenders.items()
        }
    return {
        "seen": s.seen,
        "horizon": s.horizon,
        "windows": len(parts),
        "draws": s.draws,
        "rate": data.test.rate,
        "rmse": rmse,
        "left_out": left_out,
        "pixels": {k: _top(train.schema[k][1]) for k, v in train.shapes.items() if len(v) != 1},
        "predicts": s.predicts,
        "may_change": s.has_normal and any(len(v) == 1 for v in train.shapes.values()),
        "roughness": roughness(train),
    }


def shown(found: Mapping[str, Any]) -> list[int]:
    """Steps ahead that a table shows."""
    return sorted({h for h in HORIZONS if h <= found["horizon"]} | {found["horizon"]})


def table(found: Mapping[str, Any]) -> str:
    """The errors of all features together at a few horizons.

    >>> print(
    ...     table(
    ...         {
    ...             "horizon": 2,
    ...             "rmse": {"rssm": {"all": [0.1, 0.2]}, "persist": {"all": [0.3, 0.4]}},
    ...         }
    ...     )
    ... )
    steps ahead      1      2
    rssm         0.100  0.200
    persist      0.300  0.400
    """
    steps = shown(found)
    rows = {"steps ahead": [f"{h}" for h in steps]}
    rows |= {k: [f"{e['all'][h - 1]:.3f}" for h in steps] for k, e in found["rmse"].items()}
    width = max(6, *(len(cell) for row in rows.values() for cell in row))
    lines = [f"{k:<12}" + " ".join(f"{cell:>{width}}" for cell in row) for k, row in rows.items()]
    lines += [f"{name} is left out: {why}" for name, why in found.get("left_out", {}).items()]
    return "\n".join(lines)


def unit(found: Mapping[str, Any], key: str = "all") -> str:
    """What the errors of a key, or of all features together, are counted in.

    >>> both = {"rmse": {"rssm": {"camera": [], "x": [], "all": []}}, "pixels": {"camera": 255}}
    >>> unit(both, "x"), unit(both, "camera")
    ('standard deviations', 'pixels from 0 to 255')
    >>> unit(both)
    'standard deviations (images: in pixels from 0 to 255)'
    """
    pixels = found.get("pixels", {})  # reports of earlier versions have none
    keys = [k for k in next(iter(found["rmse"].values())) if k != "all"] if key == "all" else [key]
    tops = {pixels[k] for k in keys if k in pixels}
    images = f"pixels from 0 to {' or '.join(map(str, sorted(tops)))}"
    if len(keys) == sum(k in pixels for k in keys):
        return images
    return f"standard deviations (images: in {images})" if tops else "standard deviations"


def better(found: Mapping[str, Any]) -> list[str]:
    """A sentence on the baselines whose error in the table is smaller than the model's.

    >>> rmse = {"rssm": [0.012, 0.083], "ridge": [0.001, 0.023], "mean": [1.0, 0.05]}
    >>> better({"horizon": 2, "rmse": {k: {"all": e} for k, e in rmse.items()}})
    ['simpler forecasts are better than rssm: ridge at every horizon; mean 2 steps ahead']
    """
    steps = shown(found)
    (model, own), *others = (
        (name, [round(errors["all"][h - 1], 3) for h in steps])
        for name, errors in found["rmse"].items()
    )
    said = []
    for name, error in others:
        at = [str(h) for h, e, o in zip(steps, error, own, strict=True) if e < o]
        if at:
            ahead = f"{', '.join(at)} step{'' if at == ['1'] else 's'} ahead"
            said.append(f"{name} {'at every horizon' if len(at) == len(steps) else ahead}")
    return [f"simpler forecasts are better than {model}: {'; '.join(said)}"] if said else []


def worse(found: Mapping[str, Any]) -> list[str]:
    """A line for each of persist-last and the mean that is better than the model one step ahead.

    >>> worse(
    ...     {
    ...         "predicts": "value",
    ...         "rmse": {
    ...             "rssm": {"all": [0.7]},
    ...             "persist": {"all": [0.006]},
    ...             "mean": {"all": [1.0]},
    ...         },
    ...     }
    ... )
    ['one step ahead rssm (0.7) is worse than persist (0.006): try predicts=change, more updates, or another lr']
    """  # noqa: E501
    (model, own), *others = ((name, errors["all"][0]) for name, errors in found["rmse"].items())
    asks = found["predicts"] == "value" and found.get("may_change", True)
    cure = f"try {'predicts=change, ' if asks else ''}more updates, or another lr"
    return [
        f"one step ahead {model} ({own:.3g}) is worse than {name} ({error:.3g}): {cure}"
        for name, error in others
        if name in ("persist", "mean") and own > error
    ]


def write(
    directory: Path, model: PretrainModel, data: Split, settings: PretrainSettings
) -> dict[str, Any]:
    """Evaluate, and write ``open_loop.json``, ``open_loop.png``, ``forecast.png``,
    ``forecast.gif`` and what :mod:`agents.pretrain.trust` finds into a run's folder.

    Raises:
        UsageError: matplotlib is not installed.
    """
    s = settings
    found = evaluate(model, data, s)
    own = MeanOfDraws(model, s.draws, torch.device(s.device))
    found["trust"] = trust.write(directory, model, own, data, s, _units(data.train))
    (directory / "open_loop.json").write_text(json.dumps(found), encoding="utf-8")
    draw_errors(directory / "open_loop.png", found)
    part = windows(data.test, s.seen + s.horizon)[0]
    truth, predicted = _one(model, part, s)
    draw_forecast(directory / "forecast.png", truth, predicted, s)
    draw_video(directory / "forecast.gif", truth, predicted, s)
    return found


def draw_errors(path: Path, found: Mapping[str, Any]) -> None:
    """Errors against the horizon, one panel a key."""
    figure = new_figure()
    axes_of = figure.add_subplot
    rmse = found["rmse"]
    keys = [k for k in next(iter(rmse.values())) if k != "all"]
    keys = keys if len(keys) == 1 else ["all", *keys]
    columns = min(3, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure.set_size_inches(4.2 * columns, 3.1 * rows + 0.4)
    styles = {"persist": ("0.55", "--"), "mean": ("0.55", ":"), "ridge": ("C1", "-")}
    for i, key in enumerate(keys):
        axes = axes_of(rows, columns, i + 1)
        for name, errors in rmse.items():
            color, line = styles.get(name, ("C0", "-"))
            axes.plot(
                range(1, found["horizon"] + 1),
                errors[key],
                line,
                color=color,
                label=name if i == 0 else None,
            )
        axes.set_title("all features" if key == "all" else key, fontsize="medium", parse_math=False)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel(
            "steps ahead" + (f" ({1 / found['rate']:.3g} s each)" if found["rate"] else "")
        )
        axes.set_ylabel(f"RMSE, {unit(found, key)}".replace(" (", "\n("), fontsize="small")
    figure.legend(loc="outside lower center", ncols=len(rmse), fontsize="small", frameon=False)
    figure.savefig(path, dpi=120)


def draw_forecast(path: Path, truth: Series, predicted: Series, s: PretrainSettings) -> None:
    """One window: lines over time for the features of vectors, and for images truth, prediction and
    difference of some frames.
    """
    figure = new_figure()
    axes_of = figure.add_subplot
    panels = [
        (k, f) for k in truth for f in (_features(truth[k]) if truth[k].ndim == 2 else [None])
    ]
    figure.set_size_inches(9.0, 1.5 * sum(1 if f is not None else 2 for _, f in panels) + 0.8)
    for row, (key, feature) in enumerate(panels):
        if feature is not None:
            axes = axes_of(len(panels), 1, row + 1)
            _draw_lines(
                axes, truth[key][:, feature], predicted[key][:, feature], s.seen, len(truth[key])
            )
            axes.set_ylabel(f"{key}[{feature}]", fontsize="small", parse_math=False)
            continue
        for column, (title, image) in enumerate(_panels(truth[key], predicted[key], s).items()):
            axes = axes_of(len(panels), 3, 3 * row + column + 1)
            axes.imshow(image, aspect="auto", interpolation="nearest", **_colors(title))
            axes.set_axis_off()
            axes.set_title(f"{key}: {title}", fontsize="medium", parse_math=False)
    if any(f is not None for _, f in panels):
        axes.set_xlabel("frame (predicted behind the line)")
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=2,
            fontsize="small",
            frameon=False,
        )
    figure.savefig(path, dpi=110)


def draw_video(path: Path, truth: Series, predicted: Series, s: PretrainSettings) -> None:
    """The same as a moving picture: images frame by frame, or lines that grow."""
    from matplotlib.animation import FuncAnimation, PillowWriter

    key = next((k for k, v in truth.items() if v.ndim == 4), next(iter(truth)))
    true, guess = _pair(truth[key], predicted[key])
    figure = new_figure()
    axes_of = figure.add_subplot
    draw_frame = (
        _moving_images(figure, axes_of, true, guess)
        if true.ndim == 4
        else _moving_lines(figure, axes_of, key, true, guess, s.seen)
    )
    text = figure.suptitle("")

    def draw(t: int) -> list[Any]:
        text.set_text(
            f"frame {t}: read" if t < s.seen else f"frame {t}: predicted, {t - s.seen + 1} ahead"
        )
        return [*draw_frame(t), text]

    first = max(0, s.seen - 10)
    animation = FuncAnimation(figure, draw, frames=range(first, len(true)), blit=False)
    animation.save(path, writer=PillowWriter(fps=8), dpi=70)


def _moving_images(
    figure: Any, axes_of: Any, true: NDArray[Any], guess: NDArray[Any]
) -> Callable[[int], list[Any]]:
    figure.set_size_inches(7.5, 2.8)
    frames, shown = {"truth": true, "prediction": guess, "difference": guess - true}, []
    for i, (title, series) in enumerate(frames.items()):
        axes = axes_of(1, 3, i + 1)
        axes.set_title(title, fontsize="medium")
        axes.set_axis_off()
        shown.append(axes.imshow(_picture(title, series[0]), **_colors(title)))

    def draw(t: int) -> list[Any]:
        for drawn, (title, series) in zip(shown, frames.items(), strict=True):
            drawn.set_data(_picture(title, series[t]))
        return shown

    return draw


def _moving_lines(
    figure: Any, axes_of: Any, key: str, true: NDArray[Any], guess: NDArray[Any], seen: int
) -> Callable[[int], list[Any]]:
    features = _features(true, most=4)
    figure.set_size_inches(7.5, 1.4 * len(features) + 0.8)
    lines: list[Any] = []
    for row, feature in enumerate(features):
        axes = axes_of(len(features), 1, row + 1)
        lines += _draw_lines(axes, true[:, feature], guess[:, feature], seen, len(true))
        axes.set_ylabel(f"{key}[{feature}]", fontsize="small", parse_math=False)

    def draw(t: int) -> list[Any]:
        for row, feature in enumerate(features):
            lines[2 * row].set_data(range(t + 1), true[: t + 1, feature])
            lines[2 * row + 1].set_data(range(seen - 1, t + 1), guess[seen - 1 : t + 1, feature])
        return lines

    return draw


def _draw_lines(
    axes: Any, true: NDArray[Any], guess: NDArray[Any], seen: int, steps: int
) -> list[Any]:
    """Truth, and the prediction from the last frame that was read on."""
    truth = axes.plot(true, color="0.35", linewidth=1.4, label="truth")
    predicted = axes.plot(
        range(seen - 1, steps), guess[seen - 1 :], color="C0", linewidth=1.4, label="prediction"
    )
    axes.axvline(seen - 0.5, color="k", linewidth=0.8)
    axes.set_xlim(0, steps - 1)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return [*truth, *predicted]


def _features(true: NDArray[Any], most: int = 8) -> list[int]:
    """The features of a vector that move most, for its scale, in their order."""
    steps = np.abs(np.diff(true, axis=0)).mean(0) / (true.std(0) + 1e-9)
    moving = np.where(true.std(0) > 1e-9, steps, -1.0)
    return sorted(np.argsort(-moving, kind="stable")[:most].tolist())


def _one(model: PretrainModel, part: Episode, s: PretrainSettings) -> tuple[Series, Series]:
    """Truth and prediction ``[T, ...]`` of a window; in the frames that were read the prediction is
    the truth.
    """
    batch = pad([part])
    action = batch["action"][s.seen - 1 : -1] if "action" in batch else None
    seen = {k: v[: s.seen] for k, v in batch.items() if k != "mask"}
    guess = MeanOfDraws(model, s.draws, torch.device(s.device)).forecast(seen, action, s.horizon)
    truth = {k: np.asarray(part[k]) for k in guess}
    return truth, {
        k: np.concatenate([truth[k][: s.seen], v[:, 0].numpy()]) for k, v in guess.items()
    }


def _units(train: Episodes) -> dict[str, Tensor]:
    vectors = [k for k, s in train.shapes.items() if len(s) == 1]
    found = (
        {k: scale for k, (_, scale) in moments(train.select(vectors)).items()} if vectors else {}
    )
    return {k: found.get(k, torch.ones(s)) for k, s in train.shapes.items()}


def _panels(
    true: NDArray[Any], guess: NDArray[Any], s: PretrainSettings
) -> dict[str, NDArray[Any]]:
    true, guess = _pair(true, guess)
    series = {"truth": true, "prediction": guess, "difference": guess - true}
    chosen = np.linspace(s.seen, len(true) - 1, 4).astype(int)
    return {k: np.concatenate([_picture(k, v[t]) for t in chosen], 1) for k, v in series.items()}


def _pair(true: NDArray[Any], guess: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Truth and prediction as float32; images, which a log holds as uint8 or as floats from 0 to 1,
    both from 0 to 1.
    """
    top = np.float32(_top(true.dtype))
    return true.astype(np.float32) / top, guess.astype(np.float32) / top


def _top(dtype: np.dtype[Any]) -> int:
    """The largest pixel of images of a type."""
    return 255 if dtype == np.uint8 else 1


def _picture(title: str, image: NDArray[Any]) -> NDArray[Any]:
    """What imshow takes of an image ``[H, W, C]`` from 0 to 1: differences as one number a
    pixel.
    """
    if title == "difference":
        return image.mean(-1)
    clipped = image.clip(0, 1)
    return clipped if image.shape[-1] == 3 else clipped[..., 0]


def _colors(title: str) -> dict[str, Any]:
    return (
        {"cmap": "RdBu", "vmin": -1, "vmax": 1}
        if title == "difference"
        else {"cmap": "gray", "vmin": 0, "vmax": 1}
    )
