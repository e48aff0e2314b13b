"""Open loop: a model reads some frames, then predicts those that follow from the recorded actions
alone.

    Forecaster      what can be asked: models (through agents.pretrain) and the baselines below
    PersistLast     the last observation stays
    TrainingMean    the mean of the training data
    Ridge           ridge regression from the last five observations and the actions in between, one
                    for each horizon
    open_loop       root mean square errors against the horizon, per key
    residuals       what they are the squares of
    moments, changes, roughness   units of observations and of their changes; whether a model should
                                  predict changes

Batches are time-major, ``[T, B, ...]``; ``action[t]`` follows the observation ``t``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from worldmodels.data import DataError, Episode, Episodes, pad
from worldmodels.data.episodes import Array

Batch = Mapping[str, Tensor]


class Forecaster(Protocol):
    """What predicts frames."""

    def forecast(self, seen: Batch, action: Tensor | None, steps: int) -> dict[str, Tensor]:
        """Observations of the ``steps`` frames after ``seen``, ``[steps, B, ...]``.

        Args:
            seen: frames ``[C, B, ...]``.
            action: ``[steps, B, A]``, the action before each of the frames to come; None where none
                were recorded.
        """
        ...


class PersistLast:
    """``x_{t+h} = x_t``."""

    def forecast(self, seen: Batch, action: Tensor | None, steps: int) -> dict[str, Tensor]:
        """The last frame, ``steps`` times."""
        return {
            k: v[-1].to(torch.get_default_dtype()).expand(steps, *v.shape[1:])
            for k, v in _observed(seen)
        }


class TrainingMean:
    """The mean of each feature over the training data, whatever was seen."""

    def __init__(self, train: Episodes) -> None:
        self.mean = {k: loc for k, (loc, _) in moments(train).items()}

    def forecast(self, seen: Batch, action: Tensor | None, steps: int) -> dict[str, Tensor]:
        """The mean, ``steps`` times."""
        return {k: self.mean[k].expand(steps, *v.shape[1:]) for k, v in _observed(seen)}


class Ridge:
    r"""``x_{t+h} = W_h [x_{t-4}, ..., x_t, a_{t-4}, ..., a_{t+h-1}, 1]``, for each horizon ``h``
    with a penalty of its own.

    .. math:: W_h = \arg\min_W \sum_t |x_{t+h} - W f_t|^2 + \lambda_h |W|^2

    Features and targets are in standard units; of :attr:`PENALTIES` the one is taken that has the
    smallest error on the validation part.  Vectors only.

    Args:
        train, valid: the parts to fit and to choose on.
        steps: the longest horizon.
    """

    LAGS = 5
    PENALTIES = (1e-3, 1e-1, 1.0, 10.0, 100.0, 1e3, 1e4)

    def __init__(self, train: Episodes, valid: Episodes, steps: int) -> None:
        self.keys = train.observations
        found = moments(train)
        self.loc, self.scale = (
            torch.cat([found[k][i] for k in self.keys]).double() for i in (0, 1)
        )
        self.weights: list[Tensor] = []
        self.penalties: list[float] = []
        sets = [[self._series(e) for e in part] for part in (train, valid)]
        for h in range(1, steps + 1):
            (f, y), (fv, yv) = (self._rows(part, h) for part in sets)
            gram, cross = f.T @ f, f.T @ y
            scores = []
            for penalty in self.PENALTIES:
                w = torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=f.dtype), cross)
                scores.append(((fv @ w - yv).square().mean().item(), penalty, w))
            _, penalty, weight = min(scores, key=lambda s: s[0])
            self.weights.append(weight)
            self.penalties.append(penalty)

    def forecast(self, seen: Batch, action: Tensor | None, steps: int) -> dict[str, Tensor]:
        """The predictions of the regressions of horizons 1 to ``steps``.

        Raises:
            DataError: fewer than :attr:`LAGS` frames were seen, more steps are asked for than were
                fitted, or there are fewer actions than steps.
        """
        count, given = len(seen[self.keys[0]]), steps if action is None else len(action)
        if count < self.LAGS or steps > len(self.weights) or given < steps:
            raise DataError(
                f"this ridge regression reads {self.LAGS} frames and predicts up to "
                f"{len(self.weights)} steps from an action each, got {count} frames, {steps} steps "
                f"and {given} actions; show it more, or fit one with another horizon"
            )
        x = self._units(torch.cat([seen[k] for k in self.keys], -1)[-self.LAGS :])
        past = [x.movedim(0, 1).flatten(1)]
        if action is not None:  # those that lie between the lags, and those to come
            between = seen["action"][-self.LAGS : -1].double()
            past.append(torch.cat([between, action.double()]).movedim(0, 1).flatten(1))
        sizes = [seen[k].shape[-1] for k in self.keys]
        found = []
        for h in range(1, steps + 1):
            n = 0 if action is None else (self.LAGS - 1 + h) * action.shape[-1]
            f = torch.cat(
                [past[0], *[p[:, :n] for p in past[1:]], past[0].new_ones(len(past[0]), 1)], 1
            )
            found.append(f @ self.weights[h - 1])
        flat = torch.stack(found) * self.scale + self.loc
        return {
            k: v.to(torch.get_default_dtype()) for k, v in zip(self.keys, flat.split(sizes, -1))
        }

    def _series(self, episode: Episode) -> tuple[Tensor, Tensor | None]:
        x = torch.from_numpy(np.concatenate([episode[k] for k in self.keys], -1))
        action = _double(episode["action"]) if "action" in episode.series else None
        return self._units(x), action

    def _units(self, x: Tensor) -> Tensor:
        return (x.double() - self.loc) / self.scale

    def _rows(self, part: Sequence[tuple[Tensor, Tensor | None]], h: int) -> tuple[Tensor, Tensor]:
        inputs, targets = [], []
        for x, action in part:
            count = len(x) - self.LAGS - h + 1
            if count < 1:
                continue
            read = [x.unfold(0, self.LAGS, 1)[:count].transpose(1, 2).flatten(1)]
            if action is not None:
                read.append(
                    action.unfold(0, self.LAGS - 1 + h, 1)[:count].transpose(1, 2).flatten(1)
                )
            inputs.append(torch.cat([*read, x.new_ones(count, 1)], 1))
            targets.append(x[self.LAGS + h - 1 :])
        if not inputs:
            raise DataError(
                f"no episode is long enough for {self.LAGS} observations and a horizon of {h}"
            )
        return torch.cat(inputs), torch.cat(targets)


def _double(series: Array) -> Tensor:
    """A series in 64 bits. It is a copy: those of a store are not to be written to."""
    return torch.from_numpy(series.astype(np.float64))


def moments(data: Episodes) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation of each feature of the observations, ``[D]`` each.

    The deviation is 1 where there is no spread: none above 1e-6, nor above what float32 cannot tell
    from the mean.
    """
    found = {}
    for key in data.observations:
        loc = torch.stack([_double(e[key]).sum(0) for e in data]).sum(0) / data.steps
        # a second pass: E[x^2] - E[x]^2 loses all digits where the mean is large
        square = (
            torch.stack([(_double(e[key]) - loc).square().sum(0) for e in data]).sum(0) / data.steps
        )
        scale, least = square.sqrt(), loc.abs() * torch.finfo(torch.float32).eps
        found[key] = (
            loc.float(),
            torch.where(scale > least.clamp(min=1e-6), scale, torch.ones_like(scale)).float(),
        )
    return found


def changes(data: Episodes) -> dict[str, tuple[Tensor, Tensor]]:
    r"""How each feature of the vectors goes on, ``[D]`` each, in standard units: ``g`` and ``c`` of
    :mod:`worldmodels.change`.

    :math:`x_{t+1} - x_t = g (x_t - x_{t-1}) + c\epsilon`, by least squares, with ``g`` kept in [0,
    1]; ``c`` is 1 where nothing is left.  Where ``c`` is far below 1, a model should predict
    changes.
    """
    return {
        k: (gain, torch.where(left > 1e-6, left, torch.ones_like(left)))
        for k, (gain, left) in _on_lines(data).items()
    }


def roughness(data: Episodes) -> float:
    """How much of a usual deviation is left of vectors one step ahead on a line: the root mean
    square of :func:`changes`' ``c``.

    Features that never change do not count.  Below about 0.1 (a log that is sampled fast) a model
    should predict changes: ``RSSMConfig(predicts="change")``.
    """
    left = [left[_moving(data, key)] for key, (_, left) in _on_lines(data).items()]
    each = torch.cat(left) if left else torch.ones(0)
    return each.square().mean().sqrt().item() if len(each) else 1.0


def _on_lines(data: Episodes) -> dict[str, tuple[Tensor, Tensor]]:
    """For each vector ``g`` of :func:`changes`, and the deviation of what it leaves; 1 where no
    three rows follow each other.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    vectors = [k for k, s in data.shapes.items() if len(s) == 1]
    for key, (_, unit) in moments(data.select(vectors)).items() if vectors else ():
        steps = [(_double(e[key]) / unit).diff(dim=0) for e in data]
        last, after = (torch.cat([s[i : len(s) - 1 + i] for s in steps]) for i in (0, 1))
        gain = ((last * after).sum(0) / last.square().sum(0).clamp(min=1e-30)).clamp(0, 1)
        left = (
            (after - gain * last).square().mean(0).sqrt() if len(after) else torch.ones_like(gain)
        )
        found[key] = (gain.float(), left.float())
    return found


def _moving(data: Episodes, key: str) -> Tensor:
    """The features ``[D]`` that are not one number in all rows."""
    first = data[0][key][:1]
    return torch.from_numpy(np.any([(e[key] != first).any(0) for e in data], 0))


@torch.no_grad()
def open_loop(
    forecaster: Forecaster,
    parts: Sequence[Episode],
    seen: int,
    units: Mapping[str, Tensor],
    size: int = 256,
) -> dict[str, Tensor]:
    """Root mean square errors ``[H]`` of each observed key, and of all features together as
    ``"all"``.

    Args:
        forecaster: a model or a baseline.
        parts: windows of equal length, ``seen + H`` rows (:func:`worldmodels.data.windows`).
        seen: how many rows are read.
        units: key -> the standard deviation of its features on the training data; errors are
            counted in these.
        size: windows predicted at a time.
    """
    sums: dict[str, Tensor] = {}
    for gaps in residuals(forecaster, parts, seen, size):
        for key, gap in gaps.items():
            square = (gap / units[key].double()).square().flatten(2).sum((1, 2))
            sums[key] = sums.get(key, torch.zeros(())) + square
    counts = {k: len(parts) * units[k].numel() for k in sums}
    errors = {k: (v / counts[k]).sqrt() for k, v in sums.items()}
    return errors | {"all": (sum(sums.values(), torch.zeros(())) / sum(counts.values())).sqrt()}


@torch.no_grad()
def residuals(
    forecaster: Forecaster, parts: Sequence[Episode], seen: int, size: int = 256
) -> Iterator[dict[str, Tensor]]:
    """Truth less forecast, key -> ``[H, B, ...]`` in float64, of ``size`` windows at a time.

    Args:
        forecaster, parts, seen, size: as of :func:`open_loop`.
    """
    for batch in _batches(parts, size):
        steps = len(batch["is_first"]) - seen
        action = batch["action"][seen - 1 : -1] if "action" in batch else None
        read = {k: v[:seen] for k, v in batch.items() if k != "mask"}
        found = forecaster.forecast(read, action, steps)
        yield {k: batch[k][seen:].double() - v.double() for k, v in found.items()}


def _batches(parts: Sequence[Episode], size: int) -> Iterator[dict[str, Tensor]]:
    for i in range(0, len(parts), size):
        yield pad(parts[i : i + size])


def _observed(seen: Batch) -> list[tuple[str, Tensor]]:
    return [
        (k, v)
        for k, v in seen.items()
        if k not in ("action", "reward", "is_first", "is_last", "is_terminal", "mask")
    ]
