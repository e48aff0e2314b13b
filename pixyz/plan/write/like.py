"""What a step computes is shaped like what it reads: all axes of its arguments, and their batch."""

from __future__ import annotations

from collections.abc import Sequence

from pixyz.plan.graph import Axis, BatchKind, Slot, order_axes


def slot_like(args: Sequence[Slot], batch: BatchKind | None = None, label: str = "") -> Slot:
    """A slot with all axes of ``args`` and the batch that they have."""
    axes: list[Axis] = []
    widest: BatchKind = "none"
    for a in args:
        axes += a.axes
        if a.batch == "full" or widest == "none":
            widest = a.batch
    return Slot(order_axes(axes) if axes else (), batch or widest, label)
