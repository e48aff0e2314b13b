"""Counts, ``[B, ...]`` as their parameters, a density each.

Formulas as in Johnson, Kemp and Kotz, *Univariate Discrete Distributions* (3rd ed. 2005).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributions as td
from torch.nn import functional as F

from pixyz.distributions.families.bernoulli import Odds
from pixyz.distributions.families.given import Value, one_of
from pixyz.distributions.families.noise import exponential_noise
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.special import log_binomial, log_poisson
from pixyz.plan.looks import POSITIVE, Domain
from pixyz.types import VarSpec

WHOLE = Domain(whole=True, advice="densities of counts are 0 elsewhere")


class Poisson(ParametricDistribution):
    r"""The Poisson distribution, :math:`p(x) = \lambda^x e^{-\lambda} / x!`; parameter ``rate``
    (:math:`\lambda`).

    >>> Poisson(var="x", rate=2.0).get_log_prob({"x": torch.zeros(1)})
    tensor([-2.])
    """

    params_keys = ("rate",)
    noise_shape = ("rate",)
    torch_family = td.Poisson
    support = (0.0, math.inf)
    domain = WHOLE
    constraints = {"rate": Domain(0.0, advice=POSITIVE.advice)}  # noqa: RUF012 (0 is a rate, too)

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
    def log_density(x: Tensor, rate: Tensor) -> Tensor:
        return log_poisson(x, rate)


class Binomial(Odds, ParametricDistribution):
    r"""The binomial distribution, :math:`p(x) = \binom{n}{x} p^x (1-p)^{n-x}`; ``total_count`` (n),
    ``probs`` or ``logits``.

    >>> Binomial(var="x", total_count=2, probs=0.5).get_log_prob({"x": torch.ones(1)})
    tensor([-0.6931])
    """

    params_keys = ("total_count", "probs")
    noise_shape = ("total_count", "probs")
    torch_family = td.Binomial
    torch_keys = ("total_count", "logits")
    domain = WHOLE
    entropy_of = None

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        total_count: Value = 1,
        probs: Value = None,
        logits: Value = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(
            var, cond_var, name, features_shape, total_count=total_count, probs=probs, logits=logits
        )

    @staticmethod
    def log_density(x: Tensor, total_count: Tensor, logits: Tensor) -> Tensor:
        inside = (x >= 0) & (x <= total_count)
        x, n = (
            torch.where(inside & (total_count > 0), x, 0.0),
            torch.where(total_count > 0, total_count, 1.0),
        )
        found = log_binomial(x, n - x, *odds(logits))
        return torch.where(inside, torch.where(total_count > 0, found, 0.0), -math.inf)


class NegativeBinomial(Odds, ParametricDistribution):
    r"""Successes before the r-th failure, :math:`p(x) = \frac{\Gamma(x+r)}{x!\,\Gamma(r)} p^x
    (1-p)^r`.

    ``total_count`` (r, any positive number), ``probs`` (of a success) or ``logits``, as in torch;
    SciPy's p is ``1 - probs``.

    >>> NegativeBinomial(var="x", total_count=1.0, probs=0.5).get_log_prob({"x": torch.zeros(1)})
    tensor([-0.6931])
    """

    params_keys = ("total_count", "probs")
    noise_shape = ("total_count", "probs")
    torch_family = td.NegativeBinomial
    torch_keys = ("total_count", "logits")
    support = (0.0, math.inf)
    domain = WHOLE

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        total_count: Value = None,
        probs: Value = None,
        logits: Value = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(
            var, cond_var, name, features_shape, total_count=total_count, probs=probs, logits=logits
        )

    @staticmethod
    def log_density(x: Tensor, total_count: Tensor, logits: Tensor) -> Tensor:
        return log_binomial(x, total_count, *odds(logits)) - torch.log1p(x / total_count)


class Geometric(Odds, ParametricDistribution):
    r"""Failures before the first success, :math:`p(x) = (1-p)^x p`; ``probs`` (of a success) or
    ``logits``.

    >>> Geometric(var="x", probs=0.5).get_log_prob({"x": torch.ones(1)})
    tensor([-1.3863])
    """

    params_keys = ("probs",)
    noise_shape = ("logits",)
    torch_family = td.Geometric
    torch_keys = ("logits",)
    support = (0.0, math.inf)
    domain = WHOLE
    pathwise = False
    noise = staticmethod(exponential_noise)

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
    def draw(noise: Tensor, logits: Tensor) -> Tensor:
        return torch.floor(noise / F.softplus(logits))  # softplus(l) = -log(1 - p)

    @staticmethod
    def log_density(x: Tensor, logits: Tensor) -> Tensor:
        return logits - (x + 1.0) * F.softplus(logits)


def odds(logits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The probability, its complement, and the logarithms of both."""
    return (
        torch.sigmoid(logits),
        torch.sigmoid(-logits),
        F.logsigmoid(logits),
        F.logsigmoid(-logits),
    )
