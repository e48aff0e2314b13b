"""A step that reaches a result only through a stopped gradient is written under ``no_grad``."""

from __future__ import annotations

from pixyz.plan.graph import Graph
from pixyz.plan.graph.wiring import carries_gradient, first
from pixyz.plan.options import Options


class Quiet:
    """What needs no gradient keeps none."""

    name = "quiet"

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether a gradient stops anywhere."""
        return not all(map(carries_gradient, graph.steps))

    def __call__(self, graph: Graph, options: Options) -> Graph:
        grad = graph.live(through=carries_gradient)
        return graph.but(quiet=first([s for s in graph.steps if s not in grad]))
