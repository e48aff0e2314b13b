"""How loops are written: a body, what is stacked after it, and bodies that are compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pixyz.plan.emit.kinds import write
from pixyz.plan.emit.lines import Frame, Line, listed, render, render_plain
from pixyz.plan.emit.page import Page
from pixyz.plan.graph import Slot, Step
from pixyz.plan.graph.order import Nest
from pixyz.plan.graph.wiring import by_index
from pixyz.plan.run import chunk

Keep = Callable[[str, chunk.ChunkedLoop], None]
"""Takes the name of a compiled loop and the loop."""


@dataclass(frozen=True)
class Stacked:
    """A result of a loop: the name of the list of its steps, and its layout in a step."""

    slot: Slot
    name: str
    keep: int


def write_loop(nest: Nest, page: Page, frame: Frame, keep: Keep) -> None:
    """A loop, and the stacks of its results."""
    size = page.graph.chunks.get(nest.block, 0)
    index = page.names.fresh("t")
    inner = Frame(frame, (*frame.inside, nest.loop.axis), index, chunked=size > 0)
    length = page.length(nest.loop.axis, frame)
    starts = _carry_in(nest, page, inner, frame)
    stacked = _body(nest, page, inner, frame, keep)
    _carry_on(nest, page, inner)
    if size:
        _compiled(nest, page, inner, frame, starts, stacked, size, keep)
        return
    steps = f"range({length} - 1, -1, -1)" if nest.loop.reverse else f"range({length})"
    grad = any(line.grad for line in inner.lines)
    over = f"steps of {nest.loop.label or repr(nest.loop.axis)}"
    frame.lines.append(Line(f"for {index} in {steps}:", grad, inner.lines, over))
    _stack(nest, page, frame, stacked, grad)


def _carry_in(nest: Nest, page: Page, inner: Frame, frame: Frame) -> list[str]:
    """The values that are carried into the first step: their names."""
    starts: list[str] = []
    for slot in nest.block.carries:
        carry = page.graph.carry_of[slot]
        name = page.names.fresh("u", carry.name)
        starts.append(page.flat(carry.start, frame))
        if not inner.chunked:
            step = page.graph.made[slot]
            page.line(frame, f"{name} = {starts[-1]}", step, f"carried in: {carry.name}")
        inner.know(slot, 0, name)
    return starts


def _carry_on(nest: Nest, page: Page, inner: Frame) -> None:
    if not nest.block.carries:
        return
    graph = page.graph
    outs = [page.flat(graph.carry_of[slot].end, inner) for slot in nest.block.carries]
    names = [inner.memo[slot][0] for slot in nest.block.carries]
    grad = not all(graph.is_quiet(graph.made[slot]) for slot in nest.block.carries)
    text = f"{', '.join(names)} = {', '.join(outs)}"
    inner.lines.append(Line(text, grad, comment="carried on"))


def _body(nest: Nest, page: Page, inner: Frame, frame: Frame, keep: Keep) -> list[Stacked]:
    """The steps; what of them is stacked."""
    stacked: list[Stacked] = []
    for step in by_index(page.graph.steps_of(nest.block.carries)):
        stacked += _collect(step, nest, page, inner, frame)
    for item in nest.items:
        if isinstance(item, Nest):
            write_loop(item, page, inner, keep)
            for step in by_index(item.core):
                stacked += _collect(step, nest, page, inner, frame)
        else:
            write(item, page, inner)
            stacked += _collect(item, nest, page, inner, frame)
    return stacked


def _collect(step: Step, nest: Nest, page: Page, inner: Frame, frame: Frame) -> list[Stacked]:
    """Append the results of ``step`` that are read outside the loop to lists."""
    stacked: list[Stacked] = []
    for slot in step.outs:
        read = any(user not in nest.core for user in page.graph.users.get(slot, ()))
        if not (read or slot in page.graph.result_slots):
            continue
        # axes in front of the loop's must not be merged with later ones
        at = frame.axes(slot).index(nest.loop.axis)
        keep = next((k for k in inner.layouts(slot) if k >= at), -1)
        if slot in page.graph.lists:  # the start of the path has this layout
            keep = 0
            page.flat(slot, inner)
        elif keep < 0:
            keep = len(inner.axes(slot))
            page.shaped(slot, inner)
        name = page.names.fresh("l")
        if not inner.chunked:
            page.line(frame, f"{name} = []", step)
        page.line(inner, f"{name}.append({inner.memo[slot][keep]})", step)
        stacked.append(Stacked(slot, name, keep))
    return stacked


def _stack(nest: Nest, page: Page, frame: Frame, stacked: list[Stacked], grad: bool) -> None:
    """Stack the results after the loop; the lists are not needed any more."""
    done: list[str] = []
    for one in stacked:
        slot = one.slot
        if slot in page.graph.lists:
            page.lists[slot] = one.name
            continue
        step = page.graph.made[slot]
        label = slot.label or step.label
        out = page.names.fresh("v", label)
        order = f"{one.name}[::-1]" if nest.loop.reverse else one.name
        at = frame.axes(slot).index(nest.loop.axis)
        call = f"torch.stack({order}, {at})" if at else f"torch.stack({order})"
        page.line(frame, f"{out} = {call}", step, label)
        frame.know(slot, one.keep + 1, out)
        done.append(one.name)
    if done:
        frame.lines.append(Line(f"del {', '.join(done)}", grad))


def _compiled(
    nest: Nest,
    page: Page,
    inner: Frame,
    frame: Frame,
    starts: list[str],
    stacked: list[Stacked],
    size: int,
    keep: Keep,
) -> None:
    """The loop as a function of some steps, and its call."""
    axis, reverse = nest.loop.axis, nest.loop.reverse
    grad = any(line.grad for line in inner.lines)
    write_lines = render if grad else render_plain
    loose = {one.slot: one.name for one in stacked if one.slot in page.graph.lists}
    constants = list(inner.taken)
    text = chunk.LoopText(
        [inner.memo[slot][0] for slot in nest.block.carries],
        list(inner.series),
        list(inner.noise),
        constants,
        [one.name for one in stacked],
        loose.values(),
        inner.index,
        write_lines([x for x in inner.lines if not x.probe], 2),
        write_lines([Line(x.probe or x.text, x.grad) for x in inner.lines], 2),
    )
    numbers = frozenset(i for i, c in enumerate(constants) if not page.is_length(c))
    size = chunk.piece(axis.size, size)
    loop = chunk.ChunkedLoop(page.options, size, list(inner.noise.values()), reverse, numbers)
    name = page.names.of(loop)
    keep(name, loop)
    page.functions += text.function(f"{name}_steps", size, reverse)
    page.functions += text.function(f"{name}_step", 1, reverse)
    page.functions += text.shapes(f"{name}_shapes")
    moves: list[str] = []
    outs: list[str] = []
    for one in stacked:
        label = one.slot.label or page.graph.made[one.slot].label
        outs.append(page.names.fresh(frame.prefix, label))
        if one.slot in loose:
            page.lists[one.slot] = outs[-1]
        else:
            frame.know(one.slot, one.keep + 1, outs[-1])
        if at := frame.axes(one.slot).index(axis):
            moves.append(f"{outs[-1]} = {outs[-1]}.movedim(0, {at})")
    given = f"({listed(starts)}), ({listed(inner.series.values())}), ({listed(constants)})"
    call = f"{listed(outs)}= {name}({page.length(axis, frame)}, {given})"
    over = f"steps of {nest.loop.label or repr(axis)}, compiled"
    frame.lines.append(Line(call, grad, comment=over))
    frame.lines += [Line(move, grad) for move in moves]
