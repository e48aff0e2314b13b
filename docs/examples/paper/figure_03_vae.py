"""Figure 3: a variational autoencoder in three steps, distributions, objective, model; equations 7
and 8.
"""

import torch
from made import Generator, Inference, patterns, prior
from torch import optim

from pixyz.losses import ELBO, E, KullbackLeibler, LogProb, Loss
from pixyz.models import Model

# Distribution API: p(x|z), q(z|x) and p(z)
p = Generator(cond_var=["z"])
q = Inference(cond_var=["x"])
p_prior = prior()

# Loss API: equation 7
loss = -(E(q, LogProb(p)) - KullbackLeibler(q, p_prior)).mean()

# Model API
model = Model(loss=loss, distributions=[p, q], optimizer=optim.Adam, optimizer_params={"lr": 1e-2})


def bounds(samples: int) -> tuple[Loss, Loss]:
    """Equation 7, and equation 8: the same bound from the joint p(x,z) = p(x|z)p(z)."""
    seventh = E(q, LogProb(p), sample_shape=[samples]) - KullbackLeibler(q, p_prior)
    return seventh.mean(), ELBO(p * p_prior, q, sample_shape=[samples]).mean()


def main(steps: int = 180) -> list[float]:
    """Train on made patterns; the losses."""
    x, _ = patterns()
    return [model.train({"x": x}).item() for _ in range(steps)]


if __name__ == "__main__":
    torch.manual_seed(0)
    print(model)
    losses = main()
    print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}")
    print(
        *(
            f"{bound.loss_text} = {bound.eval({'x': patterns()[0]}).item():.3f}"
            for bound in bounds(100)
        ),
        sep="\n",
    )
