r"""When to stop trusting a model of a robot: thresholds of its scores, from a log that it has not
learned from.

.. math:: \bar u_t = \frac{1}{K} \sum_{k < K} u_{t - k}, \qquad
    \text{doubt where } \bar u_t > \bar u_{(k)}, \quad k = \lceil (n + 1) (1 - \rho) \rceil

``u`` is the disagreement of the members of a :class:`worldmodels.one_step.OneStep`, or its
surprise; the third score, :mod:`worldmodels.drift`, is of a mean of its own. The threshold is a
conformal quantile of the ``n`` running means of the log (Laxhammar & Falkman 2015): a robot that is
like the log is doubted in a share of about :math:`\rho` of its ticks, for each of the three.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from worldmodels.data import DataError, Episode
from worldmodels.drift import Drift, fit_drift, quantile, running
from worldmodels.one_step import OneStep

SCORES = ("disagreement", "surprise")
"""Those that are a number in each tick; drift is of many ticks only."""
ALL_BUT_LAST, LATER = slice(None, -1), slice(1, None)


@dataclass(frozen=True)
class Thresholds:
    """What running means may reach.

    Args:
        disagreement, surprise: the largest means that are trusted.
        ticks: that a mean is taken over.
        rate: the share of ticks of a robot like the log that lie above.
        drift: the third score; None: it is not looked at.

    Raises:
        DataError: a number makes no sense.

    >>> Thresholds(0.5, 2.0, ticks=10, rate=1e-3).surprise
    2.0
    """

    disagreement: float
    surprise: float
    ticks: int
    rate: float
    drift: Drift | None = None

    def __post_init__(self) -> None:
        for name in SCORES:
            if not 0.0 < getattr(self, name) < math.inf:
                raise DataError(f"{name}: expected a finite threshold above 0")
        if not 0.0 < self.rate < 1.0 or self.ticks < 1:
            raise DataError(
                f"expected a rate in (0, 1) and ticks, got {self.rate} and {self.ticks}"
            )

    def save(self, path: str | Path) -> Path:
        """Write them as JSON."""
        Path(path).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        return Path(path)

    @staticmethod
    def load(path: str | Path) -> Thresholds:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: it is not there, or another file.
        """
        try:
            told = json.loads(Path(path).read_text(encoding="utf-8"))
            if told.get("drift") is not None:
                told["drift"] = Drift(**told["drift"])
            found = Thresholds(**told)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected a file of thresholds, got {error!r:.100}") from None
        return found


class Scores(NamedTuple):
    """Of the steps of an episode, ``[T - 1]`` each; residuals are ``[T - 1, D]``.

    >>> Scores(torch.zeros(3), torch.ones(3), torch.ones(3, 2)).surprise.mean()
    tensor(1.)
    """

    disagreement: Tensor
    surprise: Tensor
    residual: Tensor


def scores(model: OneStep, episode: Episode) -> Scores:
    """The scores of each step of an episode, and what drift is a mean of."""
    device = model.x.loc.device
    read = (*model.sizes, "action", "is_first")
    series = {k: torch.from_numpy(episode[k]).to(device) for k in read}
    before, after = ({k: series[k][rows] for k in model.sizes} for rows in (ALL_BUT_LAST, LATER))
    action, lately = series["action"][:-1], model.history(series)[:-1]
    residual = model.residual(before, action, after, lately)
    apart = model.disagreement(before, action, lately)
    return Scores(apart, residual.square().mean(-1), residual)


def thresholds(
    model: OneStep, episodes: Iterable[Episode], ticks: int = 10, rate: float = 1e-3
) -> Thresholds:
    """Thresholds of the first two scores from episodes that the model has not learned from; see
    :func:`with_drift` for the third.

    Args:
        model: gives the scores.
        episodes: of the robot as it should be.
        ticks: that a mean is taken over: more see less, and later.
        rate: the share of ticks in which a robot like the log is doubted, for each score.

    Raises:
        DataError: the log is too short for this rate, or a score is not finite.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in SCORES}
    for episode in episodes:
        values = scores(model, episode)._asdict()
        for name in SCORES:
            found[name].append(running(values[name], ticks))
    levels = [quantile(torch.cat(found[name]), rate, ticks) for name in SCORES]
    return Thresholds(levels[0], levels[1], ticks=ticks, rate=rate)


def with_drift(
    trusted: Thresholds, model: OneStep, episodes: Iterable[Episode], ticks: int = 50
) -> Thresholds:
    """Thresholds of all three scores, the third from the same episodes and at the same rate.

    Args:
        trusted: of :func:`thresholds`.
        model, episodes: as there.
        ticks: that the mean of the third is taken over.

    Raises:
        DataError: the episodes are too short or too few.
    """
    residuals = [scores(model, episode).residual for episode in episodes]
    return replace(trusted, drift=fit_drift(residuals, ticks, trusted.rate))


class Doubt:
    """Running means against thresholds, tick by tick.

    >>> doubt = Doubt(Thresholds(1.0, 4.0, ticks=2, rate=0.1))
    >>> doubt.add(disagreement=3.0), doubt.add(disagreement=0.5)
    (None, 'disagreement is 1.75, trusted to 1')
    """

    def __init__(self, trusted: Thresholds) -> None:
        self.trusted = trusted
        self._kept: dict[str, deque[float]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget: an episode begins."""
        self._kept = {name: deque(maxlen=self.trusted.ticks) for name in SCORES}
        drift = self.trusted.drift
        self._residuals: deque[Tensor] = deque(maxlen=drift.ticks if drift else 0)

    def add(self, residual: Tensor | None = None, **values: float) -> str | None:
        """Take in scores by name, and a residual ``[D]``; why the model is not to be trusted now,
        or None.

        Nothing is said before there are ``ticks`` values; one that is not finite is doubted at
        once.
        """
        if residual is not None:
            self._residuals.append(residual)
        for name, value in values.items():
            self._kept[name].append(value)
        for name, kept in self._kept.items():
            mean, most = sum(kept) / max(1, len(kept)), getattr(self.trusted, name)
            full = len(kept) == self.trusted.ticks
            if not math.isfinite(mean) or (full and mean > most):
                return f"{name} is {mean:.3g}, trusted to {most:.3g}"
        return self._drifts()

    def _drifts(self) -> str | None:
        drift = self.trusted.drift
        if drift is None or not self._residuals:
            return None
        found = float(drift.of(torch.stack(list(self._residuals)).mean(0)))
        full = len(self._residuals) == drift.ticks
        if math.isfinite(found) and not (full and found > drift.most):
            return None
        return f"drift is {found:.3g}, trusted to {drift.most:.3g}"
