"""Networks that left a loop are called on some rows at a time, for memory
(:mod:`pixyz.plan.run.slabs`).
"""

from __future__ import annotations

from pixyz.plan.graph import Graph
from pixyz.plan.graph.order import on_series, placed
from pixyz.plan.options import Options


class Slabs:
    """Networks that left a loop, at most ``max_rows`` rows at a time."""

    name = "slabs"

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether that was asked for."""
        return options.max_rows > 0

    def __call__(self, graph: Graph, options: Options) -> Graph:
        found = [step.outs[0] for step, inside in placed(graph.items) if on_series(step, inside)]
        return graph.but(slabs=dict.fromkeys(found, options.max_rows))
