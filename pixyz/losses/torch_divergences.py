"""The KL formulas that torch.distributions has, registered for the families of the same name.

A pair is written here once; its formula builds two torch distributions from the parameters in the plan, without argument
checks.  It is infinite where the first family has mass outside of the second one's support, and NaN where torch says so.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor
from torch import distributions as td

from pixyz import distributions as pd
from pixyz.distributions.parametric import ParametricDistribution
from pixyz.distributions.torch_family import TorchFamily
from pixyz.losses.divergences import register_kl

Family = type[ParametricDistribution]

_OTHERS: dict[Family, tuple[Any, tuple[str, ...]]] = {
    pd.Normal: (td.Normal, ("loc", "scale")),
    pd.Bernoulli: (td.Bernoulli, ("logits",)),
}

SAME: tuple[Family, ...] = (
    pd.Beta, pd.Binomial, pd.Cauchy, pd.ContinuousBernoulli, pd.Dirichlet, pd.Exponential, pd.Gamma, pd.Geometric, pd.Gumbel,
    pd.HalfNormal, pd.InverseGamma, pd.Laplace, pd.LogNormal, pd.LowRankMultivariateNormal, pd.MultivariateNormal, pd.Pareto,
    pd.Poisson, pd.Uniform,
)
"""Families with a KL to themselves."""

PAIRS: tuple[tuple[Family, Family], ...] = (
    (pd.MultivariateNormal, pd.LowRankMultivariateNormal), (pd.LowRankMultivariateNormal, pd.MultivariateNormal),
    (pd.Normal, pd.Laplace), (pd.Laplace, pd.Normal), (pd.Normal, pd.Gumbel), (pd.Gumbel, pd.Normal),
    (pd.Uniform, pd.Normal), (pd.Uniform, pd.Gumbel), (pd.Uniform, pd.Beta), (pd.Uniform, pd.ContinuousBernoulli),
    (pd.Uniform, pd.Exponential), (pd.Uniform, pd.Gamma), (pd.Uniform, pd.Pareto), (pd.Beta, pd.Uniform),
    (pd.ContinuousBernoulli, pd.Uniform),
    (pd.Beta, pd.Normal), (pd.Beta, pd.Exponential), (pd.Beta, pd.Gamma), (pd.Beta, pd.ContinuousBernoulli),
    (pd.ContinuousBernoulli, pd.Normal), (pd.ContinuousBernoulli, pd.Exponential),
    (pd.Exponential, pd.Gamma), (pd.Exponential, pd.Normal), (pd.Exponential, pd.Gumbel),
    (pd.Gamma, pd.Exponential), (pd.Gamma, pd.Normal), (pd.Gamma, pd.Gumbel),
    (pd.Pareto, pd.Exponential), (pd.Pareto, pd.Gamma), (pd.Pareto, pd.Normal), (pd.Bernoulli, pd.Poisson),
)
"""Pairs of different families with a KL."""


class TorchKL:
    """The KL of two torch distributions as a formula of parameters ``p_...`` and ``q_...``."""

    __name__ = "torch_kl"

    def __init__(self, p: Family, q: Family) -> None:
        (self.p, self.p_keys), (self.q, self.q_keys) = _torch_of(p), _torch_of(q)
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        shown = [*(f"p_{k}" for k in self.p_keys), *(f"q_{k}" for k in self.q_keys)]
        self.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in shown])

    def __call__(self, *values: Tensor) -> Tensor:
        count = len(self.p_keys)
        p = self.p(**dict(zip(self.p_keys, values[:count], strict=True)), validate_args=False)
        q = self.q(**dict(zip(self.q_keys, values[count:], strict=True)), validate_args=False)
        return td.kl_divergence(p, q)


def _torch_of(family: Family) -> tuple[Any, tuple[str, ...]]:
    if family in _OTHERS:
        return _OTHERS[family]
    assert issubclass(family, TorchFamily)
    return family.torch_family, family.torch_keys or family.params_keys


for _family in SAME:
    register_kl(_family, _family)(TorchKL(_family, _family))
for _p, _q in PAIRS:
    register_kl(_p, _q)(TorchKL(_p, _q))
