r"""Semi-supervised learning with the M2 model (Kingma et al., 2014) on MNIST: 100 labels, 60,000
digits without.

    python docs/examples/mnist/m2.py --seed 0

.. math::
    \sum_{x,y} \mathbb{E}_{q(z|x,y)}\left[\log\frac{p(x,y,z)}{q(z|x,y)}\right] + \alpha \log q(y|x)
    + \sum_{x_u} \mathbb{E}_{q(z|x_u,y)q(y|x_u)}
        \left[\log\frac{p(x_u,y,z)}{q(z|x_u,y)q(y|x_u)}\right]

as in Figure A1(a) of Suzuki et al. (2023).  Draws of y are relaxed (temperature 0.5); both
divergences are by formula.  Sums are means over each minibatch: 64 digits without labels and all
100 with (ten of each class), in every step.

The weight of the divergence of z falls from 20 to 1 over the first four fifths of the training.
While z is dear, the decoder learns to use y, which costs at most log 10 nats; at weight 1 from the
start it leaves y aside, and the digits without labels teach the classifier nothing.  One hidden
layer of 512 in each network, z 64, noise of 0.2 on what the classifier reads in training, Adam at
1e-3 falling to 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run, mlp
from networks import prior
from torch import Tensor, optim
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Categorical, Normal, RelaxedCategorical
from pixyz.losses import E, KullbackLeibler, LogProb, Parameter
from pixyz.models import Model


class Classifier(RelaxedCategorical):
    """q(y|x)."""

    def __init__(self, noise: float) -> None:
        super().__init__(var="y", cond_var="x", name="q", temperature=0.5)
        self.net, self.noise = mlp(784, 512, 10), noise

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(x + self.noise * torch.randn_like(x) if self.training else x)}


class Inference(Normal):
    """q(z|x,y)."""

    def __init__(self, z_dim: int) -> None:
        super().__init__(var="z", cond_var=["x", "y"], name="q")
        self.net = mlp(784 + 10, 512, 2 * z_dim)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(torch.cat([x, y], -1)).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale)}


class Generator(Bernoulli):
    """p(x|z,y)."""

    def __init__(self, z_dim: int) -> None:
        super().__init__(var="x", cond_var=["z", "y"], name="p")
        self.net = mlp(z_dim + 10, 512, 784)

    def forward(self, z: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(torch.cat([z, y], -1))}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run(
        "m2",
        epochs=8,
        argv=argv,
        z=64,
        rate=1e-3,
        labels=100,
        alpha=60.0,
        beta=20.0,
        noise=0.2,
        size=64,
    )
    p_x_zy, q_z_xy, q_y_x = Generator(run.args.z), Inference(run.args.z), Classifier(run.args.noise)
    p_z = prior(run.args.z)
    p_y = Categorical(var="y", probs=torch.full((10,), 0.1), name="p_{prior}")
    unknown = {"x": "x_u", "y": "y_u"}
    pu_x_zy, qu_z_xy, qu_y_x = (p.replace_var(**unknown) for p in (p_x_zy, q_z_xy, q_y_x))
    pu_y = p_y.replace_var(y="y_u")

    alpha, beta = Parameter("alpha"), Parameter("beta")
    elbo = E(q_z_xy, LogProb(p_x_zy)) - beta * KullbackLeibler(q_z_xy, p_z) + LogProb(p_y)
    elbo_u = E(
        qu_y_x, E(qu_z_xy, LogProb(pu_x_zy)) - beta * KullbackLeibler(qu_z_xy, p_z)
    ) - KullbackLeibler(qu_y_x, pu_y)
    elbo_all = (elbo + alpha * LogProb(q_y_x)).mean() + elbo_u.mean()

    model = Model(
        -elbo_all,
        distributions=[p_x_zy, q_z_xy, q_y_x],
        optimizer=optim.Adam,
        optimizer_params={"lr": run.args.rate},
    )
    run.falling(model.optimizer, run.args.size)
    print(model)
    order = torch.randperm(len(run.x))
    known = torch.cat([order[run.y[order, k] == 1][: run.args.labels // 10] for k in range(10)])
    labelled = {"x": run.x[known], "y": run.y[known], "alpha": run.args.alpha}
    steps, step = run.args.epochs * -(-len(run.x) // run.args.size), 0

    def right(x: Tensor, y: Tensor) -> Tensor:
        return (q_y_x.eval().get_params({"x": x})["logits"].argmax(-1) == y.argmax(-1)).float()

    for epoch in run.epochs():
        losses = []
        for x, _ in run.batches(run.args.size):
            weight = max(1.0, run.args.beta * (1 - step / (0.8 * steps)))
            losses.append(model.train({**labelled, "x_u": x, "beta": weight}))
            step += 1
        run.log(
            epoch, train=torch.stack(losses).mean().item(), test_accuracy=100 * run.tested(right)
        )
    return run.finish()


if __name__ == "__main__":
    main()
