r"""FactorVAE (Kim and Mnih, 2018) on MNIST: a code whose dimensions are independent; ``--gamma 0`` is the plain VAE.

    python docs/examples/mnist/factor_vae.py --seed 0 --gamma 10

.. math::
    D_{KL}[q(z|x) \| p(z)] - \mathbb{E}_{q(z|x)}[\log p(x|z)] + \gamma\, D_{KL}^{Adv}\left[q(z) \| \textstyle\prod_j q(z_j)\right]

Draws of the product of marginals are draws of q(z|x) with each dimension shuffled over the minibatch.  Two hidden layers of
512, z 10, batches of 128, Adam at 1e-3 falling to 0; the discriminator 10-256-256-1, Adam at 1e-3.
``test_total_correlation`` uses no discriminator: q(z) and q(z_j) are the mixtures over all test digits, and the mean of
log q(z) - sum_j log q(z_j) is over one draw for each of 2,000 digits.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from common import Run, mlp
from networks import Decoder, Encoder, prior
from torch import Tensor, optim

from pixyz.distributions import Deterministic
from pixyz.losses import AdversarialKullbackLeibler, E, KullbackLeibler, LogProb
from pixyz.models import Model


class Shuffle(Deterministic):
    """Each dimension in an order of its own."""

    def __init__(self) -> None:
        super().__init__(var="z", cond_var="z_joint", name="s")

    def forward(self, z_joint: Tensor) -> dict[str, Tensor]:
        return {"z": z_joint.gather(0, torch.rand_like(z_joint).argsort(0))}


class Discriminator(Deterministic):
    """d(t|z), the logit of the probability that a code is of q(z)."""

    def __init__(self, z_dim: int) -> None:
        super().__init__(var="t", cond_var="z", name="d")
        self.net = mlp(z_dim, 256, 256, 1)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"t": self.net(z)}


@torch.no_grad()
def total_correlation(q: Encoder, x: Tensor, draws: int = 2000) -> float:
    """Nats, of the code of the digits ``x``."""
    loc, scale = q.get_params({"x": x}).values()
    found = []
    for z in q.sample({"x": x[:draws]})["z"].split(50):
        log_q = q.log_density(z.unsqueeze(1), loc, scale)  # [50, N, z]
        found.append(log_q.sum(-1).logsumexp(1) - log_q.logsumexp(1).sum(-1) + (z.shape[1] - 1) * math.log(len(x)))
    return torch.cat(found).mean().item()


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("factor_vae", epochs=10, argv=argv, z=10, gamma=10.0, rate=1e-3)
    run.name += f"_gamma_{run.args.gamma:g}"
    q, p, d = Encoder(["x"], run.args.z), Decoder(["z"], z=run.args.z), Discriminator(run.args.z)
    shuffled = (Shuffle() * q.replace_var(z="z_joint")).marginalize_var("z_joint")

    correlation = AdversarialKullbackLeibler(q, shuffled, d, optimizer=optim.Adam, optimizer_params={"lr": 1e-3}, logits=True)
    kl, reconstruction = KullbackLeibler(q, prior(run.args.z)), -E(q, LogProb(p))
    loss = (reconstruction + kl).mean() + run.args.gamma * correlation
    model = Model(loss, distributions=[p, q], optimizer=optim.Adam, optimizer_params={"lr": run.args.rate})
    run.falling(model.optimizer)
    print(model)
    for epoch in run.epochs():
        losses = []
        for x, _ in run.batches():
            losses.append(model.train({"x": x}))
            correlation.loss_train({"x": x})
        run.log(
            epoch, train=torch.stack(losses).mean().item(), test_total_correlation=total_correlation(q, run.test_x),
            test_reconstruction=run.tested(lambda x, _: reconstruction.eval({"x": x})),
            test_kl=run.tested(lambda x, _: kl.eval({"x": x})),
        )
    return run.finish()


if __name__ == "__main__":
    main()
