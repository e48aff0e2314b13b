r"""MVAE (Wu and Goodman, 2018) on MNIST: the posterior of two modalities is a product of experts,
so either may be missing.

    python docs/examples/mnist/mvae.py --seed 0

.. math::
    q(z|x,y) \propto p(z)\, q(z|x)\, q(z|y), \qquad
    \mathrm{ELBO}(x, y) + \mathrm{ELBO}(x) + \mathrm{ELBO}(y)

with a weight of 10 on the label's log-likelihood.  Two hidden layers of 512, z 64, batches of 128,
Adam at 1e-3 falling to 0. ``test_accuracy`` is that of the label which the digit alone gives.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run
from networks import Classifier, Decoder, Encoder, prior
from torch import Tensor, optim

from pixyz.distributions import Distribution, ProductOfNormal
from pixyz.losses import E, KullbackLeibler, LogProb, Loss
from pixyz.models import Model


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("mvae", epochs=5, argv=argv, z=64, weight=10.0, rate=1e-3)
    z_dim = run.args.z
    p_x, p_y = Decoder(["z"], z=z_dim), Classifier("z", z_dim)
    q_x, q_y = Encoder(["x"], z_dim), Encoder(["y"], z_dim)
    both, digit, label = (
        ProductOfNormal(experts, name="q") for experts in ([q_x, q_y], [q_x], [q_y])
    )
    log_x, log_y = LogProb(p_x), run.args.weight * LogProb(p_y)

    def bound(q: Distribution, evidence: Loss) -> Loss:
        return E(q, evidence) - KullbackLeibler(q, prior(z_dim))

    loss = -(bound(both, log_x + log_y) + bound(digit, log_x) + bound(label, log_y)).mean()
    model = Model(
        loss,
        distributions=[p_x, p_y, q_x, q_y],
        optimizer=optim.Adam,
        optimizer_params={"lr": run.args.rate},
    )
    run.falling(model.optimizer)
    print(model)
    tested = bound(both, log_x + LogProb(p_y))

    def right(x: Tensor, y: Tensor) -> Tensor:
        return (
            p_y.sample_mean({"z": digit.sample_mean({"x": x})}).argmax(-1) == y.argmax(-1)
        ).float()

    for epoch in run.epochs():
        losses = [model.train({"x": x, "y": y}) for x, y in run.batches()]
        run.log(
            epoch,
            train=torch.stack(losses).mean().item(),
            test_accuracy=100 * run.tested(right),
            test_negative_elbo=-run.tested(lambda x, y: tested.eval({"x": x, "y": y})),
        )
    return run.finish()


if __name__ == "__main__":
    main()
