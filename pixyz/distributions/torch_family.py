"""Families that torch.distributions knows: what a class does not write as a formula of its own is asked of torch.

A torch distribution is built in the step that needs it, without argument checks, and is never kept.  The steps of the
plan stay the same as for every family (network, parameters, noise, draw, log), so parameters are shared between terms.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.base import sum_over
from pixyz.distributions.families import Bernoulli
from pixyz.distributions.parametric import ParametricDistribution
from pixyz.distributions.params import Params, apply
from pixyz.plan import Builder, Scope, Slot


def shape_only(shape: Sequence[int], like: Tensor) -> Tensor:
    """The shape of a sample, for samplers that have no base noise: zeros that take no memory."""
    return like.new_zeros(()).expand(tuple(shape))


def exponential_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Noise of the exponential distribution with rate 1; never 0."""
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device).exponential_()


def open_uniform_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uniform noise in (0, 1)."""
    info = torch.finfo(like.dtype)
    return torch.rand(tuple(shape), dtype=like.dtype, device=like.device).clamp_(info.tiny, 1.0 - info.eps / 2)


class TorchFormula:
    """``method`` of a torch distribution as a formula of its parameters."""

    def __init__(self, build: Callable[..., td.Distribution], keys: Sequence[str], method: str) -> None:
        self.build, self.keys, self.method = build, tuple(keys), method
        self.__name__ = f"{getattr(build, '__name__', 'torch')}_{method}"
        first = {"log_prob": ("x",), "rsample": ("noise",), "sample": ("noise",)}.get(method, ())
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in (*first, *self.keys)])

    def __call__(self, *values: Tensor) -> Tensor:
        *first, dist = *values[: len(values) - len(self.keys)], self.build(**dict(zip(self.keys, values[-len(self.keys) :])))
        if self.method == "log_prob":
            return dist.log_prob(first[0])
        if not first:
            found = getattr(dist, self.method)
            return found() if callable(found) else found  # type: ignore[no-any-return]
        shape = first[0].shape[: first[0].ndim - len(dist.event_shape)]
        return getattr(dist.expand(shape), self.method)()  # type: ignore[no-any-return]


FORMULAS = {"log_density": "log_prob", "mean_of": "mean", "variance_of": "variance", "entropy_of": "entropy"}


class TorchFamily(ParametricDistribution):
    """A family with a counterpart in torch.distributions.

    A subclass names ``torch_family``, ``params_keys`` and ``noise_shape``; formulas that it defines itself go before
    torch's.  Densities are 0 outside of ``support``, where torch without argument checks returns any number.
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
        keys, family = cls.torch_keys or cls.params_keys, cls.torch_family
        build = functools.partial(family, validate_args=False)
        build.__name__ = family.__name__  # type: ignore[attr-defined]
        for name, method in FORMULAS.items():
            if name not in vars(cls):
                # ExponentialFamily.entropy differentiates at each call, and fails for some families
                unknown = (getattr(td.Distribution, method), getattr(td.ExponentialFamily, method))
                known = getattr(family, method) not in unknown
                setattr(cls, name, TorchFormula(build, keys, method) if known else None)
        if "draw" not in vars(cls):
            cls.pathwise = bool(family.has_rsample)
            setattr(cls, "draw", TorchFormula(build, keys, "rsample" if cls.pathwise else "sample"))  # noqa: B010

    def log_prob_from(
        self, builder: Builder, scope: Scope, params: Params, *, sum_features: bool, feature_dims: Sequence[int] | None
    ) -> Slot:
        limits = self.limits
        if limits is None:
            return super().log_prob_from(builder, scope, params, sum_features=sum_features, feature_dims=feature_dims)
        label = f"log {self.prob_text}"
        x = scope.lookup(self.var[0])
        inside = builder.point(limits, x, label=f"support of {self.prob_text}")
        safe = builder.point(limits.held, x, inside, label=f"{self.var[0]} in the support")
        slot = apply(builder, self.formula("log_density"), params, label, x=safe)
        slot = builder.point(zero_outside, slot, inside, label=label)
        return sum_over(builder, slot, sum_features, feature_dims, label)

    def as_torch(self, **params: Tensor) -> td.Distribution:
        return self.torch_family(**params)  # type: ignore[no-any-return]


class Limits:
    """Whether a value lies in a closed interval."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, x: Tensor) -> Tensor:
        above = x >= self.low
        return above if self.high == float("inf") else above & (x <= self.high)

    def held(self, x: Tensor, inside: Tensor) -> Tensor:
        """``x`` where it is inside, else some value there."""
        return torch.where(inside, x, self.low + 1.0 if self.high == float("inf") else (self.low + self.high) / 2)


def zero_outside(log_density: Tensor, inside: Tensor) -> Tensor:
    """Log-density minus infinity where a value is not in the support."""
    return torch.where(inside, log_density, float("-inf"))


class OddsFamily(TorchFamily):
    """A family with a probability as ``probs`` or ``logits``, of which the other is derived."""

    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    derive_probs_from_logits = staticmethod(Bernoulli.derive_probs_from_logits)
    derive_logits_from_probs = staticmethod(Bernoulli.derive_logits_from_probs)
