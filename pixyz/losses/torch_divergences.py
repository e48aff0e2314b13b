"""The KL formulas that torch.distributions has, registered for the families of the same name.

A pair is written here once; its formula builds two torch distributions from the parameters in the
plan, without argument checks.  It is infinite where the first family has mass outside of the second
one's support, and NaN where torch says so.

Where torch's formula makes a device wait (it makes tensors of numbers, or looks at values), the
pair has one of its own: half and inverse distributions that of what they are made of, normals of
low rank by Woodbury's identity.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch import distributions as td

from pixyz import distributions as pd
from pixyz.distributions.families.multivariate import capacitance, log_determinant
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.kullback_leibler import register_kl
from pixyz.types import PixyzError

Family = type[ParametricDistribution]

# a KL does not change under a bijection
_OTHERS: dict[Family, tuple[Callable[..., td.Distribution], tuple[str, ...]]] = {
    pd.InverseGamma: (
        td.Gamma,
        ("concentration", "rate"),
    ),
    pd.Normal: (td.Normal, ("loc", "scale")),
    pd.Bernoulli: (td.Bernoulli, ("logits",)),
}

SAME: tuple[Family, ...] = (
    pd.Beta,
    pd.Binomial,
    pd.Cauchy,
    pd.ContinuousBernoulli,
    pd.Dirichlet,
    pd.Exponential,
    pd.Gamma,
    pd.Geometric,
    pd.Gumbel,
    pd.HalfNormal,
    pd.InverseGamma,
    pd.Laplace,
    pd.LogNormal,
    pd.LowRankMultivariateNormal,
    pd.MultivariateNormal,
    pd.Pareto,
    pd.Poisson,
    pd.Uniform,
)
"""Families with a KL to themselves."""

PAIRS: tuple[tuple[Family, Family], ...] = (
    (pd.MultivariateNormal, pd.LowRankMultivariateNormal),
    (pd.LowRankMultivariateNormal, pd.MultivariateNormal),
    (pd.Normal, pd.Laplace),
    (pd.Laplace, pd.Normal),
    (pd.Normal, pd.Gumbel),
    (pd.Gumbel, pd.Normal),
    (pd.Uniform, pd.Normal),
    (pd.Uniform, pd.Gumbel),
    (pd.Uniform, pd.Beta),
    (pd.Uniform, pd.ContinuousBernoulli),
    (pd.Uniform, pd.Exponential),
    (pd.Uniform, pd.Gamma),
    (pd.Uniform, pd.Pareto),
    (pd.Beta, pd.Uniform),
    (pd.ContinuousBernoulli, pd.Uniform),
    (pd.Beta, pd.Normal),
    (pd.Beta, pd.Exponential),
    (pd.Beta, pd.Gamma),
    (pd.Beta, pd.ContinuousBernoulli),
    (pd.ContinuousBernoulli, pd.Normal),
    (pd.ContinuousBernoulli, pd.Exponential),
    (pd.Exponential, pd.Gamma),
    (pd.Exponential, pd.Normal),
    (pd.Exponential, pd.Gumbel),
    (pd.Gamma, pd.Exponential),
    (pd.Gamma, pd.Normal),
    (pd.Gamma, pd.Gumbel),
    (pd.Pareto, pd.Exponential),
    (pd.Pareto, pd.Gamma),
    (pd.Pareto, pd.Normal),
    (pd.Bernoulli, pd.Poisson),
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


def _torch_of(family: Family) -> tuple[Callable[..., td.Distribution], tuple[str, ...]]:
    if family in _OTHERS:
        return _OTHERS[family]
    assert family.torch_family is not None
    return family.torch_family, family.torch_keys or family.params_keys


for _p, _q in [*((f, f) for f in SAME), *PAIRS]:
    register_kl(_p, _q)(TorchKL(_p, _q))


@register_kl(pd.HalfNormal, pd.HalfNormal)
def kl_half_normal(p_scale: Tensor, q_scale: Tensor) -> Tensor:
    """That of the normals."""
    ratio = p_scale / q_scale
    return 0.5 * (ratio * ratio - 1.0) - ratio.log()


@register_kl(pd.Binomial, pd.Binomial)
def kl_binomial(
    p_total_count: Tensor,
    p_probs: Tensor,
    p_logits: Tensor,
    q_total_count: Tensor,
    q_probs: Tensor,
    q_logits: Tensor,
) -> Tensor:
    """No formula where the second has more trials: an error on the CPU, NaN on a device, which
    would have to be waited for.
    """
    fewer = p_total_count < q_total_count
    if fewer.device.type == "cpu" and bool(fewer.any()):
        raise PixyzError(
            "the divergence of binomials has no formula where the second has more trials; "
            "use analytical=False"
        )
    found = p_total_count * (
        p_probs * (p_logits - q_logits) + torch.log1p(-p_probs) - torch.log1p(-q_probs)
    )
    return torch.where(p_total_count > q_total_count, math.inf, torch.where(fewer, math.nan, found))


def _of_normals(
    p_log_det: Tensor,
    q_log_det: Tensor,
    gap: Tensor,
    distances: Callable[[Tensor], Tensor],
    trace: Tensor,
) -> Tensor:
    size = gap.shape[-1]
    return 0.5 * (q_log_det - p_log_det + distances(gap.unsqueeze(-1)) + trace - size)


class _LowRank:
    r"""Distances under :math:`(WW^T + D)^{-1}`."""

    def __init__(self, cov_factor: Tensor, cov_diag: Tensor) -> None:
        tril, self.diag = capacitance(cov_factor, cov_diag), cov_diag
        self.log_det = log_determinant(cov_diag, tril)
        self.root = torch.linalg.solve_triangular(
            tril, cov_factor.mT / cov_diag.unsqueeze(-2), upper=False
        )

    def of(self, a: Tensor) -> Tensor:
        """The sum of squared distances of the columns of ``a [..., K, N]``."""
        return (a * a / self.diag.unsqueeze(-1)).sum((-2, -1)) - (self.root @ a).square().sum(
            (-2, -1)
        )

    def of_diagonal(self, diag: Tensor) -> Tensor:
        """The trace of the inverse times a diagonal matrix."""
        return (diag / self.diag).sum(-1) - (self.root.square() * diag.unsqueeze(-2)).sum((-2, -1))


@register_kl(pd.LowRankMultivariateNormal, pd.LowRankMultivariateNormal)
def kl_low_rank(
    p_loc: Tensor,
    p_cov_factor: Tensor,
    p_cov_diag: Tensor,
    q_loc: Tensor,
    q_cov_factor: Tensor,
    q_cov_diag: Tensor,
) -> Tensor:
    """By capacitance matrices, none larger than the rank."""
    q = _LowRank(q_cov_factor, q_cov_diag)
    p_log_det = log_determinant(p_cov_diag, capacitance(p_cov_factor, p_cov_diag))
    return _of_normals(
        p_log_det, q.log_det, q_loc - p_loc, q.of, q.of(p_cov_factor) + q.of_diagonal(p_cov_diag)
    )


@register_kl(pd.MultivariateNormal, pd.LowRankMultivariateNormal)
def kl_to_low_rank(
    p_loc: Tensor, p_scale_tril: Tensor, q_loc: Tensor, q_cov_factor: Tensor, q_cov_diag: Tensor
) -> Tensor:
    """By the capacitance matrix of the second."""
    q = _LowRank(q_cov_factor, q_cov_diag)
    return _of_normals(_log_det(p_scale_tril), q.log_det, q_loc - p_loc, q.of, q.of(p_scale_tril))


@register_kl(pd.LowRankMultivariateNormal, pd.MultivariateNormal)
def kl_of_low_rank(
    p_loc: Tensor, p_cov_factor: Tensor, p_cov_diag: Tensor, q_loc: Tensor, q_scale_tril: Tensor
) -> Tensor:
    """By the triangular matrix of the second."""
    p_log_det = log_determinant(p_cov_diag, capacitance(p_cov_factor, p_cov_diag))

    def distances(a: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(q_scale_tril, a, upper=False).square().sum((-2, -1))

    trace = distances(p_cov_factor) + distances(torch.diag_embed(p_cov_diag.sqrt()))
    return _of_normals(p_log_det, _log_det(q_scale_tril), q_loc - p_loc, distances, trace)


def _log_det(scale_tril: Tensor) -> Tensor:
    return 2.0 * scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
