"""Lowering: an objective becomes a list of single-assignment steps, and the steps become Python
source.

The pipeline, one module each, in the order in which an objective passes through them::

    graph      Slot, Step, Loop, Axis: what a plan is made of
    builder    Builder and Scope: distributions and losses write their steps here, common steps once
    fission    which steps must stay in a time loop, which are hoisted or sunk; the order of all
               steps
    emit       steps -> the text of a Python function
    leads      inputs with dimensions in front of the batch
    layout     names and shapes of values at each place of the text
    text       its lines, and where they are written
    chunk      loops whose body is compiled some steps at a time
    compiled   torch.compile, of these and of the plan around them
    slabs      networks that left a loop, some rows at a time
    compare    do two forms agree on data
    options    sharing, compiling, checking
    structure  when a plan is out of date
    program    Plan: the compiled function, its printed form, its inputs and outputs
    cache      PlanCache: one plan for each structure, and how it is run
    once       what a run computes once
    recall     what networks returned in a try that was not finished
    random     the states of the random generators
"""

from pixyz.plan.builder import Builder, Scope
from pixyz.plan.cache import PlanCache
from pixyz.plan.graph import Axis, Loop, Slot, Step
from pixyz.plan.options import Options
from pixyz.plan.program import Plan

__all__ = ["Axis", "Builder", "Loop", "Options", "Plan", "PlanCache", "Scope", "Slot", "Step"]
