"""What lies in a data set, in numbers: lengths, rate, the range of each feature, features that
never change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worldmodels.data.episodes import FLAGS, Array, Episode, Episodes

MOST = 16
"""A vector of more features is summarised in one line."""


@dataclass(frozen=True)
class Feature:
    """One feature of a vector over all rows, or an image over all pixels.

    Args:
        name: such as ``position[2]``.
        low, high, mean, deviation: of its numbers; finite ones only.
        changes: whether it ever does.

    >>> Feature("position[2]", -1.0, 1.0, 0.1, 0.5).changes
    True
    """

    name: str
    low: float
    high: float
    mean: float
    deviation: float

    @property
    def changes(self) -> bool:
        return self.low != self.high


@dataclass(frozen=True)
class Summary:
    """See :func:`summarise`.

    Args:
        lengths: rows of each episode.
        rate: rows a second; None where it is not known.
        features: in the order of the data set's keys.

    >>> from worldmodels.data import make_episode
    >>> print(summarise(Episodes([make_episode("run", {"x": np.arange(4.0)[:, None]})])))
    1 episode of 4 rows, rate unknown
                    smallest     largest        mean   deviation
    x[0]                   0           3         1.5        1.12
    reward        none, or 0 in every row
    """

    lengths: tuple[int, ...]
    rate: float | None
    features: tuple[Feature, ...]

    def __str__(self) -> str:
        count, least, most = len(self.lengths), min(self.lengths), max(self.lengths)
        rows = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        each = "episode" if count == 1 else "episodes"
        rate = (
            "rate unknown"
            if self.rate is None
            else f"{self.rate:g} rows a second, {self._duration()}"
        )
        head = ["", "smallest", "largest", "mean", "deviation"]
        width = max(12, *(len(f.name) for f in self.features))
        lines = [f"{head[0]:<{width}}" + "".join(f"{h:>12}" for h in head[1:])]
        for f in self.features:
            if f.name == "reward" and f.low == f.high == 0:  # what a log without one is read as
                lines.append(f"{f.name:<{width}}  none, or 0 in every row")
                continue
            numbers = "".join(f"{v:>12.3g}" for v in (f.low, f.high, f.mean, f.deviation))
            lines.append(f"{f.name:<{width}}{numbers}{'' if f.changes else '  never changes'}")
        total = "" if count == 1 else f", {sum(self.lengths):,} rows in all"
        return "\n".join([f"{count:,} {each} of {rows} rows{total}, {rate}", *lines])

    def _duration(self) -> str:
        assert self.rate is not None
        seconds = sum(self.lengths) / self.rate
        return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} minutes"


def summarise(data: Episodes) -> Summary:
    """Lengths, rate, and the numbers of each feature.

    Args:
        data: any data set; numbers that are not finite are left out.
    """
    keys = [k for k in data.schema if k not in FLAGS]
    features = [f for k in keys for f in _features(data, k)]
    return Summary(tuple(map(len, data)), data.rate, tuple(features))


def _features(data: Episodes, key: str) -> Iterator[Feature]:
    shape = data.schema[key][0]
    apart = len(shape) == 1 and shape[0] <= MOST
    size = shape[0] if apart else 1
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    total, squares, count = np.zeros(size), np.zeros(size), np.zeros(size)
    for episode in data:
        x, finite = _numbers(episode, key, size)
        low = np.minimum(low, np.where(finite, x, np.inf).min(0, initial=np.inf))
        high = np.maximum(high, np.where(finite, x, -np.inf).max(0, initial=-np.inf))
        total, count = total + np.where(finite, x, 0.0).sum(0), count + finite.sum(0)
    mean = total / np.maximum(count, 1)
    for episode in data:  # a second pass: E[x^2] - E[x]^2 loses all digits where the mean is large
        x, finite = _numbers(episode, key, size)
        squares += np.square(np.where(finite, x - mean, 0.0)).sum(0)
    deviation = np.sqrt(squares / np.maximum(count, 1))
    for i in range(size):
        yield Feature(
            f"{key}[{i}]" if apart else key, *(float(v[i]) for v in (low, high, mean, deviation))
        )


def _numbers(episode: Episode, key: str, size: int) -> tuple[Array, Array]:
    x = np.asarray(episode[key], np.float64).reshape(-1, size)
    return x, np.isfinite(x)
