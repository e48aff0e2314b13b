"""Networks on the states of a series of series, run on some rows at a time: the same results,
sooner.

Heads on imagined states read ``[H*T*B, ...]``, so many rows that no cache of a CPU holds their
activations.  Those that need no gradient (reward, continuation, target critic), with the formulas
that follow from them alone, are one function that is called on :data:`MOST_ROWS` rows at a time;
only its results are as long as the series::

    for rows in blocks of 2,048:   logits = reward(rows), softmax, mean
                                   logits = value(rows), softmax, mean

Where all of a plan is compiled, networks with a gradient on the same rows join them; else they gain
nothing, for their activations are kept for the backward pass.  A GPU gets all rows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pixyz.plan import rules
from pixyz.plan.graph import Slot, Step
from pixyz.plan.slabs import have_rows, uneven_sizes

MOST_ROWS = 2048
"""Rows of a call on a CPU."""


@dataclass(eq=False)
class RowGroup:
    """Steps that are written as one function of rows: networks on the same values, and what follows
    from them alone.
    """

    args: tuple[Slot, ...]
    steps: list[Step] = field(default_factory=list)

    def results(
        self, users: Mapping[Slot, Collection[Step]], outputs: Collection[Slot]
    ) -> list[Slot]:
        """What is read by other steps."""
        own = set(self.steps)
        return [
            s
            for step in self.steps
            for s in step.outs
            if s in outputs or any(u not in own for u in users.get(s, ()))
        ]


def group_rows(
    steps: Sequence[Step],
    grad: Collection[Step],
    on_series: Callable[[Step], bool],
    apart: Callable[[Step], bool],
    join: bool,
) -> dict[Step, RowGroup]:
    """Step -> its group, for the steps that are in one.

    Args:
        steps: in order, those outside of loops.
        grad: the steps that need a gradient.
        on_series: whether a network is called once for all steps of a series.
        apart: whether of a formula only the sum over all rows is computed.
        join: whether networks with a gradient join a group.
    """
    found: dict[Step, RowGroup] = {}

    def many(step: Step) -> bool:
        axes = step.outs[0].axes
        same = (
            step.kind == "net"
            and len(axes) > 1
            and all(a.batch == "full" and a.axes == axes for a in step.args)
        )
        return same and on_series(step)

    def quiet(step: Step) -> bool:
        return step not in grad or (
            _frozen(step.fn) and all(a.step not in grad or a.step.detach for a in step.args)
        )

    networks = set(filter(many, steps))
    groups = {s.args: RowGroup(s.args) for s in steps if s in networks and quiet(s)}
    for step in steps:
        group = None
        if step in networks and (join or quiet(step)):
            group = groups.get(step.args)
        elif step.kind in ("point", "features") and not step.pinned and not apart(step):
            of = {found.get(a.step) for a in step.args if not isinstance(a.step.fn, rules.Constant)}
            group = of.pop() if len(of) == 1 else None
        if group is not None:
            found[step] = group
            group.steps.append(step)
    return found


def _frozen(network: Any) -> bool:
    parts = [
        m
        for m in (getattr(network, "module", None), getattr(network, "owner", None))
        if isinstance(m, nn.Module)
    ]
    return bool(parts) and not any(p.requires_grad for m in parts for p in nn.Module.parameters(m))


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
