r"""Beta-VAE (Higgins et al., 2017) on MNIST: a heavier regulariser, fewer nats in the code.

    python docs/examples/mnist/beta_vae.py --seed 0 --beta 4

.. math::
    \beta\, D_{KL}[q(z|x) \| p(z)] - \mathbb{E}_{q(z|x)}[\log p(x|z)]

Two hidden layers of 512, z 10, batches of 128, Adam at 1e-3 falling to 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run
from networks import Decoder, Encoder, prior
from torch import optim

from pixyz.losses import E, KullbackLeibler, LogProb, Parameter
from pixyz.models import Model


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("beta_vae", epochs=5, argv=argv, z=10, beta=4.0, rate=1e-3)
    q, p = Encoder(["x"], run.args.z), Decoder(["z"], z=run.args.z)

    beta = Parameter("beta")
    kl, reconstruction = KullbackLeibler(q, prior(run.args.z)), -E(q, LogProb(p))
    model = Model(
        (reconstruction + beta * kl).mean(),
        distributions=[p, q],
        optimizer=optim.Adam,
        optimizer_params={"lr": run.args.rate},
    )
    run.falling(model.optimizer)
    print(model)
    for epoch in run.epochs():
        losses = [model.train({"x": x, "beta": run.args.beta}) for x, _ in run.batches()]
        run.log(
            epoch,
            train=torch.stack(losses).mean().item(),
            test_kl=run.tested(lambda x, _: kl.eval({"x": x})),
            test_reconstruction=run.tested(lambda x, _: reconstruction.eval({"x": x})),
        )
    return run.finish()


if __name__ == "__main__":
    main()
