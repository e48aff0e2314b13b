"""Time loops are split: what need not stay in a loop leaves it (fission).

Every step was written once at the level of whole series.  What must stay in the loop over time is
its
*core* (:mod:`pixyz.plan.graph.cores`).  Its ancestors run before the loop (encoders, base noise,
shifted
actions), everything else runs once on ``[T, B, ...]`` after it (decoders, heads, log-probabilities,
KL).

``fission=False`` keeps the whole body in the loop, and so does a step that may not leave it (a
module with running statistics, an opaque distribution), in its loop and in all around it; notes say
which steps and why.
"""

from __future__ import annotations

from pixyz.plan.graph import Block, Graph
from pixyz.plan.graph.cores import cores, pinned, whole
from pixyz.plan.options import Options


class Split:
    """What need not stay in a time loop leaves it."""

    name = "split"

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether there is a loop."""
        return bool(graph.loops)

    def __call__(self, graph: Graph, options: Options) -> Graph:
        blocks: list[Block] = []
        notes: list[str] = []
        for loop in graph.loops:
            why = pinned(graph, loop) if loop.fission else []
            if why:
                what = f"loop over {loop.axis!r} is not split, all of its step stays in it"
                notes.append(f"{what}: {'; '.join(why)}")
            blocks += cores(graph, loop) if loop.fission and not why else whole(graph, loop)
        return graph.but(blocks=tuple(blocks), notes=(*graph.notes, *notes))
