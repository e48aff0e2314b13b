"""Training, validation and test parts: by time within each episode, or by episode."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from worldmodels.data.episodes import Episode, Episodes
from worldmodels.data.errors import DataError
from worldmodels.words import counted


class Split(NamedTuple):
    """Parts of a data set.

    >>> from worldmodels.data import make_episode
    >>> data = Episodes([make_episode("run", {"x": np.zeros((20, 1))})])
    >>> [len(part[0]) for part in split(data, "time", valid=0.2, test=0.2)]
    [12, 4, 4]
    """

    train: Episodes
    valid: Episodes
    test: Episodes


def split(
    data: Episodes,
    by: Literal["time", "episode"],
    valid: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    shortest: int = 2,
) -> Split:
    """Three parts.

    Args:
        by: ``"time"``: the last rows of every episode are the test part, those before them the
            validation part; ``"episode"``: whole episodes, drawn with ``seed``.
        valid, test: shares, above 0 and together below 1.
        shortest: rows that an episode, or a part of one, must have (what is shorter is left out).

    Raises:
        DataError: a part would be empty.
    """
    if not (valid > 0 and test > 0 and valid + test < 1):
        raise DataError(
            f"shares must be above 0 and together below 1, got valid={valid} and test={test}"
        )
    if by == "episode":
        whole = [e for e in data if len(e) >= shortest]
        order = np.random.default_rng(seed).permutation(len(whole))
        ends = [max(1, round(len(whole) * share)) for share in (test, valid)]
        chosen = np.split(order, np.cumsum(ends))
        if len(whole) < 3 or not len(chosen[-1]):
            raise DataError(
                f"{data.source}: {counted(len(whole), 'episode')} of {shortest} rows or more "
                "cannot be split by episode; split by time"
            )
        test_, valid_, train_ = (data.with_(whole[i] for i in sorted(part)) for part in chosen)
        return Split(train_, valid_, test_)
    pieces: list[list[Episode]] = [[], [], []]
    for e in data:
        cuts = [0, round(len(e) * (1 - valid - test)), round(len(e) * (1 - test)), len(e)]
        for part, start, stop in zip(pieces, cuts, cuts[1:]):
            if stop - start >= shortest:
                part.append(e.part(start, stop))
    shares = {"training": 1 - valid - test, "validation": valid, "test": test}
    for name, part in zip(shares, pieces):
        if not part:
            longest, share = max(map(len, data)), shares[name]
            raise DataError(
                f"{data.source}: no {name} part of {shortest} rows by time; "
                f"the longest episode has {longest} rows, of which this part is {share:.2g}: "
                f"give episodes of {math.ceil((shortest + 1) / share)} rows, a larger share, or "
                f"three episodes and a split by episode"
            )
    train, validation, tested = (data.with_(part) for part in pieces)
    return Split(train, validation, tested)
