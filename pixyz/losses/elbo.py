"""The evidence lower bound."""

from __future__ import annotations

from collections.abc import Sequence

from pixyz.distributions.base import Distribution
from pixyz.expression import Expectation, LogProb, Loss


def ELBO(p: Distribution, q: Distribution, sample_shape: Sequence[int] = (1,)) -> Loss:
    r""":math:`\mathbb{E}_{q(z|x)}[\log p(x,z) - \log q(z|x)]`, a bound of :math:`\log p(x)`.

    Args:
        p: the joint.
        q: the approximate posterior.
        sample_shape: how many samples.
    """
    return Expectation(q, LogProb(p) - LogProb(q), sample_shape=sample_shape)
