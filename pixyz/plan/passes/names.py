"""What steps of arithmetic are called in a plan: by their terms, ``KL[q(z|x) || p(z)] - log
p(x|z)``.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TypeGuard

from pixyz.plan.graph import Graph, Point, Slot, Step
from pixyz.plan.graph.rules import INLINE
from pixyz.plan.options import Options

LONGEST = 72
SUMS = (operator.add, operator.sub)


class Names:
    """Steps that have no label of their own are labelled by the labels of their parts; long
    ones are cut short.
    """

    name = "names"

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether a step has no label of its own."""
        return any(map(_nameless, graph.steps))

    def __call__(self, graph: Graph, options: Options) -> Graph:
        labels: dict[Step, str] = {}
        for step in filter(_nameless, graph.steps):
            if step.fn in INLINE:
                parts = [_part(graph, labels, slot, step, i) for i, slot in enumerate(step.args)]
                text = INLINE[step.fn].format(*parts)
            elif step.label:
                parts = [_text(graph, labels, slot) for slot in step.args]
                text = f"{step.label.removesuffix('Loss').lower()}({', '.join(parts)})"
            else:
                continue
            labels[step] = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
        named = {step: replace(step, label=label) for step, label in labels.items()}
        return graph.but(steps=tuple([named.get(step, step) for step in graph.steps]))


def _nameless(step: Step) -> TypeGuard[Point]:
    return isinstance(step, Point) and (step.label == "" or step.label.endswith("Loss"))


def _text(graph: Graph, labels: dict[Step, str], slot: Slot) -> str:
    step = graph.made[slot]
    return slot.label or labels.get(step) or step.label or "a value"


def _part(graph: Graph, labels: dict[Step, str], slot: Slot, step: Point, place: int) -> str:
    """A part, in brackets where the formula needs them."""
    text, made = _text(graph, labels, slot), graph.made[slot]
    if slot.label:
        return text
    fn = getattr(made, "fn", None)
    if fn in SUMS:
        bare = step.fn is operator.add or (step.fn is operator.sub and place == 0)
    elif fn in INLINE:
        bare = step.fn in SUMS or (place == 0 and fn is not operator.neg)
    else:
        number = graph.number(slot)
        bare = number is None or number >= 0
    return text if bare else f"({text})"
