"""Bits, each feature by itself; parameters and samples are ``[B, ...]``, a density each.

Values equal torch.distributions'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch import distributions as td

from pixyz.distributions.core.states import all_states
from pixyz.distributions.families.given import Value, one_of, unknown_shape
from pixyz.distributions.families.noise import uniform_noise
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.plan import rules
from pixyz.plan.looks import Domain
from pixyz.types import VarSpec

BIT_VALUES = Domain(0.0, 1.0, advice="scale the data (pixels of 0 to 255: x / 255)")


class Odds:
    """What families share that have a probability as ``probs`` or ``logits``."""

    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}

    @staticmethod
    def derive_probs_from_logits(logits: Tensor) -> Tensor:
        return torch.sigmoid(logits)

    @staticmethod
    def derive_logits_from_probs(probs: Tensor) -> Tensor:
        info = torch.finfo(probs.dtype)
        clamped = probs.clamp(info.tiny, 1.0 - info.eps)
        return clamped.log() - torch.log1p(-clamped)


def all_bits(p: ParametricDistribution) -> Tensor:
    """All values of bits ``[S, *features_shape]``."""
    if not p.features_shape and type(p).forward is not nn.Module.forward:
        raise unknown_shape(p.var[0], "...")
    return all_states(torch.tensor([0.0, 1.0]), p.features_shape)


def minus_log_bernoulli_total(x: Tensor, logits: Tensor) -> tuple[Tensor, int]:
    """The sum of all elements of :meth:`Bernoulli.minus_log_density`, and the number of rows."""
    if x.shape != logits.shape or x.dtype is not logits.dtype or x.dtype.itemsize < 4:
        each = Bernoulli.minus_log_density(x, logits)
        return rules.total(each), len(each)
    return torch.binary_cross_entropy_with_logits(logits, x, None, None, 2), len(x)  # 2: the sum


class Bernoulli(Odds, ParametricDistribution):
    r"""The Bernoulli distribution; ``probs`` or ``logits``. ``x`` may lie between 0 and 1 (soft
    targets).

    :math:`p(x) = \pi^x (1 - \pi)^{1 - x}`, each feature by itself.

    >>> p = Bernoulli("x", probs=torch.tensor([0.25, 0.5]))
    >>> p.get_log_prob({"x": torch.tensor([[1.0, 0.0]])}).exp()
    tensor([0.1250])
    """

    distribution_torch_class = td.Bernoulli
    params_keys = ("probs",)
    noise_shape = ("probs",)
    noise = staticmethod(uniform_noise)
    domain = BIT_VALUES
    pathwise = False

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        probs: Value = None,
        logits: Value = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)

    @staticmethod
    def draw(noise: Tensor, probs: Tensor) -> Tensor:
        return (noise < probs).to(probs.dtype)

    @staticmethod
    def log_density(x: Tensor, logits: Tensor) -> Tensor:
        return -Bernoulli.minus_log_density(x, logits)

    @staticmethod
    @rules.with_total(minus_log_bernoulli_total)
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

    def states(self) -> Tensor | None:
        return all_bits(self)

    @staticmethod
    def entropy_of(logits: Tensor, probs: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, probs, reduction="none")


class FactorizedBernoulli(Odds, ParametricDistribution):
    r"""A Bernoulli whose density counts only what is there: :math:`\log p(x) = \sum_{i: x_i = 1}
    \log p_i`.

    It is no density, but the score of a set of attributes of which the absent ones are unknown
    (Vedantam et al. 2017, *Generative models of visually grounded imagination*).

    >>> p = FactorizedBernoulli(var="x", probs=torch.tensor([0.5, 0.1]))
    >>> p.get_log_prob({"x": torch.tensor([[1.0, 0.0]])})
    tensor([-0.6931])
    """

    distribution_torch_class = td.Bernoulli
    params_keys = ("probs",)
    noise_shape = ("probs",)
    noise = staticmethod(uniform_noise)
    domain = BIT_VALUES
    pathwise = False
    normalized = False
    draw = staticmethod(Bernoulli.draw)
    mean_of = staticmethod(Bernoulli.mean_of)
    variance_of = staticmethod(Bernoulli.variance_of)
    entropy_of = staticmethod(Bernoulli.entropy_of)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        probs: Value = None,
        logits: Value = None,
    ) -> None:
        one_of(probs, logits)
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)

    @staticmethod
    def log_density(x: Tensor, logits: Tensor) -> Tensor:
        return torch.where(x == 0, 0.0, Bernoulli.log_density(x, logits))

    def states(self) -> Tensor | None:
        return all_bits(self)
