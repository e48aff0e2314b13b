"""The contract of a pass."""

from __future__ import annotations

from typing import Protocol

from pixyz.plan.graph import Graph
from pixyz.plan.options import Options


class Pass(Protocol):
    """A rewriting of graphs: the same values, gradients and noise, in another way.

    It does not change what it is given; :meth:`pixyz.plan.Graph.but` makes another graph.

    >>> from pixyz.plan import PASSES
    >>> PASSES[0].name
    'fold'
    """

    @property
    def name(self) -> str:
        """What it is called in ``plan.after(name)``."""
        ...

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether there is anything to do."""
        ...

    def __call__(self, graph: Graph, options: Options) -> Graph:
        """The graph that does the same in another way."""
        ...
