"""Numbers, attributes of modules, arithmetic and totals: formulas that passes know."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixyz.plan.graph.formula import Fn, Formula, Naming, Written
from pixyz.types import ShapeError

INLINE: dict[Fn, str] = {
    operator.add: "{0} + {1}",
    operator.sub: "{0} - {1}",
    operator.mul: "{0} * {1}",
    operator.truediv: "{0} / {1}",
    operator.neg: "-{0}",
}
OPERATORS = {fn: Formula(fn, text) for fn, text in INLINE.items()}
"""Arithmetic as formulas."""


class Constant(Written):
    """A number, written into the plan."""

    __slots__ = ("value",)

    def __init__(self, value: float | int) -> None:
        # a number of numpy as one of Python
        self.value = value.item() if hasattr(value, "item") else value

    def __call__(self) -> float | int:
        return self.value

    def text(self, args: Sequence[str], name: Naming) -> str:
        finite = self.value == self.value and self.value not in (float("inf"), float("-inf"))
        return repr(self.value) if finite else f"float('{self.value}')"

    def __hash__(self) -> int:
        return hash((Constant, self.value))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Constant)
            and type(other.value) is type(self.value)
            and other.value == self.value
        )


class Attribute(Written):
    """``module.name``, read when the plan runs."""

    __slots__ = ("module", "name")

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> object:
        # where constants are; looking there first is ten times faster
        found = self.module._buffers.get(self.name)
        return getattr(self.module, self.name) if found is None else found

    def text(self, args: Sequence[str], name: Naming) -> str:
        held = self.dictionary()
        return f"{name(self)}()" if held is None else f"{name(held)}[{self.name!r}]"

    def dictionary(self) -> Mapping[str, object] | None:
        """Where a module holds the value, if it is a parameter or a buffer."""
        held = (self.module.__dict__.get(k, {}) for k in ("_parameters", "_buffers"))
        return next((d for d in held if d.get(self.name) is not None), None)

    def __hash__(self) -> int:
        return hash((Attribute, id(self.module), self.name))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Attribute) and other.module is self.module and other.name == self.name
        )


def smaller(a: Any, b: Any) -> Any:
    """The smaller of two tensors or numbers."""
    return _extreme(torch.minimum, torch.clamp_max, a, b)


def larger(a: Any, b: Any) -> Any:
    """The larger of two tensors or numbers."""
    return _extreme(torch.maximum, torch.clamp_min, a, b)


def _extreme(pair: Any, bound: Any, a: Any, b: Any) -> Any:
    if isinstance(a, Tensor):
        return pair(a, b) if isinstance(b, Tensor) else bound(a, b)
    if isinstance(b, Tensor):
        return bound(b, a)
    return (min if pair is torch.minimum else max)(a, b)


BROADCAST = frozenset({operator.add, operator.sub, operator.mul, operator.truediv, smaller, larger})
"""Arithmetic that works element by element."""


def total(x: Tensor) -> Tensor:
    """The sum of all elements, in a type that can hold it."""
    return x.sum() if x.dtype.itemsize >= 4 else x.sum(dtype=torch.float32)


TOTAL_AND_ROWS = Formula(
    lambda x: (total(x), len(x)),
    "{0}.sum() if {0}.dtype.itemsize >= 4 else {0}.sum(dtype=torch.float32), len({0})",
)
"""The sum of all elements and the number of rows."""


class MeanOfSums(Written):
    """The mean over the batch of a weighted sum of terms, features of each summed.

    The total of a type of less than 32 bits, which may not hold it, is taken in float32, and so is
    the mean.

    Args:
        weights: of the terms; its arguments in a plan are their totals and numbers of rows, in
            turn.
    """

    __name__ = "mean_of_sums"

    def __init__(self, weights: tuple[float, ...]) -> None:
        self.weights = weights

    def text(self, args: Sequence[str], name: Naming) -> str:
        totals, rows = args[::2], args[1::2]
        order = sorted(range(len(rows)), key=lambda i: self.weights[i] < 0)
        signs = [
            f"{'-' if w < 0 else '+'} {'' if abs(w) == 1 else f'{abs(w)!r} * '}"
            for w in self.weights
        ]
        summed = " ".join(signs[i] + totals[i] for i in order).removeprefix("+ ")
        if len(rows) == 1:
            return f"({summed}) / {rows[0]}"
        all_of = f"({', '.join(totals)}), ({', '.join(rows)})"
        return f"({summed}) / {rows[0]} if {' == '.join(rows)} else {name(self)}({all_of})"

    def __call__(self, totals: tuple[Tensor, ...], rows: tuple[int, ...]) -> Tensor:
        """A term with one row counts once for each row of the others."""
        if set(rows) - {1, max(rows)}:
            raise ShapeError(
                f"the terms under a mean have batches of different sizes, {sorted(set(rows))}; "
                f"give them one size"
            )
        each = [w * x / n for w, x, n in zip(self.weights, totals, rows, strict=True)]
        return functools.reduce(operator.add, each)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MeanOfSums) and other.weights == self.weights

    def __hash__(self) -> int:
        return hash((MeanOfSums, self.weights))
