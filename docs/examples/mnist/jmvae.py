r"""JMVAE (Suzuki et al., 2016) on MNIST: a code of two modalities, the digit and its label, that
either alone can give.

    python docs/examples/mnist/jmvae.py --seed 0

.. math::
    \mathbb{E}_{q(z|x,y)}[\log p(x|z) + \log p(y|z)] - D_{KL}[q(z|x,y) \| p(z)]
    - \alpha\,(D_{KL}[q(z|x,y) \| q(z|x)] + D_{KL}[q(z|x,y) \| q(z|y)])

Two hidden layers of 512, z 64, alpha 0.1, batches of 128, Adam at 1e-3 falling to 0.
``test_accuracy`` is that of the label which the digit alone gives, through the mean of q(z|x).
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run
from networks import Classifier, Decoder, Encoder, prior
from torch import Tensor, optim

from pixyz.losses import E, KullbackLeibler, LogProb
from pixyz.models import Model


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("jmvae", epochs=5, argv=argv, z=64, alpha=0.1, rate=1e-3)
    z_dim = run.args.z
    p_x, p_y = Decoder(["z"], z=z_dim), Classifier("z", z_dim)
    q, q_x, q_y = (
        Encoder(["x", "y"], z_dim),
        Encoder(["x"], z_dim, name="q_x"),
        Encoder(["y"], z_dim, name="q_y"),
    )

    bound = E(q, LogProb(p_x) + LogProb(p_y)) - KullbackLeibler(q, prior(z_dim))
    loss = -bound + run.args.alpha * (KullbackLeibler(q, q_x) + KullbackLeibler(q, q_y))
    model = Model(
        loss.mean(),
        distributions=[p_x, p_y, q, q_x, q_y],
        optimizer=optim.Adam,
        optimizer_params={"lr": run.args.rate},
    )
    run.falling(model.optimizer)
    print(model)

    def right(x: Tensor, y: Tensor) -> Tensor:
        return (
            p_y.sample_mean({"z": q_x.sample_mean({"x": x})}).argmax(-1) == y.argmax(-1)
        ).float()

    for epoch in run.epochs():
        losses = [model.train({"x": x, "y": y}) for x, y in run.batches()]
        run.log(
            epoch,
            train=torch.stack(losses).mean().item(),
            test_accuracy=100 * run.tested(right),
            test_negative_elbo=-run.tested(lambda x, y: bound.eval({"x": x, "y": y})),
        )
    return run.finish()


if __name__ == "__main__":
    main()
