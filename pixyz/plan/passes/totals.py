"""The mean over the batch of a weighted sum of terms is taken at once, features with the rest.

``(KL - log p).mean()`` needs no ``[B]`` of each term, only its total and its number of rows; a
formula that has a shorter form for that (:func:`pixyz.plan.graph.formula.with_total`) is called in
it.
"""

from __future__ import annotations

import operator
from dataclasses import replace

from pixyz.plan.graph import Features, Graph, Point, Reduce, Slot, Step, Total
from pixyz.plan.graph.formula import Fn
from pixyz.plan.graph.rules import TOTAL_AND_ROWS, MeanOfSums, reduce_mean, sum_features
from pixyz.plan.options import Options
from pixyz.plan.passes.fold import FOLDED

Terms = list[tuple[float, Slot]]
"""Weights, and terms whose features are not summed yet."""


class Totals:
    """A mean of sums is one sum."""

    name = "totals"

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether there is a mean over the batch."""
        return any(isinstance(s, Reduce) and s.fn is reduce_mean for s in graph.steps)

    def __call__(self, graph: Graph, options: Options) -> Graph:
        terms = {s: found for s in graph.steps if (found := _terms(graph, s)) is not None}
        if not terms:
            return graph
        means = {s: _mean(s, found) for s, found in terms.items()}
        bare = graph.but(steps=tuple([means.get(s, s) for s in graph.steps]))
        done = set(means.values())
        short: dict[Slot, Total] = {}
        if not options.checked:
            for slot in dict.fromkeys(slot for mean in done for slot in mean.args):
                if (total := _in_short(bare, slot, done)) is not None:
                    short[slot] = total
        totals: dict[Slot, Total] = dict(short)
        steps: list[Step] = []
        for step in bare.steps:
            if step not in done:
                steps.append(short.get(step.outs[0], step))
                continue
            for slot in step.args:
                if slot not in totals:
                    totals[slot] = _total((slot,), bare.made[slot].label, step, TOTAL_AND_ROWS)
                    steps.append(totals[slot])
            pairs = tuple(part for slot in step.args for part in totals[slot].outs)
            steps.append(step.reading(pairs))
        looks = {short[s].outs[0] if s in short else s: look for s, look in bare.looks.items()}
        return replace(bare, steps=tuple(steps), looks=looks)  # each of them is read


def _terms(graph: Graph, step: Step) -> Terms | None:
    """The terms of a step that is a mean over the batch of a sum of them."""
    if not isinstance(step, Reduce) or step.fn is not reduce_mean or not step.over_batch:
        return None
    return _feature_sums(graph, step.args[0]) if len(step.args) == 1 else None


def _mean(step: Step, terms: Terms) -> Point:
    fn, args = MeanOfSums(tuple(w for w, _ in terms)), tuple(x for _, x in terms)
    return Point(args, step.outs, step.label, step.index, step.body, fn)


def _in_short(graph: Graph, slot: Slot, means: set[Point]) -> Total | None:
    """The step that computes the sum of ``slot`` and no more, where that is all that is read."""
    step = graph.made[slot]
    form = getattr(step.fn, "total", None) if isinstance(step, Point) else None
    if form is None or slot in graph.result_slots or not graph.users[slot] <= means:
        return None
    return _total(step.args, step.label, step, form)


def _total(args: tuple[Slot, ...], label: str, at: Step, fn: Fn) -> Total:
    outs = Slot((), "none", label), Slot((), "none", "rows")
    step = Total(args, outs, f"{label}, summed", at.index, at.body, fn)
    for slot in outs:
        slot.step = step
    return step


def _feature_sums(graph: Graph, slot: Slot) -> Terms | None:
    """``slot`` ``[B]`` as a weighted sum of terms whose features are not summed yet; None if it
    is no such sum.
    """
    step = graph.made[slot]
    if slot.batch != "full" or slot.axes or slot in graph.terms:
        return None
    if isinstance(step, Features) and step.fn is sum_features:
        raw = step.args[0]
        return [(1, raw)] if raw.batch == "full" and not raw.axes else None
    if not isinstance(step, Point):
        return None
    if step.fn is operator.neg:
        return _scaled(_feature_sums(graph, step.args[0]), -1)
    if len(step.args) != 2 or step.fn not in FOLDED:
        return None
    a, b = step.args
    if step.fn in (operator.mul, operator.truediv):
        return _product(graph, step)
    first, second = _feature_sums(graph, a), _feature_sums(graph, b)
    if first is None or second is None:
        return None
    return first + (_scaled(second, -1 if step.fn is operator.sub else 1) or [])


def _product(graph: Graph, step: Point) -> Terms | None:
    """A sum times or by a number."""
    a, b = step.args
    times = step.fn is operator.mul
    value, rest = (a, b) if times and graph.number(a) is not None else (b, a)
    number = graph.number(value)
    if number is None or (not times and number == 0):
        return None
    return _scaled(_feature_sums(graph, rest), number if times else 1 / number)


def _scaled(terms: Terms | None, by: float) -> Terms | None:
    return None if terms is None else [(by * weight, slot) for weight, slot in terms]
