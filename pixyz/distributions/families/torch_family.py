"""Families that torch.distributions knows: what a class does not write as a formula of its own is
asked of torch.

A torch distribution is built in the step that needs it, without argument checks, and is never kept.
The steps of the plan stay the same as for every family (network, parameters, noise, draw, log), so
parameters are shared between terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from pixyz.distributions.core.base import sum_over
from pixyz.distributions.core.params import Params, arguments
from pixyz.distributions.families.normal import Bernoulli
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.torch_formula import ask_torch, shape_only
from pixyz.plan import Builder, Scope, Slot


def exponential_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Noise of the exponential distribution with rate 1; never 0."""
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device).exponential_()


def open_uniform_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uniform noise in (0, 1)."""
    info = torch.finfo(like.dtype)
    return torch.rand(tuple(shape), dtype=like.dtype, device=like.device).clamp_(
        info.tiny, 1.0 - info.eps / 2
    )


def chi2_draw(noise: Tensor, df: Tensor) -> Tensor:
    """A draw of the chi-squared distribution in the shape of ``noise``; pathwise, and never 0."""
    drawn = 2.0 * torch._standard_gamma(0.5 * df.expand(noise.shape))
    drawn.detach().clamp_(min=torch.finfo(drawn.dtype).tiny)
    return drawn


class TorchFamily(ParametricDistribution):
    """A family with a counterpart in torch.distributions.

    A subclass names ``torch_family``, ``params_keys`` and ``noise_shape``; formulas that it defines
    itself go before torch's.  Densities are 0 outside of ``support``, where torch without argument
    checks returns any number.
    """

    torch_family: ClassVar[Any]
    """The class in torch.distributions."""
    torch_keys: ClassVar[tuple[str, ...]] = ()
    """The parameters to build it with; ``params_keys`` if empty."""
    support: ClassVar[tuple[float, float] | None] = None
    """The interval outside of which the density is 0, where the formulas do not say so."""
    limits: ClassVar[Limits | None] = None
    noise = staticmethod(shape_only)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get("support") is not None:
            cls.limits = Limits(*vars(cls)["support"])
        if "torch_family" not in vars(cls):
            return
        cls.distribution_torch_class = cls.torch_family
        ask_torch(cls, cls.torch_family, cls.torch_keys or cls.params_keys)

    def log_prob_from(
        self,
        builder: Builder,
        scope: Scope,
        params: Params,
        *,
        sum_features: bool,
        feature_dims: Sequence[int] | None,
    ) -> Slot:
        limits, x = type(self).limits, scope.lookup(self.var[0])
        if limits is None or self._noise_of(x, params) is not None:  # a draw lies in the support
            return super().log_prob_from(
                builder, scope, params, sum_features=sum_features, feature_dims=feature_dims
            )
        label = f"log {self.prob_text}"
        inside = builder.point(limits, x, label=f"support of {self.prob_text}")
        safe = builder.point(limits.held, x, inside, label=f"{self.var[0]} in the support")
        formula = self.formula("log_density")
        slot = self.score(
            builder, formula, arguments(formula), params, safe, x, label, feature_dims
        )
        self.look_at_value(builder, slot, x, params, scope.outer_name(self.var[0]), sum_features)
        slot = builder.point(zero_outside, slot, inside, label=label)
        return sum_over(builder, slot, sum_features, feature_dims, label)


class Limits:
    """Whether a value lies in a closed interval."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, x: Tensor) -> Tensor:
        above = x >= self.low
        return above if self.high == float("inf") else above & (x <= self.high)

    def held(self, x: Tensor, inside: Tensor) -> Tensor:
        """``x`` where it is inside, else some value there."""
        return torch.where(
            inside, x, self.low + 1.0 if self.high == float("inf") else (self.low + self.high) / 2
        )


def zero_outside(log_density: Tensor, inside: Tensor) -> Tensor:
    """Log-density minus infinity where a value is not in the support."""
    return torch.where(inside, log_density, float("-inf"))


class OddsFamily(TorchFamily):
    """A family with a probability as ``probs`` or ``logits``, of which the other is derived."""

    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    derive_probs_from_logits = staticmethod(Bernoulli.derive_probs_from_logits)
    derive_logits_from_probs = staticmethod(Bernoulli.derive_logits_from_probs)
