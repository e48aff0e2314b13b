"""Densities on an interval; parameters and samples are ``[B, ...]``, a density each.

Formulas as in Johnson, Kotz and Balakrishnan, *Continuous Univariate Distributions* (2nd ed. 1994-95).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.families import LOG_SQRT_2PI, one_of
from pixyz.distributions.noise import uniform_noise
from pixyz.distributions.parametric import ParametricDistribution
from pixyz.distributions.torch_family import OddsFamily, TorchFamily, exponential_noise, open_uniform_noise
from pixyz.types import VarSpec

UNIT = (0.0, 1.0)


class Uniform(TorchFamily):
    r"""The uniform distribution on :math:`[a, b)`; parameters ``low``, ``high``.

    >>> Uniform(var="x", low=0., high=2.).get_log_prob({"x": torch.tensor([1., 3.])})
    tensor([-0.6931,    -inf])
    """

    params_keys = ("low", "high")
    noise_shape = ("low", "high")
    torch_family = td.Uniform
    noise = staticmethod(uniform_noise)

    def __init__(
        self, var: VarSpec = ("x",), cond_var: VarSpec = (), name: str = "p",
        features_shape: Sequence[int] | None = None, low: Any = None, high: Any = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, low=low, high=high)

    @staticmethod
    def draw(noise: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return torch.addcmul(low, high - low, noise)

    @staticmethod
    def log_density(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return torch.where((x >= low) & (x < high), -(high - low).log(), -math.inf)


class Beta(TorchFamily):
    r"""The beta distribution, :math:`p(x) = x^{\alpha-1}(1-x)^{\beta-1} / B(\alpha, \beta)`.

    Parameters ``concentration1`` (:math:`\alpha`), ``concentration0`` (:math:`\beta`); pathwise by implicit
    reparametrisation (Figurnov et al. 2018).

    >>> Beta(var="x", concentration1=2., concentration0=1.).get_log_prob({"x": torch.ones(1)})
    tensor([0.6931])
    """

    params_keys = ("concentration1", "concentration0")
    noise_shape = ("concentration1", "concentration0")
    torch_family = td.Beta
    support = UNIT

    def __init__(
        self, var: VarSpec = ("x",), cond_var: VarSpec = (), name: str = "p",
        features_shape: Sequence[int] | None = None, concentration1: Any = None, concentration0: Any = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, concentration1=concentration1, concentration0=concentration0)

    @staticmethod
    def log_density(x: Tensor, concentration1: Tensor, concentration0: Tensor) -> Tensor:
        total = torch.lgamma(concentration1 + concentration0) - torch.lgamma(concentration1) - torch.lgamma(concentration0)
        return torch.special.xlogy(concentration1 - 1.0, x) + torch.special.xlog1py(concentration0 - 1.0, -x) + total


class Kumaraswamy(TorchFamily):
    r"""Kumaraswamy's distribution, :math:`p(x) = ab\,x^{a-1}(1-x^a)^{b-1}`: like Beta, with an inverse cdf.

    Parameters ``concentration1`` (a), ``concentration0`` (b).  Kumaraswamy, *J. Hydrology* 46 (1980).

    >>> Kumaraswamy(var="x", concentration1=1., concentration0=2.).get_log_prob({"x": torch.zeros(1)})
    tensor([0.6931])
    """

    params_keys = ("concentration1", "concentration0")
    noise_shape = ("concentration1", "concentration0")
    torch_family = td.Kumaraswamy
    support = UNIT
    noise = staticmethod(exponential_noise)

    def __init__(
        self, var: VarSpec = ("x",), cond_var: VarSpec = (), name: str = "p",
        features_shape: Sequence[int] | None = None, concentration1: Any = None, concentration0: Any = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, concentration1=concentration1, concentration0=concentration0)

    @staticmethod
    def draw(noise: Tensor, concentration1: Tensor, concentration0: Tensor) -> Tensor:
        return (-torch.expm1(-noise / concentration0)).pow(1.0 / concentration1)

    @staticmethod
    def log_density(x: Tensor, concentration1: Tensor, concentration0: Tensor) -> Tensor:
        a, b = concentration1, concentration0
        return a.log() + b.log() + torch.special.xlogy(a - 1.0, x) + torch.special.xlog1py(b - 1.0, -x.pow(a))


class ContinuousBernoulli(OddsFamily):
    r"""The continuous Bernoulli distribution on [0, 1], :math:`p(x) = C(\lambda)\lambda^x(1-\lambda)^{1-x}`.

    For grey values, where a Bernoulli is no density (Loaiza-Ganem and Cunningham 2019); ``probs`` or ``logits``.

    >>> ContinuousBernoulli(var="x", probs=0.5).get_log_prob({"x": torch.tensor([0.3])})
    tensor([0.])
    """

    params_keys = ("probs",)
    noise_shape = ("probs",)
    torch_family = td.ContinuousBernoulli
    torch_keys = ("logits",)
    support = UNIT

    def __init__(
        self, var: VarSpec = ("x",), cond_var: VarSpec = (), name: str = "p",
        features_shape: Sequence[int] | None = None, probs: Any = None, logits: Any = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)


class TruncatedNormal(ParametricDistribution):
    r"""The normal distribution held between two bounds,
    :math:`p(x) = \mathcal{N}(x; \mu, \sigma^2) / (\Phi(\beta) - \Phi(\alpha))` for :math:`a \le x \le b`, with
    :math:`\alpha = (a-\mu)/\sigma,\ \beta = (b-\mu)/\sigma`.

    Parameters ``loc``, ``scale`` (of the normal), ``low``, ``high``.  Sampled by the inverse cdf, in the tail where it is
    exact, so gradients are pathwise in all four.

    >>> p = TruncatedNormal(var="x", loc=0., scale=1., low=-1., high=1.)
    >>> p.get_log_prob({"x": torch.tensor([0., 2.])})
    tensor([-0.5372,    -inf])
    """

    params_keys = ("loc", "scale", "low", "high")
    noise_shape = ("loc", "scale", "low", "high")
    noise = staticmethod(open_uniform_noise)

    def __init__(
        self, var: VarSpec = ("x",), cond_var: VarSpec = (), name: str = "p",
        features_shape: Sequence[int] | None = None, loc: Any = None, scale: Any = None, low: Any = None, high: Any = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, loc=loc, scale=scale, low=low, high=high)

    @staticmethod
    def derive_alpha(loc: Tensor, scale: Tensor, low: Tensor) -> Tensor:
        return (low - loc) / scale

    @staticmethod
    def derive_beta(loc: Tensor, scale: Tensor, high: Tensor) -> Tensor:
        return (high - loc) / scale

    @staticmethod
    def derive_log_mass(alpha: Tensor, beta: Tensor) -> Tensor:
        near, far = nearer_tail(alpha, beta)
        log_far, log_near = torch.special.log_ndtr(far), torch.special.log_ndtr(near)
        return log_far + torch.log(-torch.expm1(log_near - log_far))

    @staticmethod
    def draw(
        noise: Tensor, loc: Tensor, scale: Tensor, low: Tensor, high: Tensor, alpha: Tensor, beta: Tensor
    ) -> Tensor:
        near, far = nearer_tail(alpha, beta)
        edge = normal_cdf(near)
        u = torch.special.ndtri(edge + noise * (normal_cdf(far) - edge))
        x = loc + scale * torch.where(alpha + beta > 0, -u, u)
        return torch.minimum(torch.maximum(x, low), high)

    @staticmethod
    def log_density(
        x: Tensor, loc: Tensor, scale: Tensor, low: Tensor, high: Tensor, log_mass: Tensor
    ) -> Tensor:
        gap = (x - loc) / scale
        inside = -0.5 * gap * gap - LOG_SQRT_2PI - scale.log() - log_mass
        return torch.where((x >= low) & (x <= high), inside, -math.inf)

    @staticmethod
    def mean_of(loc: Tensor, scale: Tensor, alpha: Tensor, beta: Tensor, log_mass: Tensor) -> Tensor:
        return loc + scale * (relative_height(alpha, log_mass) - relative_height(beta, log_mass))

    @staticmethod
    def variance_of(scale: Tensor, alpha: Tensor, beta: Tensor, log_mass: Tensor) -> Tensor:
        at_low, at_high = relative_height(alpha, log_mass), relative_height(beta, log_mass)
        return scale.square() * (1.0 + alpha * at_low - beta * at_high - (at_low - at_high).square())

    @staticmethod
    def entropy_of(scale: Tensor, alpha: Tensor, beta: Tensor, log_mass: Tensor) -> Tensor:
        at_low, at_high = relative_height(alpha, log_mass), relative_height(beta, log_mass)
        return 0.5 + LOG_SQRT_2PI + scale.log() + log_mass + 0.5 * (alpha * at_low - beta * at_high)


def normal_cdf(x: Tensor) -> Tensor:
    """The standard normal cdf with full precision in the lower tail (``torch.special.ndtr`` rounds it to 0)."""
    return 0.5 * torch.special.erfc(-x * math.sqrt(0.5))


def nearer_tail(alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """The interval, mirrored where it lies above 0: the lower tail of the normal cdf keeps its relative precision."""
    above = alpha + beta > 0
    return torch.where(above, -beta, alpha), torch.where(above, -alpha, beta)


def relative_height(edge: Tensor, log_mass: Tensor) -> Tensor:
    """The standard normal density at ``edge`` over the mass of the interval."""
    return torch.exp(-0.5 * edge * edge - LOG_SQRT_2PI - log_mass)
