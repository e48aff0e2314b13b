"""A graph -> the text of a Python function."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pixyz.plan.emit.kinds import write
from pixyz.plan.emit.lines import Frame, let_go, listed, render
from pixyz.plan.emit.loops import write_loop
from pixyz.plan.emit.page import Page
from pixyz.plan.emit.rows import write_rows
from pixyz.plan.graph import Graph, Step
from pixyz.plan.graph.order import Nest
from pixyz.plan.options import Options
from pixyz.plan.run.chunk import ChunkedLoop


class Text:
    """The source of a plan, and what it calls.

    Args:
        graph: what is written.
        inputs: names of the variables that it reads, in order.
        options: how.
    """

    def __init__(self, graph: Graph, inputs: list[str], options: Options) -> None:
        self.loops: dict[str, ChunkedLoop] = {}
        self.rows: list[str] = []
        """The names of what calls functions of rows."""
        page, frame = Page(graph, options), Frame(None, ())
        parameters = []
        for name in inputs:
            slot = graph.inputs[name]
            parameters.append(page.names.fresh("v", slot.label or name))
            frame.know(slot, len(slot.axes), parameters[-1])
        self._items(graph, page, frame)
        self._results = [page.shaped(slot, frame) for slot in graph.outputs.values()]
        self.networks = page.networks
        values = page.names.values.difference(parameters, self._results)
        self._lines = let_go(frame.lines, values, {*self.networks, *self.loops, *self.rows})
        self._page, self._parameters = page, parameters
        self.source = self._function("plan", page.functions, looks=options.checked)
        self.namespace: dict[str, Any] = page.names.namespace

    @cached_property
    def looking(self) -> str:
        """The source of the function that looks at what it reads; the first runs call it."""
        return self._function("look", self._page.looking, looks=True)

    def _function(self, name: str, functions: list[str], looks: bool) -> str:
        head = f"def {name}({', '.join(self._parameters)}):"
        end = f"    return ({listed(self._results)})"
        return "\n".join([*functions, head, *render(self._lines, 1, looks), end]) + "\n"

    def _items(self, graph: Graph, page: Page, frame: Frame) -> None:
        group_of = {slot: group for group in graph.groups for slot in group.core}
        steps: dict[object, list[Step]] = {group: [] for group in graph.groups}
        for item in graph.items:
            if isinstance(item, Step) and item.outs[0] in group_of:
                steps[group_of[item.outs[0]]].append(item)
        waiting = list(graph.groups)
        for item in graph.items:
            if isinstance(item, Nest):
                write_loop(item, page, frame, self.loops.__setitem__)
            elif item.outs[0] not in group_of:
                write(item, page, frame)
            if not waiting:
                continue
            known = frame.memo.keys()
            # at once: next to the loop, as this is one
            for group in [g for g in waiting if known >= set(g.args)]:
                waiting.remove(group)
                self.rows.append(write_rows(group, steps[group], page, frame))
