r"""When to stop trusting a model of a robot: thresholds of its scores, from a log that it has not
learned from.

.. math:: \bar u_t = \frac{1}{K} \sum_{k < K} u_{t - k}, \qquad
    \text{doubt where } \bar u_t > \bar u_{(k)}, \quad k = \lceil (n + 1) (1 - \rho) \rceil

``u`` is the disagreement of the members of a :class:`worldmodels.one_step.OneStep`, or its
surprise. The threshold is a conformal quantile of the ``n`` running means of the log (Laxhammar &
Falkman 2015): a robot that is like the log is doubted in a share of about :math:`\rho` of its
ticks, for each of the two.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from worldmodels.data import DataError, Episode
from worldmodels.one_step import OneStep

SCORES = ("disagreement", "surprise")


@dataclass(frozen=True)
class Thresholds:
    """What running means may reach.

    Args:
        disagreement, surprise: the largest means that are trusted.
        ticks: that a mean is taken over.
        rate: the share of ticks of a robot like the log that lie above.

    Raises:
        DataError: a number makes no sense.

    >>> Thresholds(0.5, 2.0, ticks=10, rate=1e-3).surprise
    2.0
    """

    disagreement: float
    surprise: float
    ticks: int
    rate: float

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
            found = Thresholds(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path}: expected a file of thresholds, got {error!r:.100}") from None
        return found


class Scores(NamedTuple):
    """``[T - 1]`` each, of the steps of an episode.

    >>> Scores(torch.zeros(3), torch.ones(3)).surprise.mean()
    tensor(1.)
    """

    disagreement: Tensor
    surprise: Tensor


def scores(model: OneStep, episode: Episode) -> Scores:
    """Both scores of each step of an episode."""
    device = model.x.loc.device
    given = {k: torch.from_numpy(episode[k]).to(device) for k in model.sizes}
    before = {k: v[:-1] for k, v in given.items()}
    action = torch.from_numpy(episode["action"][:-1]).to(device)
    after = {k: v[1:] for k, v in given.items()}
    return Scores(model.disagreement(before, action), model.surprise(before, action, after))


def running(values: Tensor, ticks: int) -> Tensor:
    """Means over ``ticks`` values that follow each other, ``[T - ticks + 1]``.

    >>> running(torch.tensor([0.0, 2.0, 4.0]), 2)
    tensor([1., 3.])
    """
    if len(values) < ticks:
        return values.new_zeros(0)
    return values.unfold(0, ticks, 1).mean(-1)


def thresholds(
    model: OneStep, episodes: Iterable[Episode], ticks: int = 10, rate: float = 1e-3
) -> Thresholds:
    """Thresholds from episodes that the model has not learned from.

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
        for name, values in scores(model, episode)._asdict().items():
            found[name].append(running(values, ticks))
    count = sum(map(len, found[SCORES[0]]))
    rank = math.ceil((count + 1) * (1 - rate) - 1e-9)
    if rank > count:
        raise DataError(
            f"a rate of {rate:g} needs at least {math.ceil(1 / rate) - 1} means over {ticks} rows "
            f"of a log that was not learned from, got {count}; give a longer log or a larger rate"
        )
    levels = {name: float(torch.cat(v).kthvalue(rank).values) for name, v in found.items()}
    return Thresholds(**levels, ticks=ticks, rate=rate)


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

    def add(self, **values: float) -> str | None:
        """Take in scores by name; why the model is not to be trusted now, or None.

        Nothing is said before there are ``ticks`` values; one that is not finite is doubted at
        once.
        """
        for name, value in values.items():
            self._kept[name].append(value)
        for name, kept in self._kept.items():
            mean, most = sum(kept) / max(1, len(kept)), getattr(self.trusted, name)
            full = len(kept) == self.trusted.ticks
            if not math.isfinite(mean) or (full and mean > most):
                return f"{name} is {mean:.3g}, trusted to {most:.3g}"
        return None
