"""A log-density as a variable: that of a value, that of a draw (by its noise), and its gradient."""

import math

import pytest
import torch

from pixyz.distributions import Deterministic, LogDensity, Normal, TanhNormal
from pixyz.losses import E, LogProb, Parameter

X = torch.tensor([[0.3, -1.0], [2.0, 0.1]])


def family(cls=Normal):
    return cls("x", "z", features_shape=[2], loc="z", scale=0.5, name="p")


def test_it_is_the_log_density_of_a_value():
    p, given = family(), {"x": X, "z": 2.0 * X}
    found = LogDensity(p, "l").sample(given, return_all=False)["l"]
    assert torch.equal(found, p.get_log_prob(given))
    wanted = (-2.0 * X**2 - math.log(0.5) - 0.5 * math.log(2 * math.pi)).sum(-1)
    assert torch.allclose(found, wanted)
    assert LogDensity(p, "l").prob_text == r"\log p(l|x,z)"


def test_renamed_and_within_an_objective():
    p = family()
    loss = E(LogDensity(p.at(x="a", z="b"), "l") * p.at(x="a", z="b"), Parameter("l"))
    other = E(p.at(x="a", z="b"), LogProb(p.at(x="a", z="b")))
    values = []
    for each in (loss, other):
        torch.manual_seed(0)
        values.append(each.eval({"b": X}))
    assert torch.equal(*values) and values[0].shape == (2,)


def test_a_draw_is_scored_by_its_noise():
    """Where tanh saturates, the value alone says little."""
    p = family(TanhNormal)
    torch.manual_seed(0)
    far = torch.full((4, 2), 12.0)
    found = E(LogDensity(p, "l") * p, Parameter("l")).eval({"z": far})
    torch.manual_seed(0)
    u = far.double() + 0.5 * torch.randn(4, 2).double()
    normal = (-2.0 * (u - 12.0) ** 2 - math.log(0.5) - 0.5 * math.log(2 * math.pi)).sum(-1)
    slope = (2.0 * (math.log(2.0) - u - torch.nn.functional.softplus(-2.0 * u))).sum(-1)
    assert torch.allclose(found.double(), normal - slope, rtol=1e-6)


@pytest.mark.parametrize("stopped", [False, True])
def test_what_reads_it_may_be_a_function_and_its_gradient_may_be_stopped(stopped):
    class Twice(Deterministic):
        def __init__(self):
            super().__init__("y", "l", name="f")

        def forward(self, l):
            return {"y": 2.0 * l}

    density = LogDensity(family(), "l")
    z = X.clone().requires_grad_()
    value = (
        E(Twice() * (density.detach() if stopped else density), Parameter("y"))
        .sum()
        .eval({"x": 0 * X, "z": z})
    )
    if stopped:
        assert not value.requires_grad
    else:
        (gradient,) = torch.autograd.grad(value, z)
        assert torch.allclose(gradient, 2.0 * (0.0 - X) / 0.25)
