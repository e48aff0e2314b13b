"""The families of densities on the hot path, each a few formulas; values equal torch.distributions'.

Base noise is one kernel a site. Those over one-hot vectors are in :mod:`pixyz.distributions.one_hot`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pixyz.distributions.noise import normal_noise, uniform_noise
from pixyz.distributions.parametric import ParametricDistribution
from pixyz.plan import rules
from pixyz.types import PixyzError, VarSpec

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Normal(ParametricDistribution):
    r"""The normal distribution, :math:`\mathcal{N}(x; \mu, \sigma^2)`; parameters ``loc``, ``scale``.

    >>> p = Normal(var="x", loc=0., scale=1., features_shape=[3])
    >>> p.sample(batch_n=2)["x"].shape
    torch.Size([2, 3])
    """

    params_keys = ("loc", "scale")
    noise_shape = ("loc", "scale")
    noise = staticmethod(normal_noise)

    def __init__(
        self, var: VarSpec = ("x",), cond_var: VarSpec = (), name: str = "p",
        features_shape: Sequence[int] = torch.Size(), loc: Any = None, scale: Any = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, loc=loc, scale=scale)

    @staticmethod
    @rules.inline("torch.addcmul({1}, {2}, {0})")
    def draw(noise: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return torch.addcmul(loc, scale, noise)

    @staticmethod
    def log_density(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        gap = (x - loc) / scale
        return -0.5 * gap * gap - scale.log() - LOG_SQRT_2PI

    @staticmethod
    def log_density_of_noise(noise: Tensor, scale: Tensor) -> Tensor:
        return -0.5 * noise * noise - LOG_SQRT_2PI - scale.log()

    @staticmethod
    def mean_of(loc: Tensor, scale: Tensor) -> Tensor:
        return loc.expand(torch.broadcast_shapes(loc.shape, scale.shape))

    @staticmethod
    def variance_of(loc: Tensor, scale: Tensor) -> Tensor:
        return scale.square().expand(torch.broadcast_shapes(loc.shape, scale.shape))

    @staticmethod
    def entropy_of(loc: Tensor, scale: Tensor) -> Tensor:
        return 0.5 + LOG_SQRT_2PI + scale.log().expand(torch.broadcast_shapes(loc.shape, scale.shape))

    def as_torch(self, **params: Tensor) -> torch.distributions.Distribution:
        return torch.distributions.Normal(**params)  # type: ignore[arg-type]


class BoundedNormal(Normal):
    r"""A normal whose parameters are held in bounds, for actions: :math:`\mathcal{N}(\tanh\mu, \sigma(s))` with
    :math:`\sigma(s) = (\sigma_{max}-\sigma_{min})\,\mathrm{sigmoid}(s+2)+\sigma_{min}`.

    Parameters ``loc`` (the raw mean) and ``scale`` (the raw scale), as a network returns them (DreamerV3's
    ``bounded_normal``; Hafner et al. 2023).

    Args:
        min_scale, max_scale: bounds of the standard deviation.

    >>> p = BoundedNormal("a", loc=torch.zeros(2), scale=torch.ones(2))
    >>> p.sample(batch_n=3)["a"].shape
    torch.Size([3, 2])
    """

    params_keys = ("loc", "scale")
    noise_shape = ("bounded_loc", "bounded_scale")

    def __init__(
        self, var: VarSpec = ("x",), cond_var: VarSpec = (), name: str = "p",
        features_shape: Sequence[int] = torch.Size(), loc: Any = None, scale: Any = None,
        min_scale: float = 0.1, max_scale: float = 1.0,
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
    def mean_of(bounded_loc: Tensor, bounded_scale: Tensor) -> Tensor:
        return Normal.mean_of(bounded_loc, bounded_scale)

    @staticmethod
    def variance_of(bounded_loc: Tensor, bounded_scale: Tensor) -> Tensor:
        return Normal.variance_of(bounded_loc, bounded_scale)

    @staticmethod
    def entropy_of(bounded_loc: Tensor, bounded_scale: Tensor) -> Tensor:
        return Normal.entropy_of(bounded_loc, bounded_scale)

    def as_torch(self, **params: Tensor) -> torch.distributions.Distribution:
        return torch.distributions.Normal(self.derive_bounded_loc(params["loc"]), self.derive_bounded_scale(params["scale"]))


class TanhNormal(Normal):
    r"""A normal pushed through tanh: :math:`x = \tanh u,\ u \sim \mathcal{N}(\mu, \sigma^2)`; support (-1, 1).

    Its mean has no closed form; ``sample_mean`` gives the mode-like :math:`\tanh\mu`.

    >>> p = TanhNormal("a", loc=torch.zeros(2), scale=torch.ones(2))
    >>> bool(p.sample(batch_n=3)["a"].abs().max() < 1)
    True
    """

    params_keys = ("loc", "scale")

    @staticmethod
    def draw(noise: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return torch.tanh(Normal.draw(noise, loc, scale))

    @staticmethod
    def log_density(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        edge = 1.0 - torch.finfo(x.dtype).eps
        u = torch.atanh(x.clamp(-edge, edge))
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u))
        return Normal.log_density(u, loc, scale) - 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))

    @staticmethod
    def mean_of(loc: Tensor, scale: Tensor) -> Tensor:
        return torch.tanh(Normal.mean_of(loc, scale))

    variance_of = None  # type: ignore[assignment]
    entropy_of = None  # type: ignore[assignment]

    def as_torch(self, **params: Tensor) -> torch.distributions.Distribution:
        base = torch.distributions.Normal(**params)  # type: ignore[arg-type]
        return torch.distributions.TransformedDistribution(base, [torch.distributions.TanhTransform()])


class Bernoulli(ParametricDistribution):
    r"""The Bernoulli distribution; ``probs`` or ``logits``. ``x`` may lie between 0 and 1 (soft targets).

    :math:`p(x) = \pi^x (1 - \pi)^{1 - x}`, each feature by itself.

    >>> p = Bernoulli("x", probs=torch.tensor([0.25, 0.5]))
    >>> p.get_log_prob({"x": torch.tensor([[1.0, 0.0]])}).exp()
    tensor([0.1250])
    """

    params_keys = ("probs",)
    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    noise_shape = ("probs",)
    noise = staticmethod(uniform_noise)
    pathwise = False

    def __init__(
        self, var: VarSpec = ("x",), cond_var: VarSpec = (), name: str = "p",
        features_shape: Sequence[int] = torch.Size(), probs: Any = None, logits: Any = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)

    @staticmethod
    def derive_probs_from_logits(logits: Tensor) -> Tensor:
        return torch.sigmoid(logits)

    @staticmethod
    def derive_logits_from_probs(probs: Tensor) -> Tensor:
        eps = torch.finfo(probs.dtype).eps
        clamped = probs.clamp(eps, 1.0 - eps)
        return clamped.log() - torch.log1p(-clamped)

    @staticmethod
    def draw(noise: Tensor, probs: Tensor) -> Tensor:
        return (noise < probs).to(probs.dtype)

    @staticmethod
    def log_density(x: Tensor, logits: Tensor) -> Tensor:
        return -Bernoulli.minus_log_density(x, logits)

    @staticmethod
    def minus_log_density(x: Tensor, logits: Tensor) -> Tensor:
        if x.shape != logits.shape:
            x, logits = torch.broadcast_tensors(x, logits)
        if x.dtype is not logits.dtype:
            x = x.to(logits.dtype)
        return torch.binary_cross_entropy_with_logits(logits, x, None, None, 0)  # 0: no reduction

    @staticmethod
    def mean_of(probs: Tensor) -> Tensor:
        return probs

    @staticmethod
    def variance_of(probs: Tensor) -> Tensor:
        return probs * (1.0 - probs)

    @staticmethod
    def entropy_of(logits: Tensor, probs: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, probs, reduction="none")

    def as_torch(self, **params: Tensor) -> torch.distributions.Distribution:
        return torch.distributions.Bernoulli(**params)  # type: ignore[arg-type]


def one_of(probs: Any, logits: Any) -> None:
    """Refuse both at once."""
    if probs is not None and logits is not None:
        raise PixyzError("give probs or logits, not both")
