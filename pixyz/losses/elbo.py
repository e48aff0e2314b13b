"""Bounds of the log-likelihood: the evidence lower bound, and the tighter one of many weighted
samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.expression import Expectation, LogProb, Loss
from pixyz.expression.protocol import Draw
from pixyz.plan import Axis, Scope, Slot
from pixyz.types import sample_counts

if TYPE_CHECKING:
    import sympy


def ELBO(p: Distribution, q: Distribution, sample_shape: Sequence[int] | int = (1,)) -> Loss:
    r""":math:`\mathbb{E}_{q(z|x)}[\log p(x,z) - \log q(z|x)]`, a bound of :math:`\log p(x)`.

    Args:
        p: the joint.
        q: the approximate posterior.
        sample_shape: how many samples.
    """
    return Expectation(q, LogProb(p) - LogProb(q), sample_shape=sample_shape)


class IWAE(Loss):
    r"""The importance-weighted bound of :math:`\log p(x)`, ``[B]`` (Burda et al. 2016, eq. 8).

    .. math::
        \mathbb{E}_{z_1, ..., z_K \sim q(z|x)}\left[\log \frac{1}{K} \sum_k
            \frac{p(x, z_k)}{q(z_k|x)}\right]

    It is the ELBO at :math:`K = 1`, grows with :math:`K` and tends to :math:`\log p(x)`.

    Args:
        p: the joint.
        q: the approximate posterior.
        sample_shape: how many samples, :math:`K` is their product; they are evaluated at once.

    >>> from pixyz.distributions import Normal
    >>> p = Normal("x", "z", loc="z", scale=1.0) * Normal("z", loc=0.0, scale=1.0)
    >>> print(IWAE(p, Normal("z", "x", loc="x", scale=1.0, name="q"), sample_shape=[64]))
    \mathbb{E}_{q(z|x)} \left[\log \frac{1}{64} \sum_{k=1}^{64} \frac{p(x,z)}{q(z|x)} \right]
    """

    def __init__(
        self, p: Distribution, q: Distribution, sample_shape: Sequence[int] | int = (50,)
    ) -> None:
        super().__init__()
        self.p, self.q = p, q
        self.sample_shape = sample_counts(sample_shape)
        self.weight = LogProb(p) - LogProb(q)

    def symbol(self) -> sympy.Expr:
        k = math.prod(self.sample_shape)
        ratio = rf"\frac{{{self.p.prob_text}}}{{{self.q.prob_text}}}"
        return latex.leaf(
            rf"\mathbb{{E}}_{{{self.q.prob_text}}} \left[\log \frac{{1}}{{{k}}} "
            rf"\sum_{{k=1}}^{{{k}}} {ratio} \right]"
        )

    def lower(self, scope: Scope) -> Slot:
        particles = tuple(Axis("particle", n) for n in self.sample_shape)
        inner = scope.child(self.q.lower_sample(scope, how=Draw(particles=particles)))
        inner.keep = scope.keep | set(particles)
        value = self.weight.lower(inner)
        return scope.builder.reduce(
            log_mean_exp, value, particles, batch=False, label="log mean of weights"
        )


def log_mean_exp(x: Tensor, dims: tuple[int, ...], tail: None, mask: None = None) -> Tensor:
    """The logarithm of the mean of ``exp(x)`` over ``dims``."""
    return x.logsumexp(dims) - math.log(math.prod(x.shape[d] for d in dims))
