"""A squashed normal for policies: what TD-MPC and SAC draw actions from."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from pixyz.distributions import TanhNormal
from pixyz.distributions.families.constant import LOG_SQRT_2PI


class SquashedNormal(TanhNormal):
    r"""A normal through tanh, given as ``loc`` and ``log_scale``, ``[N, A]``.

    .. math::
        \log \pi(\tanh u) = \log \mathcal{N}(u; \mu,
            \sigma) - \sum_i 2 (\log 2 - u_i - \mathrm{softplus}(-2 u_i))

    (Haarnoja et al. 2018.)

    >>> p = SquashedNormal("a", loc=torch.zeros(2), log_scale=torch.zeros(2))
    >>> p.sample(batch_n=3)["a"].shape
    torch.Size([3, 2])
    """

    returned = ("log_scale",)

    # both formulas, so that the density of a draw is that of its noise: atanh(tanh(u)) is u for
    # small u only
    @staticmethod
    def draw(noise: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return TanhNormal.draw(noise, loc, scale)

    @staticmethod
    def log_density(
        x: Tensor, loc: Tensor, scale: Tensor, log_scale: Tensor | None = None
    ) -> Tensor:
        return TanhNormal.log_density(x, loc, scale, log_scale)

    @staticmethod
    def minus_log_density_of_noise(  # type: ignore[override]
        noise: Tensor, loc: Tensor, scale: Tensor, log_scale: Tensor
    ) -> Tensor:
        u = torch.addcmul(loc, scale, noise)
        inside = torch.addcmul(log_scale + LOG_SQRT_2PI, noise, noise, value=0.5)
        return inside + 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))


def bounded_log_scale(raw: Tensor, low: float, high: float) -> Tensor:
    r""":math:`l + \frac{1}{2} (h - l) (\tanh s + 1)`: a network's number, held in bounds."""
    return low + 0.5 * (high - low) * (torch.tanh(raw) + 1.0)
