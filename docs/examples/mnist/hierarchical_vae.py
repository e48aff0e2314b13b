r"""A variational autoencoder with two layers of latents (Rezende et al., 2014; Burda et al., 2016) on MNIST.

    python docs/examples/mnist/hierarchical_vae.py --seed 0

.. math::
    \log p(x) \ge \mathbb{E}_{q(z_1|x) q(z_2|z_1)}\left[\log\frac{p(x|z_1) p(z_1|z_2) p(z_2)}{q(z_1|x) q(z_2|z_1)}\right]

Two hidden layers of 512 in each of the four networks, z_1 64, z_2 32, batches of 128, Adam at 1e-3 falling to 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run
from networks import Decoder, Encoder, prior
from torch import optim

from pixyz.losses import ELBO
from pixyz.models import Model


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("hierarchical_vae", epochs=10, argv=argv, lower=64, upper=32, rate=1e-3)
    lower, upper = run.args.lower, run.args.upper
    p_x, p_z1 = Decoder(["z1"], z1=lower), Encoder(["z2"], lower, var="z1", name="p", z2=upper)
    q_z1, q_z2 = Encoder(["x"], lower, var="z1"), Encoder(["z1"], upper, var="z2", z1=lower)

    p = p_x * p_z1 * prior(upper, "z2")
    q = q_z2 * q_z1
    model = Model(
        -ELBO(p, q).mean(), distributions=[p_x, p_z1, q_z1, q_z2], optimizer=optim.Adam, optimizer_params={"lr": run.args.rate}
    )
    run.falling(model.optimizer)
    print(model)
    for epoch in run.epochs():
        losses = [model.train({"x": x}) for x, _ in run.batches()]
        test = run.tested(lambda x, _: model.test({"x": x}))
        run.log(epoch, train=torch.stack(losses).mean().item(), test_negative_elbo=test)
    return run.finish()


if __name__ == "__main__":
    main()
