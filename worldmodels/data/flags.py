"""Flags of files: 0 and 1, whatever their type; nothing else is one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worldmodels.data.episodes import Array
from worldmodels.data.errors import DataError


def flags_of(value: Array, where: str, key: str, lines: Sequence[int] | None = None) -> Array:
    """``[T]`` bool from one flag a row, booleans or numbers.

    Args:
        value: ``[T]``, or ``[T, 1]``.
        where, key: the file (and episode), and the column, for messages.
        lines: of the rows, in a file that has some.

    Raises:
        DataError: another type, or a value other than 0 and 1, such as nan.

    >>> flags_of(np.array([0.0, 1.0]), "log.npz", "is_terminal")
    array([False,  True])
    >>> flags_of(np.array([0.0, np.nan]), "log.npz", "is_terminal")
    Traceback (most recent call last):
        ...
    worldmodels.data.errors.DataError: log.npz, step 1, key is_terminal: expected a flag, 0 or 1, got nan; write one of them
    """  # noqa: E501
    found = np.asarray(value).reshape(-1)
    if found.dtype.kind not in "biuf":
        raise DataError(f"{where}, key {key}: expected one flag a row, 0 or 1, got {found.dtype}")
    wrong = np.flatnonzero((found != 0) & (found != 1))
    if len(wrong):
        row = int(wrong[0])
        place = f"step {row}, key" if lines is None else f"line {lines[row]}, column"
        raise DataError(
            f"{where}, {place} {key}: expected a flag, 0 or 1, got {found[row]}; write one of them"
        )
    return found.astype(bool)
