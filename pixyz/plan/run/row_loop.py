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

    Many rows are cut in unequal parts: a result that then has them all has rows, the others are the
    same for all.

    Args:
        function: from tensors with rows to tensors.
    """

    __name__ = "rows"

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self.function = function

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The results, with all rows each."""
        rows = len(values[0])
        if rows <= MOST_ROWS or values[0].device.type != "cpu":
            return self.function(*values)
        sizes = uneven_sizes(rows, MOST_ROWS)
        parts = zip(*(v.split(sizes) for v in values), strict=True)
        found = zip(*(self.function(*part) for part in parts), strict=True)
        return tuple(torch.cat(p) if have_rows(p, sizes) else p[0] for p in found)
