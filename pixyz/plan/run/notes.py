"""What is said of an error inside a plan: at which step it was, and what that was called with.

A network's own errors, ``mat1 and mat2 shapes cannot be multiplied``, do not say whose they are.
They stay what they are, with a note.  All of this is found in the traceback, after the fact: runs
that end well pay nothing.
"""

from __future__ import annotations

import ast
import linecache
import math
from collections.abc import Sequence
from types import FrameType, TracebackType

import torch
from torch import Tensor

from pixyz.plan.looks import listed
from pixyz.plan.run.facts import Unsettled
from pixyz.plan.run.plan import Plan
from pixyz.types import PixyzError, ShapeError


def explain(error: Exception, plan: Plan, args: Sequence[object]) -> ShapeError | None:
    """Add a note to an error of a plan's run.

    Args:
        error: what was raised, nothing of the library's own.
        plan: what ran.
        args: the values of its inputs, in order.

    Returns:
        An error to raise in its place, where batches differ that meet in a formula; else None.
    """
    if isinstance(error, (PixyzError, Unsettled)):
        return None
    at, last = _within(error.__traceback__, plan.filename)
    if at is None or last is None:
        return None
    line = linecache.getline(at.tb_frame.f_code.co_filename, at.tb_lineno)
    label = line.strip().partition("  # ")[2]
    if not label:
        return None
    read = _read(line, at.tb_frame)
    module = str(last.tb_frame.f_globals.get("__name__", ""))
    if isinstance(error, RuntimeError) and (at is last or module.partition(".")[0] == "pixyz"):
        wrong = _batches(label, [x for _, x in read], plan, args)
        if wrong is not None:
            return wrong
    shown = [_shown(name, x) for name, x in read if name] or [_shown("", x) for _, x in read]
    note = f"in {label}, called with {', '.join(shown)}" if shown else f"in {label}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    return None


def _within(
    trace: TracebackType | None, filename: str
) -> tuple[TracebackType | None, TracebackType | None]:
    """Where the plan's own text is last in a traceback, and the end of it."""
    found = last = None
    while trace is not None:
        last = trace
        if trace.tb_frame.f_code.co_filename.partition(",")[0] == filename:
            found = trace
        trace = trace.tb_next
    return found, last


def _read(line: str, frame: FrameType) -> list[tuple[str, Tensor]]:
    """The tensors that a line reads, and what their variables are called (``""``: nothing)."""
    try:
        tree = ast.parse(line.strip())
    except SyntaxError:  # the head of a loop
        return []
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Name):
            names[node.value.id] = str(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.setdefault(node.id, node.id.partition("_")[2])
    values = [(shown, frame.f_locals.get(name)) for name, shown in names.items()]
    return [(shown, x) for shown, x in values if isinstance(x, Tensor)]


def _batches(
    label: str, read: Sequence[Tensor], plan: Plan, args: Sequence[object]
) -> ShapeError | None:
    """What is wrong where values of different batches met in a formula, as they were given."""
    try:
        torch.broadcast_shapes(*[x.shape for x in read])
        return None
    except RuntimeError:
        met = {n for x in read for n in x.shape[: max(1, x.ndim - 1)]} - {1}
    given: dict[str, Tensor] = {}
    batches: set[int] = set()
    for name, x in zip(plan.inputs, args, strict=True):
        slot = plan.graph.inputs[name]
        lead = int(slot.series is not None)  # of a series time comes first
        if not isinstance(x, Tensor) or slot.batch != "full" or slot.axes:
            continue
        if x.ndim <= lead + plan.ranks.get(name, 1 - lead):
            continue
        given[f"a step of {name}" if lead else name] = x[0] if lead else x
        if met & {x.shape[lead], math.prod(x.shape[: lead + 1])}:
            batches.add(x.shape[lead])
    if len(batches) < 2:
        return None
    shown = listed(list(given), [tuple(x.shape) for x in given.values()])
    return ShapeError(f"{label}: {shown} have different batches; give all of them one batch")


def _shown(name: str, x: Tensor) -> str:
    return f"{name} {list(x.shape)} {str(x.dtype).removeprefix('torch.')}".lstrip()
