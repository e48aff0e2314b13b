"""How a log is split, and how much the report reads and predicts: what was left open is made to
fit, and said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from agents.pretrain.settings import LEAST_SEEN, WANTED, PretrainSettings
from worldmodels.data import DataError, Episodes, Split, split

By = Literal["time", "episode"]
BOTH: tuple[By, By] = ("time", "episode")


@dataclass(frozen=True)
class Fit:
    """What was chosen.

    Args:
        split: by time or by episode.
        seen, horizon: rows that the report reads and predicts.
        longest: rows of the longest test episode.
        open: whether a setting was left open, so that something was chosen.

    >>> print(Fit("time", 50, 50, 120))
    split by time; the report reads 50 rows and predicts 50 (the longest test episode has 120)
    """

    split: By
    seen: int
    horizon: int
    longest: int
    open: bool = True

    def __str__(self) -> str:
        return (
            f"split by {self.split}; the report reads {self.seen} rows and predicts {self.horizon} "
            f"(the longest test episode has {self.longest})"
        )


def fitted(settings: PretrainSettings, data: Episodes) -> tuple[PretrainSettings, Split, Fit]:
    """The settings with split, ``seen`` and ``horizon`` decided, the parts, and what was chosen.

    By time where the test part has the rows that the report wants (50 and 50, or what is given), or
    where episodes are too few to be split; else by episode where that gives it more.  Rows left
    open are halves of the longest test episode, at most 50.

    Args:
        settings: the run; ``split="auto"``, ``seen=0`` and ``horizon=0`` are left open.
        data: all episodes.

    Raises:
        DataError: the data cannot be split, or the longest test episode is too short; names what to
            choose.

    >>> import numpy
    >>> from agents.pretrain.settings import VRNNSettings
    >>> from worldmodels.data import make_episode
    >>> short = Episodes([make_episode(f"{i}", {"x": numpy.zeros((60, 1))}) for i in range(10)])
    >>> print(fitted(VRNNSettings(), short)[2])
    split by episode; the report reads 30 rows and predicts 30 (the longest test episode has 60)
    """
    s = settings
    need = (s.seen or WANTED) + (s.horizon or WANTED)
    tries: dict[By, Split] = {}
    for by in BOTH if s.split == "auto" else (s.split,):
        try:
            tries[by] = split(data, by, s.valid, s.test, s.seed)
        except DataError:
            if by == s.split or (by == BOTH[-1] and not tries):
                raise
            continue
        if _longest(tries[by]) >= need:
            break
    by = max(tries, key=lambda by: min(_longest(tries[by]), need))
    parts, longest = tries[by], _longest(tries[by])
    seen, horizon = _rows(s.seen, s.horizon, longest)
    if longest < seen + horizon:
        raise _too_short(s, by, seen, horizon, data, longest)
    open_ = s.split == "auto" or not (s.seen and s.horizon)
    return (
        replace(s, split=by, seen=seen, horizon=horizon),
        parts,
        Fit(by, seen, horizon, longest, open_),
    )


def _rows(seen: int, horizon: int, longest: int) -> tuple[int, int]:
    """Rows to read and to predict."""
    if not seen:
        room = longest - horizon if horizon else longest // 2
        seen = max(LEAST_SEEN, min(WANTED, room))
    if not horizon:
        horizon = max(1, min(WANTED, longest - seen))
    return seen, horizon


def _longest(parts: Split) -> int:
    return max(map(len, parts.test))


def _too_short(
    s: PretrainSettings, by: By, seen: int, horizon: int, data: Episodes, longest: int
) -> DataError:
    """The error that names what cures it."""
    cures = []
    if by == "time" and len(data) >= 3:
        whole = _longest(split(data, "episode", s.valid, s.test, s.seed))
        cures += (
            [f"split=episode, which tests whole episodes (the longest has {whole} rows)"]
            if whole >= seen + horizon
            else []
        )
    if longest > LEAST_SEEN:
        less = max(LEAST_SEEN, longest // 2)
        cures.append(f"shorter ones, such as seen={less} horizon={longest - less}")
    cures.append("a larger test share" if by == "time" else "longer episodes")
    return DataError(
        f"{data.source}: the open-loop report reads {seen} rows and predicts {horizon}, "
        f"and the longest test "
        f"episode has {longest}; choose {', or '.join(cures)}"
    )
