"""How each kind of step is written; networks, noise and loops have files of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pixyz.plan.emit.lines import Frame
from pixyz.plan.emit.nets import write_net
from pixyz.plan.emit.noise import write_noise
from pixyz.plan.emit.page import Page
from pixyz.plan.graph import (
    CarryIn,
    Expand,
    Features,
    Input,
    Joined,
    Net,
    Noise,
    Point,
    Reduce,
    Relabel,
    Series,
    Shift,
    Step,
    Total,
    rules,
)
from pixyz.plan.graph.formula import Formula, Written
from pixyz.plan.run.leads import OpenDensity


def write(step: Step, page: Page, frame: Frame) -> None:
    """Write ``step``."""
    KINDS[type(step)](step, page, frame)


def _nothing(step: Step, page: Page, frame: Frame) -> None:
    """Inputs are the function's parameters, carried values are assigned around the loop."""


def _point(step: Point, page: Page, frame: Frame) -> None:
    if isinstance(step.fn, rules.Constant):
        frame.know(step.outs[0], 0, step.fn.text((), page.names.of))
        return
    args, keep = page.agree(step.args, frame.axes(step.outs[0]), frame)
    page.looks(step, frame)
    if step.fn in rules.BROADCAST:
        page.look_together(step, args, keep, frame)
    page.define(step, frame, _expression(step, args, page), keep)


def _expression(step: Point | Total, args: list[str], page: Page) -> str:
    """The formula with its arguments."""
    fn, name = rules.OPERATORS.get(step.fn, step.fn), page.names.of
    if isinstance(fn, OpenDensity):
        page.networks[name(fn)] = fn
    if isinstance(fn, Formula) and fn is step.fn and page.has_number(step):
        return f"{name(fn.fn)}({', '.join(args)})"  # a number has no methods
    return fn.text(args, name) if isinstance(fn, Written) else f"{name(fn)}({', '.join(args)})"


def _total(step: Total, page: Page, frame: Frame) -> None:
    args, keep = page.agree(step.args, frame.axes(step.outs[0]), frame)
    page.looks(step, frame)
    page.define(step, frame, _expression(step, args, page), keep)


def _features(step: Features, page: Page, frame: Frame) -> None:
    keep = page.cheapest(step.args, frame, len(frame.axes(step.args[0])))
    arg = page.get(step.args[0], keep, frame)
    call = f"{page.names.of(step.fn)}({arg}, {keep + 1})"
    if step.fn is rules.sum_features:
        call = f"{arg}.sum(-1) if {arg}.ndim == {keep + 2} else {call}"
    page.define(step, frame, call, keep)


def _reduce(step: Reduce, page: Page, frame: Frame) -> None:
    arg, kept = step.args[0], frame.axes(step.outs[0])
    axes = frame.axes(arg)
    mask = [page.aligned(step.args[1], axes, frame)] if len(step.args) > 1 else []
    if step.over_batch and not kept:
        most = page.cheapest([arg], frame, len(axes))
        value = page.shaped(arg, frame) if mask else page.get(arg, most, frame)
        call = [value, "None", "None", *mask]
    else:
        dims = tuple(i for i, a in enumerate(axes) if a in step.over)
        tail = str(len(axes)) if step.over_batch else "None"
        call = [page.shaped(arg, frame), repr(dims), tail, *mask]
    method = {rules.reduce_mean: "mean", rules.reduce_sum: "sum"}.get(step.fn)  # type: ignore[arg-type]
    if method and not mask and call[2] == "None":
        text = f"{call[0]}.{method}({'' if call[1] == 'None' else call[1]})"
    else:
        text = f"{page.names.of(step.fn)}({', '.join(call)})"
    page.define(step, frame, text, len(kept))


def _joined(step: Joined, page: Page, frame: Frame) -> None:
    start, later = page.flat(step.args[0], frame), page.lists[step.args[1]]
    page.define(step, frame, f"torch.stack([{start}, *{later}])", 1)
    page.line(frame, f"del {later}", step)


def _relabel(step: Relabel, page: Page, frame: Frame) -> None:
    out, axis = step.outs[0], step.axis
    name = page.shaped(step.args[0], frame)
    frame.know(out, len(out.axes), name)
    if axis.length_of is out:
        page.note_length(axis, out, frame)
    elif axis.length_of is not None or axis.size is not None:
        label = page.names.of(out.label or step.label or "a series")
        call = f"{name}, {page.length(axis, frame)}, {label}"
        page.line(frame, f"{page.names.of(rules.check_length)}({call})", step)


def _series(step: Series, page: Page, frame: Frame) -> None:
    rest = tuple(a for a in frame.axes(step.outs[0]) if a in step.rest)
    like = next((a for a in step.args if a.batch == "full"), None)
    args = []
    for arg in step.args:
        own = frame.axes(arg)
        has = bool(own) and own[0].family is step.axis.family
        if own[1:] == rest if has else own == rest or arg.batch == "none":
            args.append(page.get(arg, 1 if has else 0, frame))
            continue
        assert like is not None
        target = ((own[0],) if has else ()) + rest
        aligned = page.aligned(arg, target, frame, whole=True)
        sizes = page.sizes(target, like, frame)
        wide = f"{page.names.of(rules.expand_lead)}({aligned}, {sizes})"
        args.append(f"{wide}.flatten({int(has)}, {len(target)})" if rest else wide)
    keeps = [1 if any(a not in step.rest for a in s.axes) else 0 for s in step.outs]
    page.define(step, frame, f"{page.names.of(step.fn)}({', '.join(args)})", keeps)
    for slot, keep in zip(step.outs, keeps, strict=True):
        for a in [a for a in slot.axes[:keep] if a.length_of is slot]:
            page.note_length(a, slot, frame)


def _shift(step: Shift, page: Page, frame: Frame) -> None:
    start, out = step.args
    args = f"{page.flat(start, frame)}, {page.get(out, 1, frame)}"
    page.define(step, frame, f"{page.names.of(step.fn)}({args})", 1)


def _expand(step: Expand, page: Page, frame: Frame) -> None:
    arg, like = step.args
    axes = frame.axes(step.outs[0])
    aligned = page.aligned(arg, axes, frame, whole=True)
    sizes = page.sizes(axes, like, frame)
    call = f"{page.names.of(rules.expand_lead)}({aligned}, {sizes})"
    page.define(step, frame, call, len(axes))


KINDS: Mapping[type[Step], Callable[[Any, Page, Frame], None]] = {
    Input: _nothing,
    CarryIn: _nothing,
    Point: _point,
    Total: _total,
    Net: write_net,
    Features: _features,
    Reduce: _reduce,
    Series: _series,
    Joined: _joined,
    Relabel: _relabel,
    Noise: write_noise,
    Shift: _shift,
    Expand: _expand,
}
"""How each kind is written."""
