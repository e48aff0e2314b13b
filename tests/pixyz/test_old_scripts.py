"""Scripts as they were written for pixyz 0.3.3: what people subclass, override and call runs
unchanged.
"""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import sympy
import torch
from torch import Tensor, nn, optim
from torch import distributions as td
from torch.nn import functional as F

from pixyz.distributions import (
    Bernoulli,
    Categorical,
    Deterministic,
    EmpiricalDistribution,
    MixtureModel,
    Normal,
)
from pixyz.distributions.distributions import Distribution, DistributionBase
from pixyz.losses import (
    AdversarialJensenShannon,
    Expectation,
    IterativeLoss,
    KullbackLeibler,
    LogProb,
    Parameter,
    ValueLoss,
)
from pixyz.losses.losses import Divergence, Loss, LossOperator, LossSelfOperator
from pixyz.models import Model
from pixyz.types import PixyzError

B, X, Z = 8, 6, 4


class Inference(Normal):
    def __init__(self):
        super(Inference, self).__init__(var=["z"], cond_var=["x"], name="q")  # noqa: UP008
        self.fc1, self.fc2 = nn.Linear(X, Z), nn.Linear(X, Z)

    def forward(self, x):
        return {"loc": self.fc1(x), "scale": F.softplus(self.fc2(x))}


class Generator(Bernoulli):
    def __init__(self):
        super().__init__(var=["x"], cond_var=["z"], name="p")
        self.fc = nn.Linear(Z, X)

    def forward(self, z):
        return {"probs": torch.sigmoid(self.fc(z))}


def prior(cls: Any = Normal, **more: Any) -> Any:
    return cls(
        var=["z"],
        loc=torch.tensor(0.0),
        scale=torch.tensor(1.0),
        features_shape=[Z],
        name="p_{prior}",
        **more,
    )


x = torch.rand(B, X, generator=torch.Generator().manual_seed(0)).round()


# -------------------------------------------------------------------------------------------- torch
# distributions


def test_set_dist_dist_and_get_sample():
    q, p = Inference(), prior()
    with pytest.raises(PixyzError, match="set_dist"):
        q.dist  # noqa: B018
    q.set_dist({"x": x})
    assert isinstance(q.dist, td.Normal) and q.distribution_torch_class is td.Normal
    torch.testing.assert_close(q.dist.mean, q.fc1(x))
    assert q.get_sample(reparam=True)["z"].requires_grad and not q.get_sample()["z"].requires_grad
    p.set_dist(batch_n=5)
    assert p.dist.batch_shape == (5, Z) and p.get_sample(sample_shape=(3,))["z"].shape == (3, 5, Z)
    with pytest.raises(PixyzError, match="batch_n=3"):
        q.set_dist({"x": x}, batch_n=3)
    for twin in (copy.deepcopy(q), pickle.loads(pickle.dumps(q))):  # with a graph in q.dist
        assert twin.sample({"x": x})["z"].shape == (B, Z)
        with pytest.raises(PixyzError, match="set_dist"):
            twin.dist  # noqa: B018


class StudentT(DistributionBase):
    """A family of the user's own."""

    def __init__(
        self, var=("x",), cond_var=(), name="p", features_shape=(), df=None, loc=None, scale=None
    ):
        given = {k: v for k, v in {"df": df, "loc": loc, "scale": scale}.items() if v is not None}
        super().__init__(var, cond_var, name, features_shape, **given)

    @property
    def params_keys(self):
        return ["df", "loc", "scale"]

    @property
    def distribution_torch_class(self):
        return td.StudentT

    @property
    def distribution_name(self):
        return "StudentT"

    @property
    def has_reparam(self):
        return True


class StudentNet(StudentT):
    def __init__(self):
        super().__init__(
            var=["z"], cond_var=["x"], name="q", df=torch.tensor(3.0), features_shape=[Z]
        )
        self.fc = nn.Linear(X, Z)

    def forward(self, x):
        return {"loc": self.fc(x), "scale": torch.ones(len(x), Z)}


def test_a_family_with_a_torch_class():
    p = StudentT(
        df=torch.tensor(5.0), loc=torch.tensor(1.0), scale=torch.tensor(2.0), features_shape=[Z]
    )
    wanted = td.StudentT(5.0, 1.0, 2.0)
    values = torch.randn(B, Z)
    torch.testing.assert_close(p.get_log_prob({"x": values}), wanted.log_prob(values).sum(-1))
    torch.testing.assert_close(p.get_entropy(), wanted.entropy() * torch.tensor([float(Z)]))
    torch.manual_seed(0)
    drawn = p.sample(batch_n=4000)["x"]
    assert (
        drawn.shape == (4000, Z)
        and abs(drawn.mean() - 1) < 0.1
        and abs(drawn.var() / wanted.variance - 1) < 0.3
    )
    assert "distribution_name=StudentT" in str(p)
    q = StudentNet()
    loss = Expectation(q, q.log_prob() - prior().log_prob()).mean()
    loss.eval({"x": x}).backward()
    assert q.fc.weight.grad.abs().sum() > 0
    assert (q * StudentT(var=["w"], df=5.0, loc=0.0, scale=1.0)).sample({"x": x})["w"].shape[0] in (
        1,
        B,
    )


# --------------------------------------------------------------------------------------------
# overridden methods


class Doubled(Normal):
    def get_log_prob(self, x_dict, sum_features=True, feature_dims=None, **kwargs):
        return 2 * super().get_log_prob(x_dict, sum_features, feature_dims)


class Far(Normal):
    """Samples are moved by 7."""

    def sample(
        self,
        x_dict=None,
        batch_n=None,
        sample_shape=(),
        return_all=True,
        reparam=False,
        sample_mean=False,
        **kwargs,
    ):
        found = dict(
            super().sample(x_dict, batch_n, sample_shape, return_all, reparam, sample_mean)
        )
        found[self.var[0]] = found[self.var[0]] * 0.01 + 7
        return found


class FarNet(Far):
    def __init__(self):
        super().__init__(var=["z"], cond_var=["x"], name="q")
        self.fc = nn.Linear(X, Z)

    def forward(self, x):
        return {"loc": self.fc(x), "scale": torch.ones(len(x), Z)}


@pytest.mark.parametrize("sample_shape", [(), [3]])
def test_sample_mean_reaches_an_overridden_sample(sample_shape):
    q, r, x = FarNet(), prior(Far), torch.randn(B, X)
    for p, mean in ((q, q.fc(x) * 0.01 + 7), (r, torch.full((B, Z), 7.0))):
        loss = Expectation(p, LogProb(prior()), sample_shape=sample_shape)
        value = loss.eval({"x": x}, sample_mean=True)
        torch.testing.assert_close(value, LogProb(prior()).eval({"z": mean})[: len(value)])
        torch.testing.assert_close(loss.eval({"x": x}, sample_mean=True), value)
        assert not torch.equal(loss.eval({"x": x}), value)


def test_an_overridden_get_log_prob_is_what_expressions_compute():
    p, plain, z = prior(Doubled), prior(), torch.randn(B, Z)
    wanted = 2 * plain.get_log_prob({"z": z})
    torch.testing.assert_close(p.get_log_prob({"z": z}), wanted)
    torch.testing.assert_close(LogProb(p).eval({"z": z}), wanted)
    torch.testing.assert_close(p.replace_var(z="w").log_prob().eval({"w": z}), wanted)
    other = Normal(var=["y"], loc=0.0, scale=1.0, features_shape=[1])
    y = torch.zeros(B, 1)
    torch.testing.assert_close(
        (p * other).get_log_prob({"z": z, "y": y}), wanted + other.get_log_prob(y)
    )
    raw = p.log_prob(sum_features=False).eval({"z": z})
    torch.testing.assert_close(raw.sum(-1), wanted)
    for twin in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        torch.testing.assert_close(LogProb(twin).eval({"z": z}), wanted)


def test_an_overridden_sample_is_what_expectations_draw():
    p, q = prior(Far), FarNet()
    near = lambda v: bool(((v - 7).abs() < 0.5).all())  # noqa: E731
    for given, dist, shape in ((p, {}, (1, Z)), (q, {"x": x}, (B, Z))):
        for count in ((), (5,), (5, 2)):
            found = Expectation(given, Parameter("z"), sample_shape=count or (1,)).eval(dist)
            assert found.shape == shape and near(found)
        assert near(given.sample(dist, sample_shape=[3])["z"]) and near(
            given.replace_var(z="w").sample(dist)["w"]
        )
    assert not Expectation(q, Parameter("z"), reparam=False).eval({"x": x}).requires_grad
    Expectation(q, Parameter("z")).eval({"x": x}).sum().backward()
    assert q.fc.weight.grad.abs().sum() > 0
    joint = Normal(var=["y"], cond_var=["z"], loc="z", scale=1e-3) * p
    assert near(joint.sample(batch_n=3)["y"]) and near(
        joint.marginalize_var("z").sample(batch_n=3, sample_shape=[2])["y"]
    )
    assert joint.sample(batch_n=3, sample_shape=[2])["y"].shape == (2, 3, Z)
    many = Expectation(p, Parameter("z"), sample_shape=[200])
    spread = many.eval({}).sub(7).abs().max()  # a mean of 200 different draws, not of one
    assert spread < 0.01 * 4 / 200**0.5
    for refused in (q.detach, q.frozen, q.replace_var(z="w").detach):
        with pytest.raises(PixyzError, match="overrides sample"):
            refused()


class Bounded(Normal):
    """Parameters that are changed after the network."""

    def get_params(self, params_dict=None, **kwargs):
        found = super().get_params(params_dict, **kwargs)
        return {"loc": found["loc"].clamp(-0.1, 0.1), "scale": torch.full_like(found["loc"], 0.5)}


class BoundedNet(Bounded, Inference):
    pass


def test_overridden_parameters_are_those_of_every_method():
    p, q, z = prior(Bounded), BoundedNet(), torch.randn(B, Z)
    for given, values, rows in ((p, {}, 1), (q, {"x": x}, B)):
        params = given.get_params(values)
        wanted = td.Normal(params["loc"], 0.5)
        assert params["loc"].abs().max() <= 0.1 and params["loc"].shape == (rows, Z)
        torch.testing.assert_close(
            given.get_log_prob({**values, "z": z}), wanted.log_prob(z).sum(-1)
        )
        torch.testing.assert_close(
            LogProb(given).eval({**values, "z": z}), wanted.log_prob(z).sum(-1)
        )
        torch.testing.assert_close(given.sample_mean(values), params["loc"])
        torch.testing.assert_close(given.get_entropy(values), wanted.entropy().sum(-1))
        found = KullbackLeibler(given, prior()).eval(values)
        torch.testing.assert_close(found, td.kl_divergence(wanted, td.Normal(0.0, 1.0)).sum(-1))
        drawn = Expectation(given, Parameter("z"), sample_shape=[2000]).eval(values)
        torch.testing.assert_close(drawn, params["loc"], atol=0.08, rtol=0)
    assert p.sample(batch_n=5)["z"].shape == (5, Z) and p.sample(batch_n=5)["z"].std() < 1
    assert not LogProb(q.detach()).eval({"x": x, "z": z}).requires_grad
    with pytest.raises(PixyzError, match="overrides get_params"):
        q.frozen()


def test_an_overridden_sample_in_a_time_loop():
    step = Expectation(
        Far(var=["h"], cond_var=["h_prev"], loc="h_prev", scale=1e-3, name="p"), Parameter("h")
    )
    loss = IterativeLoss(step, max_iter=3, update_value={"h": "h_prev"})
    found = loss.eval({"h_prev": torch.zeros(B, 2)})
    torch.testing.assert_close(found, torch.full((B, 2), 7 + 7.07 + 7.0707), atol=0.01, rtol=0)
    wide = Far(var=["h"], cond_var=["h_prev"], loc="h_prev", scale=100.0, name="p")
    gap = (Expectation(wide, Parameter("h")) - Expectation(wide, Parameter("h"))).abs()
    path = IterativeLoss(gap, max_iter=3, update_value={"h": "h_prev"}).eval(
        {"h_prev": torch.zeros(B, 2)}
    )
    assert path.abs().max() == 0  # one path: the carried variable is drawn once in a step
    assert gap.eval({"h_prev": torch.zeros(B, 2)}).min() > 0


def test_overridden_components_of_a_mixture():
    weights = Categorical(var=["k"], probs=torch.tensor([0.3, 0.7]), name="prior")
    z = torch.randn(B, Z)
    doubled = MixtureModel([prior(Doubled), prior(Doubled)], weights)
    torch.testing.assert_close(doubled.get_log_prob({"z": z}), 2 * prior().get_log_prob({"z": z}))
    far = MixtureModel([prior(Far), FarNet().replace_var(x="u")], weights)
    drawn = far.sample({"u": x}, sample_shape=[3])["z"]
    assert drawn.shape == (3, B, Z) and ((drawn - 7).abs() < 0.5).all()


class Whole(Distribution):
    """A distribution of the user's that defines both methods and no parameters."""

    def __init__(self):
        super().__init__(var=["x"], cond_var=["z"], name="p")
        self.fc = nn.Linear(Z, X)

    def sample(
        self,
        x_dict=None,
        batch_n=None,
        sample_shape=(),
        return_all=True,
        reparam=False,
        sample_mean=False,
        **kwargs,
    ):
        drawn = {"x": self.fc(x_dict["z"]) + torch.randn(len(x_dict["z"]), X)}
        return {**x_dict, **drawn} if return_all else drawn

    def get_log_prob(self, x_dict, sum_features=True, feature_dims=None, **kwargs):
        return -0.5 * ((x_dict["x"] - self.fc(x_dict["z"])) ** 2).sum(-1)


def test_a_distribution_of_two_methods_alone():
    p, z = Whole(), torch.randn(B, Z)
    wanted = -0.5 * ((x - p.fc(z)) ** 2).sum(-1)
    torch.testing.assert_close(p.log_prob().eval({"x": x, "z": z}), wanted)
    joint = p * prior()
    torch.testing.assert_close(
        joint.get_log_prob({"x": x, "z": z}), wanted + prior().get_log_prob({"z": z})
    )
    assert joint.sample(batch_n=3)["x"].shape == (3, X) and "p(x,z) = p(x|z)p_{prior}(z)" in str(
        joint
    )
    loss = (KullbackLeibler(Inference(), prior()) - Expectation(Inference(), p.log_prob())).mean()
    Model(loss, distributions=[p]).train({"x": x})


# --------------------------------------------------------------------------------------------
# losses


class Reconstruction(Loss):
    def __init__(self, p, q):
        super().__init__()
        self.p, self.q = p, q
        self._input_var = ["x"]

    @property
    def _symbol(self):
        return sympy.Symbol(f"R[{self.p.prob_text}]")

    def forward(self, x_dict, **kwargs):
        drawn = self.q.sample(x_dict, reparam=True)
        return self.p.get_log_prob(drawn), drawn


class Squared(LossSelfOperator):
    @property
    def _symbol(self):
        return sympy.Symbol(f"({self.loss1.loss_text})^2")

    def forward(self, x_dict, **kwargs):
        value, found = self.loss1(x_dict, **kwargs)
        return value**2, found


class Power(LossOperator):
    @property
    def _symbol(self):
        return sympy.Symbol(f"{self.loss1.loss_text}^{{{self.loss2.loss_text}}}")

    def forward(self, x_dict, **kwargs):
        a, found = self.loss1(x_dict, **kwargs)
        b, more = self.loss2(x_dict, **kwargs)
        return a**b, {**found, **more}


class Gap(Divergence):
    @property
    def _symbol(self):
        return sympy.Symbol("G")

    def forward(self, x_dict, **kwargs):
        return (self.p.sample(x_dict, reparam=True)["z"] ** 2).mean(), {}


def test_own_losses():
    p, q = Generator(), Inference()
    loss = (-Reconstruction(p, q) + KullbackLeibler(q, prior())).mean()
    assert loss.input_var == ["x"] and "R[p(x|z)]" in str(loss)
    loss.eval({"x": x}).backward()
    assert q.fc1.weight.grad.abs().sum() > 0 and p.fc.weight.grad.abs().sum() > 0
    assert str(Gap(q, prior())) == "G" and Gap(q, prior()).eval({"x": x}).ndim == 0


def test_own_operators():
    kl = KullbackLeibler(Inference(), prior())
    wanted = kl.eval({"x": x})
    squared, power = Squared(kl), Power(kl, Parameter("n"))
    assert squared.input_var == ["x"] and power.input_var == ["x", "n"]
    torch.testing.assert_close(squared.eval({"x": x}), wanted**2)
    torch.testing.assert_close((1 + squared).mean().eval({"x": x}), 1 + (wanted**2).mean())
    torch.testing.assert_close(power.eval({"x": x, "n": 3}), wanted**3)
    assert str(squared).endswith("^2") and str(power).endswith("^{n}")


def test_a_loss_of_numbers_is_a_tensor():
    for loss, wanted in ((ValueLoss(2), 2.0), (ValueLoss(2) - 4, -2.0), (Parameter("a") / 4, 0.25)):
        for _ in range(2):
            value = loss.eval({"a": 1.0})
            assert isinstance(value, Tensor) and value.item() == wanted


class Discriminator(Deterministic):
    def __init__(self):
        super().__init__(["t"], ["x"], name="d")
        self.fc = nn.Linear(X, 1)

    def forward(self, x):
        return {"t": torch.sigmoid(self.fc(x))}


class LeastSquares(AdversarialJensenShannon):
    """LSGAN: both objectives overridden."""

    def d_loss(self, y_p, y_q, batch_n):
        assert batch_n == B
        return ((y_p - 1) ** 2).mean() + (y_q**2).mean()

    def g_loss(self, y_p, y_q, batch_n):
        return ((y_q - 1) ** 2).mean()


def test_overridden_objectives_of_an_adversarial_loss():
    fake = (Generator() * prior()).marginalize_var("z")
    d = Discriminator()
    loss = LeastSquares(
        EmpiricalDistribution(["x"]), fake, d, optimizer=optim.SGD, optimizer_params={"lr": 0.1}
    )
    before = d.fc.weight.clone()
    torch.manual_seed(0)
    found = loss.loss_train({"x": x})
    assert not torch.equal(before, d.fc.weight)
    with torch.no_grad():
        d.fc.weight.copy_(before)
    torch.manual_seed(0)
    value = loss.eval({"x": x}, discriminator=True)
    assert abs(found - value) < 0.05 and 0 < value < 2
    assert loss.mean().eval({"x": x}).requires_grad
    plain = AdversarialJensenShannon(EmpiricalDistribution(["x"]), fake, d)
    torch.manual_seed(0)
    wanted = plain.eval({"x": x})
    torch.manual_seed(0)
    y_p, y_q = d(x=x)["t"], d(x=fake.sample(batch_n=B)["x"])["t"]
    torch.testing.assert_close(wanted, plain.g_loss(y_p, y_q, B))
    assert plain.d_loss(y_p, y_q, B) > 0


# --------------------------------------------------------------------------------------------
# graphs and files


def test_a_flag_in_the_place_of_batch_n_is_refused():
    with pytest.raises(PixyzError, match="return_all=False"):
        Discriminator().sample({"x": x[:1]}, False)  # 0.3.3's place of return_all
    assert set(Discriminator().sample({"x": x}, return_all=False)) == {"t"}


def test_a_renamed_marginal_is_written_out():
    first = Normal(var=["x"], loc=torch.tensor([0.0]), scale=torch.tensor([1.0]))
    second = Normal(var=["z"], cond_var=["y"], loc="y", scale=torch.tensor([1.0]))
    third = Normal(var=["y"], loc=torch.tensor([0.0]), scale=torch.tensor([1.0]))
    marginal = (first * second * third).marginalize_var(["y"])
    seen = marginal.replace_var(z="w", x="a")
    assert seen.prob_joint_factorized_and_text == r"p(a,w) = \int p(a)p(w|y)p(y)dy"
    assert "p(w|y) -> p(z|y):" in str(seen) and set(seen.sample()) == {"a", "w"}
    clash = marginal.replace_var(z="y")  # the bound y is another variable
    assert clash.prob_joint_factorized_and_text == "p(x,y)" and set(clash.sample()) == {"x", "y"}


def test_save_and_load_as_before(tmp_path: Path):
    p, q = Generator(), Inference()
    loss = (KullbackLeibler(q, prior()) - Expectation(q, p.log_prob())).mean()
    model = Model(
        loss=loss, distributions=[p, q], optimizer=optim.Adam, optimizer_params={"lr": 1e-3}
    )
    model.train({"x": x})
    model.save(str(tmp_path / "model.pt"))
    weight = p.fc.weight.clone()
    model.train({"x": x})
    assert not torch.equal(weight, p.fc.weight)
    model.load(str(tmp_path / "model.pt"))
    assert torch.equal(weight, p.fc.weight)
    torch.save(p.state_dict(), tmp_path / "p.pt")
    Generator().load_state_dict(torch.load(tmp_path / "p.pt"))
