"""Entropy and cross entropy (Shannon, 1948), by formula or by samples."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.params import sum_over
from pixyz.distributions.kullback_leibler import KullbackLeibler
from pixyz.expression import Expectation, LogProb, Loss, NegLoss
from pixyz.expression.protocol import SCORE, Draw
from pixyz.plan import Axis, Scope, Slot, rules
from pixyz.types import sample_counts

if TYPE_CHECKING:
    import sympy


class Entropy(Loss):
    r"""The entropy :math:`H[p] = -\mathbb{E}_p[\log p]`, ``[B]``: by formula where there is one,
    else by samples.

    Args:
        p: the distribution; the entropy of a product is the sum over its factors at sampled
            parents.
        analytical: False always samples.
        sample_shape: how many samples, where sampled.

    >>> from pixyz.distributions import Normal
    >>> print(Entropy(Normal("x", loc=0.0, scale=1.0, features_shape=[2])).eval({}))
    tensor([2.8379])
    """

    def __init__(
        self, p: Distribution, analytical: bool = True, sample_shape: Sequence[int] | int = (1,)
    ) -> None:
        super().__init__()
        self.p, self.analytical = p, analytical
        self.sample_shape = sample_counts(sample_shape)
        self.sampled = NegLoss(Expectation(p, LogProb(p), sample_shape=sample_shape))

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"H \left[ {{{self.p.prob_text}}} \right]")

    def lower(self, scope: Scope) -> Slot:
        slot = self._formula(scope) if self.analytical else None
        return self.sampled.lower(scope) if slot is None else slot

    def _formula(self, scope: Scope) -> Slot | None:
        """The sum of the factors' entropies at sampled parents; None if one has no formula."""
        builder = scope.builder
        factors, total = self.p.factors(), None
        read = {v for f in factors for v in f.cond_var} & set(self.p.var)
        particles = tuple(Axis("particle", n) for n in self.sample_shape)
        how = Draw(particles=particles)
        inner = scope.child(self.p.lower_sample(scope, how=how) if read else None)
        for factor in factors:
            raw = factor.lower_entropy(inner)
            if raw is None:
                return None
            term = sum_over(scope, raw, SCORE, f"H[{factor.prob_text}]")
            total = (
                term
                if total is None
                else builder.point(operator.add, total, term, label="chain rule")
            )
        assert total is not None
        return builder.reduce(
            rules.reduce_mean, total, particles, batch=False, label="mean over samples"
        )


class CrossEntropy(Loss):
    r"""The cross entropy :math:`H[p, q] = -\mathbb{E}_p[\log q]`, ``[B]``, by samples of ``p``.

    Args:
        p, q: distributions.
        analytical: True uses :math:`H[p] + D_{KL}[p\|q]` where both have formulas.
        sample_shape: how many samples.

    >>> from pixyz.distributions import Normal
    >>> p, q = (
    ...     Normal("x", loc=m, scale=1.0, features_shape=[2], name=n)
    ...     for m, n in ((0.0, "p"), (1.0, "q"))
    ... )
    >>> print(CrossEntropy(p, q))
    - \mathbb{E}_{p(x)} \left[\log q(x) \right]
    """

    def __init__(
        self,
        p: Distribution,
        q: Distribution,
        analytical: bool = False,
        sample_shape: Sequence[int] | int = (1,),
    ) -> None:
        super().__init__()
        self.p, self.q = p, q
        self.value: Loss = (
            Entropy(p) + KullbackLeibler(p, q)
            if analytical
            else -Expectation(p, LogProb(q), sample_shape=sample_shape)
        )

    def symbol(self) -> sympy.Expr:
        return self.value.symbol()

    def lower(self, scope: Scope) -> Slot:
        return self.value.lower(scope)


class AnalyticalEntropy(Entropy):
    """The entropy by formula only.

    Raises:
        NotImplementedError: a factor has no formula.
    """

    def __init__(self, p: Distribution) -> None:
        super().__init__(p, analytical=True)

    def lower(self, scope: Scope) -> Slot:
        slot = self._formula(scope)
        if slot is None:
            raise NotImplementedError(
                f"no formula for the entropy of {self.p.prob_text}; use Entropy(p, "
                f"analytical=False)"
            )
        return slot


class StochasticReconstructionLoss(Loss):
    """Was removed from pixyz before 0.3: write ``-decoder.log_prob().expectation(encoder)``."""

    def __init__(
        self, encoder: Distribution, decoder: Distribution, sample_shape: Sequence[int] | int = (1,)
    ) -> None:
        raise NotImplementedError(
            "StochasticReconstructionLoss is no more: write "
            "-decoder.log_prob().expectation(encoder)"
        )
