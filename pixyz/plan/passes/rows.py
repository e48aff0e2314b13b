"""Networks on a series of series are run on some rows at a time: the same results, sooner.

Heads on imagined states read ``[H*T*B, ...]``, so many rows that no cache of a CPU holds their
activations.
Those that need no gradient (reward, continuation, target critic), with the formulas that follow
from them
alone, are one function that is called on some rows at a time (:mod:`pixyz.plan.run.row_loop`); only
its
results are as long as the series::

    for rows in blocks of 2,048:
        logits = reward(rows), softmax, mean;  logits = value(rows), softmax, mean

Where all of a plan is compiled, networks with a gradient on the same rows join them; else they gain
nothing, for their activations are kept for the backward pass.
"""

from __future__ import annotations

from torch import nn

from pixyz.plan.graph import Features, Graph, Net, Point, RowGroup, Slot, Step
from pixyz.plan.graph.formula import Network
from pixyz.plan.graph.order import on_series
from pixyz.plan.graph.wiring import carries_gradient, first
from pixyz.plan.options import Options


class Rows:
    """Networks without a gradient, some rows at a time."""

    name = "rows"

    def applies(self, graph: Graph, options: Options) -> bool:
        """Not where values are checked one by one, or rows are cut already."""
        if options.checked or options.max_rows:
            return False
        return any(map(_many, graph.steps))

    def __call__(self, graph: Graph, options: Options) -> Graph:
        steps = [item for item in graph.items if isinstance(item, Step)]
        networks = {s for s in steps if _many(s)}
        found: dict[Step, tuple[Slot, ...]] = {}
        heads = {s.args for s in networks if _quiet(graph, s)}
        for step in steps:
            args: tuple[Slot, ...] | None = None
            if step in networks:
                joins = step.args in heads and (options.whole or _quiet(graph, step))
                args = step.args if joins else None
            elif isinstance(step, (Point, Features)):
                of = {found.get(graph.made[a]) for a in step.args if graph.number(a) is None}
                args = of.pop() if len(of) == 1 else None
            if args is not None:
                found[step] = args
        groups = dict.fromkeys(found.values())
        return graph.but(
            groups=tuple(RowGroup(a, first(s for s in found if found[s] == a)) for a in groups)
        )


def _many(step: Step) -> bool:
    """Whether a network is called on the rows of a series of series, all of one shape."""
    axes = step.outs[0].axes
    if not isinstance(step, Net) or len(axes) < 2 or not on_series(step):
        return False
    return all(a.batch == "full" and a.axes == axes for a in step.args)


def _quiet(graph: Graph, step: Step) -> bool:
    if graph.is_quiet(step):
        return True
    made = [graph.made[a] for a in step.args]
    given = all(graph.is_quiet(s) or not carries_gradient(s) for s in made)
    return given and isinstance(step, Net) and _frozen(step.fn)


def _frozen(network: object) -> bool:
    """Whether a network has weights, none of which learns."""
    parts = network.parts if isinstance(network, Network) else ()
    return bool(parts) and not any(p.requires_grad for m in parts for p in nn.Module.parameters(m))
