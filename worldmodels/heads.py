"""What is read off a state: numbers such as rewards and returns,
and whether the episode goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pixyz.distributions import Bernoulli, Normal, TwoHot
from worldmodels.decoder import STATE
from worldmodels.networks import MLP

Numbers = Literal["two_hot", "normal"]


class ScalarHead(TwoHot):
    """A number of any size (a reward, a return) from the state: from ``cond_var``, ``size``
    features together.
    """

    def __init__(
        self,
        var: str,
        name: str,
        size: int,
        units: int,
        layers: int,
        bins: int,
        cond_var: Sequence[str] = STATE,
    ) -> None:
        super().__init__(var, list(cond_var), name, bins=bins)
        self.net = MLP(size, units, layers, bins, outscale=0.0)

    def forward(self, **state: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(*[state[v] for v in self.cond_var])}


class ContinueHead(Bernoulli):
    """The probability that the episode goes on, from the state: from ``cond_var``, ``size``
    features together.
    """

    returned = ("logits",)

    def __init__(self, size: int, units: int, layers: int, cond_var: Sequence[str] = STATE) -> None:
        super().__init__("cont", list(cond_var), "p_c", features_shape=[1])
        self.net = MLP(size, units, layers, 1)

    def forward(self, **state: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(*[state[v] for v in self.cond_var])}


class NormalHead(Normal):
    """A number from the state, with the variance 1: minus its log-density is half a squared error
    and a constant.
    """

    def __init__(
        self,
        var: str,
        name: str,
        size: int,
        units: int,
        layers: int,
        cond_var: Sequence[str] = STATE,
    ) -> None:
        super().__init__(var, list(cond_var), name, features_shape=[1])
        self.net = MLP(size, units, layers, 1)

    def forward(self, **state: Tensor) -> dict[str, Tensor]:
        loc = self.net(*[state[v] for v in self.cond_var])
        return {"loc": loc, "scale": torch.ones_like(loc)}
