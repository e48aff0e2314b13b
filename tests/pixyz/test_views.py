"""A distribution that is detached or frozen computes what it computes otherwise."""

import pytest
import torch
from torch import nn

import pixyz
from pixyz.distributions import (
    Bernoulli,
    CustomProb,
    Deterministic,
    EmpiricalDistribution,
    Normal,
    ProductOfNormal,
    Scan,
    SeriesFunction,
)
from pixyz.expression.protocol import DRAW, SCORE
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


class Net(Normal):
    def __init__(self):
        super().__init__("z", "x", name="q", features_shape=[2])
        self.net = nn.Linear(3, 2)

    def forward(self, x):
        loc = self.net(x)
        return {"loc": loc, "scale": torch.ones_like(loc)}


class Moved(Net):
    """A normal of which a density is asked 20 further."""

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


class OwnSample(Net):
    def lower_sample(self, scope, how=DRAW):
        return super().lower_sample(scope, how)


class OwnDensity(Net):
    def lower_log_prob(self, scope, how=SCORE):
        return super().lower_log_prob(scope, how)


class OwnParams(Net):
    def lower_params(self, scope):
        return super().lower_params(scope)


class OldSample(Net):
    def sample(self, *args, **kwargs):
        return super().sample(*args, **kwargs)


@pytest.mark.parametrize(
    ("kind", "view", "instead"),
    [
        (OwnSample, "detach", "sample_from"),
        (OwnSample, "frozen", "sample_from"),
        (OwnDensity, "detach", "log_prob_from"),
        (OwnDensity, "frozen", "log_prob_from"),
        (OwnParams, "frozen", "params_from"),
        (OldSample, "detach", "sample_from"),
    ],
)
def test_an_override_that_a_view_would_pass_over_is_refused(kind, view, instead):
    with pytest.raises(PixyzError, match=f"override {instead}"):
        VIEWS[view](kind())
    with pytest.raises(PixyzError, match=f"override {instead}"):
        VIEWS[view](kind() * Normal("x", loc=nn.Parameter(torch.zeros(3)), scale=1.0))


class Doubled(Net):
    """What is overridden here counts in every view."""

    def params_from(self, scope, network):
        params = super().params_from(scope, network)
        twice = scope.builder.point(lambda loc: 2.0 * loc, params["loc"], label="twice")
        params.replace("loc", twice)
        return params

    def log_prob_from(self, scope, params, how):
        value = super().log_prob_from(scope, params, how)
        return scope.builder.point(lambda v: v - 100.0, value, label="less")

    def sample_from(self, scope, params, how):
        drawn = super().sample_from(scope, params, how)
        return {v: scope.builder.point(lambda z: z + 100.0, s, label=v) for v, s in drawn.items()}


@pytest.mark.parametrize("view", VIEWS)
def test_an_override_that_counts_in_every_view(view):
    p, d = Doubled(), {"x": torch.randn(4, 3), "z": torch.randn(4, 2)}
    seen, loc = VIEWS[view](p), 2.0 * p.net(d["x"])
    wanted = torch.distributions.Normal(loc, 1.0).log_prob(d["z"]).sum(-1) - 100.0
    torch.testing.assert_close(LogProb(seen).eval(d), wanted)
    torch.manual_seed(0)
    z = seen.sample(d)["z"]
    torch.manual_seed(0)
    torch.testing.assert_close(z, loc + torch.randn(4, 2) + 100.0)


def test_own_parameters_can_be_detached():
    q, d = OwnParams(), {"x": torch.randn(4, 3), "z": torch.randn(4, 2)}
    value = LogProb(q.detach()).eval(d)
    torch.testing.assert_close(value, LogProb(q).eval(d))
    assert not value.requires_grad


NET = nn.Linear(2, 1)


@pytest.mark.parametrize("view", ["detach", "frozen"])
def test_the_weights_of_a_custom_density_cannot_be_held_constant(view):
    net, z = nn.Linear(2, 1), torch.randn(4, 2, requires_grad=True)

    class Energy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 1)

        def forward(self, z):
            return -(self.net(z)[:, 0] ** 2)

    for function in (
        lambda z: -(net(z)[:, 0] ** 2),
        lambda z: -(NET(z)[:, 0] ** 2),
        Energy(),
        Energy().forward,
    ):
        with pytest.raises(PixyzError, match="its function has weights, those of"):
            VIEWS[view](CustomProb(function, "z"))
    net.requires_grad_(False)
    p = VIEWS[view](CustomProb(lambda z: -(net(z)[:, 0] ** 2), "z"))
    value = LogProb(p).eval({"z": z})
    torch.testing.assert_close(value, -(net(z)[:, 0] ** 2))
    assert torch.autograd.grad(value.sum(), z)[0].abs().sum() > 0
    assert VIEWS[view](CustomProb(lambda z: -z.sum(-1), "z")).prob_text == "p(z)"


def test_data_has_nothing_to_detach():
    data, p = EmpiricalDistribution("z"), Normal("z", loc=0.0, scale=1.0, features_shape=[2])
    d = {"z": torch.randn(4, 2)}
    torch.testing.assert_close(E(data.detach(), LogProb(p)).eval(d), LogProb(p).eval(d))
    assert (p.replace_var(z="y") * data).detach().sample(d)["z"] is not None


class Scaled(Normal):
    def __init__(self):
        super().__init__("z", "x", name="q", features_shape=[2])
        self.net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Dropout(0.5))
        self.rnn = nn.GRUCell(2, 2)
        self.gain = 1.0

    def forward(self, x):
        loc = getattr(self, "gain", 3.0) * self.rnn(self.net(x))
        return {"loc": loc, "scale": torch.ones_like(loc)}


def _gain(q):
    q.gain = 0.25


def _no_gain(q):
    del q.gain


def _container(q):
    q.net[1] = nn.Tanh()


def _longer(q):
    q.net.append(nn.Tanh())


def _part(q):
    q.rnn = nn.GRUCell(2, 2)


def _weight(q):
    q.net[0].weight = nn.Parameter(torch.randn(2, 3))


def _shape(q):  # the same memory, read otherwise
    q.net[0].bias = nn.Parameter(q.net[0].bias.data.flip(0))


def _step(q):
    with torch.no_grad():
        q.net[0].weight += 1.0


def _data(q):
    q.net[0].weight.data = torch.randn(2, 3)


def _setting(q):
    q.net[2].p = 0.0


def _forward(q):
    q.net.forward = lambda x: x[:, :2]


def _mode(q):
    q.eval()


CHANGES = [_gain, _no_gain, _container, _longer, _part, _weight, _shape, _step, _data]
CHANGES += [_setting, _forward, _mode]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", [Scaled, "product"])
def test_a_frozen_distribution_follows(change, kind):
    torch.manual_seed(0)
    q, d = Scaled(), {"x": torch.randn(4, 3), "z": torch.randn(4, 2)}
    p = q if kind is Scaled else ProductOfNormal([q, Scaled()])
    losses = [LogProb(p), LogProb(p.frozen())]

    def values():
        found = []
        for loss in losses:
            torch.manual_seed(1)
            found.append(loss.eval(d).detach())
        return found

    before = values()
    torch.testing.assert_close(*before)
    change(q)
    after = values()
    torch.testing.assert_close(*after)
    assert not torch.equal(after[0], before[0])
    torch.testing.assert_close(*values())
    assert not losses[1].eval(d).requires_grad
