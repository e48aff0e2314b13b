"""The score-function estimator of the gradient of an expectation."""

from __future__ import annotations

from collections.abc import Sequence

from pixyz.distributions.core.base import Distribution
from pixyz.expression import Expectation, LogProb, Loss, LossLike, as_loss


def REINFORCE(
    p: Distribution,
    f: LossLike,
    b: LossLike = 0,
    sample_shape: Sequence[int] | int = (1,),
    reparam: bool = False,
) -> Loss:
    r"""A surrogate whose gradient is that of :math:`\mathbb{E}_{p(x)}[f(x)]`, for any ``p``
    (Williams 1992, theorem 1).

    .. math::
        \mathbb{E}_{p(x)}[\mathrm{detach}(f(x) - b(x)) \log p(x) + f(x) - b(x)]

    A baseline ``b`` that does not depend on :math:`x` lowers the variance and leaves the mean.

    Args:
        p: the distribution that is drawn from.
        f: the reward.
        b: the baseline.
        sample_shape: how many samples.
        reparam: where ``p`` has pathwise gradients, use them in place of the score; never both.

    >>> import torch
    >>> from pixyz.distributions import Bernoulli
    >>> q, p = Bernoulli("x", probs=0.5, name="q"), Bernoulli("x", probs=0.3)
    >>> print(REINFORCE(q, p.log_prob(), b=1.0))
    \mathbb{E}_{q(x)} \left[detach \left(\log p(x) - 1.0 \right) \log q(x) + \log p(x) - 1.0 \right]
    """
    gain = as_loss(f) if isinstance(b, (int, float)) and b == 0 else as_loss(f) - b
    if reparam and p.has_reparam:
        return Expectation(p, gain, sample_shape=sample_shape)
    return Expectation(
        p, gain.detach() * LogProb(p) + gain, sample_shape=sample_shape, reparam=False
    )
