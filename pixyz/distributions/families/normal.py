"""The normal distribution, held in bounds and pushed through tanh; values equal
torch.distributions'.

Parameters and samples are ``[B, ...]``, a density each; base noise is one kernel a site.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.core.params import Formula
from pixyz.distributions.families.constant import LOG_SQRT_2PI, MinusLogNormal, constant
from pixyz.distributions.families.given import Value, one_of
from pixyz.distributions.families.noise import normal_noise
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.special import erfcx
from pixyz.plan import Slot, rules
from pixyz.plan.looks import Domain
from pixyz.types import VarSpec


class Normal(ParametricDistribution):
    r"""The normal distribution, :math:`\mathcal{N}(x; \mu, \sigma^2)`; parameters ``loc`` and
    ``scale``, or ``log_scale`` :math:`= \log\sigma`, which a network that makes ``scale`` by an
    exponential function should return instead.

    >>> p = Normal(var="x", loc=0.0, scale=1.0, features_shape=[3])
    >>> p.sample(batch_n=2)["x"].shape
    torch.Size([2, 3])
    """

    distribution_torch_class = td.Normal
    params_keys = ("loc", "scale")
    alternatives: ClassVar[Mapping[str, str]] = {"scale": "log_scale"}
    noise_shape = ("loc", "scale")
    noise = staticmethod(normal_noise)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        scale: Value = None,
        log_scale: Value = None,
    ) -> None:
        one_of(scale, log_scale, "scale or log_scale")
        super().__init__(
            var, cond_var, name, features_shape, loc=loc, scale=scale, log_scale=log_scale
        )

    @staticmethod
    @rules.inline("{0}.exp()")
    def derive_scale_from_log_scale(log_scale: Tensor) -> Tensor:
        return log_scale.exp()

    @staticmethod
    @rules.inline("{0}.log()")
    def derive_log_scale_from_scale(scale: Tensor) -> Tensor:
        return scale.log()

    @staticmethod
    @rules.inline("torch.addcmul({1}, {2}, {0})")
    def draw(noise: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return torch.addcmul(loc, scale, noise)

    @staticmethod
    def log_density(
        x: Tensor, loc: Tensor, scale: Tensor, log_scale: Tensor | None = None
    ) -> Tensor:
        gap = (x - loc) / scale
        return -0.5 * gap * gap - (scale.log() if log_scale is None else log_scale) - LOG_SQRT_2PI

    @staticmethod
    def minus_log_density_of_noise(noise: Tensor, log_scale: Tensor) -> Tensor:
        return torch.addcmul(log_scale + LOG_SQRT_2PI, noise, noise, value=0.5)

    def density_of(self, params: Mapping[str, Slot]) -> tuple[Formula, Sequence[str], bool]:
        plain = type(self).log_density is Normal.log_density
        return (
            (MinusLogNormal(), MinusLogNormal.reads, True)
            if plain and constant(params)
            else super().density_of(params)
        )

    @staticmethod
    def mean_of(loc: Tensor, scale: Tensor) -> Tensor:
        if loc.shape == scale.shape:  # torch.broadcast_shapes takes longer than a small network
            return loc
        return loc.expand(torch.broadcast_shapes(loc.shape, scale.shape))

    @staticmethod
    def variance_of(loc: Tensor, scale: Tensor) -> Tensor:
        return scale.square().expand(torch.broadcast_shapes(loc.shape, scale.shape))

    @staticmethod
    def entropy_of(loc: Tensor, log_scale: Tensor) -> Tensor:
        return (
            0.5
            + LOG_SQRT_2PI
            + log_scale.expand(torch.broadcast_shapes(loc.shape, log_scale.shape))
        )

    def as_torch(self, **params: Tensor) -> td.Distribution:
        return td.Normal(**scaled(params))  # type: ignore[arg-type]


def scaled(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of a normal with ``scale`` in the place of ``log_scale``."""
    found = dict(params)
    if "log_scale" in found:
        found["scale"] = found.pop("log_scale").exp()
    return found


class BoundedNormal(ParametricDistribution):
    r"""A normal whose parameters are held in bounds, for actions: :math:`\mathcal{N}(\tanh\mu,
    \sigma(s))` with :math:`\sigma(s) =
    (\sigma_{max}-\sigma_{min})\,\mathrm{sigmoid}(s+2)+\sigma_{min}`.

    Parameters ``loc`` (the raw mean) and ``scale`` (the raw scale), as a network returns them
    (DreamerV3's ``bounded_normal``; Hafner et al. 2023).

    Args:
        min_scale, max_scale: bounds of the standard deviation.

    >>> p = BoundedNormal("a", loc=torch.zeros(2), scale=torch.ones(2))
    >>> p.sample(batch_n=3)["a"].shape
    torch.Size([3, 2])
    """

    distribution_torch_class = td.Normal
    params_keys = ("loc", "scale")
    noise_shape = ("bounded_loc", "bounded_scale")
    noise = staticmethod(normal_noise)
    constraints: ClassVar[Mapping[str, Domain]] = {}

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        scale: Value = None,
        min_scale: float = 0.1,
        max_scale: float = 1.0,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, loc=loc, scale=scale)
        self.min_scale, self.max_scale = min_scale, max_scale

    @staticmethod
    def derive_bounded_loc(loc: Tensor) -> Tensor:
        return torch.tanh(loc)

    def derive_bounded_scale(self, scale: Tensor) -> Tensor:
        return (self.max_scale - self.min_scale) * torch.sigmoid(scale + 2.0) + self.min_scale

    @staticmethod
    def draw(noise: Tensor, bounded_loc: Tensor, bounded_scale: Tensor) -> Tensor:
        return Normal.draw(noise, bounded_loc, bounded_scale)

    @staticmethod
    def log_density(x: Tensor, bounded_loc: Tensor, bounded_scale: Tensor) -> Tensor:
        return Normal.log_density(x, bounded_loc, bounded_scale)

    @staticmethod
    def mean_of(bounded_loc: Tensor, scale: Tensor) -> Tensor:
        return Normal.mean_of(bounded_loc, scale)  # of the scale its shape alone

    @staticmethod
    def variance_of(bounded_loc: Tensor, bounded_scale: Tensor) -> Tensor:
        return Normal.variance_of(bounded_loc, bounded_scale)

    @staticmethod
    def entropy_of(bounded_loc: Tensor, bounded_scale: Tensor) -> Tensor:
        return Normal.entropy_of(bounded_loc, bounded_scale.log())

    def as_torch(self, **params: Tensor) -> td.Distribution:
        return td.Normal(
            self.derive_bounded_loc(params["loc"]), self.derive_bounded_scale(params["scale"])
        )


class TanhNormal(ParametricDistribution):
    r"""A normal pushed through tanh: :math:`x = \tanh u,\ u \sim \mathcal{N}(\mu, \sigma^2)`;
    support (-1, 1).

    Its mean has no closed form; ``sample_mean`` gives the mode-like :math:`\tanh\mu`.

    >>> p = TanhNormal("a", loc=torch.zeros(2), scale=torch.ones(2))
    >>> bool(p.sample(batch_n=3)["a"].abs().max() < 1)
    True
    """

    distribution_torch_class = td.Normal
    params_keys = ("loc", "scale")
    alternatives: ClassVar[Mapping[str, str]] = {"scale": "log_scale"}
    noise_shape = ("loc", "scale")
    noise = staticmethod(normal_noise)
    exact_mean = False
    derive_scale_from_log_scale = staticmethod(Normal.derive_scale_from_log_scale)
    derive_log_scale_from_scale = staticmethod(Normal.derive_log_scale_from_scale)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        loc: Value = None,
        scale: Value = None,
        log_scale: Value = None,
    ) -> None:
        one_of(scale, log_scale, "scale or log_scale")
        super().__init__(
            var, cond_var, name, features_shape, loc=loc, scale=scale, log_scale=log_scale
        )

    @staticmethod
    def draw(noise: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return torch.tanh(Normal.draw(noise, loc, scale))

    @staticmethod
    def log_density(
        x: Tensor, loc: Tensor, scale: Tensor, log_scale: Tensor | None = None
    ) -> Tensor:
        eps = torch.finfo(x.dtype).eps
        u = torch.atanh(x.clamp(eps / 2 - 1.0, 1.0 - eps / 2))
        size = x.detach().abs()
        # what rounding x hides of u
        rounded = eps / 2 * size / ((1.0 - size) * (1.0 + size)).clamp(min=eps / 2)
        # all, if it hides the whole density
        share = rounded.square() / (rounded.square() + 3.0 * scale.detach().square())
        near = u + share * (loc - u).clamp(-rounded, rounded)
        # of half a mean square of the noise
        unseen = 0.5 * torch.where((loc - u).detach().abs() < rounded, share, 0.0)
        within = Normal.log_density(near, loc, scale, log_scale) + tanh_slope(near) - unseen
        saturated = _saturated(x, loc, scale, scale.log() if log_scale is None else log_scale)
        return torch.where(size < 1.0, within, torch.where(size > 1.0, -math.inf, saturated))

    @staticmethod
    def minus_log_density_of_noise(
        noise: Tensor, loc: Tensor, scale: Tensor, log_scale: Tensor
    ) -> Tensor:
        return Normal.minus_log_density_of_noise(noise, log_scale) - tanh_slope(
            Normal.draw(noise, loc, scale)
        )

    @staticmethod
    def mean_of(loc: Tensor, scale: Tensor) -> Tensor:
        return torch.tanh(Normal.mean_of(loc, scale))

    def as_torch(self, **params: Tensor) -> td.Distribution:
        base = td.Normal(**scaled(params))  # type: ignore[arg-type]
        return td.TransformedDistribution(base, [td.TanhTransform()])


def tanh_slope(u: Tensor) -> Tensor:
    r"""Minus the logarithm of the derivative of tanh, :math:`-\log(1 - \tanh^2 u) = 2 (u +
    \mathrm{softplus}(-2u) - \log 2)`.
    """
    return 2.0 * (u + F.softplus(-2.0 * u) - math.log(2.0))


def _saturated(x: Tensor, loc: Tensor, scale: Tensor, log_scale: Tensor) -> Tensor:
    """The log-density where rounding has made -1 or 1 of ``tanh(u)``: its mean over all ``u`` of
    which that is true.
    """
    side = x.detach().sign()
    mean = side * loc
    edge = (0.5 * math.log(8.0 / torch.finfo(x.dtype).eps) - mean) / scale
    hazard = math.sqrt(2.0 / math.pi) / erfcx(edge.clamp(min=-8.0) * math.sqrt(0.5))
    square = 1.0 + edge.clamp(min=-8.0) * hazard
    return -0.5 * square - log_scale - LOG_SQRT_2PI + 2.0 * (mean + scale * hazard - math.log(2.0))
