"""Distributions made of flows: densities, products, loops, stop-gradients; the faults of 0.3.3."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from pixyz.distributions import (
    Deterministic,
    InverseTransformedDistribution,
    Normal,
    TransformedDistribution,
)
from pixyz.flows import (
    NICE,
    DiagonalScale,
    Flatten,
    FlowList,
    Glow,
    PlanarFlow,
    Preprocess,
    RealNVP,
    Reverse,
    Shuffle,
)
from pixyz.losses import E, IterativeLoss, LogProb
from pixyz.models import Model
from pixyz.types import PixyzError, VariableError

F64 = torch.float64


def prior(d=2, var="z", **kwargs):
    return Normal(var=var, features_shape=[d], **{"loc": 0.0, "scale": 1.0, **kwargs})


def stirred(flow, seed=0, size=0.3):
    torch.manual_seed(seed)
    for weight in flow.parameters():
        weight.data += size * torch.randn_like(weight)
    return flow


def realnvp(d=2, cond=0, seed=0):
    return stirred(RealNVP(d, 3, (8,), cond), seed)


def planar(d=2, layers=3):
    return stirred(FlowList([PlanarFlow(d, constraint_u=True) for _ in range(layers)]), 0, 0.8)


def forward_form(flow, d=2):
    return TransformedDistribution(prior(d, "z"), flow, var="x", name="q")


def inverse_form(flow, d=2):
    return InverseTransformedDistribution(prior(d, "z"), flow, var="x")


class Encoder(Normal):
    def __init__(self, var, cond, d=2):
        super().__init__(var=var, cond_var=cond, features_shape=[d], name="q")
        self.net = nn.Linear(2 * len(cond), d)

    def forward(self, **given):
        loc = self.net(torch.cat(list(given.values()), -1))
        return {"loc": loc, "scale": torch.full_like(loc, 0.7)}


# ---------------------------------------------------------------- the density

ONE = {"scale": lambda: stirred(DiagonalScale(1)), "planar": lambda: planar(1)}
TWO = {
    "RealNVP": realnvp,
    "NICE": lambda: stirred(NICE(2, 3, (8,))),
    "planar": planar,
    "batch norm": lambda: stirred(RealNVP(2, 2, (8,), batch_norm=True)),
}
CASES = [(form, 1, name) for form in (forward_form, inverse_form) for name in ONE]
CASES += [(form, 2, name) for form in (forward_form, inverse_form) for name in TWO]


@pytest.mark.parametrize(("form", "d", "name"), CASES)
def test_density_integrates_to_one_and_is_that_of_the_samples(form, d, name):
    p = form((ONE if d == 1 else TWO)[name](), d).double().eval()
    # 0.1 and 2.1 are edges of cells
    edge = torch.linspace(-12, 12, 601 if d == 2 else 9001, dtype=F64)
    cell = (edge[1] - edge[0]).item()
    x = torch.stack(torch.meshgrid(*[edge] * d, indexing="ij"), -1).reshape(-1, d)
    with torch.no_grad():
        mass = p.get_log_prob({"x": x}).exp() * cell**d
    assert abs(mass.sum().item() - 1) < 2e-3
    torch.manual_seed(0)
    n = 20000
    drawn = p.sample(batch_n=n)["x"]
    inside = mass[(x > 0.1).all(-1) & (x < 2.1).all(-1)].sum().item()
    share = ((drawn > 0.1).all(-1) & (drawn < 2.1).all(-1)).double().mean().item()
    assert inside > 0.02
    assert abs(share - inside) < 4 * math.sqrt(inside / n)


@pytest.mark.parametrize("form", [forward_form, inverse_form])
def test_log_prob_is_the_change_of_variables(form):
    flow = realnvp().double()
    p, x = form(flow).double(), torch.randn(5, 2, dtype=F64)
    z = (flow.inverse if form is forward_form else flow.forward)(x)
    wanted = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(
            flow.inverse if form is forward_form else flow.forward, x[i : i + 1]
        )
        wanted[i] += torch.linalg.slogdet(jacobian[0, :, 0])[1]
    torch.testing.assert_close(p.get_log_prob({"x": x}), wanted)
    torch.testing.assert_close(p.log_prob().eval({"x": x}), wanted)
    torch.testing.assert_close(p.prob().eval({"x": x}), wanted.exp())


@pytest.mark.parametrize("form", [forward_form, inverse_form])
def test_log_prob_depends_on_nothing_that_was_called_before(form):
    """0.3.3: a second log_prob of a flow without inverse raised, and the Jacobian was the last
    call's or None.
    """
    p = form(planar())
    x, other = torch.randn(4, 2), torch.randn(7, 2)
    first = p.get_log_prob({"x": x})
    p.get_log_prob({"x": other})
    p.sample(batch_n=3)
    p.forward(other)
    p.inverse(other)
    assert torch.equal(p.get_log_prob({"x": x}), first)
    drawn = p.sample(batch_n=4)
    assert torch.equal(p.get_log_prob(drawn), p.get_log_prob(drawn))


def test_the_density_of_a_draw_needs_no_inverse():
    """And has the value and the gradients of the density at that point."""
    torch.manual_seed(0)
    q = TransformedDistribution(Encoder("z0", ["x"]), planar(), var="z", name="q").double()
    x = torch.randn(6, 2, dtype=F64)
    loss = E(q, LogProb(q)).mean()
    assert "f of" in str(loss.plan) and "f^-1 of" not in str(loss.plan)
    torch.manual_seed(1)
    value, drawn = loss.eval({"x": x}, return_dict=True)
    torch.testing.assert_close(value, q.get_log_prob(drawn).mean())
    found = torch.autograd.grad(value, list(q.parameters()))
    torch.manual_seed(1)
    again = q.sample({"x": x}, reparam=True)
    wanted = torch.autograd.grad(q.get_log_prob(again).mean(), list(q.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_a_one_way_flow_is_a_posterior_but_has_no_density_elsewhere():
    class OneWay(PlanarFlow):
        def inverse_and_logdet(self, z, y=None):
            raise NotImplementedError("OneWay has no inverse")

    q = TransformedDistribution(prior(var="z0"), OneWay(2), var="z", name="q")
    assert E(q, LogProb(q), sample_shape=[50]).eval({}).shape == (1,)
    with pytest.raises(NotImplementedError, match="no inverse"):
        q.get_log_prob(q.sample(batch_n=3))


def test_score_of_a_draw_without_pathwise_gradient():
    """With reparam=False the draw is a constant: the gradient is the score, and its mean is 0."""
    torch.manual_seed(0)
    q = TransformedDistribution(prior(var="z0"), realnvp(), var="z", name="q").double()
    value = E(q, LogProb(q), sample_shape=[40000], reparam=False).mean().eval({})
    for gradient in torch.autograd.grad(value, [*q.parameters()]):
        assert gradient.abs().max() < 0.05
    torch.manual_seed(3)
    x = q.sample(batch_n=1)["z"]
    torch.manual_seed(3)
    one = E(q, LogProb(q), reparam=False).mean().eval({})
    for a, b in zip(
        torch.autograd.grad(one, [*q.parameters()]),
        torch.autograd.grad(q.get_log_prob({"z": x}).mean(), [*q.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


# ---------------------------------------------------------------- samples


@pytest.mark.parametrize("form", [TransformedDistribution, InverseTransformedDistribution])
def test_reparam_counts(form):
    """0.3.3 swallowed it."""
    p = form(prior(loc=nn.Parameter(torch.zeros(2))), realnvp(), var="x")
    assert not p.sample(batch_n=3)["x"].requires_grad
    x = p.sample(batch_n=3, reparam=True)["x"]
    gradients = torch.autograd.grad(x.sum(), list(p.parameters()))
    assert len(gradients) > 4 and all(g.abs().sum() > 0 for g in (gradients[0], gradients[-1]))


@pytest.mark.parametrize("form", [forward_form, inverse_form])
def test_samples(form):
    p = form(realnvp())
    assert p.var == ["x"] and p.cond_var == [] and p.input_var == [] and p.hidden_var == ["z"]
    drawn = p.sample(batch_n=3, sample_shape=(5, 4))
    assert {k: tuple(v.shape) for k, v in drawn.items()} == {"x": (5, 4, 3, 2), "z": (5, 4, 3, 2)}
    flow = p.flow.forward if form is forward_form else p.flow.inverse
    torch.testing.assert_close(flow(drawn["z"].flatten(0, 2)), drawn["x"].flatten(0, 2))
    assert list(p.sample(batch_n=3, return_hidden=False)) == ["x"]
    mean = p.sample(batch_n=3, sample_mean=True)
    assert torch.equal(mean["z"], torch.zeros(3, 2))
    torch.testing.assert_close(mean["x"], flow(torch.zeros(3, 2)))
    assert set(p.sample({"other": torch.ones(3)}, batch_n=3)) == {"x", "z", "other"}


def test_every_row_of_a_condition_has_a_draw_of_its_own():
    torch.manual_seed(0)
    p = InverseTransformedDistribution(prior(), realnvp(2, 3), var="x", cond_var="y")
    drawn = p.sample({"y": torch.zeros(4000, 3)})
    assert drawn["z"].shape == drawn["x"].shape == (4000, 2)
    assert drawn["z"].std(0).sub(1).abs().max() < 0.05
    assert p.sample({"y": torch.zeros(4, 3)}, sample_shape=[5])["x"].shape == (5, 4, 2)
    value = E(p, LogProb(p), sample_shape=[3]).eval({"y": torch.zeros(4, 3)})
    assert value.shape == (4,) and value.unique().numel() == 4
    nested = InverseTransformedDistribution(
        forward_form(realnvp()), realnvp(2, 3), var="w", cond_var="y"
    )
    assert nested.sample({"y": torch.zeros(4, 3)}, batch_n=4)["w"].unique(dim=0).shape == (4, 2)
    with pytest.raises(PixyzError, match="share one draw"):
        nested.sample({"y": torch.zeros(4, 3)})


# ---------------------------------------------------------------- conditions, products, views


def test_several_conditions():
    flow = realnvp(2, 5)
    p = InverseTransformedDistribution(Encoder("z", ["c"]), flow, var=["x"], cond_var=["a", "b"])
    assert p.cond_var == ["a", "b", "c"] and p.prob_text == "p(x|a,b,c)"
    assert p.prob_joint_factorized_and_text == "p(x|a,b,c) = p(x=f^{-1}_{flow}(z,a,b))"
    given = {
        "x": torch.randn(6, 2),
        "a": torch.randn(6, 3),
        "b": torch.randn(6, 2),
        "c": torch.randn(6, 2),
    }
    z, logdet = flow.forward_and_logdet(given["x"], (given["a"], given["b"]))
    wanted = p.prior.get_log_prob({"z": z, "c": given["c"]}) + logdet
    torch.testing.assert_close(p.get_log_prob(given), wanted)
    torch.testing.assert_close(p.inference(given)["z"], z)
    q = TransformedDistribution(Encoder("z", ["c"]), flow, var="x", cond_var=["a", "b"])
    assert q.cond_var == ["c", "a", "b"]
    drawn = q.sample({k: given[k] for k in "abc"})
    torch.testing.assert_close(flow(drawn["z"], (given["a"], given["b"])), drawn["x"])


def test_in_a_product():
    """0.3.3: the prior's variable came out of the factor, and the joint could not be evaluated."""
    p = Encoder("y", ["x"]) * inverse_form(realnvp())
    assert sorted(p.var) == ["x", "y"] and p.prob_factorized_text == "q(y|x)p(x)"
    drawn = p.sample(batch_n=4)
    assert set(drawn) == {"x", "y"}
    wanted = sum(f.get_log_prob(drawn) for f in p.factors())
    torch.testing.assert_close(p.get_log_prob(drawn), wanted)
    # a z of the joint's own
    q = forward_form(realnvp()) * Normal(var="z", cond_var="x", loc="x", scale=1.0, name="q")
    drawn = q.sample(batch_n=4000)
    assert (drawn["z"] - drawn["x"]).std().sub(1).abs() < 0.05


def test_renaming_captures_nothing():
    flow = realnvp(2, 2)
    p = InverseTransformedDistribution(prior(), flow, var="x", cond_var="y")
    x, y = torch.randn(5, 2), torch.randn(5, 2)
    renamed = p.replace_var(x="w", y="z")  # z is also the name of the bound variable
    assert renamed.prob_text == "p(w|z)"
    assert torch.equal(renamed.get_log_prob({"w": x, "z": y}), p.get_log_prob({"x": x, "y": y}))
    torch.manual_seed(0)
    a = p.sample({"y": y})["x"]
    torch.manual_seed(0)
    assert torch.equal(renamed.sample({"z": y})["w"], a)
    joint = (Encoder("y", ["z"]) * p.replace_var(y="z")).marginalize_var("x")
    assert set(joint.sample({"z": y})) == {"y", "z"}


@pytest.mark.parametrize("renamed", [False, True])
def test_detach_and_frozen(renamed):
    p = InverseTransformedDistribution(Encoder("z", ["c"]), realnvp(2, 2), var="x", cond_var="y")
    p = p.replace_var(c="k") if renamed else p
    given = {
        "x": torch.randn(4, 2),
        "y": torch.randn(4, 2),
        ("k" if renamed else "c"): torch.randn(4, 2),
    }
    given = {k: v.requires_grad_() for k, v in given.items()}
    wanted = p.get_log_prob(given)
    for other, flows in ((p.detach(), (True, False, False)), (p.frozen(), (True, True, True))):
        value = other.get_log_prob(given)
        assert torch.equal(value, wanted)
        gradients = torch.autograd.grad(
            value.sum(), [*given.values(), *p.parameters()], allow_unused=True
        )
        assert [g is not None and bool(g.abs().sum() > 0) for g in gradients[:3]] == list(flows)
        assert all(g is None for g in gradients[3:])
    for weight in p.parameters():
        weight.data *= 0.5
    assert torch.equal(p.frozen().get_log_prob(given), p.get_log_prob(given))
    frozen = p.frozen()
    x = E(p, LogProb(p.detach())).eval({k: v for k, v in given.items() if k != "x"})
    assert x.shape == (4,) and "underline" in frozen.prob_text


# ---------------------------------------------------------------- loops and models


class Transition(Deterministic):
    def __init__(self):
        super().__init__(var="h", cond_var=["h_prev", "x"])
        self.net = nn.Linear(4, 2)

    def forward(self, h_prev, x):
        return {"h": torch.tanh(self.net(torch.cat([h_prev, x], 1)))}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_in_a_loop(batch_norm):
    """A flow whose condition is carried: loop and split forms agree, and equal the loop by hand."""
    torch.manual_seed(0)
    flow = stirred(RealNVP(2, 2, (8,), 2, batch_norm=batch_norm))
    p, f = (
        InverseTransformedDistribution(prior(), flow, var="x", cond_var="h_prev").double(),
        Transition().double(),
    )
    values = []
    given = {"x": torch.randn(5, 3, 2, dtype=F64), "h_prev": torch.zeros(3, 2, dtype=F64)}
    for fission in (True, False):
        loss = IterativeLoss(
            E(f, -LogProb(p)), series_var=["x"], update_value={"h": "h_prev"}, fission=fission
        )
        value = loss.mean().eval(given)
        values.append((value, *torch.autograd.grad(value, [*p.parameters(), *f.parameters()])))
    h, total = given["h_prev"], 0
    for x in given["x"]:
        total = total - p.get_log_prob({"x": x, "h_prev": h})
        h = f.sample({"h_prev": h, "x": x}, reparam=True)["h"]
    values.append(
        (total.mean(), *torch.autograd.grad(total.mean(), [*p.parameters(), *f.parameters()]))
    )
    for other in values[1:]:
        for a, b in zip(values[0], other, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("fission", [True, False])
def test_a_flow_posterior_in_a_loop(fission):
    """Figure 9's step loss with a flow as the posterior; the carried draw is drawn once a step."""
    torch.manual_seed(0)
    q = TransformedDistribution(Encoder("e", ["z_prev", "x"]), planar(), var="z", name="q").double()
    p, d = Encoder("z", ["z_prev"]).double(), Encoder("x", ["z"]).double()
    step = E(q, LogProb(q) - LogProb(p) - LogProb(d))
    loss = IterativeLoss(step, series_var=["x"], update_value={"z": "z_prev"}, fission=fission)
    x, z = torch.randn(6, 3, 2, dtype=F64), torch.zeros(3, 2, dtype=F64)
    torch.manual_seed(1)
    value = loss.mean().eval({"x": x, "z_prev": z})
    torch.manual_seed(1)
    total, noise = 0, torch.randn(6, 3, 2, dtype=F64)
    for t in range(6):
        params = q.prior.get_params({"z_prev": z, "x": x[t]})
        new = q.forward(params["loc"] + params["scale"] * noise[t])
        given = {"z": new, "z_prev": z, "x": x[t]}
        total = total + q.get_log_prob(given) - p.get_log_prob(given) - d.get_log_prob(given)
        z = new
    torch.testing.assert_close(value, total.mean())


def test_a_model_learns_two_moons():
    torch.manual_seed(0)
    angle = math.pi * torch.rand(512)
    side = (torch.rand(512) < 0.5).float()
    x = torch.stack(
        [torch.cos(angle) + side, torch.sin(angle) * (1 - 2 * side) + 0.5 * side], 1
    ) + 0.05 * torch.randn(512, 2)
    p = InverseTransformedDistribution(prior(), RealNVP(2, 6, (32, 32)), var="x")
    model = Model(
        -p.log_prob().mean(),
        distributions=[p],
        optimizer=torch.optim.Adam,
        optimizer_params={"lr": 3e-3},
    )
    for _ in range(150):
        model.train({"x": x})
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov()).log_prob(x).mean()
    assert p.get_log_prob({"x": x}).mean() > gaussian + 0.3


def test_a_saved_model_is_the_whole_flow(tmp_path):
    """ActNorm's initialisation, Shuffle's permutation and Flatten's shape come back."""

    def build():
        flow = FlowList([Shuffle(3), Glow((3, 4, 4), 1, 2, 4), Unflat(), Flatten()])
        p = InverseTransformedDistribution(prior(48), flow, var="x")
        return p, Model(-p.log_prob().mean(), distributions=[p])

    class Unflat(Flatten):
        def __init__(self):
            super().__init__((3, 4, 4))

        def forward_and_logdet(self, x, y=None):
            return super().inverse_and_logdet(x, y)

        def inverse_and_logdet(self, z, y=None):
            return super().forward_and_logdet(z, y)

    torch.manual_seed(0)
    x = torch.rand(8, 3, 4, 4) + 3
    p, model = build()
    model.train({"x": x})
    model.save(tmp_path / "m")
    other, loaded = build()
    loaded.load(tmp_path / "m")
    assert torch.equal(
        other.train().get_log_prob({"x": x - 5}), p.train().get_log_prob({"x": x - 5})
    )
    assert other.sample(batch_n=2)["x"].shape == (2, 3, 4, 4)


def test_copies():
    p = inverse_form(realnvp())
    x = torch.randn(3, 2)
    value = p.get_log_prob({"x": x})
    p.forward(x)
    for twin in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert torch.equal(twin.get_log_prob({"x": x}), value)
    assert set(p.state_dict()) == {f"prior.{n}" for n in ("loc", "scale")} | {
        f"flow.{n}" for n in p.flow.state_dict()
    }


def test_text():
    p = InverseTransformedDistribution(prior(), FlowList([Reverse(2), realnvp()]), var=["x"])
    text = str(p)
    assert text.startswith(
        "Distribution:\n  p(x) = p(x=f^{-1}_{flow}(z))\nNetwork architecture:\n  InverseTransformed"
    )
    assert "(flow): FlowList(" in text and "Reverse()" in text
    assert forward_form(realnvp()).prob_joint_factorized_and_text == "q(x) = q(x=f_{flow}(z))"
    assert str(-p.log_prob().mean()) == r"- mean \left(\log p(x) \right)"


def test_bits_per_dimension_of_uniform_images():
    """A flow that maps uniform pixels to their own logits must find 8 bits a dimension."""

    class Logistic(Normal):
        def __init__(self):
            super().__init__(var="z", loc=0.0, scale=1.0, features_shape=[1, 4, 4])

        @staticmethod
        def log_density(x, loc, scale):
            return -nn.functional.softplus(x) - nn.functional.softplus(-x) - math.log1p(-0.05)

    torch.manual_seed(0)
    p = InverseTransformedDistribution(Logistic(), Preprocess(), var="x")
    x = torch.randint(0, 256, (10, 1, 4, 4)) / 255
    bits = 8 - p.get_log_prob({"x": x}).mean() / (16 * math.log(2))
    assert abs(bits.item() - 8) < 1e-4


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: inverse_form(realnvp()).get_log_prob(
                {"x": torch.zeros(1, 2)}, sum_features=False
            ),
            PixyzError,
            "all features",
        ),
        (
            lambda: inverse_form(realnvp()).get_log_prob(
                {"x": torch.zeros(1, 2)}, feature_dims=[1]
            ),
            PixyzError,
            "all features",
        ),
        (lambda: inverse_form(realnvp()).get_log_prob({}), VariableError, "'x'"),
        (
            lambda: InverseTransformedDistribution(prior(), realnvp(), var="z"),
            VariableError,
            "rename one",
        ),
        (
            lambda: InverseTransformedDistribution(prior(), realnvp(), var="x", cond_var="z"),
            VariableError,
            "rename one",
        ),
        (
            lambda: InverseTransformedDistribution(prior(), realnvp(), var=["x", "y"]),
            VariableError,
            "one variable to one",
        ),
        (lambda: forward_form(realnvp()).get_params(), NotImplementedError, "no parameters"),
        (lambda: inverse_form(realnvp()).inference({}), VariableError, "needs .'x'. too"),
        (lambda: inverse_form(nn.Linear(2, 2)), PixyzError, "derive it from Flow"),
    ],
)
def test_errors_name_what_is_wrong(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
