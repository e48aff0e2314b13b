r"""A generative adversarial network (Goodfellow et al., 2014) on MNIST.

    python docs/examples/mnist/gan.py --seed 0

.. math::
    \min_p \max_d\; \mathbb{E}_{p_{data}(x)}[\log d(x)] + \mathbb{E}_{p(x)}[\log(1 - d(x))], \qquad
        p(x) = \int p(x|z) p(z) dz

The generator is 64-256-512-784 with batch normalisation, the discriminator 784-512-256-1 with half
of its units dropped; batches of 128, Adam (betas 0.5 and 0.999) at 1e-3 and at 2e-4. ``test_mmd``
is the squared maximum mean discrepancy (times 1000) of the test digits and as many samples, with a
Gaussian kernel on pixels, sigma^2 = 100, a typical squared distance of two digits.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run
from networks import prior
from torch import Tensor, nn, optim

from pixyz.distributions import Deterministic, EmpiricalDistribution
from pixyz.losses import MMD
from pixyz.models import GAN


class Generator(Deterministic):
    """p(x|z)."""

    def __init__(self, z_dim: int) -> None:
        super().__init__(var="x", cond_var="z", name="p")
        layers: list[nn.Module] = []
        for size, following in ((z_dim, 256), (256, 512)):
            layers += [nn.Linear(size, following), nn.BatchNorm1d(following), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Linear(512, 784), nn.Sigmoid())

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"x": self.net(z)}


class Discriminator(Deterministic):
    """d(t|x), the probability that a digit is of the data."""

    def __init__(self) -> None:
        super().__init__(var="t", cond_var="x", name="d")
        layers: list[nn.Module] = []
        for size, following in ((784, 512), (512, 256)):
            layers += [nn.Linear(size, following), nn.LeakyReLU(0.2), nn.Dropout(0.5)]
        self.net = nn.Sequential(*layers, nn.Linear(256, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"t": self.net(x)}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("gan", epochs=6, argv=argv, z=64, rate=1e-3, critic=2e-4)
    adam, critic = (
        {"lr": rate, "betas": (0.5, 0.999)} for rate in (run.args.rate, run.args.critic)
    )
    p = (Generator(run.args.z) * prior(run.args.z)).marginalize_var("z")
    d = Discriminator()

    model = GAN(
        p,
        d,
        optimizer=optim.Adam,
        optimizer_params=adam,
        d_optimizer=optim.Adam,
        d_optimizer_params=critic,
    )
    mmd = MMD(EmpiricalDistribution("x"), p, sigma_sqr=100.0)
    print(p, model, sep="\n")
    for epoch in run.epochs():
        losses = [torch.stack(model.train({"x": x})) for x, _ in run.batches()]
        p.eval()  # batch normalisation by running statistics
        generator, discriminator = torch.stack(losses).mean(0).tolist()
        run.log(
            epoch,
            train=generator,
            discriminator=discriminator,
            test_mmd=1000 * run.tested(lambda x, _: mmd.eval({"x": x})),
        )
    return run.finish()


if __name__ == "__main__":
    main()
