"""One-hot vectors and counts of classes: ``[..., K]``, a density over the last dimension.

Values equal torch.distributions'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.core.params import Formula
from pixyz.distributions.core.states import all_states
from pixyz.distributions.families.given import Value, one_of, unknown_shape
from pixyz.distributions.families.noise import class_noise
from pixyz.distributions.families.one_hot import one_hot_sample
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.families.special import log_poisson
from pixyz.distributions.families.torch_formula import shape_only
from pixyz.plan.looks import WEIGHTS, Domain
from pixyz.types import PixyzError, VarSpec

ONE_HOTS = Domain(
    0.0, 1.0, 1.0, advice="give one-hot vectors (class numbers n: one_hot(n, classes))"
)
COUNTS = Domain(0.0, whole=True, advice="give counts of the classes")


def normalized(probs: Tensor) -> Tensor:
    """Probabilities that sum to 1."""
    return probs / probs.sum(-1, keepdim=True)


class Classes:
    """What families over classes share: ``probs``, which are made to sum to 1, or ``logits``."""

    alternatives: ClassVar[Mapping[str, str]] = {"probs": "logits"}
    event_dims: ClassVar[int] = 1
    constraints: ClassVar[Mapping[str, Domain]] = {"probs": WEIGHTS}
    prepared: ClassVar[Mapping[str, Formula]] = {"probs": normalized}

    @staticmethod
    def derive_probs_from_logits(logits: Tensor) -> Tensor:
        return torch.softmax(logits, -1)

    @staticmethod
    def derive_logits_from_probs(probs: Tensor) -> Tensor:
        return probs.clamp(min=torch.finfo(probs.dtype).tiny).log()

    @staticmethod
    def derive_log_probs(logits: Tensor) -> Tensor:
        # 0 * log 0 = 0
        return torch.log_softmax(logits, -1).clamp(min=torch.finfo(logits.dtype).min)


def all_one_hots(p: ParametricDistribution) -> Tensor:
    """All values of one-hot vectors ``[S, *features_shape]``."""
    if not p.features_shape:
        raise unknown_shape(p.var[0], "classes")
    return all_states(torch.eye(p.features_shape[-1]), p.features_shape)


class Categorical(Classes, ParametricDistribution):
    r"""The categorical distribution over one-hot vectors ``[..., K]``; ``probs`` or ``logits``.

    ``x`` is one-hot, or soft (a mixture of classes).

    :math:`p(x) = \prod_k \pi_k^{x_k}`.

    >>> p = Categorical("y", probs=torch.tensor([0.2, 0.8]))
    >>> p.get_log_prob({"y": torch.tensor([[0.0, 1.0]])}).exp()
    tensor([0.8000])
    """

    distribution_torch_class = td.OneHotCategorical
    params_keys = ("probs",)
    noise_shape = ("probs",)
    noise = staticmethod(class_noise)
    domain = ONE_HOTS
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
        return one_hot_sample(noise, probs)

    @staticmethod
    def log_density(x: Tensor, log_probs: Tensor) -> Tensor:
        return (x * log_probs).sum(-1)

    @staticmethod
    def mean_of(probs: Tensor) -> Tensor:
        return probs

    @staticmethod
    def variance_of(probs: Tensor) -> Tensor:
        return probs * (1.0 - probs)

    def states(self) -> Tensor | None:
        return all_one_hots(self)

    @staticmethod
    def entropy_of(log_probs: Tensor, probs: Tensor) -> Tensor:
        return -(log_probs * probs).sum(-1)


class OneHotCategoricalStraightThrough(Classes, ParametricDistribution):
    r"""A categorical whose samples pass the gradient of the probabilities: the value is one-hot,
    :math:`\partial x/\partial\theta = \partial p/\partial\theta` (Bengio et al. 2013).

    ``probs`` or ``logits``, ``[..., K]``.  The gradient is biased.

    >>> logits = torch.zeros(1, 3, requires_grad=True)
    >>> p = OneHotCategoricalStraightThrough(var="x", cond_var="l", logits="l")
    >>> p.sample({"l": logits}, reparam=True)["x"].requires_grad
    True
    """

    distribution_torch_class = td.OneHotCategoricalStraightThrough
    params_keys = ("probs",)
    noise_shape = ("probs",)
    noise = staticmethod(class_noise)
    domain = ONE_HOTS
    log_density = staticmethod(Categorical.log_density)
    mean_of = staticmethod(Categorical.mean_of)
    variance_of = staticmethod(Categorical.variance_of)
    entropy_of = staticmethod(Categorical.entropy_of)

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
        return one_hot_sample(noise, probs.detach()) + (probs - probs.detach())

    def states(self) -> Tensor | None:
        return all_one_hots(self)


class Multinomial(Classes, ParametricDistribution):
    r"""Counts of the classes in n draws, :math:`p(x) = \frac{n!}{\prod_k x_k!} \prod_k p_k^{x_k}`;
    ``probs`` or ``logits``.

    The coefficient is that of the counts given, so rows of other totals may be scored.

    Args:
        total_count: the number of draws n of a sample.

    >>> Multinomial(2, var="x", probs=torch.tensor([0.5, 0.5])).get_log_prob(
    ...     {"x": torch.tensor([[1.0, 1.0]])}
    ... )
    tensor([-0.6931])
    """

    distribution_torch_class = td.Multinomial
    params_keys = ("probs",)
    noise_shape = ("probs",)
    noise = staticmethod(shape_only)
    domain = COUNTS
    pathwise = False
    total_count: int

    def __init__(
        self,
        total_count: int = 1,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        probs: Value = None,
        logits: Value = None,
    ) -> None:
        if not isinstance(total_count, int) or total_count < 0:
            raise PixyzError(
                f"total_count is the number of draws, a whole number of at least 0; "
                f"got {total_count!r}"
            )
        super().__init__(var, cond_var, name, features_shape, probs=probs, logits=logits)
        self.total_count = total_count

    def draw(self, noise: Tensor, probs: Tensor) -> Tensor:
        rows = probs.detach().expand(noise.shape).reshape(-1, noise.shape[-1])
        if not self.total_count:
            return torch.zeros_like(rows).reshape(noise.shape)
        found = torch.multinomial(rows, self.total_count, replacement=True)
        return (
            torch.zeros_like(rows)
            .scatter_add_(-1, found, torch.ones_like(found, dtype=rows.dtype))
            .reshape(noise.shape)
        )

    @staticmethod
    def log_density(x: Tensor, log_probs: Tensor) -> Tensor:
        n = x.sum(-1, keepdim=True)
        some = torch.where(n > 0, n, 1.0)
        each = log_poisson(x, some * log_probs.exp(), some.log() + log_probs).sum(-1)
        return torch.where(n > 0, each.unsqueeze(-1) - log_poisson(some, some), 0.0).squeeze(-1)

    def mean_of(self, probs: Tensor) -> Tensor:
        return self.total_count * probs

    def variance_of(self, probs: Tensor) -> Tensor:
        return self.total_count * probs * (1.0 - probs)

    def as_torch(self, **params: Tensor) -> td.Distribution:
        return td.Multinomial(self.total_count, **params)  # type: ignore[arg-type]
