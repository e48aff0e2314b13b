"""A function of rows, called on some rows at a time (:mod:`pixyz.plan.passes.rows`)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pixyz.plan.run.slabs import have_rows, uneven_sizes

MOST_ROWS = 2048
"""Rows of a call on a CPU; a GPU gets all rows at once."""


class RowLoop:
    """Calls a function of rows on some at a time.

    The first call on many rows is in unequal parts: a result that then has them all has rows, the
    others are the same for all.
    """

    __name__ = "rows"

    def __init__(self) -> None:
        self.function: Callable[..., tuple[Tensor, ...]] | None = None
        self._spread: list[bool] | None = None

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The results, with all rows each."""
        assert self.function is not None
        rows = len(values[0])
        if rows <= MOST_ROWS or values[0].device.type != "cpu":
            return self.function(*values)
        sizes = [MOST_ROWS] * (rows // MOST_ROWS) + [rows % MOST_ROWS] * (rows % MOST_ROWS > 0)
        if self._spread is None:
            sizes = uneven_sizes(rows, MOST_ROWS)
        found = list(
            zip(
                *(
                    self.function(*part)
                    for part in zip(*(v.split(sizes) for v in values), strict=True)
                ),
                strict=True,
            )
        )
        if self._spread is None:
            self._spread = [have_rows(parts, sizes) for parts in found]
        return tuple(
            torch.cat(parts) if spread else parts[0]
            for parts, spread in zip(found, self._spread, strict=True)
        )
