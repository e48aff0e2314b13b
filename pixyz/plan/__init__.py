"""Lowering: an objective becomes a graph of steps, passes rewrite it, and it becomes Python source.

The rooms, in the order in which an objective passes through them::

    graph/     axes, slots, steps (a frozen dataclass a kind), formulas, the graph of them
    write/     Builder and Scope: distributions and losses write their steps here
    passes/    PASSES: a graph -> one that does the same in another way
    emit/      a graph -> the text of a Python function
    run/       Plan, PlanCache: how it is kept and run

Beside them: ``options`` (sharing, compiling, checking), ``looks`` (what is looked at on new
    shapes),
``structure`` (when a plan is out of date), ``once`` (what a run computes once), ``random`` (the
states of
the random generators).
"""

from pixyz.plan.graph import Axis, Graph, Loop, Point, Slot, Step, rules
from pixyz.plan.options import Options
from pixyz.plan.passes import PASSES, Pass
from pixyz.plan.run.cache import PlanCache
from pixyz.plan.run.plan import Plan
from pixyz.plan.write import Builder, Scope

__all__ = [
    "PASSES",
    "Axis",
    "Builder",
    "Graph",
    "Loop",
    "Options",
    "Pass",
    "Plan",
    "PlanCache",
    "Point",
    "Scope",
    "Slot",
    "Step",
    "rules",
]
