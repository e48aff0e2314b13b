"""Densities of positive numbers.

Formulas as in Johnson, Kotz and Balakrishnan, *Continuous Univariate Distributions* (2nd ed.
1994-95).  Parameters and samples are ``[B, ...]``, a density each; at a negative number it is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.families.location_scale import cauchy_noise
from pixyz.distributions.families.noise import normal_noise
from pixyz.distributions.families.normal import LOG_SQRT_2PI
from pixyz.distributions.families.special import (
    LARGE,
    log1p_square,
    log_gamma,
    log_poisson,
    power_log,
)
from pixyz.distributions.families.torch_family import TorchFamily, chi2_draw, exponential_noise
from pixyz.types import VarSpec

POSITIVE = (0.0, math.inf)


class Gamma(TorchFamily):
    r"""The gamma distribution, :math:`p(x) = \frac{\beta^\alpha}{\Gamma(\alpha)} x^{\alpha-1}
    e^{-\beta x}`.

    Parameters ``concentration`` (:math:`\alpha`), ``rate`` (:math:`\beta`).  Samples have pathwise
    gradients by implicit reparametrisation (Figurnov et al. 2018).

    >>> Gamma(var="x", concentration=1.0, rate=2.0).get_log_prob({"x": torch.zeros(1)})
    tensor([0.6931])
    """

    params_keys = ("concentration", "rate")
    noise_shape = ("concentration", "rate")
    torch_family = td.Gamma
    support = POSITIVE

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        concentration: Any = None,
        rate: Any = None,
    ) -> None:
        super().__init__(
            var, cond_var, name, features_shape, concentration=concentration, rate=rate
        )

    @staticmethod
    def log_density(x: Tensor, concentration: Tensor, rate: Tensor) -> Tensor:
        return log_gamma(x, concentration, rate)


class InverseGamma(TorchFamily):
    r"""The distribution of :math:`1/g,\ g \sim \mathrm{Gamma}(\alpha, \beta)`; ``concentration``,
    ``rate``.

    The mean is infinite for :math:`\alpha \le 1`, the variance for :math:`\alpha \le 2`.

    >>> InverseGamma(var="x", concentration=1.0, rate=1.0).get_log_prob({"x": torch.ones(1)})
    tensor([-1.])
    """

    params_keys = ("concentration", "rate")
    noise_shape = ("concentration", "rate")
    torch_family = td.InverseGamma
    support = POSITIVE

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        concentration: Any = None,
        rate: Any = None,
    ) -> None:
        super().__init__(
            var, cond_var, name, features_shape, concentration=concentration, rate=rate
        )

    @staticmethod
    def log_density(x: Tensor, concentration: Tensor, rate: Tensor) -> Tensor:
        info = torch.finfo(x.dtype)
        # rate / x is finite
        x = torch.maximum(x, rate.detach() * (16.0 / info.max)).clamp(min=info.tiny)
        large = concentration >= LARGE + 1.0
        few, many = (
            torch.where(large, 1.0, concentration),
            torch.where(large, concentration - 1.0, LARGE),
        )
        turned = rate / x
        direct = few * rate.log() - torch.lgamma(few) - (few + 1.0) * x.log() - turned
        return torch.where(large, log_poisson(many, turned) + rate.log() - 2.0 * x.log(), direct)


class Chi2(TorchFamily):
    r"""The chi-squared distribution, :math:`\mathrm{Gamma}(\nu/2, 1/2)`; parameter ``df``
    (:math:`\nu`).

    >>> Chi2(var="x", df=2.0).get_log_prob({"x": torch.zeros(1)})
    tensor([-0.6931])
    """

    params_keys = ("df",)
    noise_shape = ("df",)
    torch_family = td.Chi2
    support = POSITIVE

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        df: Any = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, df=df)

    @staticmethod
    def draw(noise: Tensor, df: Tensor) -> Tensor:
        return chi2_draw(noise, df)

    @staticmethod
    def log_density(x: Tensor, df: Tensor) -> Tensor:
        return log_gamma(x, 0.5 * df, torch.full_like(df, 0.5))

    @staticmethod
    def mean_of(df: Tensor) -> Tensor:
        return df

    @staticmethod
    def variance_of(df: Tensor) -> Tensor:
        return 2.0 * df

    @staticmethod
    def entropy_of(df: Tensor) -> Tensor:
        half = 0.5 * df
        return half + math.log(2.0) + torch.lgamma(half) + (1.0 - half) * torch.digamma(half)


class Exponential(TorchFamily):
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
        rate: Any = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, rate=rate)

    @staticmethod
    def draw(noise: Tensor, rate: Tensor) -> Tensor:
        return noise / rate

    @staticmethod
    def log_density(x: Tensor, rate: Tensor) -> Tensor:
        return rate.log() - rate * x


class HalfNormal(TorchFamily):
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
        scale: Any = None,
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


class HalfCauchy(TorchFamily):
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
        scale: Any = None,
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


class Pareto(TorchFamily):
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
        scale: Any = None,
        alpha: Any = None,
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


class Weibull(TorchFamily):
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
        scale: Any = None,
        concentration: Any = None,
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
