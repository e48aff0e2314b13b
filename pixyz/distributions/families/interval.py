"""Densities on an interval; parameters and samples are ``[B, ...]``, a density each.

Formulas as in Johnson, Kotz and Balakrishnan, *Continuous Univariate Distributions* (2nd ed.
1994-95).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.families.bernoulli import Odds
from pixyz.distributions.families.given import Value, one_of
from pixyz.distributions.families.noise import exponential_noise, uniform_noise
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.special import (
    LARGE,
    log_binomial,
    log_gamma_draw,
    power_log,
    power_log1m,
)
from pixyz.types import VarSpec

UNIT = (0.0, 1.0)
SMALL = 0.5
"""Logits below which a continuous Bernoulli is a polynomial of them."""


class Uniform(ParametricDistribution):
    r"""The uniform distribution on :math:`[a, b)`; parameters ``low``, ``high``.

    >>> Uniform(var="x", low=0.0, high=2.0).get_log_prob({"x": torch.tensor([1.0, 3.0])})
    tensor([-0.6931,    -inf])
    """

    params_keys = ("low", "high")
    noise_shape = ("low", "high")
    torch_family = td.Uniform
    noise = staticmethod(uniform_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        low: Value = None,
        high: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, low=low, high=high)

    @staticmethod
    def draw(noise: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return torch.addcmul(low, high - low, noise)

    @staticmethod
    def log_density(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return torch.where((x >= low) & (x < high), -(high - low).log(), -math.inf)


class Beta(ParametricDistribution):
    r"""The beta distribution, :math:`p(x) = x^{\alpha-1}(1-x)^{\beta-1} / B(\alpha, \beta)`.

    Parameters ``concentration1`` (:math:`\alpha`), ``concentration0`` (:math:`\beta`); pathwise by
    implicit reparametrisation (Figurnov et al. 2018).

    >>> Beta(var="x", concentration1=2.0, concentration0=1.0).get_log_prob({"x": torch.ones(1)})
    tensor([0.6931])
    """

    params_keys = ("concentration1", "concentration0")
    noise_shape = ("concentration1", "concentration0")
    torch_family = td.Beta
    support = UNIT

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        concentration1: Value = None,
        concentration0: Value = None,
    ) -> None:
        super().__init__(
            var,
            cond_var,
            name,
            features_shape,
            concentration1=concentration1,
            concentration0=concentration0,
        )

    @staticmethod
    def log_density(x: Tensor, concentration1: Tensor, concentration0: Tensor) -> Tensor:
        a, b = concentration1, concentration0
        large = torch.maximum(a, b) >= LARGE + 1.0
        few_a, few_b = torch.where(large, 1.0, a), torch.where(large, 1.0, b)
        direct = power_log(few_a - 1.0, x) + power_log1m(few_b - 1.0, x)
        direct = direct + torch.lgamma(few_a + few_b) - torch.lgamma(few_a) - torch.lgamma(few_b)
        k, l = torch.where(large, a - 1.0, LARGE), torch.where(large, b - 1.0, LARGE)
        y = torch.where(large, x, 0.5)
        return torch.where(large, log_binomial(k, l, y, 1.0 - y) + (k + l + 1.0).log(), direct)

    @staticmethod
    def draw(noise: Tensor, concentration1: Tensor, concentration0: Tensor) -> Tensor:
        a, b = concentration1.expand(noise.shape), concentration0.expand(noise.shape)
        info = torch.finfo(noise.dtype)
        return torch.sigmoid(log_gamma_draw(a) - log_gamma_draw(b)).clamp(
            info.tiny, 1.0 - info.eps / 2
        )


class Kumaraswamy(ParametricDistribution):
    r"""Kumaraswamy's distribution, :math:`p(x) = ab\,x^{a-1}(1-x^a)^{b-1}`: like Beta, with an
    inverse cdf.

    Parameters ``concentration1`` (a), ``concentration0`` (b).  Kumaraswamy, *J. Hydrology* 46
    (1980).

    >>> Kumaraswamy(var="x", concentration1=1.0, concentration0=2.0).get_log_prob(
    ...     {"x": torch.zeros(1)}
    ... )
    tensor([0.6931])
    """

    params_keys = ("concentration1", "concentration0")
    noise_shape = ("concentration1", "concentration0")
    torch_family = td.Kumaraswamy
    support = UNIT
    noise = staticmethod(exponential_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        concentration1: Value = None,
        concentration0: Value = None,
    ) -> None:
        super().__init__(
            var,
            cond_var,
            name,
            features_shape,
            concentration1=concentration1,
            concentration0=concentration0,
        )

    @staticmethod
    def draw(noise: Tensor, concentration1: Tensor, concentration0: Tensor) -> Tensor:
        info = torch.finfo(noise.dtype)
        return (
            (-torch.expm1(-noise / concentration0))
            .pow(1.0 / concentration1)
            .clamp(info.tiny, 1.0 - info.eps / 2)
        )

    @staticmethod
    def log_density(x: Tensor, concentration1: Tensor, concentration0: Tensor) -> Tensor:
        a, b = concentration1, concentration0
        rest = -torch.expm1(a * x.clamp(min=torch.finfo(x.dtype).tiny).log())
        return a.log() + b.log() + power_log(a - 1.0, x) + power_log(b - 1.0, rest)

    @staticmethod
    def minus_log_density_of_noise(
        noise: Tensor, concentration1: Tensor, concentration0: Tensor
    ) -> Tensor:
        a, b = concentration1, concentration0
        return (
            (b - 1.0) * noise / b
            - (1.0 - 1.0 / a) * torch.log(-torch.expm1(-noise / b))
            - a.log()
            - b.log()
        )


class ContinuousBernoulli(Odds, ParametricDistribution):
    r"""The continuous Bernoulli distribution on [0, 1], :math:`p(x) =
    C(\lambda)\lambda^x(1-\lambda)^{1-x}`.

    For grey values, where a Bernoulli is no density (Loaiza-Ganem and Cunningham 2019); ``probs``
    or ``logits``.

    >>> ContinuousBernoulli(var="x", logits=2.0).get_log_prob({"x": torch.tensor([0.5])})
    tensor([-0.1614])
    """

    params_keys = ("probs",)
    noise_shape = ("probs",)
    torch_family = td.ContinuousBernoulli
    torch_keys = ("logits",)
    support = UNIT
    noise = staticmethod(uniform_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        probs: Value = None,
        logits: Value = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)

    @staticmethod
    def derive_log_height(logits: Tensor) -> Tensor:
        r""":math:`\log C` at the middle,
        :math:`\log \frac{h}{\sinh h}` with :math:`h = |l| / 2`.
        """
        small = logits.abs() < SMALL
        h = 0.5 * torch.where(small, SMALL, logits).abs()
        y = torch.where(small, 0.5 * logits, 0.0).square()
        series = -y * (1 / 6 - y * (1 / 180 - y * (1 / 2835 - y / 37800)))
        return torch.where(small, series, (2.0 * h).log() - h - torch.log(-torch.expm1(-2.0 * h)))

    @staticmethod
    def draw(noise: Tensor, logits: Tensor) -> Tensor:
        small = logits.abs() < torch.finfo(noise.dtype).eps ** 0.5
        size = torch.where(small, 1.0, logits).abs()
        steep = -torch.log1p(noise * torch.expm1(-size)) / size
        steep = torch.where(logits > 0, 1.0 - steep, steep)
        u = torch.where(logits > 0, 1.0 - noise, noise)
        return torch.where(small, u + 0.5 * logits * u * (1.0 - u), steep)

    @staticmethod
    def log_density(x: Tensor, logits: Tensor, log_height: Tensor) -> Tensor:
        return log_height + logits * (x - 0.5)

    @staticmethod
    def mean_of(logits: Tensor) -> Tensor:
        small = logits.abs() < SMALL
        l = torch.where(small, SMALL, logits)
        y = torch.where(small, logits, 0.0)
        series = y * (1 / 12 - y * y * (1 / 720 - y * y * (1 / 30240 - y * y / 1209600)))
        return 0.5 + torch.where(small, series, 0.5 / torch.tanh(0.5 * l) - 1.0 / l)

    @staticmethod
    def variance_of(logits: Tensor) -> Tensor:
        small = logits.abs() < SMALL
        l = torch.where(small, SMALL, logits).abs()
        y = torch.where(small, logits, 0.0).square()
        series = 1 / 12 - y * (1 / 240 - y * (1 / 6048 - y * (1 / 172800 - y / 5322240)))
        return torch.where(small, series, 1.0 / (l * l) - torch.exp(-l) / torch.expm1(-l).square())

    @staticmethod
    def entropy_of(logits: Tensor, log_height: Tensor) -> Tensor:
        return -logits * (ContinuousBernoulli.mean_of(logits) - 0.5) - log_height
