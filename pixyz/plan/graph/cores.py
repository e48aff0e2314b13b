"""What of a loop must stay in it: the cores of its cycles, or all of its step.

A *core* is made of the ancestors of what is carried out of a step that are also descendants of what
is carried in.  A carry on no cycle is a core of itself: a series that is one step behind.
"""

from __future__ import annotations

from pixyz.plan.graph.step import Input, Loop, Net, Series, Shift, Step
from pixyz.plan.graph.wiring import Block, Deps, Wiring, first, upstream
from pixyz.types import PixyzError


def cores(graph: Wiring, loop: Loop) -> list[Block]:
    """One block for each cycle of carries, and one for each carry that is on none."""
    carries = graph.carries_of(loop)
    entry = {graph.made[c.slot]: i for i, c in enumerate(carries)}
    deps = _in_one_step_around(graph, loop)
    stop = set(entry)
    above = [upstream(graph.made[c.end], stop, deps) for c in carries]
    closure = [{entry[s] for s in up if s in entry} for up in above]
    for _ in carries:
        closure = [n | {j for i in n for j in closure[i]} for n in closure]
    cycles: list[list[int]] = []
    for i in range(len(carries)):
        if i in closure[i] and not any(i in c for c in cycles):
            cycles.append([j for j in closure[i] if i in closure[j]])
    blocks = []
    for cycle in map(sorted, cycles):
        starts = {graph.made[carries[i].slot] for i in cycle}
        ancestors = set().union(*(above[i] for i in cycle))
        core = {s for s in ancestors if s in starts or upstream(s, starts, deps) & starts}
        blocks.append(Block(loop, tuple(carries[i].slot for i in cycle), first(core | starts)))
    alone = [c.slot for i, c in enumerate(carries) if i not in closure[i]]
    return blocks + [Block(loop, (slot,), frozenset([slot])) for slot in alone]


def _in_one_step_around(graph: Wiring, loop: Loop) -> Deps:
    """The dependencies within one step of the loops around ``loop``: what is carried into that
    step is given.
    """
    given: set[Step] = set()
    outer = loop.parent
    while outer is not None:
        given |= {graph.made[c.slot] for c in graph.carries_of(outer)}
        outer = outer.parent
    return lambda step: () if step in given else graph.needs[step]


def whole(graph: Wiring, loop: Loop) -> list[Block]:
    """All of the loop's step as one block; nothing if no result needs it.

    Raises:
        PixyzError: a function over the whole series is read inside the loop.
    """
    carries = graph.carries_of(loop)
    core = {step for step in graph.steps if _inside(step, loop)} | {
        graph.made[c.slot] for c in carries
    }
    for step in graph.steps:
        if _over(step, loop) and step.body is loop and any(d in core for d in graph.needs[step]):
            what = "a function over the whole series cannot be read inside its own loop"
            raise PixyzError(f"{step.label}: {what}")
    slots = tuple(c.slot for c in carries)
    return [Block(loop, slots, first(core), entire=True)] if core else []


def _over(step: Step, loop: Loop) -> bool:
    return isinstance(step, Series) and step.axis is loop.axis


def _inside(step: Step, loop: Loop) -> bool:
    if isinstance(step, (Input, Shift)) or _over(step, loop):
        return False
    return loop.holds(step) and any(loop.axis in s.axes for s in step.outs)


def is_shift(graph: Wiring, block: Block) -> bool:
    """Whether a block is a carry on no cycle and nothing else."""
    if block.entire or block.core != frozenset(block.carries) or len(block.carries) != 1:
        return False
    return graph.carry_of[block.carries[0]].end is not block.carries[0]


def pinned(graph: Wiring, loop: Loop) -> list[str]:
    """The steps that may not leave ``loop`` or one inside it, and why."""
    found = [s for s in graph.steps if isinstance(s, Net) and s.pinned and loop.holds(s)]
    found.sort(key=lambda s: s.index)
    return list(dict.fromkeys(f"{step.label} ({step.pinned})" for step in found))


def blocks_of(graph: Wiring) -> tuple[Block, ...]:
    """The loops as they are written out: what was decided, or each as a whole."""
    if graph.blocks is not None:
        return graph.blocks
    return tuple(block for loop in graph.loops for block in whole(graph, loop))
