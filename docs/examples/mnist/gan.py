r"""A generative adversarial network (Goodfellow et al., 2014) on MNIST.

    python docs/examples/mnist/gan.py --seed 0

.. math::
    \min_p \max_d\; \mathbb{E}_{p_{data}(x)}[\log d(x)] + \mathbb{E}_{p(x)}[\log(1 - d(x))], \qquad p(x) = \int p(x|z) p(z) dz

The generator is 64-512-512-784, the discriminator 784-512-512-1, batches of 128, Adam(2e-4, betas 0.5 and 0.999).
``test_mmd`` is the squared maximum mean discrepancy (times 1000) of the test digits and as many samples, with a Gaussian
kernel on pixels, sigma^2 = 100, a typical squared distance of two digits.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run
from networks import prior
from torch import Tensor, nn, optim
from torch.nn import functional as F

from pixyz.distributions import Deterministic, EmpiricalDistribution
from pixyz.losses import MMD
from pixyz.models import GAN


class Generator(Deterministic):
    """p(x|z)."""

    def __init__(self, z_dim: int) -> None:
        super().__init__(var="x", cond_var="z", name="p")
        self.net = nn.Sequential(
            nn.Linear(z_dim, 256), nn.LeakyReLU(0.2), *self.hidden(256, 512), *self.hidden(512, 1024), nn.Linear(1024, 784)
        )

    @staticmethod
    def hidden(size: int, following: int) -> list[nn.Module]:
        return [nn.Linear(size, following), nn.BatchNorm1d(following), nn.LeakyReLU(0.2)]

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"x": torch.sigmoid(self.net(z))}


class Discriminator(Deterministic):
    """d(t|x), the probability that a digit is of the data."""

    def __init__(self) -> None:
        super().__init__(var="t", cond_var="x", name="d")
        self.first, self.second, self.last = nn.Linear(784, 512), nn.Linear(512, 512), nn.Linear(512, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = F.leaky_relu(self.second(F.leaky_relu(self.first(x), 0.2)), 0.2)
        return {"t": torch.sigmoid(self.last(F.dropout(h, 0.3, self.training)))}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("gan", epochs=20, argv=argv, z=64, rate=2e-4)
    adam = {"lr": run.args.rate, "betas": (0.5, 0.999)}
    p = (Generator(run.args.z) * prior(run.args.z)).marginalize_var("z")
    d = Discriminator()

    model = GAN(p, d, optimizer=optim.Adam, optimizer_params=adam, d_optimizer=optim.Adam, d_optimizer_params=adam)
    mmd = MMD(EmpiricalDistribution("x"), p, sigma_sqr=100.0)
    print(p, model, sep="\n")
    for epoch in run.epochs():
        losses = [torch.stack(model.train({"x": x})) for x, _ in run.batches()]
        p.eval()  # batch normalisation by running statistics
        generator, critic = torch.stack(losses).mean(0).tolist()
        run.log(epoch, train=generator, discriminator=critic, test_mmd=1000 * run.tested(lambda x, _: mmd.eval({"x": x})))
    return run.finish()


if __name__ == "__main__":
    main()
