r"""GQN: the generative query network (Eslami et al. 2018) on made scenes: a loop over layers
instead of time.

.. math::
    r = \sum_k \psi(x_k, v_k), \quad L = \mathbb{E}_q \Big[-\log g(x|u_L)
        + \sum_{l=1}^{L} D_{KL}[q(z_l|h^e_l) \| \pi(z_l|h_{l-1})]\Big]

A scene is a ring of light: what is seen from a direction ``v`` is brightness at eight angles.  Four
views are given; a fifth one is asked for.

    python docs/examples/gqn.py --updates 600
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Deterministic, Normal, Scan, SeriesFunction
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb
from pixyz.models import Model

X, V, R, H, Z, LAYERS, VIEWS = 8, 2, 32, 64, 4, 4, 4


class Representation(Deterministic):
    """``r = sum_k psi(x_k, v_k)`` of the views that are given, ``[B, K, X]`` and ``[B, K, V]``."""

    def __init__(self) -> None:
        super().__init__("r", ["x_seen", "v_seen"], name="f")
        self.net = nn.Sequential(nn.Linear(X + V, H), nn.ReLU(), nn.Linear(H, R))

    def forward(self, x_seen: Tensor, v_seen: Tensor) -> dict[str, Tensor]:
        return {"r": self.net(torch.cat([x_seen, v_seen], -1)).sum(1)}


class Core(Deterministic):
    """A recurrent layer: ``var`` from its inputs and its own state before."""

    def __init__(self, var: str, inputs: list[str], prev: str, size: int) -> None:
        super().__init__(var, [*inputs, prev], name="f", features_shape=[H])
        self.cell = nn.GRUCell(size, H)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        *inputs, state = (given[v] for v in self.cond_var)
        return {self.var[0]: self.cell(torch.cat(inputs, -1), state)}


class Canvas(Deterministic):
    """``u_l = u_{l-1} + W h_l``."""

    def __init__(self) -> None:
        super().__init__("u", ["u_prev", "h"], name="f", features_shape=[H])
        self.net = nn.Linear(H, H)

    def forward(self, u_prev: Tensor, h: Tensor) -> dict[str, Tensor]:
        return {"u": u_prev + self.net(h)}


class Latent(Normal):
    """``q(z_l|h^e_l)`` and ``pi(z_l|h_{l-1})``."""

    def __init__(self, cond: str, name: str) -> None:
        super().__init__("z", [cond], name, features_shape=[Z])
        self.net = nn.Linear(H, 2 * Z)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(given[self.cond_var[0]]).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale) + 1e-3}


class Last(SeriesFunction):
    """The canvas after the last layer."""

    def __init__(self) -> None:
        super().__init__("u_L", ["u"], name="last", like={"u_L": None})

    def forward(self, u: Tensor) -> dict[str, Tensor]:
        return {"u_L": u[-1]}


class View(Normal):
    """``g(x|u_L)``."""

    def __init__(self) -> None:
        super().__init__("x", ["u_L"], "g", features_shape=[X])
        self.net = nn.Sequential(nn.Linear(H, H), nn.ReLU(), nn.Linear(H, X))

    def forward(self, u_L: Tensor) -> dict[str, Tensor]:
        loc = self.net(u_L)
        return {"loc": loc, "scale": torch.full_like(loc, 0.1)}


def scenes(count: int, draw: torch.Generator) -> dict[str, Tensor]:
    """Rings of light with three bright spots, seen from five directions."""
    spot, size = (
        2 * math.pi * torch.rand(count, 1, 1, 3, generator=draw),
        torch.rand(count, 1, 1, 3, generator=draw),
    )
    turn = 2 * math.pi * torch.rand(count, VIEWS + 1, generator=draw)
    angle = turn.unsqueeze(-1) + torch.linspace(-1.0, 1.0, X)
    x = (size * torch.exp(4 * (torch.cos(angle.unsqueeze(-1) - spot) - 1))).sum(-1)
    v = torch.stack([turn.cos(), turn.sin()], -1)
    return {"x_seen": x[:, 1:], "v_seen": v[:, 1:], "x": x[:, 0], "v": v[:, 0]}


def build() -> tuple[Model, Scan, Scan, Deterministic, View]:
    """The model, the layers of inference and of generation, what gives ``r``, and the view."""
    f_r, g, last, canvas = Representation(), View(), Last(), Canvas()
    encoder = Core("h_e", ["x", "v", "r", "h_prev"], "h_e_prev", X + V + R + H)
    decoder = Core("h", ["z", "v", "r"], "h_prev", Z + V + R)
    q, prior = Latent("h_e", "q"), Latent("h_prev", r"\pi")
    carry = {"h": "h_prev", "h_e": "h_e_prev", "u": "u_prev"}
    zeros = {name: torch.zeros(H) for name in carry.values()}
    layers = Scan(encoder * q * decoder * canvas, steps=LAYERS, update_value=carry, init=zeros)
    dream = Scan(
        prior * decoder * canvas,
        steps=LAYERS,
        update_value={"h": "h_prev", "u": "u_prev"},
        init={k: zeros[k] for k in ("h_prev", "u_prev")},
    )
    kl = IterativeLoss(KullbackLeibler(q, prior), series_var=["h_e", "h_prev"])
    loss = E(f_r, E(layers, kl - E(last, LogProb(g)))).mean()
    parts = [f_r, encoder, decoder, canvas, q, prior, g]
    return (
        Model(loss, distributions=parts, optimizer_params={"lr": 2e-3}),
        layers,
        dream * last,
        f_r,
        g,
    )


def main(argv: Sequence[str] | None = None) -> tuple[float, float]:
    """Train; the mean squared error of asked views that are dreamt, and that of the mean view."""
    parser = argparse.ArgumentParser(description="GQN on made scenes")
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    draw = torch.Generator().manual_seed(args.seed)
    model, _, dream, f_r, g = build()
    print(model.loss_cls)
    train, test = scenes(4000, draw), scenes(500, draw)
    for update in range(args.updates):
        pick = torch.randint(4000, (64,), generator=draw)
        loss = model.train({k: v[pick] for k, v in train.items()})
        if update % 100 == 0:
            print(update, round(loss.item(), 2), flush=True)
    seen = f_r.sample({k: test[k] for k in ("x_seen", "v_seen")})
    drawn = dream.sample({"r": seen["r"], "v": test["v"]}, sample_mean=True)
    error = (g.sample_mean({"u_L": drawn["u_L"]}) - test["x"]).square().mean().item()
    blind = (train["x"].mean(0) - test["x"]).square().mean().item()
    print(f"error of dreamt views {error:.4f}, of the mean view {blind:.4f}")
    return error, blind


if __name__ == "__main__":
    main()
