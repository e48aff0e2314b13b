"""What steps of arithmetic are called in a plan: by their terms, ``KL[q(z|x) || p(z)] - log
p(x|z)``.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable

from pixyz.plan.graph import Slot, Step
from pixyz.plan.rules import INLINE, Constant

LONGEST = 72
SUMS = (operator.add, operator.sub)


def name_terms(steps: Iterable[Step]) -> None:
    """Label the steps that have no label of their own by the labels of their parts; long ones are
    cut short.
    """
    for step in sorted(steps, key=lambda s: s.index):
        if step.kind != "point" or not (step.label == "" or step.label.endswith("Loss")):
            continue
        if step.fn in INLINE:
            text = INLINE[step.fn].format(
                *(_part(slot, step, i) for i, slot in enumerate(step.args))
            )
        elif step.label:
            args = ", ".join(_text(slot) for slot in step.args)
            text = f"{step.label.removesuffix('Loss').lower()}({args})"
        else:
            continue
        step.label = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _text(slot: Slot) -> str:
    return slot.label or slot.step.label or "a value"


def _part(slot: Slot, step: Step, place: int) -> str:
    """A part, in brackets where the formula needs them."""
    text, fn = _text(slot), slot.step.fn
    if slot.label:
        return text
    if fn in SUMS:
        bare = step.fn is operator.add or (step.fn is operator.sub and place == 0)
    elif fn in INLINE:
        bare = step.fn in SUMS or (place == 0 and fn is not operator.neg)
    else:
        bare = not isinstance(fn, Constant) or fn.value >= 0
    return text if bare else f"({text})"
