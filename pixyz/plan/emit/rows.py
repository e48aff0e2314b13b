"""How functions of rows are written: as functions in front of the plan, and their calls."""

from __future__ import annotations

from pixyz.plan.emit.kinds import write
from pixyz.plan.emit.lines import Frame, Line, listed, render
from pixyz.plan.emit.page import Page
from pixyz.plan.graph import Net, RowGroup, Step


def write_rows(group: RowGroup, steps: list[Step], page: Page, frame: Frame) -> str:
    """The ``steps`` of ``group`` as a function of rows, and its call; the name that is called."""
    inner = Frame(None, frame.inside)
    for arg in group.args:
        inner.know(arg, 0, page.names.fresh("v", arg.label or page.graph.made[arg].label))
    parameters = ", ".join(inner.memo[arg][0] for arg in group.args)
    for step in steps:
        for arg in step.args:
            if page.graph.number(arg) is not None:
                write(page.graph.made[arg], page, inner)
        write(step, page, inner)
    own = set(steps)
    users = page.graph.users
    wanted = [
        slot
        for step in steps
        for slot in step.outs
        if slot in page.graph.result_slots or any(u not in own for u in users.get(slot, ()))
    ]
    results = [page.flat(slot, inner) for slot in wanted]
    name = page.names.reserved("rows")
    for functions, end, looks in ((page.functions, "of", False), (page.looking, "look", True)):
        functions += [f"def {name}_{end}({parameters}):", *render(inner.lines, 1, looks)]
        functions += [f"    return ({listed(results)})", ""]
    for slot in wanted:
        frame.know(slot, 0, page.names.fresh("v", slot.label or page.graph.made[slot].label))
    outs = listed(frame.memo[slot][0] for slot in wanted)
    call = f"{outs}= {name}({', '.join(page.flat(arg, frame) for arg in group.args)})"
    labels = ", ".join(step.label for step in steps if isinstance(step, Net))
    grad = any(line.grad for line in inner.lines)
    frame.lines.append(Line(call, grad, comment=f"{labels}, by rows"))
    return name
