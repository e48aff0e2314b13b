"""Axes: the leading dimensions of values, time and particles."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pixyz.plan.graph.step import Slot

_counter = itertools.count()


class Axis:
    """A leading dimension: time (``size`` from data or ``steps``) or particles (``size`` is fixed).

    Args:
        kind: ``"time"`` or ``"particle"``.
        size: the length if it is known when the plan is built, else None.
        base: for the path axis of a loop (length + 1): the loop's own axis.

    >>> Axis("particle", 50).size
    50
    """

    __slots__ = ("base", "kind", "length_of", "number", "size")

    def __init__(
        self,
        kind: Literal["time", "particle"],
        size: int | None = None,
        base: Axis | None = None,
    ) -> None:
        self.kind = kind
        self.size = size
        self.base = base
        self.number = next(_counter)
        self.length_of: Slot | None = None  # the slot whose dimension 0 has this length

    @property
    def family(self) -> Axis:
        """The loop axis that this axis belongs to (a path axis belongs to its loop's axis)."""
        return self.base if self.base is not None else self

    def __repr__(self) -> str:
        return f"{'T' if self.kind == 'time' else 'K'}{self.number}"


def order_axes(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """Canonical order of leading dimensions: time axes first, the innermost loop outermost,
    then particles.
    """
    return tuple(sorted(set(axes), key=lambda a: (a.kind != "time", -a.number)))
