r"""FactorVAE (Kim and Mnih, 2018) on MNIST: a code whose dimensions are independent.

    python docs/examples/mnist/factor_vae.py --seed 0
    python docs/examples/mnist/factor_vae.py --seed 0 --gamma 0 --beta 1 --target 0   # a VAE

.. math::
    \beta\, D_{KL}[q(z|x) \| p(z)] - \mathbb{E}_{q(z|x)}[\log p(x|z)]
    + \gamma\, D_{KL}^{Adv}\left[q(z) \| \textstyle\prod_j q(z_j)\right]

Draws of the product of marginals are draws of q(z|x) with each dimension shuffled over the
minibatch.  The penalty costs reconstruction; to compare at equal reconstruction, in the second half
of the run beta moves, between 0.3 and 1, until the minibatches reconstruct with ``--target`` nats,
the plain VAE's (0: it stays).  Two hidden layers of 512, z 10, batches of 128, Adam at 1e-3 falling
to 0, beta rising from 0 over the first epoch; the discriminator 10-256-256-1, Adam at 1e-3.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from common import Run, mlp
from networks import Decoder, Encoder, prior
from torch import Tensor, optim
from torch.nn import functional as F

from pixyz.distributions import Deterministic
from pixyz.losses import AdversarialKullbackLeibler, E, KullbackLeibler, LogProb, Parameter
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


def total_correlation(q: Encoder, x: Tensor, test_x: Tensor, z_dim: int, steps: int) -> float:
    r"""A lower bound in nats, from the codes of ``test_x``, of a critic T that learns on those of
    ``x`` when all is done:

    .. math::
        TC \ge \mathbb{E}_{q(z)}[T(z)] - \log \mathbb{E}_{\prod_j q(z_j)}[e^{T(z)}] \quad
            (Donsker and Varadhan)

    (The mixture of the codes of N digits is no measure for a code of 17 nats: it sees log N = 9.2
    of them as information.)
    """
    critic, shuffle = mlp(z_dim, 256, 256, 256, 1), Shuffle()
    optimizer = optim.Adam(critic.parameters(), lr=1e-3)
    schedule = optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    with torch.no_grad():
        known, new = ([*q.get_params({"x": digits}).values()] for digits in (x, test_x))

    def judged(loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.normal(loc, scale)
        return critic(z), critic(shuffle.forward(z)["z"])

    for _ in range(steps):
        rows = torch.randint(len(x), (512,))
        joint, marginals = judged(known[0][rows], known[1][rows])
        optimizer.zero_grad()
        (F.softplus(-joint).mean() + F.softplus(marginals).mean()).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        joint, marginals = (torch.cat(part) for part in zip(*(judged(*new) for _ in range(10))))
        return (joint.mean() - marginals.logsumexp(0) + math.log(len(marginals))).item()


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run(
        "factor_vae",
        epochs=5,
        argv=argv,
        z=10,
        gamma=4.0,
        beta=0.5,
        target=92.9,
        rate=1e-3,
        steps=2000,
    )
    run.name += f"_gamma_{run.args.gamma:g}"
    q, p, d = Encoder(["x"], run.args.z), Decoder(["z"], z=run.args.z), Discriminator(run.args.z)
    shuffled = (Shuffle() * q.replace_var(z="z_joint")).marginalize_var("z_joint")

    correlation = AdversarialKullbackLeibler(
        q, shuffled, d, optimizer=optim.Adam, optimizer_params={"lr": 1e-3}, logits=True
    )
    kl, reconstruction = KullbackLeibler(q, prior(run.args.z)), -E(q, LogProb(p))
    loss = (reconstruction + Parameter("beta") * kl).mean() + run.args.gamma * correlation
    model = Model(
        loss, distributions=[p, q], optimizer=optim.Adam, optimizer_params={"lr": run.args.rate}
    )
    run.falling(model.optimizer)
    print(model)
    beta, target = run.args.beta, run.args.target
    for epoch in run.epochs():
        losses = []
        for i, (x, _) in enumerate(run.batches()):
            rising = i * 128 / len(run.x) if epoch == 1 else 1.0
            losses.append(model.train({"x": x, "beta": rising * beta}))
            correlation.loss_train({"x": x})
            if target and i % 10 == 0 and epoch > run.args.epochs / 2:
                beta *= 2 - reconstruction.eval({"x": x}).mean().item() / target
                beta = min(max(beta, 0.3), 1.0)
        run.log(
            epoch,
            train=torch.stack(losses).mean().item(),
            weight=beta,
            test_kl=run.tested(lambda x, _: kl.eval({"x": x})),
            test_reconstruction=run.tested(lambda x, _: reconstruction.eval({"x": x})),
        )
    return run.finish(
        test_total_correlation=total_correlation(q, run.x, run.test_x, run.args.z, run.args.steps)
    )


if __name__ == "__main__":
    main()
