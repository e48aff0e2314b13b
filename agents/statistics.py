"""Returns of episodes in few numbers: mean, interquartile mean, and an interval that says how sure
the mean is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHARE = 0.95
RESAMPLES = 10_000
INTERVAL = "95 % bootstrap interval"


@dataclass(frozen=True)
class Summary:
    """Numbers of ``count`` episodes; see :func:`summarize`.

    >>> summarize([1.0, 2.0, 3.0, 10.0]).middle
    2.5
    """

    count: int
    mean: float
    low: float
    high: float
    middle: float


def summarize(returns: Sequence[float]) -> Summary:
    """Mean, its interval, and interquartile mean of at least one return."""
    return Summary(
        len(returns),
        float(np.mean(returns)),
        *bootstrap_interval(returns),
        interquartile_mean(returns),
    )


def interquartile_mean(numbers: Sequence[float]) -> float:
    """The mean of the middle half: a quarter of the numbers, rounded down, is left out at each end.

    Robust to a few episodes far out (Agarwal et al. 2021, as they compute it).

    >>> interquartile_mean([0.0, 1.0, 2.0, 100.0])
    1.5
    """
    cut = len(numbers) // 4
    return float(np.mean(np.sort(numbers)[cut : len(numbers) - cut]))


def bootstrap_interval(numbers: Sequence[float]) -> tuple[float, float]:
    """The interval that holds the mean of 95 % of 10,000 resamples with replacement (the percentile
    bootstrap, Efron 1979).

    The draws are the same at every call. One number has no interval: it is returned twice.

    >>> bootstrap_interval([5.0, 5.0, 5.0])
    (5.0, 5.0)
    """
    values = np.asarray(numbers, np.float64)
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(-1)
    low, high = np.quantile(means, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)
