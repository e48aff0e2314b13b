"""Made data and small networks for the paper's figures: noisy patterns, and patterns that follow
one another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Categorical, Normal

X_DIM, Y_DIM, Z_DIM, HIDDEN = 16, 4, 3, 32


def patterns(count: int = 200) -> tuple[Tensor, Tensor]:
    """Noisy copies of four patterns, ``[N, 16]``, and which one, ``[N, 4]``."""
    draw = torch.Generator().manual_seed(0)
    clean = (torch.rand(Y_DIM, X_DIM, generator=draw) < 0.5).float()
    label = torch.randint(Y_DIM, (count,), generator=draw)
    flip = (torch.rand(count, X_DIM, generator=draw) < 0.03).float()
    return (clean[label] - flip).abs(), F.one_hot(label, Y_DIM).float()


def sequences(steps: int = 6, count: int = 40) -> Tensor:
    """Patterns that follow one another in a circle, ``[T, N, 16]``."""
    draw = torch.Generator().manual_seed(0)
    clean = (torch.rand(Y_DIM, X_DIM, generator=draw) < 0.5).float()
    start = torch.randint(Y_DIM, (count,), generator=draw)
    return torch.stack([clean[(start + t) % Y_DIM] for t in range(steps)])


class Inference(Normal):
    """q(z|x), or q(z|x,y)."""

    def __init__(self, cond_var: list[str]) -> None:
        super().__init__(var=["z"], cond_var=cond_var, name="q")
        self.fc1 = nn.Linear(X_DIM + Y_DIM * ("y" in cond_var), HIDDEN)
        self.fc21, self.fc22 = nn.Linear(HIDDEN, Z_DIM), nn.Linear(HIDDEN, Z_DIM)

    def forward(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        h = F.relu(self.fc1(x if y is None else torch.cat([x, y], 1)))
        return {"loc": self.fc21(h), "scale": F.softplus(self.fc22(h))}


class Generator(Bernoulli):
    """p(x|z), or p(x|z,y)."""

    def __init__(self, cond_var: list[str]) -> None:
        super().__init__(var=["x"], cond_var=cond_var, name="p")
        self.fc1 = nn.Linear(Z_DIM + Y_DIM * ("y" in cond_var), HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, X_DIM)

    def forward(self, z: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        h = F.relu(self.fc1(z if y is None else torch.cat([z, y], 1)))
        return {"probs": torch.sigmoid(self.fc2(h))}


class Classifier(Categorical):
    """q(y|x)."""

    def __init__(self) -> None:
        super().__init__(var=["y"], cond_var=["x"], name="q")
        self.fc = nn.Linear(X_DIM, Y_DIM)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"probs": self.fc(x).softmax(-1)}


class Gauss(Normal):
    """A normal whose parameters are a small network's, of all its conditions."""

    def __init__(self, var: str, cond_var: list[str], name: str, size: int) -> None:
        super().__init__(var=var, cond_var=cond_var, name=name)
        self.net = nn.Sequential(nn.Linear(size, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2 * Z_DIM))

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(torch.cat([given[c] for c in self.cond_var], 1)).chunk(2, 1)
        return {"loc": loc, "scale": F.softplus(scale) + 0.1}


def prior() -> Normal:
    """p(z), standard normal."""
    return Normal(
        loc=torch.tensor(0.0),
        scale=torch.tensor(1.0),
        var=["z"],
        features_shape=[Z_DIM],
        name="p_{prior}",
    )
