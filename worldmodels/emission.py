"""Densities of a vector given the state: binary or real features, by a small network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Distribution, Normal

Observation = Literal["bernoulli", "gaussian"]


def relu_network(sizes: Sequence[int], last: bool = False) -> nn.Sequential:
    """Dense layers of these sizes with ReLU between them, and after the last one if ``last``."""
    layers: list[nn.Module] = []
    for size, out in itertools.pairwise(sizes):
        layers += [nn.Linear(size, out), nn.ReLU()]
    return nn.Sequential(*(layers if last else layers[:-1]))


class BernoulliEmission(Bernoulli):
    """``p(x_t|...)`` of binary features (values between 0 and 1 are soft targets)."""

    def __init__(self, var: str, cond_var: Sequence[str], sizes: Sequence[int]) -> None:
        super().__init__(var, list(cond_var), "p", features_shape=[sizes[-1]])
        self.net = relu_network(sizes)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(torch.cat([given[v] for v in self.cond_var], -1))}


class GaussianEmission(Normal):
    """``p(x_t|...)`` of real features, with one learned standard deviation a feature."""

    def __init__(
        self, var: str, cond_var: Sequence[str], sizes: Sequence[int], min_scale: float
    ) -> None:
        super().__init__(var, list(cond_var), "p", features_shape=[sizes[-1]])
        self.net, self.min_scale = relu_network(sizes), min_scale
        self.raw_scale = nn.Parameter(torch.zeros(sizes[-1]))

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc = self.net(torch.cat([given[v] for v in self.cond_var], -1))
        return {"loc": loc, "scale": (F.softplus(self.raw_scale) + self.min_scale).expand_as(loc)}


class Gaussian(Normal):
    """A diagonal normal of ``var`` by a small network of all its conditions; ``residual``: added to
    the first of them.
    """

    def __init__(
        self,
        var: str,
        cond_var: Sequence[str],
        name: str,
        sizes: Sequence[int],
        min_scale: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__(var, list(cond_var), name, features_shape=[sizes[-1]])
        self.net, self.min_scale = relu_network([*sizes[:-1], 2 * sizes[-1]]), min_scale
        self.residual = residual

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(torch.cat([given[v] for v in self.cond_var], -1)).chunk(2, -1)
        loc = loc + given[self.cond_var[0]] if self.residual else loc
        return {"loc": loc, "scale": F.softplus(scale) + self.min_scale}


def emission_of(
    kind: Observation, var: str, cond_var: Sequence[str], sizes: Sequence[int], min_scale: float
) -> Distribution:
    """The density of ``var``: layers of ``sizes`` from all conditions side
    by side to its features.
    """
    if kind == "gaussian":
        return GaussianEmission(var, cond_var, sizes, min_scale)
    return BernoulliEmission(var, cond_var, sizes)
