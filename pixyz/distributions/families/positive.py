"""Densities of positive numbers.

Formulas as in Johnson, Kotz and Balakrishnan, *Continuous Univariate Distributions* (2nd ed.
1994-95).  Parameters and samples are ``[B, ...]``, a density each; at a negative number it is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.families.gamma import POSITIVE
from pixyz.distributions.families.given import Value
from pixyz.distributions.families.location_scale import cauchy_noise
from pixyz.distributions.families.noise import exponential_noise, normal_noise
from pixyz.distributions.families.normal import LOG_SQRT_2PI
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.special import (
    log1p_square,
    power_log,
)
from pixyz.types import VarSpec


class Exponential(ParametricDistribution):
    r"""The exponential distribution, :math:`p(x) = \lambda e^{-\lambda x}`; parameter ``rate``
    (:math:`\lambda`).

    >>> Exponential(var="x", rate=2.0).get_log_prob({"x": torch.zeros(1)})
    tensor([0.6931])
    """

    params_keys = ("rate",)
    noise_shape = ("rate",)
    torch_family = td.Exponential
    support = POSITIVE
    noise = staticmethod(exponential_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        rate: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, rate=rate)

    @staticmethod
    def draw(noise: Tensor, rate: Tensor) -> Tensor:
        return noise / rate

    @staticmethod
    def log_density(x: Tensor, rate: Tensor) -> Tensor:
        return rate.log() - rate * x


class HalfNormal(ParametricDistribution):
    r"""The distribution of :math:`|x|,\ x \sim \mathcal{N}(0, \sigma^2)`; parameter ``scale``.

    >>> HalfNormal(var="x", scale=1.0).get_log_prob({"x": torch.zeros(1)})
    tensor([-0.2258])
    """

    params_keys = ("scale",)
    noise_shape = ("scale",)
    torch_family = td.HalfNormal
    support = POSITIVE
    noise = staticmethod(normal_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        scale: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, scale=scale)

    @staticmethod
    def draw(noise: Tensor, scale: Tensor) -> Tensor:
        return noise.abs() * scale

    @staticmethod
    def log_density(x: Tensor, scale: Tensor) -> Tensor:
        gap = x / scale
        return math.log(2.0) - LOG_SQRT_2PI - 0.5 * gap * gap - scale.log()

    @staticmethod
    def mean_of(scale: Tensor) -> Tensor:
        return scale * math.sqrt(2.0 / math.pi)

    @staticmethod
    def variance_of(scale: Tensor) -> Tensor:
        return scale * scale * (1.0 - 2.0 / math.pi)

    @staticmethod
    def entropy_of(scale: Tensor) -> Tensor:
        return scale.log() + (0.5 + LOG_SQRT_2PI - math.log(2.0))


class HalfCauchy(ParametricDistribution):
    r"""The distribution of :math:`|x|,\ x \sim \mathrm{Cauchy}(0, \gamma)`; parameter ``scale``; it
    has no mean.

    >>> HalfCauchy(var="x", scale=1.0).get_log_prob({"x": torch.zeros(1)})
    tensor([-0.4516])
    """

    params_keys = ("scale",)
    noise_shape = ("scale",)
    torch_family = td.HalfCauchy
    support = POSITIVE
    noise = staticmethod(cauchy_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        scale: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, scale=scale)

    @staticmethod
    def draw(noise: Tensor, scale: Tensor) -> Tensor:
        return noise.abs() * scale

    @staticmethod
    def log_density(x: Tensor, scale: Tensor) -> Tensor:
        return math.log(2.0 / math.pi) - scale.log() - log1p_square(x / scale)

    @staticmethod
    def mean_of(scale: Tensor) -> Tensor:
        return torch.full_like(scale, math.inf)

    @staticmethod
    def variance_of(scale: Tensor) -> Tensor:
        return torch.full_like(scale, math.inf)

    @staticmethod
    def entropy_of(scale: Tensor) -> Tensor:
        return scale.log() + math.log(2.0 * math.pi)


class Pareto(ParametricDistribution):
    r"""The Pareto distribution, :math:`p(x) = \alpha m^\alpha x^{-\alpha-1},\ x \ge m`; ``scale``
    (m), ``alpha``.

    >>> Pareto(var="x", scale=1.0, alpha=2.0).get_log_prob({"x": torch.tensor([1.0, 0.5])})
    tensor([0.6931,   -inf])
    """

    params_keys = ("scale", "alpha")
    noise_shape = ("scale", "alpha")
    torch_family = td.Pareto
    noise = staticmethod(exponential_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        scale: Value = None,
        alpha: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, scale=scale, alpha=alpha)

    @staticmethod
    def draw(noise: Tensor, scale: Tensor, alpha: Tensor) -> Tensor:
        return (scale * torch.exp(noise / alpha)).clamp(max=torch.finfo(noise.dtype).max)

    @staticmethod
    def log_density(x: Tensor, scale: Tensor, alpha: Tensor) -> Tensor:
        inside = x >= scale
        x = torch.where(inside, x, scale)
        above = (x - scale) / scale  # all digits of a value near the scale
        return torch.where(inside, alpha.log() - alpha * torch.log1p(above) - x.log(), -math.inf)


class Weibull(ParametricDistribution):
    r"""The Weibull distribution, :math:`p(x) = \frac{k}{\lambda} y^{k-1} e^{-y^k},\ y = x/\lambda`.

    Parameters ``scale`` (:math:`\lambda`), ``concentration`` (k).

    >>> Weibull(var="x", scale=2.0, concentration=1.0).get_log_prob({"x": torch.ones(1)})
    tensor([-1.1931])
    """

    params_keys = ("scale", "concentration")
    noise_shape = ("scale", "concentration")
    torch_family = td.Weibull
    support = POSITIVE
    noise = staticmethod(exponential_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        scale: Value = None,
        concentration: Value = None,
    ) -> None:
        super().__init__(
            var, cond_var, name, features_shape, scale=scale, concentration=concentration
        )

    @staticmethod
    def draw(noise: Tensor, scale: Tensor, concentration: Tensor) -> Tensor:
        info = torch.finfo(noise.dtype)
        return (scale * noise.pow(1.0 / concentration)).clamp(info.tiny, info.max)

    @staticmethod
    def log_density(x: Tensor, scale: Tensor, concentration: Tensor) -> Tensor:
        gap = (x - scale) / scale
        near = gap.abs() < 0.5
        y = torch.where(near, 1.0, x / scale)
        # all digits of a value near the scale
        power = torch.exp(concentration * torch.log1p(torch.where(near, gap, 0.0)))
        first = (concentration - 1.0) * torch.log1p(torch.where(near, gap, 0.0)) + power_log(
            concentration - 1.0, y
        )
        return (
            concentration.log()
            - scale.log()
            + first
            - torch.where(near, power, y.pow(concentration))
        )
