r"""Equations B1 to B4: divergences of two distributions by a discriminator, against what they are
by formula.

B2 is printed with p and q exchanged: with that :math:`\phi^*` the mean of :math:`\log d/(1-d)`
under p would be :math:`-D_{KL}[p\|q]`.  The critic here raises d on samples of p.
"""

import torch
from torch import Tensor, nn

from pixyz.distributions import Deterministic, Normal
from pixyz.losses import (
    AdversarialKullbackLeibler,
    AdversarialWassersteinDistance,
    KullbackLeibler,
    Loss,
)

p = Normal(loc=torch.tensor(1.0), scale=torch.tensor(1.0), var=["x"], features_shape=[1], name="p")
q = Normal(loc=torch.tensor(0.0), scale=torch.tensor(1.5), var=["x"], features_shape=[1], name="q")


class Judge(Deterministic):
    """:math:`d = f(x)`, in (0, 1) for B1 and B2, any number for B3 and B4."""

    def __init__(self, bounded: bool) -> None:
        super().__init__(var=["d"], cond_var=["x"], name="p")
        self.net, self.bounded = (
            nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)),
            bounded,
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = self.net(x)
        return {"d": found.sigmoid() if self.bounded else found}


adversarial_kl = AdversarialKullbackLeibler(
    p, q, discriminator=Judge(bounded=True), optimizer_params={"lr": 3e-3}
)
wasserstein = AdversarialWassersteinDistance(
    p, q, discriminator=Judge(bounded=False), clip_value=0.1
)


def main(steps: int = 400, batch: int = 1000) -> tuple[float, float, float, float]:
    """KL by the discriminator and by formula; the Wasserstein distance by the critic (gap over
    steepest slope) and true.
    """

    def mean(loss: Loss, count: int = 20) -> float:
        return sum(loss.eval({}, batch_n=batch).item() for _ in range(count)) / count

    for _ in range(steps):
        adversarial_kl.loss_train({}, batch_n=batch)
        wasserstein.loss_train({}, batch_n=batch)
    grid = torch.linspace(-6, 6, 1201).view(-1, 1)
    values = wasserstein.d.sample({"x": grid})["d"]
    slope = (values.diff(dim=0) / grid.diff(dim=0)).abs().max().item()
    # of quantiles: 1 + u and 1.5 u, u standard normal
    true = (1 - 0.5 * torch.randn(100_000)).abs().mean().item()
    return (
        mean(adversarial_kl),
        KullbackLeibler(p, q).eval().item(),
        mean(wasserstein) / slope,
        true,
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    print(adversarial_kl, adversarial_kl.critic, wasserstein, wasserstein.critic, sep="\n")
    kl, formula, distance, true = main()
    print(
        f"KL {kl:.3f} by the discriminator, {formula:.3f} by formula; "
        f"W {distance:.3f} by the critic, {true:.3f} truly"
    )
