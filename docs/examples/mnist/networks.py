"""Encoders and decoders that most of the examples on MNIST share: two hidden layers of 512."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from common import mlp
from torch import Tensor
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Categorical, Normal

SIZES = {"x": 784, "y": 10}


class Encoder(Normal):
    """q(z|...), a normal of any digits, labels or latents."""

    def __init__(
        self, cond_var: Sequence[str], z_dim: int, var: str = "z", name: str = "q", **sizes: int
    ) -> None:
        super().__init__(var=var, cond_var=list(cond_var), name=name)
        self.net = mlp(sum({**SIZES, **sizes}[v] for v in cond_var), 512, 512, 2 * z_dim)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(torch.cat([given[v] for v in self.cond_var], -1)).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale) + 1e-4}


class Decoder(Bernoulli):
    """p(x|...), a Bernoulli of each pixel."""

    def __init__(self, cond_var: Sequence[str], **sizes: int) -> None:
        super().__init__(var="x", cond_var=list(cond_var), name="p")
        self.net = mlp(sum({**SIZES, **sizes}[v] for v in cond_var), 512, 512, 784)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(torch.cat([given[v] for v in self.cond_var], -1))}


class Classifier(Categorical):
    """p(y|...), one of ten labels."""

    def __init__(
        self, cond_var: str, size: int, hidden: Sequence[int] = (512,), name: str = "p"
    ) -> None:
        super().__init__(var="y", cond_var=cond_var, name=name)
        self.net = mlp(size, *hidden, 10)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(given[self.cond_var[0]])}


def prior(z_dim: int, var: str = "z") -> Normal:
    """p(z), standard normal."""
    return Normal(var=var, loc=0.0, scale=1.0, features_shape=[z_dim], name="p_{prior}")
