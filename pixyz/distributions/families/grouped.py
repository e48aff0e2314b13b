"""Groups of one-hot variables, the latent of DreamerV2 and V3."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch import distributions as td

from pixyz.distributions.core.states import all_states
from pixyz.distributions.families.categorical import ONE_HOTS, Categorical
from pixyz.distributions.families.given import Value
from pixyz.distributions.families.noise import class_noise
from pixyz.distributions.families.one_hot import (
    one_hot_sample,
    softmax_last,
    straight_through,
    with_uniform,
)
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.plan.looks import Domain
from pixyz.types import PixyzError, VarSpec


class GroupedOneHot(ParametricDistribution):
    r"""A vector of ``groups`` one-hot variables of ``classes`` classes, flattened: ``[..., groups *
    classes]``.

    The latent of DreamerV2 and V3: gradients pass straight through the sample to the probabilities,
    and ``unimix`` mixes in the uniform distribution, :math:`p = (1-\epsilon)\,\mathrm{softmax}(l) +
    \epsilon/K`, inside the distribution, so that the KL sees it (Hafner et al. 2023).

    Args:
        groups, classes: the shape of the latent.
        unimix: the share of the uniform distribution.
        straight_through: pass gradients through samples.

    >>> p = GroupedOneHot(2, 3, "s", logits=torch.zeros(6))
    >>> s = p.sample(batch_n=4)["s"]
    >>> s.shape, s[0].sum().item()
    (torch.Size([4, 6]), 2.0)
    """

    distribution_torch_class = td.OneHotCategorical
    params_keys = ("logits",)
    noise_shape = ("probs",)
    noise = staticmethod(class_noise)
    event_dims = 1
    entropy_of = staticmethod(Categorical.entropy_of)

    def __init__(
        self,
        groups: int,
        classes: int,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        logits: Value = None,
        unimix: float = 0.01,
        straight_through: bool = True,
    ) -> None:
        if not 0.0 <= unimix < 1.0:
            raise PixyzError(f"unimix must lie in [0, 1), got {unimix}")
        super().__init__(var, cond_var, name, (groups * classes,), logits=logits)
        self.groups, self.classes = groups, classes
        self.unimix, self.straight_through = unimix, straight_through

    @property
    def has_reparam(self) -> bool:
        return self.straight_through

    def states(self) -> Tensor | None:
        return all_states(torch.eye(self.classes), self.features_shape)

    def value_domain(self) -> Domain | None:
        return replace(ONE_HOTS, group=self.classes)

    def derive_probs(self, logits: Tensor) -> Tensor:
        probs = softmax_last(logits.view(*logits.shape[:-1], self.groups, self.classes))
        return with_uniform(probs, self.unimix) if self.unimix else probs

    def derive_log_probs(self, probs: Tensor, logits: Tensor) -> Tensor:
        if self.unimix:
            return probs.log()
        return Categorical.derive_log_probs(logits.unflatten(-1, (self.groups, self.classes)))

    def draw(self, noise: Tensor, probs: Tensor) -> Tensor:
        sample = one_hot_sample(noise, probs)
        return (straight_through(sample, probs) if self.straight_through else sample).flatten(-2)

    def log_density(self, x: Tensor, log_probs: Tensor) -> Tensor:
        return (x.unflatten(-1, (self.groups, self.classes)) * log_probs).sum(-1)

    @staticmethod
    def mean_of(probs: Tensor) -> Tensor:
        return probs.flatten(-2)

    @staticmethod
    def variance_of(probs: Tensor) -> Tensor:
        return (probs * (1.0 - probs)).flatten(-2)

    def as_torch(self, **params: Tensor) -> td.Distribution:
        base = td.OneHotCategorical(probs=self.derive_probs(params["logits"]))
        return td.Independent(base, 1)
