"""Loops whose body is compiled, some steps of time at once (:mod:`pixyz.plan.run.chunk`)."""

from __future__ import annotations

from pixyz.plan.graph import Block, Graph, Net
from pixyz.plan.graph.order import Nest, nests
from pixyz.plan.options import Options


class Chunks:
    """Bodies of loops are compiled."""

    name = "chunks"

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether that was asked for."""
        return options.chunk > 0

    def __call__(self, graph: Graph, options: Options) -> Graph:
        notes: list[str] = []
        chunks: dict[Block, int] = {}
        for nest in nests(graph.items):
            why = _why_not(nest, options)
            if why:
                notes.append(f"loop over {nest.loop.axis!r} is not compiled: {why}")
            else:
                chunks[nest.block] = options.chunk
        return graph.but(chunks=chunks, notes=(*graph.notes, *notes))


def _why_not(nest: Nest, options: Options) -> str:
    """Why a loop is not compiled; an empty string if it is."""
    if options.checked:
        return "values are checked one by one in debug mode"
    if not nest.block.carries:
        return "it carries nothing"
    if any(isinstance(item, Nest) for item in nest.items):
        return "there is a loop inside it"
    pinned = [f"{i.label} ({i.pinned})" for i in nest.items if isinstance(i, Net) and i.pinned]
    return f"it holds {'; '.join(dict.fromkeys(pinned))}" if pinned else ""
