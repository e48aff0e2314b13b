"""``p + q``, the paper's spelling of the product inside ``E(...)``."""

from __future__ import annotations

import functools
import operator
from typing import Generic, TypeVar

P = TypeVar("P")


class ProductArgument(Generic[P]):
    """Distributions to be multiplied; it has no other meaning."""

    def __init__(self, *parts: P) -> None:
        self.parts = parts

    def __add__(self, other: P) -> ProductArgument[P]:
        return ProductArgument(*self.parts, other)

    def as_product(self) -> P:
        """The product of the parts."""
        return functools.reduce(operator.mul, self.parts)
