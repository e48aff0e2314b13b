r"""A mixture of normals by expectation maximisation (Dempster et al., 1977) on MNIST, in 20
principal components.

    python docs/examples/mnist/mixture_em.py --seed 0

.. math::
    r_{nk} = p(z=k|x_n), \quad \pi_k = \frac{1}{N}\sum_n r_{nk}, \quad
    \mu_k = \frac{\sum_n r_{nk} x_n}{\sum_n r_{nk}}, \quad
    \sigma_k^2 = \frac{\sum_n r_{nk} (x_n - \mu_k)^2}{\sum_n r_{nk}}

30 components with a variance for each dimension, that start at digits drawn at random; an epoch is
one step over all digits. ``test_accuracy``: each component is given the label that most of its
training digits have.
"""

from collections.abc import Sequence
from typing import Any

import torch
from common import Run
from torch import Tensor

from pixyz.distributions import Categorical, MixtureModel, Normal


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    run = Run("mixture_em", epochs=50, argv=argv, components=30, dimensions=20)
    k, size = run.args.components, run.args.dimensions
    centre = run.x.mean(0)
    axes = torch.linalg.eigh(torch.cov((run.x - centre).T))[1][:, -size:]
    x, test_x = (run.x - centre) @ axes, (run.test_x - centre) @ axes
    start = x[torch.randperm(len(x))[:k]]
    parts = [Normal(var="x", loc=loc, scale=x.std(0), name=f"p_{i}") for i, loc in enumerate(start)]
    prior = Categorical(var="z", probs=torch.full((k,), 1 / k), name="prior")

    p = MixtureModel(parts, prior)
    posterior, log_likelihood = p.posterior(), p.log_prob().mean()
    print(posterior.prob_text, log_likelihood.loss_text[:80])

    def responsibilities(given: Tensor) -> Tensor:
        return torch.cat([posterior.sample_mean({"x": part}) for part in given.split(10_000)])

    with torch.no_grad():
        for epoch in run.epochs():
            r = responsibilities(x)
            weight = r.sum(0)
            loc = r.T @ x / weight[:, None]
            scale = (r.T @ x.square() / weight[:, None] - loc.square()).clamp(min=1e-4).sqrt()
            prior.probs.copy_(weight[None] / weight.sum())
            for part, m, s in zip(parts, loc, scale):
                part.loc.copy_(m)
                part.scale.copy_(s)
            labels = (r.T @ run.y).argmax(-1)
            right = labels[responsibilities(test_x).argmax(-1)] == run.test_y.argmax(-1)
            run.log(
                epoch,
                train=-log_likelihood.eval({"x": x}).item(),
                test_log_likelihood=log_likelihood.eval({"x": test_x}).item(),
                test_accuracy=100 * right.float().mean().item(),
            )
    return run.finish()


if __name__ == "__main__":
    main()
