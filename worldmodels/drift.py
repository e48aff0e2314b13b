r"""Whether a robot is off to one side, by less than its noise hides in a tick: a payload, a servo
that has lost force, a sensor that has moved.

.. math:: \bar z_{td} = \frac{1}{W} \sum_{w < W} z_{t - w, d}, \qquad
    T_t = \frac{1}{D} \sum_d \frac{(\bar z_{td} - b_d)^2}{v_d}

``z`` are the residuals of a model with their signs (:meth:`worldmodels.one_step.OneStep.residual`),
``b`` and ``v`` the mean and the variance of their running means over ``W`` ticks on a log that the
model has not learned from. It is Hotelling's :math:`T^2` (1947) of a window's mean without
correlations between features, divided by their number: 1 on average of a robot like the log, and
:math:`D\,T` is :math:`\chi^2_D` where residuals are normal and features independent. What repeats
itself in time is in ``v``, since that is the variance of means as they are, not
:math:`\mathrm{var}(z) / W`: noise of a sensor is in two residuals that follow each other, with
opposite signs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodels.data import DataError

LEAST = 1e-4
"""A variance of means at least: a hundredth of the deviation that the model says is nothing, also
of a feature that it knows exactly.
"""
PARTS = 5
"""That a log of one episode is cut into, to leave one out."""


@dataclass(frozen=True)
class Drift:
    """What means of residuals are on a log.

    Args:
        ticks: that a mean is taken over, ``W``.
        mean, variance: of these means, ``D`` numbers each.
        most: the largest drift that is trusted.

    Raises:
        DataError: a number makes no sense.

    >>> drift = Drift(ticks=4, mean=[0.0, 0.0], variance=[1.0, 4.0], most=3.0)
    >>> drift.of(torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor([1., 4.])
    """

    ticks: int
    mean: Sequence[float]
    variance: Sequence[float]
    most: float

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (*self.mean, *self.variance)))
        fits = 0 < len(self.mean) == len(self.variance) and min(self.variance) > 0.0
        if not (finite and fits and self.ticks >= 1 and 0.0 < self.most < math.inf):
            raise DataError(
                "drift: expected ticks, as many finite means as variances above 0, and a finite "
                f"threshold above 0, got {self.ticks} ticks, {len(self.mean)} means, "
                f"{len(self.variance)} variances and the threshold {self.most}"
            )

    def of(self, means: Tensor) -> Tensor:
        """How far means ``[..., D]`` are from those of the log, ``[...]``."""
        mean, variance = (means.new_tensor(list(v)) for v in (self.mean, self.variance))
        return ((means - mean).square() / variance).mean(-1)


def running(values: Tensor, ticks: int) -> Tensor:
    """Means over ``ticks`` values or vectors that follow each other, ``[T - ticks + 1, ...]``.

    >>> running(torch.tensor([0.0, 2.0, 4.0]), 2)
    tensor([1., 3.])
    """
    if len(values) < ticks:
        return values.new_zeros(0, *values.shape[1:])
    return values.unfold(0, ticks, 1).mean(-1)


def quantile(values: Tensor, rate: float, ticks: int) -> float:
    """What ``n`` running means of a log that was not learned from pass in a share of ``rate``: the
    ``ceil((n + 1) (1 - rate))``-th smallest.

    Raises:
        DataError: there are too few, or others than finite ones.

    >>> quantile(torch.arange(99.0), 0.1, 1)
    89.0
    """
    count = len(values)
    rank = math.ceil((count + 1) * (1 - rate) - 1e-9)
    if rank > count:
        raise DataError(
            f"a rate of {rate:g} needs at least {math.ceil(1 / rate) - 1} means over {ticks} rows "
            f"of a log that was not learned from, got {count}; give a longer log or a larger rate"
        )
    return float(values.kthvalue(rank).values)


def fit_drift(residuals: Sequence[Tensor], ticks: int = 50, rate: float = 1e-3) -> Drift:
    """From residuals ``[T, D]`` of episodes that a model has not learned from.

    The threshold is a quantile of the drifts of each episode from the means of all others (Vovk
    2015, cross-conformal): from its own, an episode is nearer than a new one will be.

    Args:
        residuals: of the robot as it should be.
        ticks: that a mean is taken over: more see less, and later.
        rate: the share of ticks of a robot like the log that lie above the threshold.

    Raises:
        DataError: too few rows for this rate, or residuals that are not finite.
    """
    if len(residuals) == 1:
        residuals = residuals[0].chunk(PARTS)
    means = [running(each.double(), ticks) for each in residuals]
    means = [each for each in means if len(each)]
    if len(means) < 2:
        raise DataError(
            f"drift needs two episodes of at least {ticks} steps that were not learned from, got "
            f"{len(means)}; give a longer log"
        )
    drifts = []
    for i, own in enumerate(means):
        center, variance = _moments(means[:i] + means[i + 1 :])
        drifts.append(((own - center).square() / variance).mean(-1))
    most = quantile(torch.cat(drifts), rate, ticks)
    center, variance = _moments(means)
    return Drift(ticks, center.tolist(), variance.tolist(), most)


def _moments(means: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of rows ``[N, D]``."""
    rows = torch.cat(list(means))
    return rows.mean(0), rows.var(0, correction=0).clamp(min=LEAST)
