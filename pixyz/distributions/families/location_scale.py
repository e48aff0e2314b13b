r"""Densities on the line, most of them :math:`x = \mu + \sigma\epsilon` of a standard variable.

Formulas as in Johnson, Kotz and Balakrishnan, *Continuous Univariate Distributions* (2nd ed.
1994-95).  Parameters and samples are ``[B, ...]``, a density each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.families.given import Value
from pixyz.distributions.families.noise import exponential_noise, normal_noise
from pixyz.distributions.families.normal import LOG_SQRT_2PI, Normal
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.special import (
    LOG_2PI,
    log1p_square,
    log_gamma_draw,
    log_gamma_half,
    log_i0e,
)
from pixyz.types import VarSpec


def laplace_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Noise of the standard Laplace distribution: an exponential with a random sign."""
    return exponential_noise(shape, like).mul_(
        (torch.rand(tuple(shape), device=like.device) < 0.5) * 2 - 1
    )


def gumbel_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Noise of the standard Gumbel distribution."""
    return exponential_noise(shape, like).log_().neg_()


def cauchy_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Noise of the standard Cauchy distribution."""
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device).cauchy_()


class Laplace(ParametricDistribution):
    r"""The Laplace distribution, :math:`p(x) = \frac{1}{2b} e^{-|x-\mu|/b}`; parameters ``loc``,
    ``scale``.

    >>> p = Laplace(var="x", loc=0.0, scale=1.0, features_shape=[2])
    >>> p.get_log_prob({"x": torch.zeros(1, 2)})
    tensor([-1.3863])
    """

    params_keys = ("loc", "scale")
    noise_shape = ("loc", "scale")
    torch_family = td.Laplace
    noise = staticmethod(laplace_noise)
    draw = staticmethod(Normal.draw)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        scale: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, loc=loc, scale=scale)

    @staticmethod
    def log_density(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return -(x - loc).abs() / scale - scale.log() - math.log(2.0)


class Cauchy(ParametricDistribution):
    r"""The Cauchy distribution, :math:`p(x) = [\pi\gamma(1 + (x-\mu)^2/\gamma^2)]^{-1}`; it has no
    mean (NaN).

    >>> Cauchy(var="x", loc=0.0, scale=1.0).get_log_prob({"x": torch.zeros(1)})
    tensor([-1.1447])
    """

    params_keys = ("loc", "scale")
    noise_shape = ("loc", "scale")
    torch_family = td.Cauchy
    noise = staticmethod(cauchy_noise)
    draw = staticmethod(Normal.draw)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        scale: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, loc=loc, scale=scale)

    @staticmethod
    def log_density(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return -log1p_square((x - loc) / scale) - scale.log() - math.log(math.pi)


class Gumbel(ParametricDistribution):
    r"""The Gumbel distribution of maxima, :math:`p(x) = \frac1\beta e^{-(y + e^{-y})},\ y =
    (x-\mu)/\beta`.

    >>> Gumbel(var="x", loc=0.0, scale=1.0).get_log_prob({"x": torch.zeros(1)})
    tensor([-1.])
    """

    params_keys = ("loc", "scale")
    noise_shape = ("loc", "scale")
    torch_family = td.Gumbel
    noise = staticmethod(gumbel_noise)
    draw = staticmethod(Normal.draw)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        scale: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, loc=loc, scale=scale)

    @staticmethod
    def log_density(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        y = (x - loc) / scale
        most = math.log(torch.finfo(x.dtype).max) - 1.0
        return -y - torch.exp((-y).clamp(max=most)) - scale.log()


class LogNormal(ParametricDistribution):
    r"""The log-normal distribution: :math:`\log x \sim \mathcal{N}(\mu, \sigma^2)`; ``x > 0``.

    >>> LogNormal(var="x", loc=0.0, scale=1.0).get_log_prob({"x": torch.ones(1)})
    tensor([-0.9189])
    """

    params_keys = ("loc", "scale")
    noise_shape = ("loc", "scale")
    torch_family = td.LogNormal
    support = (0.0, math.inf)
    noise = staticmethod(normal_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        scale: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, loc=loc, scale=scale)

    @staticmethod
    def draw(noise: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        info = torch.finfo(noise.dtype)
        return Normal.draw(noise, loc, scale).exp().clamp(info.tiny, info.max)

    @staticmethod
    def log_density(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        log = x.clamp(min=torch.finfo(x.dtype).tiny).log()
        gap = (log - loc) / scale
        return -0.5 * gap * gap - log - scale.log() - LOG_SQRT_2PI


class StudentT(ParametricDistribution):
    r"""Student's t distribution, :math:`p(x) \propto (1 + y^2/\nu)^{-(\nu+1)/2},\ y =
    (x-\mu)/\sigma`.

    Parameters ``df`` (:math:`\nu`), ``loc``, ``scale``.  The mean needs :math:`\nu > 1`, the
    variance :math:`\nu > 2`.

    >>> StudentT(var="x", df=1.0, loc=0.0, scale=1.0).get_log_prob({"x": torch.zeros(1)})
    tensor([-1.1447])
    """

    params_keys = ("df", "loc", "scale")
    noise_shape = ("df", "loc", "scale")
    torch_family = td.StudentT
    noise = staticmethod(normal_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        df: Value = None,
        loc: Value = None,
        scale: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, df=df, loc=loc, scale=scale)

    @staticmethod
    def draw(noise: Tensor, df: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        half = (0.5 * df).expand(noise.shape)
        most = math.log(torch.finfo(noise.dtype).max) - 8.0
        spread = torch.exp((0.5 * (half.log() - log_gamma_draw(half))).clamp(max=most))
        return loc + scale * (noise * spread)

    @staticmethod
    def log_density(x: Tensor, df: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        tail = 0.5 * (df + 1.0) * log1p_square((x - loc) / (scale * df.sqrt()))
        return log_gamma_half(0.5 * df) - LOG_SQRT_2PI - scale.log() - tail

    @staticmethod
    def mean_of(df: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return torch.where(df > 1.0, loc, math.nan).expand(
            torch.broadcast_shapes(df.shape, loc.shape, scale.shape)
        )

    @staticmethod
    def variance_of(df: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        finite = scale * scale * df / torch.where(df > 2.0, df - 2.0, 1.0)
        found = torch.where(df > 2.0, finite, torch.where(df > 1.0, math.inf, math.nan))
        return found.expand(torch.broadcast_shapes(found.shape, loc.shape))

    @staticmethod
    def entropy_of(df: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        half = 0.5 * (df + 1.0)
        log_beta = torch.lgamma(0.5 * df) + 0.5 * math.log(math.pi) - torch.lgamma(half)
        found = (
            scale.log()
            + half * (torch.digamma(half) - torch.digamma(0.5 * df))
            + 0.5 * df.log()
            + log_beta
        )
        return found.expand(torch.broadcast_shapes(found.shape, loc.shape))


class VonMises(ParametricDistribution):
    r"""The von Mises distribution of an angle, :math:`p(x) = e^{\kappa\cos(x-\mu)} / 2\pi
    I_0(\kappa)`, :math:`|x| \le \pi`.

    Parameters ``loc``, ``concentration``.  Samples by rejection (Best and Fisher 1979): no pathwise
    gradient.  The variance is the circular one, :math:`1 - I_1(\kappa)/I_0(\kappa)`.

    >>> VonMises(var="x", loc=0.0, concentration=1.0).get_log_prob({"x": torch.zeros(1)})
    tensor([-1.0738])
    """

    params_keys = ("loc", "concentration")
    noise_shape = ("loc", "concentration")
    period: ClassVar[float | None] = 2.0 * math.pi
    torch_family = td.VonMises

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        concentration: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, loc=loc, concentration=concentration)

    @staticmethod
    def log_density(x: Tensor, loc: Tensor, concentration: Tensor) -> Tensor:
        half = torch.sin(0.5 * (x - loc))  # cos(x - loc) - 1 = -2 sin^2
        return -2.0 * concentration * half * half - log_i0e(concentration) - LOG_2PI
