"""Gamma distributions: of a number, of its inverse, of a sum of squares.

Formulas as in Johnson, Kotz and Balakrishnan, *Continuous Univariate Distributions* (2nd ed.
1994-95).  Parameters and samples are ``[B, ...]``, a density each; at a negative number it is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.families.given import Value
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.special import LARGE, log_gamma, log_poisson
from pixyz.types import VarSpec

POSITIVE = (0.0, math.inf)


class Gamma(ParametricDistribution):
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
        concentration: Value = None,
        rate: Value = None,
    ) -> None:
        super().__init__(
            var, cond_var, name, features_shape, concentration=concentration, rate=rate
        )

    @staticmethod
    def log_density(x: Tensor, concentration: Tensor, rate: Tensor) -> Tensor:
        return log_gamma(x, concentration, rate)


class InverseGamma(ParametricDistribution):
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
        concentration: Value = None,
        rate: Value = None,
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
        few = torch.where(large, 1.0, concentration)
        many = torch.where(large, concentration - 1.0, LARGE)
        turned = rate / x
        direct = few * rate.log() - torch.lgamma(few) - (few + 1.0) * x.log() - turned
        return torch.where(large, log_poisson(many, turned) + rate.log() - 2.0 * x.log(), direct)


class Chi2(ParametricDistribution):
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
        df: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, df=df)

    @staticmethod
    def draw(noise: Tensor, df: Tensor) -> Tensor:
        drawn = 2.0 * torch._standard_gamma(0.5 * df.expand(noise.shape))
        drawn.detach().clamp_(min=torch.finfo(drawn.dtype).tiny)  # never 0
        return drawn

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
