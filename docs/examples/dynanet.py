r"""DynaNet: a Kalman filter on learned features with a learned transition (Chen et al. 2019), as a
loop that carries moments.

.. math::
    (a_t, R_t) = \mathrm{enc}(x_t), \quad A_t = \mathrm{Dir}(\alpha(h_t)), \quad
        h_t = f(z_{t-1|t-1}, h_{t-1})

    z_{t|t-1} = A_t z_{t-1|t-1}, \quad P_{t|t-1} = A_t P_{t-1|t-1} A_t^\top + Q

    K = P_{t|t-1} H^\top (H P_{t|t-1} H^\top + R_t)^{-1}, \quad
        z_{t|t} = z_{t|t-1} + K (a_t - H z_{t|t-1})

    L = \sum_t -\log p(y_t|z_{t|t}) - \log p(y_t|z_{t|t-1})

``H = [I, 0]`` reads features out of the state.  The rows of ``A_t`` are Dirichlet means.  What is
carried from frame to frame is a vector, a matrix and a recurrent state.  The data are a pendulum's
noisy views, in which every fifth frame is blind; ``y`` is the angle.

    python docs/examples/dynanet.py --updates 400
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Deterministic, Normal
from pixyz.losses import E, IterativeLoss, LogProb
from pixyz.models import Model

X, A, N, H = 16, 4, 8, 32
"""Sizes of a view, of features, of the state, and of the recurrent state."""


class Encoder(Deterministic):
    """Features ``a_t`` and the variance ``R_t`` of each."""

    def __init__(self) -> None:
        super().__init__(["a", "R"], ["x"], name="enc")
        self.net = nn.Sequential(nn.Linear(X, H), nn.ReLU(), nn.Linear(H, 2 * A))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        a, r = self.net(x).chunk(2, -1)
        return {"a": a, "R": F.softplus(r) + 1e-3}


class Transition(Deterministic):
    """``h_t`` and the rows of ``A_t``, which are Dirichlet means: positive, and each sums to 1."""

    def __init__(self) -> None:
        super().__init__(["h", "A"], ["z_prev", "h_prev"], name="f", features_shape=[H])
        self.cell, self.net = nn.GRUCell(N, H), nn.Linear(H, N * N)

    def forward(self, z_prev: Tensor, h_prev: Tensor) -> dict[str, Tensor]:
        h = self.cell(z_prev, h_prev)
        alpha = F.softplus(self.net(h)).unflatten(-1, (N, N)) + 5.0 * torch.eye(N)
        return {"h": h, "A": alpha / alpha.sum(-1, keepdim=True)}


class Predict(Deterministic):
    """``z_{t|t-1}`` and ``P_{t|t-1}``."""

    def __init__(self) -> None:
        super().__init__(["z_pred", "P_pred"], ["A", "z_prev", "P_prev"], name="f")
        self.noise = nn.Parameter(torch.zeros(N))

    def forward(self, A: Tensor, z_prev: Tensor, P_prev: Tensor) -> dict[str, Tensor]:
        spread = A @ P_prev @ A.mT + torch.diag(F.softplus(self.noise))
        return {"z_pred": (A @ z_prev.unsqueeze(-1)).squeeze(-1), "P_pred": spread}


class Update(Deterministic):
    """``z_{t|t}`` and ``P_{t|t}``: the Kalman update with ``H = [I, 0]``."""

    def __init__(self) -> None:
        super().__init__(["z", "P"], ["z_pred", "P_pred", "a", "R"], name="f")

    def forward(self, z_pred: Tensor, P_pred: Tensor, a: Tensor, R: Tensor) -> dict[str, Tensor]:
        innovation = P_pred[:, :A, :A] + torch.diag_embed(R)
        gain = torch.linalg.solve(
            innovation, P_pred[:, :A]
        ).mT  # P H^T S^-1, as S and P are symmetric
        z = z_pred + (gain @ (a - z_pred[:, :A]).unsqueeze(-1)).squeeze(-1)
        return {"z": z, "P": P_pred - gain @ P_pred[:, :A]}


class Angle(Normal):
    """``p(y_t|z)``."""

    def __init__(self) -> None:
        super().__init__("y", ["z"], "p", features_shape=[2])
        self.net = nn.Sequential(nn.Linear(N, H), nn.ReLU(), nn.Linear(H, 2))

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        loc = self.net(z)
        return {"loc": loc, "scale": torch.full_like(loc, 0.2)}


def pendulum(count: int, steps: int, draw: torch.Generator) -> dict[str, Tensor]:
    """Views ``x [T, B, X]``: a bump at the angle, with noise, blind at every fifth frame; ``y [T,
    B, 2]``: where it is.
    """
    rate = 0.2 + 0.2 * torch.rand(count, generator=draw)
    phase = 2 * math.pi * torch.rand(count, generator=draw)
    angle = 1.2 * torch.sin(rate * torch.arange(steps).unsqueeze(1) + phase)
    place = torch.linspace(-1.6, 1.6, X)
    x = torch.exp(-8 * (angle.unsqueeze(-1) - place).square())
    x = x * (torch.arange(steps) % 5 != 4).float()[:, None, None] + 0.2 * torch.randn(
        steps, count, X, generator=draw
    )
    return {"x": x, "y": torch.stack([angle.sin(), angle.cos()], -1)}


def build() -> tuple[IterativeLoss, list[nn.Module], Angle]:
    """The objective, its distributions, and the density of the angle."""
    encoder, transition, predict, update, p = Encoder(), Transition(), Predict(), Update(), Angle()
    step = encoder * transition * predict * update
    carry = {"z": "z_prev", "P": "P_prev", "h": "h_prev"}
    init = {"z_prev": torch.zeros(N), "P_prev": torch.eye(N), "h_prev": torch.zeros(H)}
    loss = IterativeLoss(
        E(step, -LogProb(p) - LogProb(p.at(z="z_pred"))),
        series_var=["x", "y"],
        update_value=carry,
        init=init,
        reduction="frame",
        returns=["z", "z_pred"],
    )
    return loss, [encoder, transition, predict, p], p


def main(argv: Sequence[str] | None = None) -> tuple[float, float]:
    """Train; the mean squared errors of filtered and of predicted angles at blind frames."""
    parser = argparse.ArgumentParser(description="DynaNet on a pendulum that is not always seen")
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    draw = torch.Generator().manual_seed(args.seed)
    loss, parts, p = build()
    model = Model(loss, distributions=parts, optimizer_params={"lr": 3e-3}, clip_grad_norm=10.0)
    print(model.loss_cls)
    train, test = pendulum(1000, 40, draw), pendulum(200, 40, draw)
    for update in range(args.updates):
        pick = torch.randint(1000, (32,), generator=draw)
        value = model.train({k: v[:, pick] for k, v in train.items()})
        if update % 100 == 0:
            print(update, round(value.item(), 3), flush=True)
    with torch.no_grad():
        _, found = loss.eval(test, return_dict=True)
    blind = torch.arange(40) % 5 == 4
    errors = []
    for name in ("z", "z_pred"):
        loc = p(found[name][blind].flatten(0, 1))["loc"]
        errors.append((loc - test["y"][blind].flatten(0, 1)).square().mean().item())
    spread = test["y"].var((0, 1)).mean().item()
    print(
        f"errors at blind frames: filtered {errors[0]:.4f}, predicted {errors[1]:.4f}; "
        f"variance {spread:.4f}"
    )
    return errors[0], spread


if __name__ == "__main__":
    main()
