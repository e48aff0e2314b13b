"""Discrete variables whose samples are relaxed, so that gradients pass (Maddison et al. 2017; Jang
et al. 2017).

The two families named Relaxed draw relaxed values and score them by the density of the discrete
variable they stand for, which is what a KL to a discrete prior needs; the two named Concrete have
the density of the relaxed variable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch import distributions as td
from torch.nn import functional as F

from pixyz.distributions.core.params import Params
from pixyz.distributions.families.bernoulli import BIT_VALUES, Bernoulli, Odds, all_bits
from pixyz.distributions.families.categorical import (
    ONE_HOTS,
    Categorical,
    Classes,
    all_one_hots,
)
from pixyz.distributions.families.given import Value, one_of
from pixyz.distributions.families.location_scale import gumbel_noise
from pixyz.distributions.families.noise import open_uniform_noise
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.plan import Slot, rules
from pixyz.plan.looks import Domain, Read
from pixyz.types import PixyzError, VariableError, VarSpec

WARM = Domain(torch.finfo(torch.float32).tiny, advice="0.1 is nearly discrete, 1 is smooth")
"""Where a temperature lies."""


def as_temperature(value: Value) -> Tensor:
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


class RelaxedBernoulli(Odds, ParametricDistribution):
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
    noise_shape = ("logits",)
    optional = ("temperature",)
    noise = staticmethod(logistic_noise)
    domain = BIT_VALUES
    relaxes = True
    log_density = staticmethod(Bernoulli.log_density)
    minus_log_density = staticmethod(Bernoulli.minus_log_density)
    mean_of = staticmethod(Bernoulli.mean_of)
    entropy_of = staticmethod(Bernoulli.entropy_of)
    temperature: Tensor

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        temperature: Value = 0.1,
        probs: Value = None,
        logits: Value = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)
        keep(self, temperature)

    def hidden_params(self, params: Params, learned: bool) -> dict[str, Slot]:
        return {"heat": temperature_of(self, params, learned)}

    @staticmethod
    def draw(noise: Tensor, logits: Tensor, heat: Tensor) -> Tensor:
        info = torch.finfo(logits.dtype)
        return torch.sigmoid((logits + noise) / heat).clamp(info.tiny, 1.0 - info.eps)

    def as_torch(self, **params: Tensor) -> td.Distribution:
        return torch_bernoulli(self.temperature, params)

    def states(self) -> Tensor | None:
        return all_bits(self)


class ConcreteBernoulli(Odds, ParametricDistribution):
    r"""The binary Concrete distribution: :class:`RelaxedBernoulli` with the density of the relaxed
    variable, :math:`p(x) = T\,\alpha\,x^{-T-1}(1-x)^{-T-1} / (\alpha x^{-T} + (1-x)^{-T})^2,\
    \alpha = e^l` (Maddison et al. 2017).

    >>> p = ConcreteBernoulli(var="x", probs=torch.tensor([0.5]), temperature=1.)
    >>> p.get_log_prob({"x": torch.tensor([[0.3]])})
    tensor([0.])
    """

    distribution_torch_class = td.RelaxedBernoulli
    params_keys = ("probs",)
    noise_shape = ("logits",)
    optional = ("temperature",)
    noise = staticmethod(logistic_noise)
    draw = staticmethod(RelaxedBernoulli.draw)
    temperature: Tensor

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        temperature: Value = 0.1,
        probs: Value = None,
        logits: Value = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)
        keep(self, temperature)

    def hidden_params(self, params: Params, learned: bool) -> dict[str, Slot]:
        return {"heat": temperature_of(self, params, learned)}

    def as_torch(self, **params: Tensor) -> td.Distribution:
        return torch_bernoulli(self.temperature, params)

    @staticmethod
    def log_density(x: Tensor, logits: Tensor, heat: Tensor) -> Tensor:
        info = torch.finfo(x.dtype)
        y = torch.logit(x.clamp(info.tiny, 1.0 - info.eps))
        gap = logits - heat * y
        within = heat.log() + gap - 2.0 * F.softplus(gap) + F.softplus(y) + F.softplus(-y)
        upper, lower = x >= 1.0 - info.eps, x <= info.tiny
        above = upper.to(x.dtype)
        side = 2.0 * above - 1.0
        edge = -math.log(info.tiny) + (math.log(info.tiny) - math.log(info.eps)) * above
        found = torch.where(upper | lower, _beyond(edge, side * logits, heat), within)
        return torch.where((x < 0.0) | (x > 1.0), -math.inf, found)

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


class RelaxedCategorical(Classes, ParametricDistribution):
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
    noise_shape = ("logits",)
    optional = ("temperature",)
    noise = staticmethod(gumbel_noise)
    domain = ONE_HOTS
    relaxes = True
    log_density = staticmethod(Categorical.log_density)
    mean_of = staticmethod(Categorical.mean_of)
    entropy_of = staticmethod(Categorical.entropy_of)
    temperature: Tensor

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        temperature: Value = 0.1,
        probs: Value = None,
        logits: Value = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)
        keep(self, temperature)

    def hidden_params(self, params: Params, learned: bool) -> dict[str, Slot]:
        return {"heat": temperature_of(self, params, learned)}

    @staticmethod
    def draw(noise: Tensor, logits: Tensor, heat: Tensor) -> Tensor:
        return torch.softmax((logits + noise) / heat, -1)

    def as_torch(self, **params: Tensor) -> td.Distribution:
        return torch_categorical(self.temperature, params)

    def states(self) -> Tensor | None:
        return all_one_hots(self)


class ConcreteCategorical(Classes, ParametricDistribution):
    r"""The Concrete distribution: :class:`RelaxedCategorical` with the density of the relaxed
    variable, :math:`p(x) = (K-1)!\,T^{K-1} \prod_k \alpha_k x_k^{-T-1} / (\sum_k \alpha_k
    x_k^{-T})^K` (Maddison et al. 2017, eq. 10).

    >>> p = ConcreteCategorical(var="x", probs=torch.tensor([0.5, 0.5]), temperature=1.0)
    >>> p.get_log_prob({"x": torch.tensor([[0.3, 0.7]])})
    tensor([0.])
    """

    distribution_torch_class = td.RelaxedOneHotCategorical
    params_keys = ("probs",)
    noise_shape = ("logits",)
    optional = ("temperature",)
    noise = staticmethod(gumbel_noise)
    domain = ONE_HOTS
    draw = staticmethod(RelaxedCategorical.draw)
    temperature: Tensor

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        temperature: Value = 0.1,
        probs: Value = None,
        logits: Value = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)
        keep(self, temperature)

    def hidden_params(self, params: Params, learned: bool) -> dict[str, Slot]:
        return {"heat": temperature_of(self, params, learned)}

    def as_torch(self, **params: Tensor) -> td.Distribution:
        return torch_categorical(self.temperature, params)

    @staticmethod
    def log_density(x: Tensor, logits: Tensor, heat: Tensor) -> Tensor:
        log_x, classes = x.clamp(min=torch.finfo(x.dtype).tiny).log(), x.shape[-1]
        terms = logits - (heat + 1.0) * log_x + heat.log() * ((classes - 1) / classes)
        return (
            math.lgamma(classes)
            + terms.sum(-1)
            - classes * torch.logsumexp(logits - heat * log_x, -1)
        )

    @staticmethod
    def minus_log_density_of_noise(noise: Tensor, logits: Tensor, heat: Tensor) -> Tensor:
        log_x, classes = torch.log_softmax((logits + noise) / heat, -1), logits.shape[-1]
        terms = logits - (heat + 1.0) * log_x + heat.log() * ((classes - 1) / classes)
        return (
            classes * torch.logsumexp(logits - heat * log_x, -1)
            - math.lgamma(classes)
            - terms.sum(-1)
        )


def keep(p: ParametricDistribution, temperature: Value) -> None:
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


def temperature_of(p: ParametricDistribution, params: Params, learned: bool) -> Slot:
    """What the formulas divide by: the temperature of each row, or the one that ``p`` holds."""
    builder, label = params.builder, f"temperature of {p.prob_text}"
    if "temperature" in params:
        given = next(params[k] for k in ("logits", "probs") if k in params)
        heat = builder.point(rules.lift, params["temperature"], given, label=label)
        builder.look(heat, Read("temperature", p.prob_text, WARM), params["temperature"])
        return heat
    heat = builder.attribute(p, "temperature", label)
    return heat if learned else builder.detach(heat)


def torch_bernoulli(held: Tensor, params: dict[str, Tensor]) -> td.Distribution:
    """torch's relaxed Bernoulli, with the temperature of each row or the one that is held."""
    heat = params.pop("temperature", None)
    given = next(iter(params.values()))
    heat = held if heat is None else rules.lift(heat, given)
    return td.RelaxedBernoulli(heat, **params)  # type: ignore[arg-type]


def torch_categorical(held: Tensor, params: dict[str, Tensor]) -> td.Distribution:
    """torch's relaxed categorical, which has one temperature."""
    heat = params.pop("temperature", held)
    if heat.numel() != 1:
        raise PixyzError(
            f"torch's relaxed categorical has one temperature, got the shape {list(heat.shape)}"
        )
    return td.RelaxedOneHotCategorical(heat.reshape(()), **params)  # type: ignore[arg-type]
