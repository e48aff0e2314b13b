r"""Equations B1 to B4: divergences of two distributions by a discriminator, against what they are by formula.

B2 is printed with p and q exchanged: with that :math:`\phi^*` the mean of :math:`\log d/(1-d)` under p would be
:math:`-D_{KL}[p\|q]`.  The critic here raises d on samples of p.
"""

import torch
from torch import Tensor, nn

from pixyz.distributions import Deterministic, Distribution, Normal
from pixyz.losses import AdversarialKullbackLeibler, AdversarialWassersteinDistance, KullbackLeibler

p = Normal(loc=torch.tensor(1.), scale=torch.tensor(1.), var=["x"], features_shape=[1], name="p")
q = Normal(loc=torch.tensor(0.), scale=torch.tensor(1.5), var=["x"], features_shape=[1], name="q")


class Judge(Deterministic):
    """:math:`d = f(x)`, in (0, 1) for B1 and B2, any number for B3 and B4."""

    def __init__(self, bounded: bool) -> None:
        super().__init__(var=["d"], cond_var=["x"], name="p")
        self.net, self.bounded = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)), bounded

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = self.net(x)
        return {"d": found.sigmoid() if self.bounded else found}


adversarial_kl = AdversarialKullbackLeibler(p, q, discriminator=Judge(bounded=True), optimizer_params={"lr": 3e-3})
wasserstein = AdversarialWassersteinDistance(p, q, discriminator=Judge(bounded=False), clip_value=0.1)


def main(steps: int = 400, batch: int = 1000) -> tuple[float, float, float, float]:
    """KL by the discriminator and by formula; the Wasserstein critic's gap after and before training."""
    def mean(loss: nn.Module, count: int = 20) -> float:
        return sum(loss.eval({}, batch_n=batch).item() for _ in range(count)) / count

    before = mean(wasserstein)
    for _ in range(steps):
        adversarial_kl.loss_train({}, batch_n=batch)
        wasserstein.loss_train({}, batch_n=batch)
    return mean(adversarial_kl), KullbackLeibler(p, q).eval().item(), mean(wasserstein), before


def names(*distributions: Distribution) -> str:
    """Their formulas."""
    return ", ".join(distribution.prob_text for distribution in distributions)


if __name__ == "__main__":
    torch.manual_seed(0)
    print(names(p, q), adversarial_kl, adversarial_kl.critic, wasserstein, wasserstein.critic, sep="\n")
    by_critic, by_formula, gap, before = main()
    print(f"KL {by_critic:.3f} by the discriminator, {by_formula:.3f} by formula; the critic's gap {before:.3f} -> {gap:.3f}")
