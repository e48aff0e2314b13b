"""Masks of series where a value is reduced."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from pixyz.plan.graph import Axis, Slot, rules
from pixyz.plan.write.scope import Scope

ROWS = Axis("particle", 1)
"""Stands for the batch itself in a scope's masks: a mask ``[B]`` of rows that count."""


def valid_rows(scope: Scope, axes: Sequence[Axis]) -> Slot | None:
    """Which rows are valid along ``axes``, by all masks of series that hold here; None if there is
    no mask.
    """
    masks = [m for a, m in scope.masks.items() if a is ROWS or a in axes]
    return (
        functools.reduce(lambda a, b: scope.builder.point(rules.both, a, b, label="valid"), masks)
        if masks
        else None
    )
