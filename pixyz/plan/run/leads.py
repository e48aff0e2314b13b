r"""Leading dimensions of inputs: a value ``[K, B, D]`` of a density over ``[D]`` has particles in
front of its batch.

A plan is first written for inputs ``[B, ...]``.  Where a density knows how many feature dimensions
its variable has, a value with more dimensions makes another plan, in which these inputs have the
leading axes that samples drawn inside an expression have: networks see ``[K*B, ...]`` and features
alone are summed.

A density knows from its declared shape or its constants (``Builder.ranks``); one whose parameters
come from its conditions learns it from their shape (:class:`OpenDensity`, read in a trial
only), if its network accepts the conditions as they are given: else declare ``features_shape``.  An
input that no density knows, such as a condition, has the leading dimensions of the others if its
shape begins with their sizes and the batch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from pixyz.plan.graph import Axis
from pixyz.plan.graph.formula import Fn
from pixyz.plan.run.facts import Unsettled, Width, current_trial
from pixyz.types import ShapeError, Values

Layout = dict[str, int]
"""Input -> how many dimensions it has in front of its batch dimension; those that have none are
left out.
"""


class OpenDensity:
    """The formula of a density whose parameters tell how many feature dimensions its variable has.

    Args:
        formula: the formula; it is called directly once the plan has run.
        variable: the input that it is a density of.
        at: which argument that is.
        matrices: the arguments with one dimension more than a sample.
    """

    def __init__(
        self,
        formula: Fn,
        variable: str,
        at: int,
        matrices: Sequence[int],
    ) -> None:
        self.formula = formula
        self.variable = variable
        self.at = at
        self.matrices = tuple(matrices)
        total = getattr(formula, "total", None)
        self.total = None if total is None else OpenDensity(total, variable, at, matrices)

    @property
    def __name__(self) -> str:
        """What it is called in a plan's text."""
        return getattr(self.formula, "__name__", "log_density")

    @property
    def module(self) -> Fn:
        """What a plan calls once it has run."""
        return self.formula

    def checked(self, *args: Tensor) -> Tensor:
        """The formula; notes the dimensions of the variable and the shape of the widest parameter.

        Raises:
            Unsettled: the value has leading dimensions that the plan does not know of.
        """
        trial = current_trial()
        if trial is not None:
            shapes = [
                tuple(p.shape[:-1] if i in self.matrices else p.shape)
                for i, p in enumerate(args)
                if i != self.at
            ]
            width = Width(self.variable, args[self.at].ndim, max(shapes, key=len, default=()))
            trial.widths.append(width)
            given = trial.given.get(self.variable)
            told = None if given is None else width.rank(given)
            if given is not None and told is not None and told[0] < given - 1:
                raise Unsettled
        return self.formula(*args)  # type: ignore[no-any-return]

    __call__ = checked

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpenDensity) and (other.formula, other.variable) == (
            self.formula,
            self.variable,
        )

    def __hash__(self) -> int:
        return hash((self.formula, self.variable))


def arrange(inputs: Sequence[str], values: Values, ranks: Mapping[str, int]) -> Layout:
    """Which inputs have leading dimensions, and how many, at known feature dimensions of some of
    them.
    """
    layout = {
        n: values[n].ndim - 1 - ranks[n]
        for n in inputs
        if n in ranks and values[n].ndim > ranks[n] + 1
    }
    if not layout:
        return layout
    for name, e in layout.items():
        _refuse_turned(name, e, inputs, values, layout)
    longest = max(layout, key=lambda n: layout[n])
    sizes = tuple(values[longest].shape[: layout[longest]])
    batch = max(values[n].shape[e] for n, e in layout.items())
    for name in inputs:
        shape = tuple(getattr(values[name], "shape", ()))
        if name in ranks or not shape:
            continue
        for e in range(min(len(sizes), len(shape) - 1), 0, -1):
            feature_or_row = len(shape) > e + 1 or shape[0] not in (1, batch)
            if shape[:e] == sizes[len(sizes) - e :] and shape[e] in (1, batch) and feature_or_row:
                layout[name] = e
                break
    return layout


def _refuse_turned(
    name: str, e: int, inputs: Sequence[str], values: Values, layout: Layout
) -> None:
    """Refuse ``[B, 1]`` where ``[B]`` is meant: as one row of B samples it would meet each of the B
    rows of the others.
    """
    shape = values[name].shape
    if shape[e] != 1 or shape[e - 1] == 1:
        return
    for other in inputs:
        rows = getattr(values[other], "shape", ())
        if (
            other not in layout
            and rows
            and rows[0] == shape[e - 1]
            and rows[: e + 1] != shape[: e + 1]
        ):
            raise ShapeError(
                f"{name!r} has the shape {list(shape)}, "
                f"with one dimension more than its density knows, and {other!r} has "
                f"{list(rows)}; give {name!r} as {list(shape[:e] + shape[e + 1 :])}, "
                f"or with all rows, "
                f"{[*shape[:e], rows[0], *shape[e + 1 :]]}, if its first dimension counts samples"
            )


def widen(layout: Layout, values: Values) -> tuple[dict[str, Any], tuple[int, ...]]:
    """The values with equal leading sizes and batches where they have leading dimensions, and those
    sizes.
    """
    most = max(layout.values())
    sizes = [
        max(values[n].shape[e - most + i] for n, e in layout.items() if e - most + i >= 0)
        for i in range(most)
    ]
    batch = max(values[n].shape[e] for n, e in layout.items())
    wide = dict(values)
    for name, e in layout.items():
        shape = values[name].shape
        try:
            wide[name] = values[name].expand(*sizes[most - e :], batch, *shape[e + 1 :])
        except RuntimeError:
            raise ShapeError(
                f"{name!r} has the shape {list(shape)}, others have the leading dimensions "
                f"{[*sizes, batch]} (samples, then the "
                "batch); give values with equal ones"
            ) from None
    return wide, tuple(sizes)


def axes_of(layout: Layout, sizes: Sequence[int]) -> dict[str, tuple[Axis, ...]]:
    """Particle axes for the inputs: common to all, counted from the batch outward."""
    axes = [Axis("particle", n) for n in reversed(sizes)][::-1]
    return {n: tuple(axes[len(axes) - e :]) for n, e in layout.items()}


def learned_ranks(
    found: Sequence[Width],
    open_inputs: Collection[str],
    inputs: Sequence[str],
    values: Values,
    layout: Layout,
) -> dict[str, int]:
    """Feature dimensions of inputs, as the parameters of their densities told in a run.

    Args:
        found: what they told.
        open_inputs: the variables of such densities.
        inputs: all variables of the plan.
        values: of these.
        layout: of the run.
    """
    rows = {
        values[n].shape[layout.get(n, 0)]
        for n in inputs
        if n not in open_inputs and getattr(values[n], "ndim", 0) > layout.get(n, 0)
    }
    ranks: dict[str, int] = {}
    for width in found:
        name = width.variable
        if name not in inputs:
            continue
        told = width.rank(values[name].ndim - layout.get(name, 0))
        # a table of parameters without a batch tells nothing
        if told is not None and (not rows or told[1] in (1, *rows)):
            ranks[name] = max(told[0], ranks.get(name, 0))
    return ranks
