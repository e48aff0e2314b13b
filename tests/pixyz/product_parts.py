"""Linear networks as distributions, a chain of three, and values for them."""

import torch
from torch import Tensor, nn

from pixyz.distributions import Deterministic, Distribution, Normal

D = 3


class Net(Normal):
    """A linear network of all its conditions."""

    def __init__(self, var: str, cond: list[str], name: str = "p", spread: float = 0.5) -> None:
        super().__init__(var=var, cond_var=cond, name=name, features_shape=[D])
        self.net = nn.Linear(D * len(cond), D)
        self.spread = spread

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc = self.net(torch.cat([given[c] for c in self.cond_var], -1))
        return {"loc": loc, "scale": torch.full_like(loc, self.spread)}


class Sum(Normal):
    """1 plus the sum of its conditions, almost exactly."""

    def __init__(self, var: str, cond: list[str]) -> None:
        super().__init__(var=var, cond_var=cond, features_shape=[D], scale=1e-6)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"loc": 1 + sum(given.values(), torch.zeros(1, D))}


class Copy(Deterministic):
    def __init__(self, var: str, cond: str) -> None:
        super().__init__(var, cond, name="f")

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {self.var[0]: 2 * given[self.cond_var[0]]}


def standard(var: str, name: str = "p", loc: float = 0.0, scale: float = 1.0) -> Normal:
    return Normal(var=var, loc=loc, scale=scale, features_shape=[D], name=name)


def chain() -> tuple[Distribution, Net, Net, Normal]:
    torch.manual_seed(0)
    x, z, w = Net("x", ["z"]), Net("z", ["w"]), standard("w")
    return x * z * w, x, z, w


def values(*names: str, batch: int = 5) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {n: torch.randn(batch, D) for n in names}
