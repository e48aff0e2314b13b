"""Plan: the compiled function of an objective."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from pixyz.plan.emit.emitter import Text
from pixyz.plan.graph import Graph, Net, Slot, Step
from pixyz.plan.graph.order import nests, places
from pixyz.plan.options import Options
from pixyz.plan.passes import run_passes
from pixyz.plan.run.forms import Forms, Function, Namespace, Results, forget_sources
from pixyz.plan.run.leads import OpenDensity
from pixyz.plan.write import Builder
from pixyz.types import Values, VariableError

__all__ = ["Function", "Plan", "Results", "forget_sources"]

_number = itertools.count()


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
        text = Text(graph, self.inputs, options)
        self.source = text.source
        self.filename = f"<pixyz plan {next(_number)}>"
        called = text.networks.values()
        self.open_inputs = {d.variable for d in called if isinstance(d, OpenDensity)}
        """Variables whose densities tell how many feature dimensions they have."""
        self.ranks, self.watch = _watched(builder, self.inputs, self.open_inputs, live)
        # it would be written out step by step
        stands_between = len(list(nests(graph.items))) > len(text.loops)
        between = "only loops are compiled: a loop that is not stands between"
        self.notes = [
            *graph.notes,
            *([between] if options.whole and stands_between else []),
        ]
        """Why a step stayed in a loop, and what else is worth knowing."""
        self.forms = Forms(text, self.filename, options, options.whole and not stands_between)

    @property
    def function(self) -> Function:
        """What runs it; networks are called as they are."""
        return self.forms.function

    @property
    def _namespace(self) -> Namespace:
        return self.forms.namespace

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
        needed = [n for n in self.inputs if not n.startswith("@")]
        given = sorted([n for n in map(str, x) if not n.startswith("@")])
        absent = [n for n in needed if n not in x]
        return VariableError(
            f"{self.owner} needs the variables {needed}, got {given}: "
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
    axes = [a for step in live for slot in step.outs for a in slot.axes]
    if led or any([a.kind == "time" for a in axes]):
        return dict(builder.ranks), ()
    most = dict.fromkeys(open_inputs, 2) | {n: rank + 1 for n, rank in builder.ranks.items()}
    return dict(builder.ranks), tuple((i, most[n]) for i, n in enumerate(inputs) if n in most)
