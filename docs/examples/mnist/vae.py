r"""A variational autoencoder (Kingma and Welling, 2014) on MNIST, and an importance-weighted
estimate beside its bound.

    python docs/examples/mnist/vae.py --seed 0

.. math::
    -\log p(x) \le D_{KL}[q(z|x) \| p(z)] - \mathbb{E}_{q(z|x)}[\log p(x|z)]

Networks 784-512-512-64 and back, pixels in [0, 1] under a Bernoulli, batches of 128, Adam at 1e-3
falling to 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run, importance_weighted, mlp
from torch import Tensor, optim
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Normal
from pixyz.losses import E, KullbackLeibler, LogProb
from pixyz.models import Model


class Encoder(Normal):
    """q(z|x)."""

    def __init__(self, z_dim: int) -> None:
        super().__init__(var="z", cond_var="x", name="q")
        self.net = mlp(784, 512, 512, 2 * z_dim)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(x).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale)}


class Decoder(Bernoulli):
    """p(x|z)."""

    def __init__(self, z_dim: int) -> None:
        super().__init__(var="x", cond_var="z", name="p")
        self.net = mlp(z_dim, 512, 512, 784)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(z)}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("vae", epochs=10, argv=argv, z=64, rate=1e-3, samples=1000, estimated=1000)
    q, p = Encoder(run.args.z), Decoder(run.args.z)
    prior = Normal(var="z", loc=0.0, scale=1.0, features_shape=[run.args.z], name="p_{prior}")

    loss = (KullbackLeibler(q, prior) - E(q, LogProb(p))).mean()
    model = Model(
        loss, distributions=[p, q], optimizer=optim.Adam, optimizer_params={"lr": run.args.rate}
    )
    run.falling(model.optimizer)
    print(model)
    for epoch in run.epochs():
        total = torch.stack([model.train({"x": x}) for x, _ in run.batches()]).mean().item()
        run.log(
            epoch, train=total, test_negative_elbo=run.tested(lambda x, _: model.test({"x": x}))
        )
    estimate = importance_weighted(p * prior, q, run.test_x[: run.args.estimated], run.args.samples)
    return run.finish(test_negative_iwae=-estimate)


if __name__ == "__main__":
    main()
