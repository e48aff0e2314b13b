"""Fission of time loops, and the order of all steps.

Every step was lowered once at the level of whole series.  What must stay in the loop over time is
its *core*: the ancestors of what is carried out of a step that are also descendants of what is
carried in.  Ancestors that are not descendants are hoisted (encoders, base noise, shifted actions);
everything else is sunk and runs once on ``[T, B, ...]`` (decoders, heads, log-probabilities, KL).
Without a cycle of carries there is no loop at all.

``fission=False`` keeps the whole body in the loop, and so does a step that may not leave it (a
module with running statistics, an opaque distribution), in its loop and in all around it; the
plan's notes say which steps and why.

Noise is drawn in one order in every form: where a loop is whole, its body keeps to the order of the
split form.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pixyz.plan import rules
from pixyz.plan.builder import Builder
from pixyz.plan.graph import Axis, Carry, Loop, Slot, Step
from pixyz.plan.labels import name_terms
from pixyz.types import PixyzError


@dataclass(eq=False)
class Block:
    """A loop that is written out: its carries, its steps, and its items in order."""

    loop: Loop
    carries: list[Carry]
    core: set[Step]
    items: list[Step | Block] = field(default_factory=list)


@dataclass
class Schedule:
    """What is written out: items in order, the steps that need a gradient, a word on where each
    step went.
    """

    items: list[Step | Block]
    grad: set[Step]
    place: dict[Step, str]
    notes: list[str]


def schedule(builder: Builder, outputs: Iterable[Slot]) -> Schedule:
    """Find the loops' cores and order all live steps."""
    outs = list(outputs)
    carry_of = {c.slot.step: c for loop in builder.loops for c in loop.carries}
    for carry in carry_of.values():
        if carry.out is None:
            raise PixyzError(f"nothing in the step draws what is carried on under {carry.name!r}")
    deps = _dependencies(carry_of)
    live = _reach(outs, deps)
    name_terms(live)
    notes = list(builder.notes)
    carries = {loop: [c for c in loop.carries if c.slot.step in live] for loop in builder.loops}
    split = {loop: _cores(loop, carries[loop], deps) for loop in builder.loops}
    for loop in builder.loops:
        why = _pinned(loop, live) if loop.fission else []
        if why:
            loop.fission = False
            notes.append(
                f"loop over {loop.axis!r} is not split, all of its step stays in it: "
                f"{'; '.join(why)}"
            )
    rank = {} if all(loop.fission for loop in builder.loops) else _split_order(live, split, deps)
    blocks: list[Block] = []
    for loop in builder.loops:
        if not loop.fission:
            blocks += _whole_body(loop, carries[loop], live, deps)
            continue
        cores, shifts = split[loop]
        blocks += cores
        for carry in shifts:
            _as_shift(loop, carry)
    items = _arrange(live, blocks, deps, rank)
    grad = _reach(outs, deps, through=lambda step: not step.detach and step.kind != "noise")
    return Schedule(items, grad, _places(live, blocks, carry_of, deps), notes)


def _split_order(
    live: set[Step],
    split: dict[Loop, tuple[list[Block], list[Carry]]],
    deps: Callable[[Step], list[Step]],
) -> dict[Step, int]:
    """The place of each step where all loops are split: a loop that is whole keeps to it, and so
    draws the same noise.
    """
    blocks = [Block(b.loop, b.carries, b.core) for cores, _ in split.values() for b in cores]
    order: dict[Step, int] = {}

    def walk(items: list[Step | Block]) -> None:
        for item in items:
            if isinstance(item, Block):
                walk(item.items)
            else:
                order[item] = len(order)

    walk(_arrange(live, blocks, deps, {}))
    return order


def _dependencies(carry_of: dict[Step, Carry]) -> Callable[[Step], list[Step]]:
    def deps(step: Step) -> list[Step]:
        found = [a.step for a in step.args]
        if step.kind == "carry":
            carry = carry_of[step]
            assert carry.out is not None
            found += [carry.start.step, carry.out.step]
        for slot in step.outs:
            for axis in slot.axes:
                length = axis.family.length_of
                if length is not None and length.step is not step:
                    found.append(length.step)
        return found

    return deps


def _reach(
    outs: Iterable[Slot],
    deps: Callable[[Step], list[Step]],
    through: Callable[[Step], bool] = lambda step: True,
) -> set[Step]:
    seen: set[Step] = set()
    stack = [slot.step for slot in outs]
    while stack:
        step = stack.pop()
        if step in seen:
            continue
        seen.add(step)
        if through(step):
            stack.extend(deps(step))
    return seen


def _upstream(step: Step, stop: set[Step], deps: Callable[[Step], list[Step]]) -> set[Step]:
    """Ancestors of ``step`` (itself included); the walk does not go past ``stop``."""
    seen: set[Step] = set()
    stack = [step]
    while stack:
        at = stack.pop()
        if at in seen:
            continue
        seen.add(at)
        if at not in stop:
            stack.extend(deps(at))
    return seen


def _cores(
    loop: Loop, carries: list[Carry], deps: Callable[[Step], list[Step]]
) -> tuple[list[Block], list[Carry]]:
    """One block for each cycle of carries, and the other carries: shifted series."""
    entry = {c.slot.step: i for i, c in enumerate(carries)}
    deps = _in_one_step_around(loop, deps)
    stop = set(entry)
    above = [_upstream(_out(c).step, stop, deps) for c in carries]
    needs = [{entry[s] for s in up if s in entry} for up in above]
    closure = [set(n) for n in needs]
    for _ in carries:
        closure = [n | {j for i in n for j in closure[i]} for n in closure]
    groups: list[list[int]] = []
    for i in range(len(carries)):
        if i in closure[i] and not any(i in g for g in groups):
            groups.append([j for j in range(len(carries)) if j in closure[i] and i in closure[j]])
    blocks = []
    for group in groups:
        starts = {carries[i].slot.step for i in group}
        ancestors = set().union(*(above[i] for i in group))
        core = {s for s in ancestors if s in starts or _upstream(s, starts, deps) & starts}
        blocks.append(Block(loop, [carries[i] for i in group], core | starts))
    return blocks, [c for i, c in enumerate(carries) if i not in closure[i]]


def _in_one_step_around(
    loop: Loop, deps: Callable[[Step], list[Step]]
) -> Callable[[Step], list[Step]]:
    """The dependencies within one step of the loops around ``loop``: what is carried into that step
    is given.
    """
    given: set[Step] = set()
    outer = loop.parent
    while outer is not None:
        given |= {c.slot.step for c in outer.carries}
        outer = outer.parent
    return lambda step: [] if step in given else deps(step)


def _as_shift(loop: Loop, carry: Carry) -> None:
    step = carry.slot.step
    step.kind, step.fn = "shift", rules.shift_back if loop.reverse else rules.shift_in
    step.args, step.over, step.body = (carry.start, _out(carry)), (loop.axis,), None


def _whole_body(
    loop: Loop, carries: list[Carry], live: set[Step], deps: Callable[[Step], list[Step]]
) -> list[Block]:
    def inside(step: Step) -> bool:
        body = step.body
        while body is not None and body is not loop:
            body = body.parent
        whole = step.kind in ("input", "shift") or (
            step.kind == "series" and loop.axis in step.over
        )
        return body is loop and any(loop.axis in s.axes for s in step.outs) and not whole

    core = {step for step in live if inside(step)} | {c.slot.step for c in carries}
    for step in live:
        if (
            step.kind == "series"
            and step.body is loop
            and loop.axis in step.over
            and any(d in core for d in deps(step))
        ):
            raise PixyzError(
                f"{step.label}: a function over the whole series cannot be read inside its own loop"
            )
    return [Block(loop, carries, core)] if core else []


def _pinned(loop: Loop, live: set[Step]) -> list[str]:
    """The steps that may not leave ``loop`` or one inside it, and why."""
    found: dict[str, None] = {}
    for step in sorted(live, key=lambda s: s.index):
        body = step.body if step.pinned else None
        while body is not None and body is not loop:
            body = body.parent
        if body is not None:
            found[f"{step.label} ({step.pinned})"] = None
    return list(found)


def _out(carry: Carry) -> Slot:
    assert carry.out is not None
    return carry.out


def _arrange(
    steps: set[Step], blocks: list[Block], deps: Callable[[Step], list[Step]], rank: dict[Step, int]
) -> list[Step | Block]:
    """Order ``steps``: by rank (else index), each after what it needs; blocks inside them as single
    items, filled recursively.
    """
    outer = [b for b in blocks if not any(b.core < o.core for o in blocks)]
    owner: dict[Step, Step | Block] = {s: s for s in steps}
    for block in outer:
        for step in block.core:
            owner[step] = block
        inner = [b for b in blocks if b is not block and b.core < block.core]
        block.items = _arrange_body(block, inner, deps, rank)
    nodes = list(dict.fromkeys(owner[s] for s in sorted(steps, key=lambda s: s.index)))
    needs: dict[Step | Block, set[Step | Block]] = {}
    for node in nodes:
        members = node.core if isinstance(node, Block) else {node}
        found = {owner[d] for m in members for d in deps(m) if d in owner}
        length = node.loop.axis.family.length_of if isinstance(node, Block) else None
        if length is not None and length.step in owner:
            found.add(owner[length.step])
        found.discard(node)
        needs[node] = found
    return _kahn(nodes, needs, rank)


def _arrange_body(
    block: Block, inner: list[Block], deps: Callable[[Step], list[Step]], rank: dict[Step, int]
) -> list[Step | Block]:
    """The order inside a loop; carries come first."""
    starts = {c.slot.step for c in block.carries}
    body = block.core - starts

    def within(step: Step) -> list[Step]:
        return [] if step in starts else [d for d in deps(step) if d in body or d in starts]

    return _arrange(body, inner, within, rank)


def _rank(node: Step | Block, rank: dict[Step, int]) -> float:
    if isinstance(node, Step):
        return rank.get(node, node.index)
    return min((rank[s] for s in node.core if s in rank), default=node.loop.index) - 0.5


def _kahn(
    nodes: list[Step | Block],
    needs: dict[Step | Block, set[Step | Block]],
    order_of: dict[Step, int],
) -> list[Step | Block]:
    rank = {node: _rank(node, order_of) for node in nodes}
    users: dict[Step | Block, list[Step | Block]] = {node: [] for node in nodes}
    waiting = {node: len(needs[node]) for node in nodes}
    for node, found in needs.items():
        for need in found:
            users[need].append(node)
    position = {node: i for i, node in enumerate(nodes)}
    ready = [(rank[n], position[n]) for n in nodes if waiting[n] == 0]
    heapq.heapify(ready)
    order: list[Step | Block] = []
    while ready:
        _, at = heapq.heappop(ready)
        node = nodes[at]
        order.append(node)
        for user in users[node]:
            waiting[user] -= 1
            if waiting[user] == 0:
                heapq.heappush(ready, (rank[user], position[user]))
    if len(order) < len(nodes):
        raise PixyzError(
            "the steps of the plan need each other in a circle: "
            "a function over a whole series feeds its own loop"
        )
    return order


def _places(
    live: set[Step],
    blocks: list[Block],
    carry_of: dict[Step, Carry],
    deps: Callable[[Step], list[Step]],
) -> dict[Step, str]:
    """hoisted, looped or sunk, for the printed plan."""
    place: dict[Step, str] = {}
    for block in blocks:
        above = set().union(
            *(_upstream(d, block.core, deps) for s in block.core for d in deps(s)), set()
        )
        for step in block.core:
            place[step] = f"loop {block.loop.axis!r}"
        for step in above - block.core:
            if any(block.loop.axis in s.axes for s in step.outs):
                place.setdefault(step, "hoisted")
    for step in live:
        if any(a.kind == "time" for s in step.outs for a in s.axes):
            place.setdefault(step, "sunk" if blocks else "series")
    return place


__all__ = ["Axis", "Block", "Schedule", "schedule"]
