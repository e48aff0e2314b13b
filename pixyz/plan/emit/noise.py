"""How base noise is written: before a loop, in it for all of its steps at once, or told to a
compiled body.
"""

from __future__ import annotations

from dataclasses import dataclass

from pixyz.plan.emit.lines import Frame, Line
from pixyz.plan.emit.page import Page
from pixyz.plan.graph import Axis, Noise, Slot, rules
from pixyz.plan.graph.formula import Formula, formula_of
from pixyz.plan.run import chunk


@dataclass(frozen=True)
class Site:
    """What is drawn at one place: of which shape, like which tensors, in which layout.

    Args:
        refs: names of the tensors whose shapes broadcast to that of the draw.
        shape: the text of the shape.
        keep: the layout.
        alike: whether ``refs`` alone have the shape, without further axes.
    """

    refs: list[str]
    shape: str
    keep: int
    alike: bool


def write_noise(step: Noise, page: Page, frame: Frame) -> None:
    """The line that draws."""
    out, draw = step.outs[0], formula_of(step.fn)
    loops = [a for a in frame.inside if a in out.axes]
    site = _site(step, loops, page, frame)
    if not loops:
        page.define(step, frame, _outside(draw, site, page), site.keep)
        return
    fn, whole = page.names.of(draw.fn), page.names.fresh("n")
    if frame.chunked:
        frame.noise[whole] = chunk.Draw(draw.fn, out.axes.index(loops[-1]))
        given = f"found, {fn}, {site.shape}, {site.refs[0]}"
        seen = f"{whole} = {page.names.of(chunk.note)}({given})"
        frame.lines.append(Line("", not page.graph.is_quiet(step), probe=seen))
        page.define(step, frame, f"{whole}[{frame.index}]", site.keep)
        return
    _of_loops(step, site, loops, f"{fn}(({{}}), {site.refs[0]})", whole, page, frame)


def _site(step: Noise, loops: list[Axis], page: Page, frame: Frame) -> Site:
    out = step.outs[0]
    axes = frame.axes(out)
    known = [a for a in step.args if a.batch != "none"]
    full = [a for a in known if a.batch == "full"]
    if all(frame.axes(a) == axes for a in full) and not (axes and not full):
        keep = page.cheapest(full or known, frame, len(axes))
        if len(loops) > 1 or (loops and out.axes[0] not in loops):
            keep = len(axes)  # each axis stays a dimension of its own
        refs = [page.get(a, keep if a.batch == "full" else 0, frame) for a in known]
        if len(refs) == 1:
            return Site(refs, f"{refs[0]}.shape", keep, True)
        return Site(refs, f"{page.names.of(rules.joint_shape)}({', '.join(refs)})", keep, True)
    present = tuple(a for a in axes if any(a in s.axes for s in known))
    refs = [page.aligned(a, present, frame) for a in known]
    base = f"{page.names.of(rules.joint_shape)}({', '.join(refs)})"
    sizes = "".join(page.length(a, frame) + ", " for a in axes)
    return Site(refs, f"({sizes}) + tuple({base}[{len(present)}:])", len(axes), False)


def _outside(draw: Formula, site: Site, page: Page) -> str:
    """The draw where no loop is around it."""
    first = site.refs[0]
    if site.alike and draw.like and len(site.refs) == 1:
        return draw.like.format(first)
    return f"{page.names.of(draw.fn)}({site.shape}, {first})"


def _of_loops(
    step: Noise, site: Site, loops: list[Axis], draw: str, whole: str, page: Page, frame: Frame
) -> None:
    """Noise of all steps of all loops around, drawn at the first: the numbers of the split form.

    Args:
        draw: the text of the draw, with a place for its shape.
        whole: the name of the noise of all steps.
    """
    axes, outside = step.outs[0].axes, frame
    indices = {}
    while any(a in outside.inside for a in loops):
        indices[outside.inside[-1]] = outside.index
        assert outside.parent is not None
        outside = outside.parent
    page.line(outside, f"{whole} = None", step)
    if len(loops) == 1 and axes[0] is loops[0]:
        noise = draw.format(f"{page.length(loops[0], frame)},) + tuple({site.shape}")
        noise += ".unbind(0)"
    else:
        noise = draw.format(_sizes(step.outs[0], site, loops, page, frame))
        places = [i for i, a in enumerate(axes) if a in loops]
        noise += f".movedim({tuple(places)}, {tuple(range(len(places)))})"
    text = f"if {whole} is None: {whole} = {noise}"
    page.line(frame, text, step, "noise of all steps at once")
    chosen = ", ".join(indices[a] for a in axes if a in loops)
    page.define(step, frame, f"{whole}[{chosen}]", site.keep)


def _sizes(out: Slot, site: Site, loops: list[Axis], page: Page, frame: Frame) -> str:
    """The inside of a tuple: the shape with the lengths of the loops at their places."""
    inner, shape = frame.axes(out), f"({site.shape})"
    sizes = [
        page.length(a, frame) if a in loops else f"{shape}[{inner.index(a)}]" for a in out.axes
    ]
    return f"{', '.join(sizes)}, *{shape}[{len(inner)}:]"
