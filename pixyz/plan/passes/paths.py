"""The values of a path and its start are stacked at once, where nothing else reads the values
as a series.
"""

from __future__ import annotations

from pixyz.plan.graph import Block, Graph, Joined, Series, Slot, Step
from pixyz.plan.graph.order import around
from pixyz.plan.graph.rules import cat_path
from pixyz.plan.options import Options


class Paths:
    """A path is stacked once."""

    name = "paths"

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether there are loops and paths."""
        return bool(graph.blocks) and any(
            isinstance(s, Series) and s.fn is cat_path for s in graph.steps
        )

    def __call__(self, graph: Graph, options: Options) -> Graph:
        found: dict[Step, Step] = {}
        lists: set[Slot] = set()
        for step in graph.steps:
            if isinstance(step, Series) and step.fn is cat_path and _alone(graph, step):
                found[step] = Joined(step.args, step.outs, step.label, step.index, step.body)
                lists.add(step.args[1])
        if not found:
            return graph
        steps = tuple([found.get(step, step) for step in graph.steps])
        return graph.but(steps=steps, lists=frozenset(lists))


def _alone(graph: Graph, path: Series) -> bool:
    """Whether the values are the results of a loop that the path alone reads, step by step as
    it needs them.
    """
    start, slot = path.args
    block = next((b for b in graph.blocks or () if graph.made[slot].outs[0] in b.core), None)
    if block is None or block.loop.reverse or slot in graph.result_slots:
        return False
    if not (graph.is_quiet(path) and graph.is_quiet(graph.made[slot])):
        return False
    inside = around(graph.items)[block]
    axes, before = (tuple(a for a in x.axes if a not in inside) for x in (slot, start))
    fits = axes[0] is block.loop.axis and start.batch == "full" and before == axes[1:]
    return fits and _outside(graph, slot, block) == {path}


def _outside(graph: Graph, slot: Slot, block: Block) -> set[Step]:
    core = graph.steps_of(block.core)
    return {user for user in graph.users.get(slot, ()) if user not in core}
