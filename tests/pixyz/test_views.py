"""A distribution that is detached or frozen computes what it computes otherwise."""

import pytest
import torch
from torch import nn

import pixyz
from pixyz.distributions import Deterministic, Normal, Scan, SeriesFunction
from pixyz.losses import E, LogProb
from pixyz.plan.looks import WEIGHTS
from pixyz.types import PixyzError

VIEWS = {"plain": lambda p: p, "detach": lambda p: p.detach(), "frozen": lambda p: p.frozen()}


class Total(SeriesFunction):
    def __init__(self):
        super().__init__("y", "h")
        self.w = nn.Parameter(torch.tensor(2.0))

    def forward(self, h):
        return {"y": self.w * h.cumsum(0)}


class H(Deterministic):
    def __init__(self):
        super().__init__("h", ["x", "h_prev"])

    def forward(self, x, h_prev):
        return {"h": torch.tanh(x + h_prev)}


@pytest.mark.parametrize("view", VIEWS)
def test_a_function_of_series(view):
    torch.manual_seed(0)
    f, scan = Total(), Scan(H(), series_var=["x"], update_value={"h": "h_prev"})
    d = {"x": torch.randn(4, 3, 1, requires_grad=True), "h_prev": torch.zeros(3, 1)}
    wanted = (scan * f).sample(d)
    joint = scan * VIEWS[view](f)
    found = joint.sample(d)
    torch.testing.assert_close(found["y"], wanted["y"])
    loss = E(joint, LogProb(Normal("y", loc=0.0, scale=1.0, features_shape=[1]))).mean()
    value = loss.eval(d)
    y = wanted["y"]
    density = torch.distributions.Normal(0.0, 1.0).log_prob(y).sum(-1)
    torch.testing.assert_close(value, density.mean())
    grads = (
        torch.autograd.grad(value, [f.w, d["x"]], allow_unused=True) if value.requires_grad else ()
    )
    if view == "plain":
        assert all(g is not None for g in grads)
    elif view == "frozen":
        assert grads[0] is None and grads[1] is not None


def test_a_frozen_function_looks_at_its_arguments():
    class Root(Deterministic):
        def __init__(self):
            super().__init__("y", "x")
            self.w = nn.Parameter(torch.tensor(1.0))
            self.domains["x"] = WEIGHTS

        def forward(self, x):
            return {"y": self.w * x.sqrt()}

    for view in VIEWS.values():
        with pixyz.debug(), pytest.raises(PixyzError, match="'x'"):
            view(Root()).sample({"x": torch.tensor([[-1.0]])})
