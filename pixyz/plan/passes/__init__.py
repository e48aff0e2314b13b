"""Passes: what is done to a graph between the writing of its steps and the writing of its text,
in order.
"""

from collections.abc import Sequence

from pixyz.plan.graph import Graph
from pixyz.plan.options import Options, Pass
from pixyz.plan.passes.chunks import Chunks
from pixyz.plan.passes.fold import Fold
from pixyz.plan.passes.names import Names
from pixyz.plan.passes.paths import Paths
from pixyz.plan.passes.quiet import Quiet
from pixyz.plan.passes.rows import Rows
from pixyz.plan.passes.shifts import Shifts
from pixyz.plan.passes.slabs import Slabs
from pixyz.plan.passes.split import Split
from pixyz.plan.passes.totals import Totals
from pixyz.types import PixyzError

PASSES: tuple[Pass, ...] = (
    Fold(),  # numbers are computed, signs cancel
    Totals(),  # a mean of sums is one sum
    Names(),  # arithmetic is called by its terms
    Split(),  # what need not stay in a time loop leaves it
    Shifts(),  # a carry on no cycle is a shifted series
    Quiet(),  # what needs no gradient keeps none
    Paths(),  # a path is stacked once
    Slabs(),  # networks that left a loop, some rows at a time: less memory
    Rows(),  # networks without a gradient, some rows at a time: sooner
    Chunks(),  # bodies of loops are compiled
)
"""All passes, in the order in which they run; ``loss.through(passes)`` runs others."""


def run_passes(graph: Graph, options: Options, until: str | None = None) -> Graph:
    """The graph after the passes of ``options``, up to ``until`` (``"written"``: after none).

    Raises:
        PixyzError: there is no pass ``until``.
    """
    passes: Sequence[Pass] = PASSES if options.passes is None else options.passes
    if until is not None and until not in (known := ["written", *(p.name for p in passes)]):
        raise PixyzError(f"there is no pass {until!r}; there are {known}")
    if until == "written":
        return graph
    for one in passes:
        if one.applies(graph, options):
            graph = one(graph, options)
        if one.name == until:
            break
    return graph


__all__ = [
    "PASSES",
    "Chunks",
    "Fold",
    "Names",
    "Pass",
    "Paths",
    "Quiet",
    "Rows",
    "Shifts",
    "Slabs",
    "Split",
    "Totals",
    "run_passes",
]
