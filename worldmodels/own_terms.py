"""Own terms: losses that are added to a model's objective, under the draw of its own filter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from pixyz.distributions import Distribution
from pixyz.expression import Expression, Loss, Named, Parameter, walk
from pixyz.plan import Scope, Slot
from pixyz.types import PixyzError, ShapeError, VariableError

if TYPE_CHECKING:
    import sympy

Terms = Mapping[str, Loss] | Callable[[Any], Mapping[str, Loss]]
"""Terms by name, or a function of the model that makes them of its distributions."""


def joined(first: Mapping[str, Loss], second: Terms | None) -> Terms:
    """Both: terms that are there already, and those of a user, which may be a function of the
    model.
    """

    def both(model: Any) -> Mapping[str, Loss]:
        more = second(model) if callable(second) else second or {}
        if clash := sorted({*first} & {*more}):
            raise VariableError(
                f"terms may not be called {clash}, there are such already; call them otherwise"
            )
        return {**first, **more}

    return both


@dataclass(frozen=True)
class FrameNumber:
    """A value that is one number a frame, or an error that says so."""

    name: str

    def __call__(self, value: Tensor, leading: int) -> Tensor:
        if getattr(value, "ndim", 0) > leading:  # a number has no dimensions
            raise ShapeError(
                f"the term {self.name!r} was expected to be one number a frame and sequence, got "
                f"{list(value.shape)}; "
                "sum its features"
            )
        return value


class FrameTerm(Loss):
    """A term of a step, :math:`L_t`: one number a frame and sequence, ``[T, B]`` (Suzuki et al.
    2023, Figure 9).

    Args:
        name: what it is called.
        inner: the expression.
    """

    def __init__(self, name: str, inner: Loss) -> None:
        super().__init__()
        self.inner, self.check_frames = inner, FrameNumber(name)

    def symbol(self) -> sympy.Expr:
        return self.inner.symbol()

    def lower(self, scope: Scope) -> Slot:
        return scope.builder.features(
            self.check_frames, self.inner.lower(scope), label=self.check_frames.name
        )


@dataclass(frozen=True)
class OwnTerms:
    """Terms that somebody else adds to a model's objective.

    Args:
        losses: name -> the term, weighted.
        readers: the series that they read and the model does not, and which term does: they are
            expected in the batch.

    >>> OwnTerms().losses
    {}
    """

    losses: Mapping[str, Loss] = field(default_factory=dict)
    readers: Mapping[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...] | None]:
        """The shape of one frame of these series, where a density of them declares it."""
        found: dict[str, tuple[int, ...] | None] = dict.fromkeys(self.readers)
        for loss in self.losses.values():
            for part in loss.modules():
                if (
                    isinstance(part, Distribution)
                    and len(part.var) == 1
                    and part.var[0] in found
                    and part.features_shape
                ):
                    found[part.var[0]] = tuple(part.features_shape)
        return found

    @property
    def reads(self) -> tuple[str, ...]:
        """The series that are expected in the batch."""
        return tuple(self.readers)

    def added_to(self, cost: Loss, taken: Collection[str]) -> Loss:
        """``cost`` and the terms, each named.

        Raises:
            VariableError: a name is a term's or a variable's of the model.
        """
        names = {*taken, *(node.term for node in walk(cost) if isinstance(node, Named))}
        for name, loss in self.losses.items():
            if name in names:
                raise VariableError(
                    f"a term may not be called {name!r}: "
                    f"the model has one of that name among {sorted(names)}"
                )
            cost = cost + FrameTerm(name, loss).named(name)
        return cost


def own_terms(terms: Mapping[str, Loss], bound: Collection[str], closed: bool) -> OwnTerms:
    """Terms, and what they read from the batch.

    Args:
        terms: name -> expression of a step.
        bound: the variables that a step of the model holds.
        closed: whether nothing else can be read.

    Raises:
        PixyzError: a term is no expression, or reads what a step does not hold and the batch cannot
            give.
    """
    readers: dict[str, str] = {}
    for name, loss in terms.items():
        if not isinstance(loss, Loss):
            raise PixyzError(
                f"the term {name!r} was expected to be a loss, such as -LogProb(head), got "
                f"{type(loss).__name__}"
            )
        weights = {m.variable for m in loss.modules() if isinstance(m, Parameter)}
        more = [v for v in loss.input_var if v not in bound and v not in weights]
        if more and closed:
            raise VariableError(
                f"the term {name!r} reads {more}, a step of the model holds {sorted(bound)}"
            )
        readers.update({v: name for v in more if v not in readers})
    return OwnTerms(dict(terms), readers)


def networks_of(part: nn.Module, held: set[int]) -> list[nn.Module]:
    """The parts of an expression that hold weights and that nobody holds yet; they are added to
    ``held``.

    Raises:
        PixyzError: weights lie beside distributions that are held already.
    """
    if id(part) in held:
        return []
    inside = list(part.modules())
    loose = bool(part._parameters or part._buffers)
    if not loose and any(
        isinstance(m, (Distribution, Expression)) for m in inside if m is not part
    ):
        return [found for child in part.children() for found in networks_of(child, held)]
    if any(id(m) in held for m in inside):
        if not loose:
            return [found for child in part.children() for found in networks_of(child, held)]
        raise PixyzError(
            f"{type(part).__name__} holds weights and parts of the model: "
            f"put its weights into a distribution"
        )
    held.update(map(id, inside))
    weights: Sequence[Tensor] = [*part.parameters(), *part.buffers()]
    return [part] if weights or not isinstance(part, Expression) else []
