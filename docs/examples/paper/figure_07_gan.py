"""Figure 7: a generative adversarial network (Goodfellow et al., 2014), on points in the plane.

As printed but for three slips: the discriminator is ``d`` (``discriminator``) and reads ``x``
(``z``); ``model`` is built.  Adam's betas are those of GANs.
"""

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from pixyz.distributions import Deterministic, EmpiricalDistribution, Normal
from pixyz.losses import AdversarialJensenShannon
from pixyz.models import Model

x_dim, z_dim, device = 2, 10, "cpu"


# generator model p(x|z)
class Generator(Deterministic):
    def __init__(self) -> None:
        super(Generator, self).__init__(var=["x"], cond_var=["z"], name="p")
        self.fc1 = nn.Linear(10, 100)
        self.fc2 = nn.Linear(100, x_dim)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"x": torch.sigmoid(self.fc2(F.relu(self.fc1(z))))}


# prior model p(z)
prior = Normal(
    loc=torch.tensor(0.0),
    scale=torch.tensor(1.0),
    var=["z"],
    features_shape=[z_dim],
    name="p_{prior}",
)

# generative model
p_g = Generator()
p = (p_g * prior).marginalize_var("z")  # marginalization

# data distribution
p_data = EmpiricalDistribution("x")


# discriminator
class Discriminator(Deterministic):
    def __init__(self) -> None:
        super(Discriminator, self).__init__(var=["t"], cond_var=["x"], name="d")

        self.fc1 = nn.Linear(x_dim, 100)
        self.fc2 = nn.Linear(100, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"t": torch.sigmoid(self.fc2(F.leaky_relu(self.fc1(x))))}


d = Discriminator().to(device)

loss = AdversarialJensenShannon(
    p_data, p, d, optimizer=optim.Adam, optimizer_params={"lr": 1e-3, "betas": (0.5, 0.999)}
)

model = Model(
    loss=loss,
    distributions=[p],
    optimizer=optim.Adam,
    optimizer_params={"lr": 1e-3, "betas": (0.5, 0.999)},
)


def data(count: int = 64) -> Tensor:
    """Points near (0.2, 0.8)."""
    return torch.tensor([0.2, 0.8]) + 0.1 * torch.randn(count, 2)


def main(steps: int = 600) -> Tensor:
    """Train; samples of the generator."""
    for _ in range(steps):
        x = data()
        loss.loss_train({"x": x})  # train discriminator
        model.train({"x": x})  # train generator
    return p.sample(batch_n=500)["x"]


if __name__ == "__main__":
    torch.manual_seed(0)
    print(p, loss, sep="\n")
    print("means", data(1000).mean(0).tolist(), main().mean(0).tolist())
