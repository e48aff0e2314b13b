"""Plan: the compiled function of an objective."""

from __future__ import annotations

import contextlib
import itertools
import linecache
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CodeType
from typing import Any

import torch

from pixyz.plan.emit.emitter import Text
from pixyz.plan.graph import Graph, Net, Slot, Step
from pixyz.plan.graph.order import nests, places
from pixyz.plan.options import Options
from pixyz.plan.passes import run_passes
from pixyz.plan.run.compiled import whole
from pixyz.plan.run.leads import OpenDensity
from pixyz.plan.run.row_loop import RowLoop
from pixyz.plan.write import Builder
from pixyz.types import Values, VariableError

Results = tuple[Any, ...]
Function = Callable[..., Results]
_number = itertools.count()
_GONE: deque[str] = deque()
"""Sources of plans that are gone; a collector may run while linecache goes through its entries, so
they leave it later.
"""


def forget_sources() -> None:
    """Take the sources of plans that are gone out of linecache; every new plan does so."""
    with contextlib.suppress(IndexError):  # another thread may take the last one
        while _GONE:
            linecache.cache.pop(_GONE.popleft(), None)


def _register(filename: str, text: str) -> None:
    """Show the source in tracebacks."""
    forget_sources()
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)


class Plan:
    """A straight-line function that computes named results from named inputs; it does not change.

    ``print(plan)`` shows the steps, where each went (hoisted, in a loop, sunk), the notes and the
    source.

    Args:
        builder: holds the steps, and what the plan was written for.
        outputs: results by name.
        owner: what it is of, for messages.
        options: how it is made.

    >>> from pixyz.losses import Parameter
    >>> (2 * Parameter("a")).plan.inputs
    ['a']
    """

    def __init__(
        self,
        builder: Builder,
        outputs: Mapping[str, Slot],
        owner: str,
        options: Options | None = None,
    ) -> None:
        self.owner, self.outputs = owner, list(outputs)
        self.decisions, self.facts = dict(builder.decisions), builder.facts
        self.written = builder.graph(outputs)
        """What was lowered, before any pass."""
        self.options = options = options or Options()
        self.graph = graph = run_passes(self.written, options)
        """What is written out, after all passes."""
        self.networks = sum(isinstance(s, Net) for s in graph.steps)
        live = set(graph.steps)
        self.inputs = [n for n, slot in graph.inputs.items() if graph.made.get(slot) in live]
        self._text = text = Text(graph, self.inputs, options)
        self.source = text.source
        self.filename = f"<pixyz plan {next(_number)}>"
        self._code = [
            self._compile(self.source, self.filename),
            self._compile(text.looking, f"{self.filename}, looking"),
        ]
        called = text.networks.values()
        self.open_inputs = {d.variable for d in called if isinstance(d, OpenDensity)}
        """Variables whose densities tell how many feature dimensions they have."""
        self.ranks, self.watch = _watched(builder, self.inputs, self.open_inputs, live)
        self._namespace = self._variant(checked=False, look=False)
        for name, loop in text.loops.items():
            parts = ("steps", "step", "shapes")
            loop.bind(*(self._namespace[f"{name}_{part}"] for part in parts))
        # it would be written out step by step
        stands_between = len(list(nests(graph.items))) > len(text.loops)
        between = "only loops are compiled: a loop that is not stands between"
        self.notes = [
            *graph.notes,
            *([between] if options.whole and stands_between else []),
        ]
        """Why a step stayed in a loop, and what else is worth knowing."""
        self.function: Function = self._namespace["plan"]
        """Networks are called as they are."""
        if options.whole and not stands_between:
            self.function = self._whole(options)
        self.looking: Function = self._variant(checked=False, look=True)["look"]
        """The same, and what it reads is looked at."""
        self.trial: Function = self._variant(checked=True, look=False)["plan"]
        """Networks are called with checks, which note what they return."""
        self.looking_trial: Function = self._variant(checked=True, look=True)["look"]
        """Both."""

    def _compile(self, source: str, filename: str) -> CodeType:
        code = compile(source, filename, "exec")
        _register(filename, source)
        weakref.finalize(self, _GONE.append, filename)
        return code

    def _variant(self, *, checked: bool, look: bool) -> dict[str, Any]:
        """The names that one form of the text has; its functions are among them."""
        space = dict(self._text.namespace)
        for name, one in self._text.networks.items():
            space[name] = one.checked if checked else one.module
        for code in self._code[: 1 + look]:
            exec(code, space)
        for name in self._text.rows:
            space[name] = RowLoop(space[f"{name}_{'look' if look else 'of'}"])
        return space

    def _whole(self, options: Options) -> Function:
        """The function, compiled but for its loops, which are compiled by themselves."""
        space = self._namespace
        for name in self._text.rows:
            space[name] = RowLoop(whole(space[f"{name}_of"], options))
        for name in [*self._text.loops, *self._text.rows]:
            space[name] = torch.compiler.disable(space[name])
        return whole(space["plan"], options)

    def arguments(self, x: Values) -> list[object]:
        """The values of the inputs, in order.

        Raises:
            VariableError: an input variable is missing.
        """
        try:
            return [x[name] for name in self.inputs]
        except KeyError:
            raise self._missing(x) from None

    def raised(self, error: BaseException) -> bool:
        """Whether the plan's own text failed, not what it calls: a network returned something else
        than it did.
        """
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        here = trace is not None and trace.tb_frame.f_code.co_filename.startswith(self.filename)
        return here and self.networks > 0

    def _missing(self, x: Values) -> VariableError:
        absent = [n for n in self.inputs if n not in x]
        return VariableError(
            f"{self.owner} needs the variables {self.inputs}, got {sorted(map(str, x))}: "
            f"{absent} missing; "
            "add them to the dict (or draw them inside the expression)"
        )

    def after(self, name: str) -> Graph:
        """The steps after a pass of :data:`pixyz.plan.PASSES`; ``"written"``: before all of them.

        >>> from pixyz.losses import Parameter
        >>> print((2 * Parameter("a")).plan.after("names"))
          %0 = point 2()
          %1 = input a()
          %2 = point 2 * a(%0, %1)
        """
        return run_passes(self.written, self.options, until=name)

    def counts(self) -> dict[str, int]:
        """How many steps are hoisted, looped, sunk or outside of any series."""
        found: dict[str, int] = {}
        place = places(self.graph)
        for step in self.graph.steps:
            where = place.get(step, "once").split()[0]
            found[where] = found.get(where, 0) + 1
        return found

    def __str__(self) -> str:
        notes = [f"note: {note}" for note in self.notes if note not in self.graph.notes]
        return "\n".join([f"plan of {self.owner}", str(self.graph), *notes]) + "\n\n" + self.source


def _watched(
    builder: Builder,
    inputs: Sequence[str],
    open_inputs: Iterable[str],
    live: Iterable[Step],
) -> tuple[dict[str, int], tuple[tuple[int, int], ...]]:
    """The known feature dimensions of inputs, and which inputs may have how many dimensions without
    a second look.
    """
    led = any(slot.axes for slot in builder.inputs.values())
    if led or any(a.kind == "time" for step in live for slot in step.outs for a in slot.axes):
        return dict(builder.ranks), ()
    most = dict.fromkeys(open_inputs, 2) | {n: rank + 1 for n, rank in builder.ranks.items()}
    return dict(builder.ranks), tuple((i, most[n]) for i, n in enumerate(inputs) if n in most)
