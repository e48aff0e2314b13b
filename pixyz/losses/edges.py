"""The first and the last step of an IterativeLoss: objectives that read one frame of each sequence.

A value of the first (last) step is picked from its series: at the first (last) valid frame that the
loop visits.  So the objective is lowered once, on ``[B, ...]``, behind the loop.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

import torch
from torch import Tensor

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.series.step import Step, as_series
from pixyz.expression import Expectation, Loss, walk
from pixyz.plan import Scope, Slot, rules
from pixyz.plan.write.masks import ROWS

Edge = Literal["first", "last"]


class EdgeScope(Scope):
    """Names of a step as they are at one edge of the loop.

    Args:
        outer: the scope around the loop.
        step: the lowered step.
        edge: which frame.
        reverse: the loop runs backward.
        loss: what is lowered in this scope.
    """

    def __init__(self, outer: Scope, step: Step, edge: Edge, reverse: bool, loss: Loss) -> None:
        super().__init__(outer.builder, parent=outer)
        self.step = step
        self.pick = Pick((edge == "last") is reverse, f"{edge} step")
        self.keep, self.particles = step.scope.keep - {step.axis}, step.scope.particles
        drawn = {
            v
            for node in walk(loss)
            if isinstance(node, Expectation) and isinstance(node.p, Distribution)
            for factor in node.p.factors()
            for v in factor.var
        }
        found: dict[str, tuple[Hashable, Slot]] = {
            v: (identity, self._at_edge(slot))
            for v, (identity, slot) in step.scope.path.items()
            if v in drawn
        }
        self.path = {**outer.path, **found}
        if step.mask is not None:
            label = "sequences with a valid frame"
            self.masks[ROWS] = outer.builder.series(
                any_frame, [step.mask], [(label, None)], step.axis, label, key=None
            )[0]

    def lookup(self, name: str) -> Slot:
        """The value at the edge; what is no value of the step is looked up around the loop."""
        if name in self.step.scope.values:
            return self._at_edge(self.step.scope.values[name])
        return super().lookup(name)

    def bound(self, name: str) -> bool:
        return name in self.step.scope.values or super().bound(name)

    def _at_edge(self, slot: Slot) -> Slot:
        if slot.axes == () and slot.batch == "none":
            return slot  # a number
        series = as_series(self.step, slot)
        # the number of the step: each sequence has its own edge
        if self.step.mask is not None and series.batch != "full":
            series = self.builder.expand(series, self.step.mask, series.axes)
        args = [series] if self.step.mask is None else [series, self.step.mask]
        label = f"{self.pick.label} of {slot.label}"
        return self.builder.series(
            self.pick, args, [(label, None)], self.step.axis, label, key=("edge", self.pick)
        )[0]


class Pick:
    """``x[0]`` or ``x[-1]``; the first or last valid frame of each sequence where there is a mask.

    Args:
        begin: the beginning of the series.
        label: for the printed plan.
    """

    def __init__(self, begin: bool, label: str) -> None:
        self.begin, self.label = begin, label

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor]:
        if mask is None:
            return (x[0] if self.begin else x[-1],)
        frame = edge_frame(mask, self.begin)
        index = frame.reshape(1, *frame.shape, *[1] * (x.ndim - 1 - frame.ndim)).expand(
            1, *x.shape[1:]
        )
        return (x.gather(0, index)[0],)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pick) and other.begin == self.begin

    def __hash__(self) -> int:
        return hash((Pick, self.begin))


class Put:
    """A series ``[T, B]`` with a value ``[B]`` in the place of the edge's (``first``), or added to
    it (``last``).

    Args:
        begin: as in :class:`Pick`.
        add: keep the step's own value.
    """

    def __init__(self, begin: bool, add: bool) -> None:
        self.begin, self.add = begin, add

    def __call__(self, series: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor]:
        frame = torch.arange(len(series), device=series.device)
        if mask is None:
            there = frame == (0 if self.begin else len(series) - 1)
        else:
            there = (frame.reshape(-1, *[1] * (mask.ndim - 1)) == edge_frame(mask, self.begin)) & (
                mask != 0
            )
        there = there.reshape(*there.shape, *[1] * (max(series.ndim, value.ndim + 1) - there.ndim))
        rest = series.reshape(*series.shape, *[1] * (value.ndim + 1 - series.ndim))
        zero = torch.zeros((), dtype=value.dtype, device=value.device)
        return (
            rest + torch.where(there, value, zero) if self.add else torch.where(there, value, rest),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Put) and (other.begin, other.add) == (self.begin, self.add)

    def __hash__(self) -> int:
        return hash((Put, self.begin, self.add))


def any_frame(mask: Tensor) -> tuple[Tensor]:
    """Whether a sequence has a valid frame, ``[B]``."""
    return (mask.any(0),)


def edge_frame(mask: Tensor, begin: bool) -> Tensor:
    """The number of the first or the last valid frame, ``[B]``; 0 where there is none."""
    valid = mask != 0
    frame = (
        torch.arange(len(mask), device=mask.device)
        .reshape(-1, *[1] * (mask.ndim - 1))
        .expand(mask.shape)
    )
    if begin:
        return torch.where(valid, frame, len(mask)).amin(0).remainder(len(mask))
    return torch.where(valid, frame, 0).amax(0)


def put_edge(outer: Scope, step: Step, value: Slot, loss: Loss, edge: Edge, reverse: bool) -> Slot:
    """``value`` with the edge's objective in it."""
    builder = outer.builder
    scope = EdgeScope(outer, step, edge, reverse, loss)
    found = loss.lower(scope)
    found = builder.reduce(
        rules.reduce_mean, found, scope.particles, batch=False, label="mean over samples"
    )
    series = as_series(step, value)
    if step.mask is not None and series.batch != "full":
        series = builder.point(
            rules.blank,
            step.mask,
            builder.expand(series, step.mask, series.axes),
            label="valid frames",
        )
    put = Put(scope.pick.begin, edge == "last")
    args = [series, found] if step.mask is None else [series, found, step.mask]
    label = f"with the {edge} step"
    return builder.series(put, args, [(label, step.axis)], step.axis, label, key=("put", put))[0]
