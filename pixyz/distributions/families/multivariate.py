"""Densities of vectors whose elements depend on each other, and elements read as one event: ``[B,
..., K]``.

Formulas as in Kotz, Balakrishnan and Johnson, *Continuous Multivariate Distributions* (2nd ed.
2000).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from pixyz import linalg
from pixyz.distributions.families.given import Value
from pixyz.distributions.families.noise import normal_noise
from pixyz.distributions.families.normal import LOG_SQRT_2PI
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.special import LARGE, log_gamma_draw, log_poisson, power_log
from pixyz.plan.looks import Domain
from pixyz.types import PixyzError, VarSpec


class Dirichlet(ParametricDistribution):
    r"""The Dirichlet distribution of probability vectors ``[..., K]``, :math:`p(x) =
    \frac{\Gamma(\sum_k\alpha_k)}{\prod_k\Gamma(\alpha_k)} \prod_k x_k^{\alpha_k-1}`;
    ``concentration``.

    Pathwise by implicit reparametrisation (Figurnov et al. 2018).

    >>> Dirichlet(var="x", concentration=torch.ones(3)).get_log_prob(
    ...     {"x": torch.tensor([[0.2, 0.3, 0.5]])}
    ... )
    tensor([0.6931])
    """

    params_keys = ("concentration",)
    noise_shape = ("concentration",)
    torch_family = td.Dirichlet
    event_dims = 1
    domain = Domain(0.0, 1.0, 1.0, advice="give probability vectors")

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        concentration: Value = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, concentration=concentration)

    @staticmethod
    def draw(noise: Tensor, concentration: Tensor) -> Tensor:
        found = torch.softmax(log_gamma_draw(concentration.expand(noise.shape)), -1)
        return found.clamp(min=torch.finfo(noise.dtype).tiny)

    @staticmethod
    def log_density(x: Tensor, concentration: Tensor) -> Tensor:
        total = concentration.sum(-1, keepdim=True)
        classes = concentration.shape[-1]
        n = total - classes
        large = (n >= LARGE) & (concentration.amax(-1, keepdim=True) >= LARGE + 1.0)
        few, many = torch.where(large, 1.0, concentration), torch.where(large, concentration, LARGE)
        direct = power_log(few - 1.0, x) - torch.lgamma(few)
        n = torch.where(large, n, LARGE)
        share = log_poisson(many - 1.0, n * torch.where(large, x, 1.0 / classes)) + n * torch.where(
            large, x, 0.0
        )
        rising = (n + torch.arange(1, classes, dtype=x.dtype, device=x.device)).log().sum(-1)
        last = rising - (log_poisson(n, n) + n).squeeze(-1)
        found = torch.where(large, share, direct).sum(-1)
        return found + torch.where(
            large.squeeze(-1), last, torch.lgamma(torch.where(large, 1.0, total)).squeeze(-1)
        )


class MultivariateNormal(ParametricDistribution):
    r"""The normal distribution of vectors, :math:`\mathcal{N}(x; \mu, LL^T)`, ``x [..., D]``.

    Parameters ``loc [..., D]`` and ``scale_tril [..., D, D]`` (L, lower triangular) or
    ``covariance_matrix``.

    >>> p = MultivariateNormal(var="x", loc=torch.zeros(2), covariance_matrix=torch.eye(2))
    >>> p.get_log_prob({"x": torch.zeros(1, 2)})
    tensor([-1.8379])
    """

    params_keys = ("loc", "scale_tril")
    alternatives: ClassVar[Mapping[str, str]] = {"scale_tril": "covariance_matrix"}
    noise_shape = ("full_loc",)
    torch_family = td.MultivariateNormal
    noise = staticmethod(normal_noise)
    event_dims = 1
    matrices = ("scale_tril", "covariance_matrix")

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        scale_tril: Value = None,
        covariance_matrix: Value = None,
    ) -> None:
        if scale_tril is not None and covariance_matrix is not None:
            raise PixyzError("give scale_tril or covariance_matrix, not both")
        super().__init__(
            var,
            cond_var,
            name,
            features_shape,
            loc=loc,
            scale_tril=scale_tril,
            covariance_matrix=covariance_matrix,
        )

    @classmethod
    def sample_shape_of(cls, shapes: Mapping[str, torch.Size]) -> torch.Size:
        return torch.broadcast_shapes(*(s if k == "loc" else s[:-1] for k, s in shapes.items()))

    def param_shape_of(self, key: str, given: torch.Size) -> torch.Size:
        return (
            self._features_shape
            if key == "loc"
            else torch.Size([*self._features_shape, *self._features_shape[-1:]])
        )

    @staticmethod
    def derive_scale_tril_from_covariance_matrix(covariance_matrix: Tensor) -> Tensor:
        return linalg.cholesky(covariance_matrix)

    @staticmethod
    def derive_covariance_matrix_from_scale_tril(scale_tril: Tensor) -> Tensor:
        return scale_tril @ scale_tril.mT

    @staticmethod
    def derive_full_loc(loc: Tensor, scale_tril: Tensor) -> Tensor:
        return loc.expand(torch.broadcast_shapes(loc.shape, scale_tril.shape[:-1]))

    @staticmethod
    def draw(noise: Tensor, loc: Tensor, scale_tril: Tensor) -> Tensor:
        return loc + (scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    @staticmethod
    def log_density(x: Tensor, loc: Tensor, scale_tril: Tensor) -> Tensor:
        gap = torch.linalg.solve_triangular(
            scale_tril, (x - loc).unsqueeze(-1), upper=False
        ).squeeze(-1)
        log_det = scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (gap * gap).sum(-1) - log_det - x.shape[-1] * LOG_SQRT_2PI


class LowRankMultivariateNormal(ParametricDistribution):
    r"""The normal distribution of vectors with the covariance :math:`WW^T + \mathrm{diag}(d)`, ``x
    [..., D]``.

    Parameters ``loc [..., D]``, ``cov_factor [..., D, R]`` (W), ``cov_diag [..., D]`` (d); all by
    capacitance matrices of size R (Woodbury's identity).

    >>> p = LowRankMultivariateNormal(
    ...     var="x", loc=torch.zeros(2), cov_factor=torch.zeros(2, 1), cov_diag=torch.ones(2)
    ... )
    >>> p.get_log_prob({"x": torch.zeros(1, 2)})
    tensor([-1.8379])
    """

    params_keys = ("loc", "cov_factor", "cov_diag")
    noise_shape = ("full_loc",)
    torch_family = td.LowRankMultivariateNormal
    event_dims = 1
    matrices = ("cov_factor",)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        cov_factor: Value = None,
        cov_diag: Value = None,
    ) -> None:
        super().__init__(
            var, cond_var, name, features_shape, loc=loc, cov_factor=cov_factor, cov_diag=cov_diag
        )

    @classmethod
    def sample_shape_of(cls, shapes: Mapping[str, torch.Size]) -> torch.Size:
        return torch.broadcast_shapes(
            *(s[:-1] if k == "cov_factor" else s for k, s in shapes.items())
        )

    def param_shape_of(self, key: str, given: torch.Size) -> torch.Size:
        return (
            torch.Size([*self._features_shape, given[-1]])
            if key == "cov_factor" and given
            else self._features_shape
        )

    @staticmethod
    def derive_full_loc(loc: Tensor, cov_factor: Tensor, cov_diag: Tensor) -> Tensor:
        return loc.expand(torch.broadcast_shapes(loc.shape, cov_factor.shape[:-1], cov_diag.shape))

    @staticmethod
    def draw(noise: Tensor, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor) -> Tensor:
        rank = torch.randn(
            (*noise.shape[:-1], cov_factor.shape[-1]), dtype=noise.dtype, device=noise.device
        )
        own = torch.randn(noise.shape, dtype=noise.dtype, device=noise.device)
        return loc + (cov_factor @ rank.unsqueeze(-1)).squeeze(-1) + cov_diag.sqrt() * own

    @staticmethod
    def mean_of(full_loc: Tensor) -> Tensor:
        return full_loc

    @staticmethod
    def variance_of(full_loc: Tensor, cov_factor: Tensor, cov_diag: Tensor) -> Tensor:
        return (cov_factor.square().sum(-1) + cov_diag).expand_as(full_loc)

    @staticmethod
    def entropy_of(cov_factor: Tensor, cov_diag: Tensor) -> Tensor:
        size, tril = cov_factor.shape[-2], capacitance(cov_factor, cov_diag)
        return size * (0.5 + LOG_SQRT_2PI) + 0.5 * log_determinant(cov_diag, tril)

    @staticmethod
    def log_density(x: Tensor, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor) -> Tensor:
        gap, scaled = x - loc, cov_factor.mT / cov_diag.unsqueeze(-2)
        tril = capacitance(cov_factor, cov_diag)
        part = torch.linalg.solve_triangular(tril, scaled @ gap.unsqueeze(-1), upper=False).squeeze(
            -1
        )
        distance = (gap * gap / cov_diag).sum(-1) - (part * part).sum(-1)
        return -0.5 * (distance + log_determinant(cov_diag, tril)) - x.shape[-1] * LOG_SQRT_2PI


def capacitance(cov_factor: Tensor, cov_diag: Tensor) -> Tensor:
    """The Cholesky factor ``[..., R, R]`` of :math:`I + W^T D^{-1} W`."""
    core = cov_factor.mT / cov_diag.unsqueeze(-2) @ cov_factor
    return linalg.cholesky(core + torch.eye(core.shape[-1], dtype=core.dtype, device=core.device))


def log_determinant(cov_diag: Tensor, tril: Tensor) -> Tensor:
    """Of :math:`WW^T + D`, from the diagonal of D and :func:`capacitance`."""
    return cov_diag.log().sum(-1) + 2.0 * tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
