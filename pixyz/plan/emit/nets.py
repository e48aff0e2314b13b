"""How calls of networks are written."""

from __future__ import annotations

from collections.abc import Sequence

from pixyz.plan.emit.lines import Frame
from pixyz.plan.emit.page import Page
from pixyz.plan.graph import Net, rules
from pixyz.plan.graph.formula import Network
from pixyz.plan.graph.order import on_series
from pixyz.plan.run import slabs


def write_net(step: Net, page: Page, frame: Frame) -> None:
    """The call of a network, by the names of its arguments and results where they are plain
    words.
    """
    args = _arguments(step, page, frame)
    page.looks(step, frame)
    network = step.fn
    name = page.names.of(network)
    max_rows = page.graph.slabs.get(step.outs[0], 0)
    keywords = network.keywords if isinstance(network, Network) else ()
    named = bool(keywords) and not page.options.chunk and not max_rows
    rows = tuple([a.batch != "none" for a in step.args])
    probe = network.probe(rows, named) if on_series(step, frame.inside) else None  # type: ignore[attr-defined]
    if probe is not None or named:
        page.networks[name] = probe or network
    if max_rows:
        given = ", ".join([name, repr(rows), str(max_rows), *args])
        page.define(step, frame, f"{page.names.of(slabs.in_slabs)}({given})", 0)
    elif named and isinstance(network, Network):
        _named(step, network.wanted, name, dict(zip(keywords, args, strict=True)), page, frame)
    else:
        page.define(step, frame, f"{name}({', '.join(args)})", 0)
    if sum(a.batch == "full" for a in step.args) > 1:
        page.look_at_rows(step, args, frame)


def _arguments(step: Net, page: Page, frame: Frame) -> list[str]:
    """The arguments as ``[T*K*B, ...]``, with all axes that any of them has."""
    axes = frame.axes(step.outs[0])
    like = next((a for a in step.args if a.batch == "full"), None)
    args = []
    for arg in step.args:
        plain = frame.axes(arg) == axes and (arg.batch == "full" or like is None)
        if arg.batch == "none" or plain:
            args.append(page.flat(arg, frame))
            continue
        aligned = page.aligned(arg, axes, frame, whole=True)
        sizes = page.sizes(axes, like or arg, frame)
        args.append(f"{page.names.of(rules.expand_rows)}({aligned}, {sizes})")
    return args


def _named(
    step: Net, wanted: Sequence[str], name: str, args: dict[str, str], page: Page, frame: Frame
) -> None:
    call = f"{name}({', '.join([f'{key}={arg}' for key, arg in args.items()])})"
    if len(step.outs) > 1:
        found = page.names.fresh("r")
        page.line(frame, f"{found} = {call}", step, step.label)
        call = ", ".join([f"{found}[{key!r}]" for key in wanted])
    else:
        call += f"[{wanted[0]!r}]"
    page.define(step, frame, call, 0, packed=False)
