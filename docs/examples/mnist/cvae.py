r"""A conditional variational autoencoder (Sohn et al., 2015) on MNIST: digits given their labels.

    python docs/examples/mnist/cvae.py --seed 0

.. math::
    -\log p(x|y) \le D_{KL}[q(z|x,y) \| p(z)] - \mathbb{E}_{q(z|x,y)}[\log p(x|z,y)]

Two hidden layers of 512, z 64, batches of 128, Adam at 1e-3 falling to 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run
from networks import Decoder, Encoder, prior
from torch import optim

from pixyz.losses import E, KullbackLeibler, LogProb
from pixyz.models import Model


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("cvae", epochs=10, argv=argv, z=64, rate=1e-3)
    q, p = Encoder(["x", "y"], run.args.z), Decoder(["z", "y"], z=run.args.z)

    loss = (KullbackLeibler(q, prior(run.args.z)) - E(q, LogProb(p))).mean()
    model = Model(
        loss, distributions=[p, q], optimizer=optim.Adam, optimizer_params={"lr": run.args.rate}
    )
    run.falling(model.optimizer)
    print(model)
    for epoch in run.epochs():
        losses = [model.train({"x": x, "y": y}) for x, y in run.batches()]
        test = run.tested(lambda x, y: model.test({"x": x, "y": y}))
        run.log(epoch, train=torch.stack(losses).mean().item(), test_negative_elbo=test)
    return run.finish()


if __name__ == "__main__":
    main()
