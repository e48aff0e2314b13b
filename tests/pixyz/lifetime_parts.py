"""A small VAE whose copies, plans and files are tested."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import (
    Bernoulli,
    Normal,
)

B, X, Z = 5, 6, 4


class Encoder(Normal):
    def __init__(self, cond: str = "x", name: str = "q") -> None:
        super().__init__(var="z", cond_var=cond, name=name)
        self.net = nn.Sequential(nn.Linear(X, 8), nn.Tanh(), nn.Linear(8, 2 * Z))

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(given[self.cond_var[0]]).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale) + 0.1}


class Decoder(Bernoulli):
    def __init__(self) -> None:
        super().__init__(var="x", cond_var="z")
        self.net = nn.Linear(Z, X)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(z)}


class Step(Normal):
    def __init__(self) -> None:
        super().__init__(var="h", cond_var=["h_prev", "x"], features_shape=[Z])
        self.net = nn.Linear(X + Z, Z)

    def forward(self, h_prev: Tensor, x: Tensor) -> dict[str, Tensor]:
        loc = self.net(torch.cat([h_prev, x], -1))
        return {"loc": loc, "scale": torch.ones_like(loc)}


def prior() -> Normal:
    return Normal(var="z", loc=0.0, scale=1.0, features_shape=[Z], name="p_{prior}")
