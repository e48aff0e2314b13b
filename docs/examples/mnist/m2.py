r"""Semi-supervised learning with the M2 model (Kingma et al., 2014) on MNIST: 100 labels, 60,000 digits without.

    python docs/examples/mnist/m2.py --seed 0

.. math::
    \sum_{x,y} \mathbb{E}_{q(z|x,y)}\left[\log\frac{p(x,y,z)}{q(z|x,y)}\right] + \alpha \log q(y|x)
    + \sum_{x_u} \mathbb{E}_{q(z|x_u,y)q(y|x_u)}\left[\log\frac{p(x_u,y,z)}{q(z|x_u,y)q(y|x_u)}\right]

The first sum is as in Figure A1(a) of Suzuki et al. (2023).  In the second the expectation over the ten labels is written out,
:math:`\sum_y q(y|x_u)\,(\mathcal{L}(x_u, y) - \log q(y|x_u))`, as in the original: each digit comes ten times, once with each
label.  Sums are means over each minibatch: 128 digits without labels and all 100 with (ten of each class), in every step.
One hidden layer of 512 in each network, z 64, Adam at 1e-3 falling to 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run, mlp
from networks import Classifier, prior
from torch import Tensor, optim
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Categorical, Normal
from pixyz.losses import ELBO, LogProb, Parameter, Prob
from pixyz.models import Model


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


def each_label(x: Tensor) -> dict[str, Tensor]:
    """Every digit with every label."""
    return {"x_u": x.repeat(10, 1), "y_u": torch.eye(10).repeat_interleave(len(x), 0)}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("m2", epochs=8, argv=argv, z=64, rate=1e-3, labels=100, alpha=60.0)
    p_x_zy, q_z_xy, q_y_x = Generator(run.args.z), Inference(run.args.z), Classifier("x", 784, name="q")
    p_z = prior(run.args.z)
    p_y = Categorical(var="y", probs=torch.full((10,), 0.1), name="p_{prior}")
    unknown = {"x": "x_u", "y": "y_u"}
    pu_x_zy, qu_z_xy, qu_y_x = (p.replace_var(**unknown) for p in (p_x_zy, q_z_xy, q_y_x))
    pu_y = p_y.replace_var(y="y_u")

    # distributions for supervised learning
    p_xyz = p_x_zy * p_z * p_y
    # distributions for unsupervised learning
    pu_xyz = pu_x_zy * p_z * pu_y
    # parameter
    alpha = Parameter("alpha")
    # loss
    elbo_u = Prob(qu_y_x) * (ELBO(pu_xyz, qu_z_xy) - LogProb(qu_y_x))
    elbo = ELBO(p_xyz, q_z_xy)
    elbo_all = (elbo + alpha * LogProb(q_y_x)).mean() + 10 * elbo_u.mean()

    model = Model(
        -elbo_all, distributions=[p_x_zy, q_z_xy, q_y_x], optimizer=optim.Adam, optimizer_params={"lr": run.args.rate}
    )
    run.falling(model.optimizer)
    print(model)
    order = torch.randperm(len(run.x))
    known = torch.cat([order[run.y[order, k] == 1][: run.args.labels // 10] for k in range(10)])
    labelled = {"x": run.x[known], "y": run.y[known], "alpha": run.args.alpha}

    def right(x: Tensor, y: Tensor) -> Tensor:
        return (q_y_x.sample_mean({"x": x}).argmax(-1) == y.argmax(-1)).float()

    for epoch in run.epochs():
        losses = [model.train({**labelled, **each_label(x)}) for x, _ in run.batches()]
        run.log(epoch, train=torch.stack(losses).mean().item(), test_accuracy=100 * run.tested(right))
    return run.finish()


if __name__ == "__main__":
    main()
