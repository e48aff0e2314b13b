"""A carry that depends on no earlier carry needs no loop: it is a series, one step behind.

``actions`` carried on as ``action_prev`` are ``[start, actions[0], ..., actions[T-2]]``.
"""

from __future__ import annotations

from pixyz.plan.graph import Graph, Shift, Step
from pixyz.plan.graph.cores import is_shift
from pixyz.plan.graph.rules import shift_back, shift_in
from pixyz.plan.options import Options


class Shifts:
    """Carries on no cycle are shifted series."""

    name = "shifts"

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether there is one among the parts of split loops."""
        return any(is_shift(graph, block) for block in graph.blocks or ())

    def __call__(self, graph: Graph, options: Options) -> Graph:
        found: dict[Step, Step] = {}
        for block in filter(lambda b: is_shift(graph, b), graph.blocks or ()):
            carry = graph.carry_of[block.carries[0]]
            step = graph.made[carry.slot]
            fn = shift_back if block.loop.reverse else shift_in
            args = (carry.start, carry.end)
            found[step] = Shift(args, step.outs, step.label, step.index, None, fn)
        return graph.but(
            steps=tuple([found.get(step, step) for step in graph.steps]),
            blocks=tuple(b for b in graph.blocks or () if not is_shift(graph, b)),
        )
