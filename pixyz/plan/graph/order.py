"""The order of all steps: each after what it needs, loops as nested items.

Noise is drawn in one order in every form of a graph: that of the form in which all loops are split.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pixyz.plan.graph.cores import blocks_of, cores, is_shift
from pixyz.plan.graph.formula import Network
from pixyz.plan.graph.step import Axis, Loop, Net, Slot, Step
from pixyz.plan.graph.wiring import Block, Deps, Wiring, by_index, upstream
from pixyz.types import PixyzError


@dataclass(frozen=True, eq=False, repr=False)
class Nest:
    """A loop in order: its block, and its items, which are steps and loops inside."""

    block: Block
    core: frozenset[Step]
    items: tuple[Item, ...]

    @property
    def loop(self) -> Loop:
        """The recurrence."""
        return self.block.loop


Item = Step | Nest


def arranged(graph: Wiring) -> tuple[Item, ...]:
    """The steps of ``graph`` in order, loops nested.

    Raises:
        PixyzError: steps need each other in a circle.
    """
    blocks = blocks_of(graph)
    if not blocks and (chain := _straight(graph)):
        return chain
    rank = _split_order(graph) if any(b.entire for b in blocks) else {}
    return _arrange(graph, graph.steps, blocks, graph.deps, rank)


def _straight(graph: Wiring) -> tuple[Step, ...] | None:
    """The steps as they were written, if each comes after what it needs."""
    chain, there = by_index(graph.steps), set[Slot]()
    for step in chain:
        if not there.issuperset(graph.reads(step)):
            return None
        there.update(step.outs)
    return tuple(chain)


def _split_order(graph: Wiring) -> dict[Step, int]:
    """The place of each step where all loops are split: one that is whole keeps to it, and so
    draws the same noise.
    """
    found = [block for loop in graph.loops for block in cores(graph, loop)]
    order: dict[Step, int] = {}

    def walk(items: Iterable[Item]) -> None:
        for item in items:
            if isinstance(item, Nest):
                walk(item.items)
            else:
                order[item] = len(order)

    walk(_arrange(graph, graph.steps, [b for b in found if not is_shift(graph, b)], graph.deps, {}))
    return order


def _arrange(
    graph: Wiring,
    steps: Collection[Step],
    blocks: Collection[Block],
    deps: Deps,
    rank: Mapping[Step, int],
) -> tuple[Item, ...]:
    """Order ``steps``: by rank (else index), each after what it needs; blocks inside them as
    single items.
    """
    cores_ = {block: frozenset(graph.steps_of(block.core)) for block in blocks}
    return _nest(graph, steps, cores_, deps, rank)


def _nest(
    graph: Wiring,
    steps: Collection[Step],
    blocks: Mapping[Block, frozenset[Step]],
    deps: Deps,
    rank: Mapping[Step, int],
) -> tuple[Item, ...]:
    if not blocks and (chain := _in_order(steps, deps, rank)):
        return chain
    owner: dict[Step, Item] = {s: s for s in steps}
    for block, core in blocks.items():
        if any(core < other for other in blocks.values()):
            continue
        inner = {b: c for b, c in blocks.items() if b is not block and c < core}
        nest = Nest(block, core, _body(graph, block, core, inner, deps, rank))
        owner.update(dict.fromkeys(core, nest))
    inside = set(steps)  # steps of one index in the graph's order: a set has none
    nodes = list(dict.fromkeys(owner[s] for s in by_index(s for s in graph.steps if s in inside)))
    needs: dict[Item, set[Item]] = {}
    for node in nodes:
        members = node.core if isinstance(node, Nest) else (node,)
        found = {owner[d] for m in members for d in deps(m) if d in owner}
        length = node.loop.axis.family.length_of if isinstance(node, Nest) else None
        if length is not None and graph.made[length] in owner:
            found.add(owner[graph.made[length]])
        found.discard(node)
        needs[node] = found
    return _kahn(nodes, needs, {node: _rank(node, rank) for node in nodes})


def _in_order(
    steps: Collection[Step], deps: Deps, rank: Mapping[Step, int]
) -> tuple[Step, ...] | None:
    """Steps by rank (else index), if each comes after what it needs."""
    chain = by_index(steps)
    if rank:
        chain.sort(key=lambda s: rank.get(s, s.index))
    left = set(steps)
    for step in chain:
        left.discard(step)
        if not left.isdisjoint(deps(step)):
            return None
    return tuple(chain)


def _body(
    graph: Wiring,
    block: Block,
    core: frozenset[Step],
    inner: Mapping[Block, frozenset[Step]],
    deps: Deps,
    rank: Mapping[Step, int],
) -> tuple[Item, ...]:
    """The order inside a loop; carries come first."""
    starts = graph.steps_of(block.carries)
    body = core - starts

    def within(step: Step) -> list[Step]:
        return [] if step in starts else [d for d in deps(step) if d in core]

    return _nest(graph, body, inner, within, rank)


def _rank(node: Item, rank: Mapping[Step, int]) -> float:
    if not isinstance(node, Nest):
        return rank.get(node, node.index)
    return min((rank[s] for s in node.core if s in rank), default=node.loop.index) - 0.5


def _kahn(
    nodes: list[Item], needs: Mapping[Item, set[Item]], rank: Mapping[Item, float]
) -> tuple[Item, ...]:
    """Kahn's algorithm: of the nodes that may come next, the one of the lowest rank."""
    users: dict[Item, list[Item]] = {node: [] for node in nodes}
    waiting = {node: len(needs[node]) for node in nodes}
    for node, found in needs.items():
        for need in found:
            users[need].append(node)
    position = {node: i for i, node in enumerate(nodes)}
    ready = [(rank[n], position[n]) for n in nodes if waiting[n] == 0]
    heapq.heapify(ready)
    order: list[Item] = []
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
    return tuple(order)


def placed(
    items: Iterable[Item], inside: tuple[Axis, ...] = ()
) -> Iterator[tuple[Step, tuple[Axis, ...]]]:
    """Each step in order, with the axes of the loops around it."""
    for item in items:
        if isinstance(item, Nest):
            yield from placed(item.items, (*inside, item.loop.axis))
        else:
            yield item, inside


def nests(items: Iterable[Item]) -> Iterator[Nest]:
    """All loops, outer ones first."""
    for item in items:
        if isinstance(item, Nest):
            yield item
            yield from nests(item.items)


def around(items: Iterable[Item], inside: tuple[Axis, ...] = ()) -> dict[Block, tuple[Axis, ...]]:
    """The axes of the loops around each block."""
    found: dict[Block, tuple[Axis, ...]] = {}
    for item in items:
        if isinstance(item, Nest):
            found[item.block] = inside
            found |= around(item.items, (*inside, item.loop.axis))
    return found


def on_series(step: Step, inside: Iterable[Axis] = ()) -> bool:
    """Whether a network is called once on the rows of all steps of a series, and can be tried."""
    if not isinstance(step, Net) or step.pinned or not isinstance(step.fn, Network):
        return False
    return any(a.kind == "time" for a in step.outs[0].axes if a not in inside)


def places(graph: Wiring) -> dict[Step, str]:
    """Whether a step is in a loop, before it (hoisted) or after it (sunk), for people."""
    place: dict[Step, str] = {}
    blocks = blocks_of(graph)
    for block in blocks:
        core = graph.steps_of(block.core)
        before = {d for s in core for d in graph.needs[s]}
        above = set().union(*(upstream(d, core, graph.deps) for d in before), set())
        for step in core:
            place[step] = f"loop {block.loop.axis!r}"
        for step in above - core:
            if any(block.loop.axis in s.axes for s in step.outs):
                place.setdefault(step, "hoisted")
    for step in graph.steps:
        if any(a.kind == "time" for s in step.outs for a in s.axes):
            place.setdefault(step, "sunk" if blocks else "series")
    return place
