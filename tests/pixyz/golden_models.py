"""Models after some steps of training (``golden_expressions.py``)."""

from typing import Any

import torch
from golden_parts import (
    B,
    Classifier,
    Discriminator,
    Generator,
    Golden,
    Inference,
    X,
    Y,
    Z,
    bits,
    golden,
    one_hot,
    prior,
    wave,
)
from torch import Tensor, nn

from pixyz import distributions as pd
from pixyz import losses as pl
from pixyz import models as pm


def trained(model: Any, inputs: dict[str, Any], *modules: Any) -> Golden:
    """The loss of three training steps and the weights after them."""

    def compute(x: dict[str, Any]) -> Tensor:
        losses = [
            model.train({k: v.detach().clone() for k, v in x.items()}).detach().reshape(1)
            for _ in range(3)
        ]
        return torch.cat(
            [*losses, *(p.detach().flatten() for m in modules for p in m.parameters())]
        )

    return Golden(model, compute, inputs, list(modules))


@golden
def model() -> Golden:
    p, q = Generator(), Inference()
    loss = (pl.KullbackLeibler(q, prior()) - pl.Expectation(q, pl.LogProb(p))).mean()
    made = pm.Model(
        loss, distributions=[p, q], optimizer=torch.optim.SGD, optimizer_params={"lr": 0.1}
    )
    return trained(made, {"x": bits(B, X)}, p, q)


@golden
def model_vae() -> Golden:
    p, q = Generator(), Inference()
    made = pm.VAE(
        q,
        p,
        regularizer=pl.KullbackLeibler(q, prior()),
        optimizer=torch.optim.SGD,
        optimizer_params={"lr": 0.1},
    )
    return trained(made, {"x": bits(B, X)}, q, p)


@golden
def model_vi() -> Golden:
    p, q = Generator(), Inference()
    made = pm.VI(p * prior(), q, optimizer=torch.optim.SGD, optimizer_params={"lr": 0.1})
    return trained(made, {"x": bits(B, X)}, p, q)


@golden
def model_gan() -> Golden:
    """The generator's loss and weights after three steps of both; the prior's draws are normal."""

    class Made(pd.Deterministic):
        def __init__(self) -> None:
            super().__init__(var=["x"], cond_var=["z"], name="p")
            self.fc = nn.Linear(Z, X)

        def forward(self, z: Tensor) -> dict[str, Tensor]:
            return {"x": self.fc(z)}

    g, d = Made(), Discriminator()
    p = (g * prior()).marginalize_var("z")
    sgd = torch.optim.SGD
    made = pm.GAN(
        p,
        d,
        optimizer=sgd,
        optimizer_params={"lr": 0.1},
        d_optimizer=sgd,
        d_optimizer_params={"lr": 0.1},
    )

    def compute(x: dict[str, Tensor]) -> Tensor:
        losses = [
            v.detach().reshape(1)
            for _ in range(3)
            for v in made.train({"x": x["x"].detach().clone()})
        ]
        return torch.cat([*losses, *(p.detach().flatten() for m in (g, d) for p in m.parameters())])

    return Golden(made, compute, {"x": wave(B, X)}, [g, d])


@golden
def model_ml() -> Golden:
    p = Classifier()
    made = pm.ML(p, optimizer=torch.optim.SGD, optimizer_params={"lr": 0.1})
    return trained(made, {"x": wave(B, X), "y": one_hot(B, Y)}, p)
