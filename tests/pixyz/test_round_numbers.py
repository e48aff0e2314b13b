"""Gradients of log-densities where values and parameters are round numbers: formulas are put
together there, and a clamp's gradient at its own bound is one or zero, by the version of torch.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from pixyz import distributions as pd

LINE = [-2.0, -1.0, 0.0, 1.0, 2.0, 8.0]
POSITIVE = [0.5, 1.0, 2.0, 4.0, 8.0, 9.0]
INSIDE = [0.25, 0.5, 0.75]
COUNTS = [1.0, 7.0, 8.0, 9.0]
ZERO = [0.0, 1.0]
STEP = 1e-5

CASES: dict[str, tuple[Sequence[float], dict[str, Sequence[float]]]] = {
    "Normal": (LINE, {"loc": ZERO, "scale": POSITIVE}),
    "Cauchy": (LINE, {"loc": ZERO, "scale": POSITIVE}),
    "Gumbel": (LINE, {"loc": ZERO, "scale": POSITIVE}),
    "StudentT": (LINE, {"df": POSITIVE, "loc": ZERO, "scale": POSITIVE}),
    "VonMises": (LINE[:-1], {"loc": ZERO, "concentration": POSITIVE}),
    "TanhNormal": ([-0.5, 0.0, 0.5], {"loc": ZERO, "scale": POSITIVE}),
    "LogNormal": (POSITIVE, {"loc": ZERO, "scale": POSITIVE}),
    "Gamma": (POSITIVE, {"concentration": POSITIVE, "rate": POSITIVE}),
    "InverseGamma": (POSITIVE, {"concentration": POSITIVE, "rate": POSITIVE}),
    "Chi2": (POSITIVE, {"df": [1.0, 2.0, 4.0, 16.0, 18.0, 20.0]}),
    "HalfCauchy": (POSITIVE, {"scale": POSITIVE}),
    "HalfNormal": (POSITIVE, {"scale": POSITIVE}),
    "Weibull": (POSITIVE, {"scale": POSITIVE, "concentration": POSITIVE}),
    "Beta": (INSIDE, {"concentration1": POSITIVE, "concentration0": POSITIVE}),
    "Kumaraswamy": (INSIDE, {"concentration1": POSITIVE, "concentration0": POSITIVE}),
    "ContinuousBernoulli": (INSIDE, {"probs": INSIDE}),
    "Poisson": (COUNTS, {"rate": POSITIVE}),
    "NegativeBinomial": (COUNTS, {"total_count": POSITIVE, "probs": INSIDE}),
}


@pytest.mark.parametrize("name", list(CASES))
def test_gradients_are_slopes(name: str) -> None:
    values, params = CASES[name]
    make: Callable[..., Any] = getattr(pd, name)
    p = make(var="x", cond_var=list(params), **{key: key for key in params})
    names = ["x", *params]
    rows = torch.tensor(list(itertools.product(values, *params.values())), dtype=torch.float64)

    def score(rows: torch.Tensor) -> torch.Tensor:
        return p.get_log_prob({key: rows[:, i : i + 1] for i, key in enumerate(names)})

    asked = rows.clone().requires_grad_()
    (found,) = torch.autograd.grad(score(asked).sum(), asked)
    moved = STEP * torch.eye(len(names), dtype=torch.float64)
    slopes = torch.stack([(score(rows + d) - score(rows - d)) / (2 * STEP) for d in moved], 1)
    torch.testing.assert_close(found, slopes, rtol=1e-4, atol=1e-4)


def test_a_multinomial_of_one_by_its_counts() -> None:
    """lgamma(n + 1) - lgamma(x + 1) + x log p by x."""
    x = torch.eye(3, dtype=torch.float64, requires_grad=True)
    probs = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    score = pd.Multinomial(1, var="x", probs=probs).get_log_prob({"x": x})
    (found,) = torch.autograd.grad(score.sum(), x)
    total = x.detach().sum(-1, keepdim=True)
    wanted = torch.digamma(total + 1) - torch.digamma(x.detach() + 1) + probs.log()
    torch.testing.assert_close(found, wanted)
