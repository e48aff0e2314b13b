"""A small VAE, data and an old-style loss: what the tests of objectives share."""

import torch
from torch import Tensor, nn
from torch import distributions as td

from pixyz.distributions import Bernoulli, Normal
from pixyz.losses import (
    LogProb,
    Loss,
)

B, X, Z = 5, 6, 2


class Encoder(Normal):
    def __init__(self, cond: str = "x") -> None:
        super().__init__(var="z", cond_var=cond, name="q")
        self.net = nn.Linear(X, 2 * Z)
        self.calls = 0

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        loc, scale = self.net(given[self.cond_var[0]]).chunk(2, -1)
        return {"loc": loc, "scale": scale.exp()}


class Decoder(Bernoulli):
    returned = ("logits",)

    def __init__(self) -> None:
        super().__init__(var="x", cond_var="z")
        self.net = nn.Linear(Z, X)
        self.calls = 0
        self.seen: list[torch.Size] = []

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        self.seen.append(z.shape)
        return {"logits": self.net(z)}


class Parts:
    """A VAE and data for it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.q, self.p = Encoder().double(), Decoder().double()
        self.prior = Normal(var="z", loc=0.0, scale=1.0, features_shape=[Z], name="p_{prior}")
        self.x = torch.rand(B, X, dtype=torch.float64)

        # it is seen that p returns logits
        LogProb(self.p).eval({"x": self.x, "z": torch.zeros(B, Z).double()})
        self.reset()

    def reset(self) -> None:
        """Forget the calls of the networks."""
        self.q.calls = self.p.calls = 0
        self.p.seen.clear()

    def noise(self, seed: int, *shape: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.randn(*shape, B, Z, dtype=torch.float64)

    def posterior(self) -> td.Normal:
        loc, scale = self.q.net(self.x).chunk(2, -1)
        return td.Normal(loc, scale.exp())

    def log_likelihood(self, z: Tensor) -> Tensor:
        return td.Bernoulli(logits=self.p.net(z), validate_args=False).log_prob(self.x).sum(-1)


def run(loss: Loss, given: object, seed: int = 3, **more: Tensor) -> Tensor:
    torch.manual_seed(seed)
    return loss.eval(given, **more)  # type: ignore[no-any-return]


class Old(Loss):
    """A loss as it was written for pixyz 0.3.3."""

    def __init__(self, input_var: list[str]) -> None:
        super().__init__(input_var)

    @property
    def _symbol(self) -> object:
        return "old"

    def forward(
        self, x_dict: dict[str, Tensor], **kwargs: object
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return x_dict["x"].sum(-1) * x_dict["w"], {"seen": x_dict["x"]}
