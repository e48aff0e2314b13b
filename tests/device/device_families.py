"""Every family of distributions on a device that is not the CPU."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from family_parts import Family, families
from family_parts import points as values
from law_parts import LAWS, Law, points
from made_up_device import compare
from test_kl_families import RELAXED, TORCH, names, pair
from torch import Tensor

from pixyz.losses import E, Entropy, KullbackLeibler, LogProb
from pixyz.types import PixyzError

Ask = Callable[[dict[str, Tensor]], Any]
ASK: dict[str, Callable[[Any], Ask]] = {
    "draw": lambda p: lambda v: p.sample(v)["x"],
    "draws": lambda p: lambda v: p.sample(v, sample_shape=[2])["x"],
    "draw with gradient": lambda p: (
        lambda v: gradients(lambda x: p.sample(x, reparam=True)["x"], v)
    ),
    "log density": lambda p: lambda v: gradients(p.get_log_prob, v),
    "log density of features": lambda p: lambda v: p.get_log_prob(v, sum_features=False),
    "entropy": lambda p: lambda v: gradients(p.get_entropy, v),
    "entropy of draws": lambda p: Entropy(p, analytical=False, sample_shape=[2]).eval,
    "divergence": lambda p: KullbackLeibler(p, p).eval,
    "expectation": lambda p: E(p, LogProb(p)).eval,
    "mean": lambda p: p.sample_mean,
    "variance": lambda p: p.sample_variance,
    "parameters": lambda p: p.get_params,
}
# draws of VonMises: until all are accepted
REJECTION = "_local_scalar_dense at pixyz/distributions/families/torch_formula.py"
DRAWING = ("draw", "draws", "draw with gradient", "entropy of draws", "divergence", "expectation")
MISSING = (NotImplementedError, PixyzError, AttributeError)


def gradients(of: Callable[[dict[str, Tensor]], Tensor], values: dict[str, Tensor]) -> list[Any]:
    """A value and its gradients."""
    leaves = {k: v.detach().requires_grad_() for k, v in values.items()}
    value = of(leaves)
    if not value.requires_grad:
        return [value]
    return [
        value.detach(),
        *torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True),
    ]


def answered(p: Any, v: dict[str, Tensor], question: str) -> None:
    """Ask it; skip what the family does not answer on any device."""
    try:
        ASK[question](p)(v)
    except MISSING as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("question", ASK)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_families_of_variables(law: Law, question: str) -> None:
    given = {**law.params, "x": points(law)[0]}
    if question.startswith(("draw", "entropy", "diver", "exp", "mean", "var", "par")):
        del given["x"]
    answered(law.bound(), given, question)
    known = {REJECTION: 0} if law.name == "VonMises" and question in DRAWING else {}
    compare(lambda: (law.bound(), given), ASK[question], known)


@pytest.mark.parametrize("question", ASK)
@pytest.mark.parametrize("f", families(), ids=lambda f: f.name)
def test_families_of_constants(f: Family, question: str) -> None:
    given = {"x": values(f)[0]} if "density" in question else {}
    answered(f.constant(), given, question)
    compare(lambda: (f.constant(), given), ASK[question])


@pytest.mark.parametrize(("p", "q"), [*TORCH, *RELAXED], ids=names)
def test_divergences_by_formula(p: type, q: type) -> None:
    a, b, given = pair(p, q)

    def question(d: list[Any]) -> Ask:
        loss = KullbackLeibler(*d)
        return lambda v: gradients(loss.eval, v)

    compare(lambda: (copy.deepcopy([a, b]), given), question)
