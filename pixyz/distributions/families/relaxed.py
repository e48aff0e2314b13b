"""Discrete variables whose samples are relaxed, so that gradients pass (Maddison et al. 2017; Jang
et al. 2017).

The two families named Relaxed draw relaxed values and score them by the density of the discrete
variable they stand for, which is what a KL to a discrete prior needs; the two named Concrete have
the density of the relaxed variable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch import distributions as td
from torch.nn import functional as F

from pixyz.distributions.core.params import Params
from pixyz.distributions.families.location_scale import gumbel_noise
from pixyz.distributions.families.normal import Bernoulli
from pixyz.distributions.families.one_hot import Categorical
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.torch_family import open_uniform_noise
from pixyz.plan import Builder, Scope, rules
from pixyz.plan.looks import Domain
from pixyz.types import PixyzError, VariableError, VarSpec


def as_temperature(value: Any) -> Tensor:
    """A positive number as a tensor."""
    found = (
        value
        if isinstance(value, nn.Parameter)
        else torch.as_tensor(value, dtype=torch.get_default_dtype()).clone()
    )
    if not bool((found > 0).all()):
        raise PixyzError(
            f"temperature must be positive, got {value}; 0.1 is nearly discrete, 1 is smooth"
        )
    return found


def logistic_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Noise of the standard logistic distribution."""
    return torch.logit(open_uniform_noise(shape, like))


class RelaxedBernoulli(Bernoulli):
    r"""A Bernoulli with relaxed samples, :math:`x = \mathrm{sigmoid}((l + \epsilon)/T)`,
    :math:`\epsilon` logistic.

    Density, entropy, mean and KL are the Bernoulli's; ``probs`` or ``logits``.

    Args:
        temperature: T; write to ``p.temperature`` to anneal it.  Or the name of a conditioning
            variable; a network may return ``temperature`` too (of each row, ``[B]`` or of the shape
            of the features).

    >>> p = RelaxedBernoulli(var="x", probs=torch.tensor([0.5]), temperature=0.1)
    >>> p.get_log_prob({"x": torch.ones(1, 1)})
    tensor([-0.6931])
    """

    distribution_torch_class = td.RelaxedBernoulli
    params_keys = ("probs",)
    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    noise_shape = ("logits",)
    optional = ("temperature",)
    noise = staticmethod(logistic_noise)
    pathwise = True
    relaxes: ClassVar[bool] = True
    variance_of = None  # type: ignore[assignment]
    temperature: Tensor

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        temperature: Any = 0.1,
        probs: Any = None,
        logits: Any = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, probs, logits)
        keep(self, temperature)

    def params_from(self, builder: Builder, scope: Scope, network: Any) -> Params:
        return with_temperature(self, super().params_from(builder, scope, network), network is self)

    @staticmethod
    def draw(noise: Tensor, logits: Tensor, heat: Tensor) -> Tensor:  # type: ignore[override]
        info = torch.finfo(logits.dtype)
        return torch.sigmoid((logits + noise) / heat).clamp(info.tiny, 1.0 - info.eps)

    def as_torch(self, **params: Tensor) -> td.Distribution:
        heat = params.pop("temperature", None)
        given = next(iter(params.values()))
        heat = self.temperature if heat is None else rules.lift(heat, given)
        return td.RelaxedBernoulli(heat, **params)  # type: ignore[arg-type]


class ConcreteBernoulli(RelaxedBernoulli):
    r"""The binary Concrete distribution: :class:`RelaxedBernoulli` with the density of the relaxed
    variable, :math:`p(x) = T\,\alpha\,x^{-T-1}(1-x)^{-T-1} / (\alpha x^{-T} + (1-x)^{-T})^2,\
    \alpha = e^l` (Maddison et al. 2017).

    >>> p = ConcreteBernoulli(var="x", probs=torch.tensor([0.5]), temperature=1.)
    >>> p.get_log_prob({"x": torch.tensor([[0.3]])})
    tensor([0.])
    """

    params_keys = ("probs",)
    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    relaxes: ClassVar[bool] = False
    domain: ClassVar[Domain | None] = None  # the density is 0 outside of (0, 1)
    minus_log_density = None  # type: ignore[assignment]
    mean_of = None  # type: ignore[assignment]
    entropy_of = None  # type: ignore[assignment]

    def states(self) -> Tensor | None:
        return None

    @staticmethod
    def log_density(x: Tensor, logits: Tensor, heat: Tensor) -> Tensor:  # type: ignore[override]
        info = torch.finfo(x.dtype)
        y = torch.logit(x.clamp(info.tiny, 1.0 - info.eps))
        gap = logits - heat * y
        within = heat.log() + gap - 2.0 * F.softplus(gap) + F.softplus(y) + F.softplus(-y)
        upper, lower = x >= 1.0 - info.eps, x <= info.tiny
        above = upper.to(x.dtype)
        side, edge = (
            2.0 * above - 1.0,
            -math.log(info.tiny) + (math.log(info.tiny) - math.log(info.eps)) * above,
        )
        found = torch.where(upper | lower, _beyond(edge, side * logits, heat), within)
        return torch.where((x < 0.0) | (x > 1.0), -math.inf, found)

    draw = staticmethod(RelaxedBernoulli.draw)

    @staticmethod
    def minus_log_density_of_noise(noise: Tensor, logits: Tensor, heat: Tensor) -> Tensor:
        size = ((logits + noise) / heat).abs()
        return noise + 2.0 * F.softplus(-noise) - heat.log() - size - 2.0 * F.softplus(-size)


def _beyond(edge: Tensor, logits: Tensor, heat: Tensor) -> Tensor:
    """The mean log-density of all values whose logit is above ``edge``, where draws are cut off."""
    start = heat * edge - logits
    log_rest = F.logsigmoid(-start)
    rest = log_rest.exp().clamp(min=torch.finfo(start.dtype).tiny)
    few = start > 15.0  # the tail of an exponential distribution
    share = torch.where(
        few, -1.0, torch.sigmoid(start) * F.logsigmoid(start) / torch.where(few, 1.0, rest)
    )
    excess = torch.where(few, 1.0, F.softplus(-start) / torch.where(few, 1.0, rest))
    return heat.log() + log_rest - 2.0 - share + edge + excess / heat


class RelaxedCategorical(Categorical):
    r"""A categorical with relaxed samples, :math:`x = \mathrm{softmax}((l + g)/T)`, g Gumbel.

    Density, entropy, mean and KL are the one-hot categorical's (at a soft ``x``: linear in ``x``);
    ``probs`` or ``logits``, ``[..., K]``.

    Args:
        temperature: T; write to ``p.temperature`` to anneal it.  Or the name of a conditioning
            variable; a network may return ``temperature`` too (of each row, ``[B]`` or of the shape
            of the features).

    >>> p = RelaxedCategorical(var="x", probs=torch.tensor([0.5, 0.5]), temperature=0.1)
    >>> p.get_log_prob({"x": torch.tensor([[1.0, 0.0]])})
    tensor([-0.6931])
    """

    distribution_torch_class = td.RelaxedOneHotCategorical
    params_keys = ("probs",)
    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    noise_shape = ("logits",)
    optional = ("temperature",)
    noise = staticmethod(gumbel_noise)
    pathwise = True
    relaxes: ClassVar[bool] = True
    variance_of = None  # type: ignore[assignment]
    temperature: Tensor

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        temperature: Any = 0.1,
        probs: Any = None,
        logits: Any = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape, probs, logits)
        keep(self, temperature)

    def params_from(self, builder: Builder, scope: Scope, network: Any) -> Params:
        return with_temperature(self, super().params_from(builder, scope, network), network is self)

    @staticmethod
    def draw(noise: Tensor, logits: Tensor, heat: Tensor) -> Tensor:  # type: ignore[override]
        return torch.softmax((logits + noise) / heat, -1)

    def as_torch(self, **params: Tensor) -> td.Distribution:
        heat = params.pop("temperature", self.temperature)
        if heat.numel() != 1:
            raise PixyzError(
                f"torch's relaxed categorical has one temperature, got the shape {list(heat.shape)}"
            )
        return td.RelaxedOneHotCategorical(heat.reshape(()), **params)  # type: ignore[arg-type]


class ConcreteCategorical(RelaxedCategorical):
    r"""The Concrete distribution: :class:`RelaxedCategorical` with the density of the relaxed
    variable, :math:`p(x) = (K-1)!\,T^{K-1} \prod_k \alpha_k x_k^{-T-1} / (\sum_k \alpha_k
    x_k^{-T})^K` (Maddison et al. 2017, eq. 10).

    >>> p = ConcreteCategorical(var="x", probs=torch.tensor([0.5, 0.5]), temperature=1.0)
    >>> p.get_log_prob({"x": torch.tensor([[0.3, 0.7]])})
    tensor([0.])
    """

    params_keys = ("probs",)
    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    relaxes: ClassVar[bool] = False
    mean_of = None  # type: ignore[assignment]
    entropy_of = None  # type: ignore[assignment]

    def states(self) -> Tensor | None:
        return None

    @staticmethod
    def log_density(x: Tensor, logits: Tensor, heat: Tensor) -> Tensor:  # type: ignore[override]
        log_x, classes = x.clamp(min=torch.finfo(x.dtype).tiny).log(), x.shape[-1]
        terms = logits - (heat + 1.0) * log_x + heat.log() * ((classes - 1) / classes)
        return (
            math.lgamma(classes)
            + terms.sum(-1)
            - classes * torch.logsumexp(logits - heat * log_x, -1)
        )

    draw = staticmethod(RelaxedCategorical.draw)

    @staticmethod
    def minus_log_density_of_noise(noise: Tensor, logits: Tensor, heat: Tensor) -> Tensor:
        log_x, classes = torch.log_softmax((logits + noise) / heat, -1), logits.shape[-1]
        terms = logits - (heat + 1.0) * log_x + heat.log() * ((classes - 1) / classes)
        return (
            classes * torch.logsumexp(logits - heat * log_x, -1)
            - math.lgamma(classes)
            - terms.sum(-1)
        )


def keep(p: ParametricDistribution, temperature: Any) -> None:
    """Hold the temperature: as a buffer of ``p``, as a parameter if it is one, or as the name of a
    conditioning variable.
    """
    if isinstance(temperature, str):
        if temperature not in p.cond_var:
            raise VariableError(
                f"temperature={temperature!r} names a variable that is not in cond_var {p.cond_var}"
            )
        p._given.append("temperature")
        p._bound["temperature"] = temperature
        temperature = 1.0
    value = as_temperature(temperature)
    if isinstance(value, nn.Parameter):
        p.register_parameter("temperature", value)
    else:
        p.register_buffer("temperature", value)


def with_temperature(p: ParametricDistribution, params: Params, learned: bool) -> Params:
    """``heat``, what the formulas divide by: the temperature of each row, or the one that ``p``
    holds.
    """
    builder = params.builder
    if "temperature" in params:
        given = next(params[k] for k in ("logits", "probs") if k in params)
        heat = builder.point(
            rules.lift, params["temperature"], given, label=f"temperature of {p.prob_text}"
        )
    else:
        heat = builder.attribute(p, "temperature", f"temperature of {p.prob_text}")
        heat = heat if learned else builder.detach(heat)
    params.hidden["heat"] = heat
    return params
