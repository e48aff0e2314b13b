"""Whole numbers as actions: classes where they are few and small, else numbers; either is said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worldmodels.data.episodes import Array
from worldmodels.data.errors import say

FEW = 32
"""More classes than this have to be declared."""


def one_hot(index: Array, size: int) -> Array:
    """``[T, size]`` float32 from whole numbers ``[T]`` below ``size``."""
    found = np.zeros((len(index), size), np.float32)
    found[np.arange(len(index)), index] = 1.0
    return found


def classes_of(actions: Sequence[Array], where: str) -> int | None:
    """How many classes the actions of a data set are taken for; None if they are numbers.

    Only whole numbers ``[T]`` from 0 to below :data:`FEW` are classes.  Ticks of a motor, counts
    and negative numbers are not.
    """
    given = [a for a in actions if len(a)]
    if not given or not all(a.ndim == 1 and a.dtype.kind in "iu" for a in given):
        return None
    low, high = min(int(a.min()) for a in given), max(int(a.max()) for a in given)
    if low >= 0 and high < FEW:
        say(
            f"{where}, key action: "
            f"the whole numbers {low} to {high} are taken as {high + 1} classes (one-hot); "
            f"write them as floats if they are numbers"
        )
        return high + 1
    say(
        f"{where}, key action: the whole numbers {low} to {high} are taken as numbers; classes "
        f"have to be declared where they "
        f"are not 0 to at most {FEW - 1}"
    )
    return None
