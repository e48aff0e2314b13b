"""The normal distribution held between two bounds, in its tails too."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pixyz.distributions.families.given import Value
from pixyz.distributions.families.noise import open_uniform_noise
from pixyz.distributions.families.normal import LOG_SQRT_2PI
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.special import log_erfcx
from pixyz.types import VarSpec

INSIDE = -3.0
"""An edge so many deviations behind the mean: the interval holds most of the normal distribution.
"""


class TruncatedNormal(ParametricDistribution):
    r"""The normal distribution held between two bounds, :math:`p(x) = \mathcal{N}(x; \mu, \sigma^2)
    / (\Phi(\beta) - \Phi(\alpha))` for :math:`a \le x \le b`, with :math:`\alpha = (a-\mu)/\sigma,\
    \beta = (b-\mu)/\sigma`.

    Parameters ``loc``, ``scale`` (of the normal), ``low``, ``high``; finite.  Sampled by the
    inverse cdf, so gradients are pathwise in all four; the mean may lie outside of the bounds by
    any distance.

    >>> p = TruncatedNormal(var="x", loc=0., scale=1., low=-1., high=1.)
    >>> p.get_log_prob({"x": torch.tensor([0., 2.])})
    tensor([-0.5372,    -inf])
    """

    params_keys = ("loc", "scale", "low", "high")
    noise_shape = ("loc", "scale", "low", "high")
    noise = staticmethod(open_uniform_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        scale: Value = None,
        low: Value = None,
        high: Value = None,
    ) -> None:
        super().__init__(
            var, cond_var, name, features_shape, loc=loc, scale=scale, low=low, high=high
        )

    @staticmethod
    def derive_upper(loc: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Whether most of the interval is above the mean, so that ``low`` is the edge to count
        from.
        """
        return high - loc > loc - low

    @staticmethod
    def derive_edge(loc: Tensor, scale: Tensor, low: Tensor, high: Tensor, upper: Tensor) -> Tensor:
        """From the mean to the edge that is counted from, in deviations; negative where the mean is
        inside.
        """
        return torch.where(upper, low - loc, loc - high) / scale

    @staticmethod
    def derive_width(scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return (high - low) / scale

    @staticmethod
    def derive_log_height(edge: Tensor, width: Tensor) -> Tensor:
        """The log-density at the edge, or at the mean where that is well inside; in deviations."""
        inside = edge < INSIDE
        a, w = outer(edge, width)
        tail = log_hazard(a) - torch.log(-torch.expm1(-fall(a, w)))
        missing = normal_cdf(torch.where(inside, edge, INSIDE)) + normal_cdf(
            -(edge + width).clamp(min=0.0)
        )
        return torch.where(inside, -LOG_SQRT_2PI - torch.log1p(-missing), tail)

    @staticmethod
    def draw(
        noise: Tensor,
        loc: Tensor,
        scale: Tensor,
        low: Tensor,
        high: Tensor,
        upper: Tensor,
        edge: Tensor,
        width: Tensor,
    ) -> Tensor:
        steps = descent(noise, *outer(edge, width))
        first = normal_cdf(torch.where(edge < INSIDE, edge, INSIDE))
        last = 1.0 - normal_cdf(-(edge + width).clamp(min=-INSIDE))
        z = torch.special.ndtri(
            (first + noise * (last - first)).clamp(max=1.0 - torch.finfo(noise.dtype).eps / 2)
        )
        tail = torch.where(upper, low + scale * steps, high - scale * steps)
        x = torch.where(edge < INSIDE, loc + scale * torch.where(upper, z, -z), tail)
        return torch.minimum(torch.maximum(x, low), high)

    @staticmethod
    def log_density(
        x: Tensor,
        loc: Tensor,
        scale: Tensor,
        low: Tensor,
        high: Tensor,
        upper: Tensor,
        edge: Tensor,
        log_height: Tensor,
    ) -> Tensor:
        within = (x >= low) & (x <= high)
        steps = torch.where(within, torch.where(upper, x - low, high - x), 0.0) / scale
        mid = edge < INSIDE
        gap = torch.where(within & mid, (x - loc) / scale, 0.0)
        fallen = torch.where(
            mid, 0.5 * gap * gap, torch.where(mid, 0.0, steps) * (edge + 0.5 * steps)
        )
        return torch.where(within, log_height - fallen - scale.log(), -math.inf)

    @staticmethod
    def mean_of(
        loc: Tensor,
        scale: Tensor,
        low: Tensor,
        high: Tensor,
        upper: Tensor,
        edge: Tensor,
        width: Tensor,
    ) -> Tensor:
        from_mean, from_edge, _ = moments(edge, width)
        mid = loc + scale * torch.where(upper, from_mean, -from_mean)
        tail = torch.where(upper, low + scale * from_edge, high - scale * from_edge)
        return torch.where(edge < INSIDE, mid, tail)

    @staticmethod
    def variance_of(scale: Tensor, edge: Tensor, width: Tensor) -> Tensor:
        return scale.square() * moments(edge, width)[2]

    @staticmethod
    def entropy_of(scale: Tensor, edge: Tensor, width: Tensor, log_height: Tensor) -> Tensor:
        from_mean, from_edge, variance = moments(edge, width)
        tail = from_edge * (edge + 0.5 * from_edge) + 0.5 * variance
        mid = 0.5 * (variance + from_mean * from_mean)
        return scale.log() - log_height + torch.where(edge < INSIDE, mid, tail)


def normal_cdf(x: Tensor) -> Tensor:
    """The standard normal cdf with full precision in the lower tail (``torch.special.ndtr`` rounds
    it to 0).
    """
    return 0.5 * torch.special.erfc(-x * math.sqrt(0.5))


def outer(edge: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Edge and width for formulas of a tail; where the mean is well inside, some numbers that do no
    harm.
    """
    tail = edge >= INSIDE
    return torch.where(tail, edge, 0.0), torch.where(tail, width.clamp(max=1e3), 1.0)


def log_hazard(a: Tensor) -> Tensor:
    r""":math:`\log \varphi(a) / Q(a)` of the standard normal, with :math:`Q = 1 - \Phi`."""
    return 0.5 * math.log(2.0 / math.pi) - log_erfcx(a * math.sqrt(0.5))


def fall(a: Tensor, steps: Tensor) -> Tensor:
    r""":math:`\log Q(a) - \log Q(a + d)`: how much of the tail behind ``a`` lies within ``d``."""
    size = torch.finfo(a.dtype).eps ** 0.25
    narrow = steps * (1.0 + a.abs()) < size
    h = log_hazard(a).exp()
    slope = h * (h - a)
    short = torch.where(narrow, steps, 0.0)
    series = short * (h + short * (0.5 * slope + short * (slope * (2.0 * h - a) - h) / 6.0))
    d = torch.where(narrow, size, steps)
    whole = d * (a + 0.5 * d) - log_erfcx((a + d) * math.sqrt(0.5)) + log_erfcx(a * math.sqrt(0.5))
    return torch.where(narrow, series, whole)


def descent(noise: Tensor, a: Tensor, width: Tensor) -> Tensor:
    """A draw's distance from the edge, in deviations: Newton's method on the logarithm of the tail,
    pathwise.
    """
    target = -torch.log1p(noise * torch.expm1(-fall(a, width)))
    with torch.no_grad():
        slope = log_hazard(a).exp()
        steep = 2.0 * target / (slope + torch.sqrt(slope * slope + 2.0 * target))
        flat = -torch.special.ndtri(normal_cdf(-a.clamp(max=5.0)) * torch.exp(-target)) - a
        d = torch.minimum(torch.where(a > 4.0, steep, flat).clamp(min=0.0), width)
        for _ in range(3):
            d = d - (fall(a, d) - target) / log_hazard(a + d).exp()
            d = torch.minimum(d.clamp(min=0.0), width)
        slope = log_hazard(a + d).exp()
    return d - (fall(a, d) - target) / slope


def moments(edge: Tensor, width: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mean counted from the normal's own and from the edge, and the variance, in deviations;
    summed in float64.
    """
    a, b = edge.double().clamp(min=-12.0), edge.double() + width.double()
    w = (b - a).clamp(max=1e4)
    left = fall(a, w)
    low = log_hazard(a).exp()
    high = log_hazard(a + w).exp() * torch.exp(-left)
    whole = -torch.expm1(-left)
    mean = (low - high) / whole
    variance = 1.0 + (a * low - (a + w) * high) / whole - mean * mean
    rate = a.clamp(min=600.0)
    far = (
        1.0 / rate.square()
        - (w / (2.0 * torch.sinh((0.5 * rate * w).clamp(min=1e-2, max=500.0)))).square()
    )
    # a tail so far out is that of an exponential distribution
    variance = torch.where(a > 600.0, far, variance)
    narrow = w * (1.0 + a.abs()) < 1e-3
    variance = torch.where(
        narrow, w * w / 12.0, torch.minimum(variance.clamp(min=0.0), w * w / 4.0)
    )
    from_edge = torch.where(narrow, w / 2.0, torch.minimum((mean - a).clamp(min=0.0), w))
    return mean.to(edge.dtype), from_edge.to(edge.dtype), variance.to(edge.dtype)
