"""Families by kind with random parameters, their references in torch and SciPy, and where they
live.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch import distributions as td

from pixyz import distributions as pd
from pixyz.distributions.families.parametric import ParametricDistribution

B, D, K = 3, 2, 3
INF = math.inf
HALF = torch.tensor(0.5, dtype=torch.float64)
draw = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape or (B, D), dtype=torch.float64, generator=draw)


def positive(low: float = 0.5, high: float = 2.0) -> Tensor:
    return low + (high - low) * torch.rand((B, D), dtype=torch.float64, generator=draw)


def tril() -> Tensor:
    return torch.tril(normal(B, K, K) / 3) + torch.eye(K, dtype=torch.float64)


def simplex() -> Tensor:
    return normal(B, K).softmax(-1)


@dataclass
class Law:
    """A family, parameters ``[B, ...]`` for it, where it lives, and its second implementations."""

    make: Callable[..., ParametricDistribution]
    params: dict[str, Tensor]
    lives: Any = (-INF, INF)
    """Ends of an interval (numbers or names of parameters), or a list of all values."""
    torch: Callable[..., td.Distribution] | None = None
    scipy: Callable[..., Any] | None = None
    moments: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def bound(self) -> ParametricDistribution:
        keys = list(self.params)
        return self.make(var="x", cond_var=keys, **dict(zip(keys, keys)), **self.options)

    def reference(self, **params: Tensor) -> td.Distribution:
        assert self.torch is not None
        return self.torch(**(params or self.params))

    @property
    def discrete(self) -> bool:
        return isinstance(self.lives, list)

    @property
    def univariate(self) -> bool:
        return next(iter(self.params.values())).shape == (B, D)

    def ends(self) -> tuple[Tensor, Tensor]:
        low, high = (
            self.params[e] if isinstance(e, str) else torch.full((B, D), e, dtype=torch.float64)
            for e in self.lives
        )
        return low, high

    def grid(self, count: int = 40_000) -> tuple[Tensor, Tensor]:
        """Points ``[count, B, D]`` over the interval and the length that each stands for."""
        u = ((torch.arange(count, dtype=torch.float64) + 0.5) / count)[:, None, None]
        low, high = self.ends()
        if self.lives == (-INF, INF):
            return torch.tan(math.pi * (u - 0.5)).expand(-1, B, D), (
                math.pi / torch.cos(math.pi * (u - 0.5)) ** 2 / count
            )
        if self.lives[1] == INF:
            return low + (u / (1 - u)) ** 2, (2 * u / (1 - u) ** 3 / count)
        return low + (high - low) * u * u * (3 - 2 * u), (high - low) * 6 * u * (1 - u) / count


def counts(top: int) -> list[Tensor]:
    return [torch.tensor([float(n)], dtype=torch.float64) for n in range(top + 1)]


def compositions(total: int) -> list[Tensor]:
    return [
        torch.tensor(c, dtype=torch.float64)
        for c in itertools.product(range(total + 1), repeat=K)
        if sum(c) == total
    ]


ONE_HOT = list(torch.eye(K, dtype=torch.float64))
gamma = {"concentration": positive(1.2, 3.0), "rate": positive()}
heavy = {"concentration": positive(6.0, 9.0), "rate": positive()}
line = {"loc": normal(), "scale": positive()}
beta = {"concentration1": positive(1.2, 3.0), "concentration0": positive(1.2, 3.0)}
logits = {"logits": normal()}
box = {"loc": normal(), "scale": positive(), "low": -positive(), "high": positive()}
wide = {"loc": normal(B, K), "scale_tril": tril()}
low_rank = {
    "loc": normal(B, K),
    "cov_factor": normal(B, K, 2),
    "cov_diag": positive()[:, :1].expand(B, K).clone(),
}

unimixed = lambda logits: 0.9 * logits.softmax(-1) + 0.1 / K  # noqa: E731

LAWS = [
    Law(pd.Normal, line, torch=td.Normal, scipy=lambda loc, scale: stats.norm(loc, scale)),
    Law(
        pd.Normal,
        {"loc": line["loc"], "log_scale": normal() / 2},
        torch=lambda loc, log_scale: td.Normal(loc, log_scale.exp()),
        scipy=lambda loc, log_scale: stats.norm(loc, np.exp(log_scale)),
        name="Normal-log_scale",
    ),
    Law(
        pd.BoundedNormal,
        {"loc": normal(), "scale": normal()},
        torch=lambda loc, scale: td.Normal(torch.tanh(loc), 0.9 * torch.sigmoid(scale + 2) + 0.1),
    ),
    Law(
        pd.TanhNormal,
        {"loc": normal() / 2, "scale": positive(0.2, 0.6)},
        (-1.0, 1.0),
        lambda loc, scale: td.TransformedDistribution(td.Normal(loc, scale), [td.TanhTransform()]),
        moments=False,
    ),
    Law(
        pd.Bernoulli,
        {"probs": positive(0.1, 0.9)},
        counts(1),
        td.Bernoulli,
        lambda probs: stats.bernoulli(probs),
    ),
    Law(
        pd.Bernoulli,
        {"logits": normal()},
        counts(1),
        td.Bernoulli,
        lambda logits: stats.bernoulli(1 / (1 + np.exp(-logits))),
        name="Bernoulli-logits",
    ),
    Law(pd.Categorical, {"probs": simplex()}, ONE_HOT, td.OneHotCategorical),
    Law(
        pd.Categorical,
        {"logits": normal(B, K)},
        ONE_HOT,
        td.OneHotCategorical,
        name="Categorical-logits",
    ),
    Law(
        pd.GroupedOneHot,
        {"logits": normal(B, K)},
        ONE_HOT,
        lambda logits: td.OneHotCategoricalStraightThrough(unimixed(logits)),
        options={"groups": 1, "classes": K, "unimix": 0.1},
    ),
    Law(pd.Laplace, line, torch=td.Laplace, scipy=lambda loc, scale: stats.laplace(loc, scale)),
    Law(
        pd.Cauchy,
        line,
        torch=td.Cauchy,
        scipy=lambda loc, scale: stats.cauchy(loc, scale),
        moments=False,
    ),
    Law(pd.Gumbel, line, torch=td.Gumbel, scipy=lambda loc, scale: stats.gumbel_r(loc, scale)),
    Law(
        pd.StudentT,
        {"df": positive(6.0, 9.0), **line},
        torch=td.StudentT,
        scipy=lambda df, loc, scale: stats.t(df, loc, scale),
    ),
    Law(
        pd.VonMises,
        {"loc": normal() / 2, "concentration": positive()},
        (-math.pi, math.pi),
        td.VonMises,
        lambda loc, concentration: stats.vonmises(concentration, loc),
        moments=False,
    ),
    Law(
        pd.LogNormal,
        {"loc": normal() / 2, "scale": positive(0.3, 0.6)},
        (0.0, INF),
        td.LogNormal,
        lambda loc, scale: stats.lognorm(scale, scale=np.exp(loc)),
    ),
    Law(
        pd.Gamma,
        gamma,
        (0.0, INF),
        td.Gamma,
        lambda concentration, rate: stats.gamma(concentration, scale=1 / rate),
    ),
    Law(
        pd.InverseGamma,
        heavy,
        (0.0, INF),
        td.InverseGamma,
        lambda concentration, rate: stats.invgamma(concentration, scale=rate),
    ),
    Law(pd.Chi2, {"df": positive(2.5, 5.0)}, (0.0, INF), td.Chi2, lambda df: stats.chi2(df)),
    Law(
        pd.Exponential,
        {"rate": positive()},
        (0.0, INF),
        td.Exponential,
        lambda rate: stats.expon(scale=1 / rate),
    ),
    Law(
        pd.HalfNormal,
        {"scale": positive()},
        (0.0, INF),
        td.HalfNormal,
        lambda scale: stats.halfnorm(scale=scale),
    ),
    Law(
        pd.HalfCauchy,
        {"scale": positive()},
        (0.0, INF),
        td.HalfCauchy,
        lambda scale: stats.halfcauchy(scale=scale),
        False,
    ),
    Law(
        pd.Pareto,
        {"scale": positive(), "alpha": positive(6.0, 9.0)},
        ("scale", INF),
        td.Pareto,
        lambda scale, alpha: stats.pareto(alpha, scale=scale),
    ),
    Law(
        pd.Weibull,
        {"scale": positive(), "concentration": positive(1.2, 3.0)},
        (0.0, INF),
        td.Weibull,
        lambda scale, concentration: stats.weibull_min(concentration, scale=scale),
    ),
    Law(
        pd.Uniform,
        {"low": box["low"], "high": box["high"]},
        ("low", "high"),
        td.Uniform,
        lambda low, high: stats.uniform(low, high - low),
    ),
    Law(
        pd.Beta,
        beta,
        (0.0, 1.0),
        td.Beta,
        lambda concentration1, concentration0: stats.beta(concentration1, concentration0),
    ),
    Law(pd.Kumaraswamy, beta, (0.0, 1.0), td.Kumaraswamy),
    Law(
        pd.ContinuousBernoulli,
        logits,
        (0.0, 1.0),
        td.ContinuousBernoulli,
        name="ContinuousBernoulli-logits",
    ),
    Law(
        pd.ContinuousBernoulli,
        {"probs": normal().sigmoid()},
        (0.0, 1.0),
        td.ContinuousBernoulli,
        name="ContinuousBernoulli-probs",
    ),
    Law(
        pd.TruncatedNormal,
        box,
        ("low", "high"),
        scipy=lambda loc, scale, low, high: stats.truncnorm(
            (low - loc) / scale, (high - loc) / scale, loc, scale
        ),
    ),
    Law(
        pd.ConcreteBernoulli,
        logits,
        (0.0, 1.0),
        lambda logits: td.RelaxedBernoulli(HALF, logits=logits),
        moments=False,
        options={"temperature": 0.5},
    ),
    Law(
        pd.Poisson,
        {"rate": positive(0.5, 5.0)},
        counts(40),
        td.Poisson,
        lambda rate: stats.poisson(rate),
    ),
    Law(
        pd.Binomial,
        {"total_count": torch.full((B, D), 5.0, dtype=torch.float64), **logits},
        counts(5),
        td.Binomial,
        lambda total_count, logits: stats.binom(total_count, 1 / (1 + np.exp(-logits))),
        name="Binomial-logits",
    ),
    Law(
        pd.Binomial,
        {"probs": normal().sigmoid()},
        counts(4),
        lambda probs: td.Binomial(4, probs),
        lambda probs: stats.binom(4, probs),
        options={"total_count": 4},
        name="Binomial-probs",
    ),
    Law(
        pd.NegativeBinomial,
        {"total_count": positive(1.0, 3.0), "probs": positive(0.2, 0.5)},
        counts(80),
        td.NegativeBinomial,
        lambda total_count, probs: stats.nbinom(total_count, 1 - probs),
    ),
    Law(
        pd.Geometric,
        {"probs": positive(0.3, 0.8)},
        counts(80),
        td.Geometric,
        lambda probs: stats.geom(probs, loc=-1),
    ),
    Law(
        pd.OneHotCategoricalStraightThrough,
        {"logits": normal(B, K)},
        ONE_HOT,
        td.OneHotCategoricalStraightThrough,
    ),
    Law(
        pd.Multinomial,
        {"probs": simplex()},
        compositions(4),
        lambda probs: td.Multinomial(4, probs),
        None,
        options={"total_count": 4},
    ),
    Law(pd.Dirichlet, {"concentration": 1 + normal(B, K).exp()}, None, td.Dirichlet),
    Law(pd.MultivariateNormal, wide, None, td.MultivariateNormal, name="MultivariateNormal-tril"),
    Law(
        pd.MultivariateNormal,
        {"loc": wide["loc"], "covariance_matrix": wide["scale_tril"] @ wide["scale_tril"].mT},
        None,
        td.MultivariateNormal,
        name="MultivariateNormal-covariance",
    ),
    Law(pd.LowRankMultivariateNormal, low_rank, None, td.LowRankMultivariateNormal),
    Law(
        pd.ConcreteCategorical,
        {"logits": normal(B, K)},
        None,
        lambda logits: td.RelaxedOneHotCategorical(HALF, logits=logits),
        moments=False,
        options={"temperature": 0.5},
    ),
    Law(
        pd.RelaxedBernoulli,
        logits,
        [torch.zeros(1).double(), torch.ones(1).double()],
        None,
        lambda logits: stats.bernoulli(1 / (1 + np.exp(-logits))),
        moments=False,
        options={"temperature": 0.5},
    ),
    Law(
        pd.RelaxedCategorical,
        {"logits": normal(B, K)},
        ONE_HOT,
        None,
        None,
        moments=False,
        options={"temperature": 0.5},
    ),
]
for law in LAWS:
    law.name = law.name or law.make.__name__


def some(choose: Callable[[Law], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "law", [law for law in LAWS if choose(law)], ids=lambda law: law.name
    )


every = some(lambda law: True)
RELAXED = (pd.RelaxedBernoulli, pd.RelaxedCategorical)


def samples(law: Law, count: int) -> Tensor:
    torch.manual_seed(1)
    return law.bound().sample(law.params, sample_shape=[count])["x"]


def points(law: Law) -> Tensor:
    """Values in the support, ``[count, B, ...]``."""
    if law.discrete:
        width = K if not law.univariate else D
        return torch.stack([v.expand(B, width) for v in law.lives[:6]])
    return samples(law, 6)
