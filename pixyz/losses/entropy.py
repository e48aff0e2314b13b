"""Entropy and cross entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixyz import latex
from pixyz.distributions.base import Distribution, sum_over
from pixyz.expression import Expectation, LogProb, Loss, NegLoss
from pixyz.losses.divergences import KullbackLeibler
from pixyz.plan import Builder, Scope, Slot

if TYPE_CHECKING:
    import sympy


class Entropy(Loss):
    r"""The entropy :math:`H[p] = -\mathbb{E}_p[\log p]`, ``[B]``: by formula where there is one, else by samples.

    Args:
        p: the distribution; the entropy of a product is the sum over its factors at sampled parents.
        analytical: False always samples.
        sample_shape: how many samples, where sampled.
    """

    def __init__(self, p: Distribution, analytical: bool = True, sample_shape: Sequence[int] = (1,)) -> None:
        super().__init__()
        self.p, self.analytical = p, analytical
        self.sampled = NegLoss(Expectation(p, LogProb(p), sample_shape=sample_shape))

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"H \left[ {{{self.p.prob_text}}} \right]")

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        slot = self.p.lower_entropy(builder, scope) if self.analytical else None
        if slot is None:
            return self.sampled.lower(builder, scope)
        return sum_over(builder, slot, True, None, f"H[{self.p.prob_text}]")


class CrossEntropy(Loss):
    r"""The cross entropy :math:`H[p, q] = -\mathbb{E}_p[\log q]`, ``[B]``, by samples of ``p``.

    Args:
        p, q: distributions.
        analytical: True uses :math:`H[p] + D_{KL}[p\|q]` where both have formulas.
        sample_shape: how many samples.
    """

    def __init__(
        self, p: Distribution, q: Distribution, analytical: bool = False, sample_shape: Sequence[int] = (1,)
    ) -> None:
        super().__init__()
        self.p, self.q = p, q
        self.value: Loss = (
            Entropy(p) + KullbackLeibler(p, q) if analytical else -Expectation(p, LogProb(q), sample_shape=sample_shape)
        )

    def symbol(self) -> sympy.Expr:
        return self.value.symbol()

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        return self.value.lower(builder, scope)
