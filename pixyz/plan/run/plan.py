"""Plan: the compiled function of an objective."""

from __future__ import annotations

import contextlib
import itertools
import linecache
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from pixyz.plan.emit.emitter import Text
from pixyz.plan.graph import Graph, Net, Slot, Step
from pixyz.plan.graph.order import nests, places
from pixyz.plan.once import RUNNING
from pixyz.plan.options import Options
from pixyz.plan.passes import run_passes
from pixyz.plan.run.compiled import whole
from pixyz.plan.run.leads import OpenDensity
from pixyz.plan.run.row_loop import RowLoop
from pixyz.plan.write import Builder
from pixyz.types import VariableError

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
    """A straight-line function that computes named results from named inputs.

    ``print(plan)`` shows the steps, where each went (hoisted, in a loop, sunk), the notes and the
    source.

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
        self.owner = owner
        self.outputs = list(outputs)
        self.decisions = dict(builder.decisions)
        self.proven = False
        """Whether it ran to its end: the networks return the parameters that it reads."""
        self.written = builder.graph(outputs)
        """What was lowered, before any pass."""
        self.options = options = options or Options()
        self.graph = graph = run_passes(self.written, options)
        """What is written out, after all passes."""
        self.networks = sum(isinstance(s, Net) for s in graph.steps)
        live = set(graph.steps)
        self.inputs = [n for n, slot in graph.inputs.items() if graph.made.get(slot) in live]
        text = Text(graph, self.inputs, options)
        self.source, looking = text.source, text.looking
        self.filename = f"<pixyz plan {next(_number)}>"
        namespace = text.namespace
        for source, filename in (
            (self.source, self.filename),
            (looking, f"{self.filename}, looking"),
        ):
            exec(compile(source, filename, "exec"), namespace)
            _register(filename, source)
            weakref.finalize(self, _GONE.append, filename)
        self.function: Callable[..., tuple[Any, ...]] = namespace["plan"]
        self._written = self._fast = self.function
        self._look: Callable[..., tuple[Any, ...]] = namespace["look"]
        self._rows = self._fast_rows = {
            loop: namespace[f"{name}_of"] for name, loop in text.rows.items()
        }
        self._look_rows = {loop: namespace[f"{name}_look"] for name, loop in text.rows.items()}
        self.looks = True
        """Whether shapes that are new are looked at; not while the cache finds out which inputs
        have leading dimensions.
        """
        self._shapes: list[Any] | None = None
        self._kinds: set[tuple[Any, ...]] = set()
        self.notes = list(graph.notes)
        """Why a step stayed in a loop, and what else is worth knowing."""
        if options.whole:
            if len(list(nests(graph.items))) > len(
                text.loops
            ):  # it would be written out step by step
                self.notes.append("only loops are compiled: a loop that is not stands between")
            else:
                loops = {**text.loops, **text.rows}
                namespace.update(
                    {name: torch.compiler.disable(loop) for name, loop in loops.items()}
                )
                self._fast = whole(self._written, options)
                self._fast_rows = {
                    loop: whole(function, options) for loop, function in self._rows.items()
                }
        self._namespace, self._networks = namespace, text.networks
        self._trusted = True
        self.trust(False)
        self.ranks, self.watch = _watched(builder, self.inputs, self.open_densities(), live)
        self.plain: set[tuple[int, ...]] = set()
        """Numbers of dimensions of the inputs that need no leading axes; the cache's, for all
        plans of a key.
        """
        for name, loop in text.loops.items():
            loop.bind(*(namespace[f"{name}_{part}"] for part in ("steps", "step", "shapes")))

    def run(self, x: Mapping[str, Any]) -> tuple[Any, ...]:
        """Compute the results, in the order of ``outputs``.

        Raises:
            VariableError: an input variable is missing.
        """
        try:
            args = [x[name] for name in self.inputs]
        except KeyError:
            raise self._missing(x) from None
        for i, most in self.watch:
            if (
                getattr(args[i], "ndim", 0) > most
                and tuple([getattr(a, "ndim", 0) for a in args]) not in self.plain
            ):
                raise Relead(self)
        shapes = [getattr(a, "shape", None) for a in args]
        if torch.compiler.is_compiling():
            return self._call(self.function, args)
        outer, RUNNING.held = RUNNING.held, {}
        try:
            return (
                self._call(self.function, args)
                if shapes == self._shapes
                else self._run_new(args, shapes)
            )
        finally:
            RUNNING.held = outer

    def _run_new(self, args: list[Any], shapes: list[Any]) -> tuple[Any, ...]:
        """Run on shapes that are not those of the last run: a kind of shapes that is new is looked
        at.
        """
        kind = tuple([s if s is None else tuple([n == 1 for n in s]) for s in shapes])
        if kind not in self._kinds:
            if not self.looks:
                return self._call(self.function, args)
            self._set_rows(self._look_rows)
            try:
                found = self._call(self._look, args)
            finally:
                self._set_rows(self._fast_rows if self._trusted else self._rows)
            self._kinds.add(kind)
        else:
            found = self._call(self.function, args)
        self._shapes = shapes
        return found

    def _call(self, function: Callable[..., tuple[Any, ...]], args: list[Any]) -> tuple[Any, ...]:
        try:
            return function(*args)
        except (KeyError, TypeError, IndexError) as error:
            if not self._trusted or not self._networks or not self._raised_here(error):
                raise
            self.trust(False)
        # a network returned something else than before: an error that says what
        return self._written(*args)

    def _raised_here(self, error: BaseException) -> bool:
        """Whether the plan's own text failed, not what it calls."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        return trace is not None and trace.tb_frame.f_code.co_filename.startswith(self.filename)

    def trust(self, trusted: bool = True) -> None:
        """Call networks directly (and compiled, if that was asked for), or check at each call that
        they return what is read.
        """
        trusted = trusted and not self.on_trial
        if trusted != self._trusted:
            self._trusted, self.function = trusted, self._fast if trusted else self._written
            self._namespace.update(
                {k: n.module if trusted else n.checked for k, n in self._networks.items()}
            )
            self._set_rows(self._fast_rows if trusted else self._rows)

    @property
    def on_trial(self) -> bool:
        """Whether a network that left its loop has only seen one row, which does not tell whether
        it mixes rows.
        """
        return not all(getattr(n, "tried", True) for n in self._networks.values())

    @staticmethod
    def _set_rows(functions: Mapping[RowLoop, Callable[..., tuple[Any, ...]]]) -> None:
        for loop, function in functions.items():
            loop.function = function

    def open_densities(self) -> list[OpenDensity]:
        """The densities whose parameters tell how many feature dimensions their variable has."""
        return [n for n in self._networks.values() if isinstance(n, OpenDensity)]

    def _missing(self, x: Mapping[str, Any]) -> VariableError:
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
    open_densities: Sequence[OpenDensity],
    live: Iterable[Step],
) -> tuple[dict[str, int], tuple[tuple[int, int], ...]]:
    """The known feature dimensions of inputs, and which inputs may have how many dimensions without
    a second look.
    """
    led = any(slot.axes for slot in builder.inputs.values())
    if led or any(a.kind == "time" for step in live for slot in step.outs for a in slot.axes):
        return dict(builder.ranks), ()
    most = {d.variable: 2 for d in open_densities} | {
        n: rank + 1 for n, rank in builder.ranks.items()
    }
    return dict(builder.ranks), tuple((i, most[n]) for i, n in enumerate(inputs) if n in most)


class Relower(Exception):
    """A network returned other (accepted) parameters than the plan was built for:
    build it again.
    """


class Relead(Relower):
    """An input has more dimensions than the plan was written for."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("an input has leading dimensions")
        self.plan = plan
