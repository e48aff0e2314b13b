"""A distribution that is detached or frozen computes what it computes otherwise."""

import pytest
import torch
from torch import nn

import pixyz
from pixyz.distributions import Bernoulli, Deterministic, Normal, Scan, SeriesFunction
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


class Moved(Normal):
    """A normal of which a density is asked 20 further."""

    def __init__(self):
        super().__init__("z", "x", name="q", features_shape=[2])
        self.net = nn.Linear(3, 2)

    def forward(self, x):
        loc = self.net(x)
        return {"loc": loc, "scale": torch.ones_like(loc)}

    def log_prob_from(self, scope, params, how):
        params = params.copy()
        moved = scope.builder.point(lambda loc: loc + 20.0, params["loc"], label="moved")
        params.replace("loc", moved)
        return super().log_prob_from(scope, params, how)


@pytest.mark.parametrize("view", VIEWS)
def test_a_parameter_that_is_replaced(view):
    q, d = Moved(), {"x": torch.randn(4, 3), "z": torch.randn(4, 2)}
    value = LogProb(VIEWS[view](q)).eval(d)
    wanted = torch.distributions.Normal(q.net(d["x"]) + 20.0, 1.0).log_prob(d["z"]).sum(-1)
    torch.testing.assert_close(value, wanted)
    assert value.requires_grad == (view == "plain")


class Flipped(Bernoulli):
    """A density at the other probabilities; what follows from them is derived again."""

    def __init__(self):
        super().__init__("z", "x", name="q", features_shape=[2])

    def forward(self, x):
        return {"probs": x.sigmoid()}

    def log_prob_from(self, scope, params, how):
        params = params.copy()
        before = params["logits"]
        other = scope.builder.point(lambda p: 1.0 - p, params["probs"], label="other")
        params.replace("probs", other)
        assert params["logits"] is not before and "probs" in params and len(params) > 0
        return super().log_prob_from(scope, params, how)


@pytest.mark.parametrize("view", VIEWS)
def test_what_follows_from_a_replaced_parameter(view):
    d = {"x": torch.randn(4, 2), "z": torch.ones(4, 2)}
    value = LogProb(VIEWS[view](Flipped())).eval(d)
    torch.testing.assert_close(value, torch.nn.functional.logsigmoid(-d["x"]).sum(-1))
