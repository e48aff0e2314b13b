r"""MMD-VAE (Zhao et al., InfoVAE, 2017) on MNIST: the code as a whole is drawn to the prior, not
each digit's.

    python docs/examples/mnist/mmd_vae.py --seed 0

.. math::
    -\mathbb{E}_{q(z|x)}[\log p(x|z)] + \lambda\, D_{MMD^2}\left[\int q(z|x) p_{data}(x) dx \,\|\,
        p(z)\right]

The minibatch's draws stand for the integral.  Two hidden layers of 512, z 10, lambda 100, an
inverse multiquadratic kernel with sigma^2 = 2 x 10, batches of 128, Adam at 1e-3 falling to 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run
from networks import Decoder, Encoder, prior
from torch import optim

from pixyz.losses import MMD, E, LogProb
from pixyz.models import Model


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("mmd_vae", epochs=5, argv=argv, z=10, weight=100.0, rate=1e-3)
    q, p = Encoder(["x"], run.args.z), Decoder(["z"], z=run.args.z)

    reconstruction = -E(q, LogProb(p)).mean()
    mmd = MMD(q, prior(run.args.z), kernel="inv-multiquadratic", sigma_sqr=2.0 * run.args.z)
    model = Model(
        reconstruction + run.args.weight * mmd,
        distributions=[p, q],
        optimizer=optim.Adam,
        optimizer_params={"lr": run.args.rate},
    )
    run.falling(model.optimizer)
    print(model)
    for epoch in run.epochs():
        losses = [model.train({"x": x}) for x, _ in run.batches()]
        run.log(
            epoch,
            train=torch.stack(losses).mean().item(),
            test_mmd=run.tested(lambda x, _: mmd.eval({"x": x})),
            test_reconstruction=run.tested(lambda x, _: reconstruction.eval({"x": x})),
        )
    return run.finish()


if __name__ == "__main__":
    main()
