"""Points of 0.3.3's design that are otherwise here, by their number in the list of faults and
limits (D4 to D15).
"""

import copy
import inspect
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pixyz.losses
import pixyz.models
import pixyz.utils
from pixyz.distributions import (
    Bernoulli,
    Categorical,
    Deterministic,
    EmpiricalDistribution,
    Laplace,
    Normal,
)
from pixyz.losses import (
    ELBO,
    MMD,
    REINFORCE,
    AdversarialJensenShannon,
    AdversarialKullbackLeibler,
    AdversarialWassersteinDistance,
    Expectation,
    KullbackLeibler,
    LogProb,
    Parameter,
    WassersteinDistance,
)
from pixyz.models import GAN, ML, VI, Model
from pixyz.types import PixyzError, ShapeError, VariableError

Z = D = 3


class Encoder(Normal):
    def __init__(self, name: str = "q", cond: str = "x") -> None:
        super().__init__(var=["z"], cond_var=[cond], name=name)
        self.net = nn.Linear(4, Z)
        self.calls = 0

    def forward(self, **x: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return {"loc": self.net(next(iter(x.values()))), "scale": torch.ones(())}


class Decoder(Bernoulli):
    def __init__(self) -> None:
        super().__init__(var=["x"], cond_var=["z"])
        self.net = nn.Linear(Z, 4)
        self.calls = 0

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return {"logits": self.net(z)}


class Judge(Deterministic):
    def __init__(self, var: str = "z", features: int = Z) -> None:
        super().__init__(var=["t"], cond_var=[var], name="d")
        self.net = nn.Sequential(nn.Linear(features, 1), nn.Sigmoid())

    def forward(self, **x: Tensor) -> dict[str, Tensor]:
        return {"t": self.net(next(iter(x.values())))}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def prior() -> Normal:
    return Normal(loc=0.0, scale=1.0, var=["z"], features_shape=[Z], name="p_{prior}")


x = torch.rand(6, 4, generator=torch.Generator().manual_seed(1))


def test_d4_nothing_outlives_a_call() -> None:
    import gc
    import weakref

    q, data = Encoder(), x.clone()
    loss = KullbackLeibler(q, prior()).mean()
    value = loss.eval({"x": data})
    alive = [weakref.ref(data), weakref.ref(value), weakref.ref(q)]
    del data, value, loss, q
    gc.collect()
    assert [ref() for ref in alive] == [None, None, None]


def test_d4_the_cache_functions_change_nothing() -> None:
    before = pixyz.utils.cache_maxsize()
    pixyz.utils.set_cache_maxsize(0)
    assert pixyz.utils.cache_maxsize() == 0
    pixyz.utils.set_cache_maxsize(before)

    class Cached(Encoder):
        @pixyz.utils.lru_cache_for_sample_dict()
        def get_params(self, x_dict: Any = None) -> dict[str, Tensor]:
            return super().get_params(x_dict)

    q, data = Cached(), x.clone()
    first = q.get_params({"x": data})["loc"]
    data.zero_()
    assert not torch.equal(first, q.get_params({"x": data})["loc"])
    q.net.bias.data.add_(1.0)
    torch.testing.assert_close(q.get_params({"x": data})["loc"], q.net.bias.expand(6, Z))


def test_d7_many_samples_are_one_evaluation() -> None:
    q, p = Encoder(), Decoder()
    for loss in (
        Expectation(q, LogProb(p), sample_shape=[50]),
        ELBO(p * prior(), q, [50]),
        REINFORCE(q, LogProb(p), 0, [50]),
    ):
        loss.eval({"x": x})  # the first call may find out what the networks return
        p.calls = q.calls = 0
        assert loss.eval({"x": x}).shape == (6,)
        assert (p.calls, q.calls) == (1, 1)


def test_d8_input_variables_are_an_ordered_list() -> None:
    loss = (
        ELBO(Decoder() * prior(), Encoder())
        + Parameter("b") * Parameter("a")
        + MMD(Encoder(), prior())
    )
    assert isinstance(loss.input_var, list)
    assert loss.input_var == copy.deepcopy(loss).input_var and set(loss.input_var) == {
        "x",
        "a",
        "b",
    }
    fixed = loss.constant_var({"a": torch.ones(())})
    assert isinstance(fixed.input_var, list) and set(fixed.input_var) == {"x", "b"}


def test_d11_no_default_is_mutable() -> None:
    for module in (pixyz.losses, pixyz.models, pixyz.utils):
        for name in module.__all__:
            target = getattr(module, name)
            for function in [target, *(vars(target).values() if inspect.isclass(target) else ())]:
                if not callable(function):
                    continue
                try:
                    parameters = inspect.signature(function).parameters.values()
                except (TypeError, ValueError):
                    continue
                for parameter in parameters:
                    assert not isinstance(parameter.default, (list, dict, set)), (
                        f"{name}: {parameter}"
                    )
    first = Normal()
    first._cond_var.append("y")
    assert Normal().cond_var == []


def test_d13_training_returns_a_number_without_its_graph_and_saves_the_optimiser(
    tmp_path: Path,
) -> None:
    model = ML(Decoder(), optimizer_params={"lr": 0.1})
    data = {"x": x.round(), "z": torch.randn(6, Z)}
    loss = model.train(data)
    assert loss.grad_fn is None and not loss.requires_grad
    model.save(tmp_path / "m")
    other = ML(Decoder(), optimizer_params={"lr": 7.0})
    other.load(tmp_path / "m")
    assert torch.equal(model.train(data), other.train(data)) and torch.equal(
        model.train(data), other.train(data)
    )


def test_d13_the_critic_and_its_optimiser_are_saved(tmp_path: Path) -> None:
    class Made(Deterministic):
        def __init__(self) -> None:
            super().__init__(var=["x"], cond_var=["z"], name="p")
            self.net = nn.Linear(Z, 4)

        def forward(self, z: Tensor) -> dict[str, Tensor]:
            return {"x": self.net(z)}

    def build() -> GAN:
        p = (Made() * prior()).marginalize_var("z")
        return GAN(p, Judge("x", 4), optimizer_params={"lr": 0.1}, d_optimizer_params={"lr": 0.1})

    gan = build()
    found = [gan.train({"x": x}) for _ in range(3)]
    assert all(len(pair) == 2 for pair in found)
    gan.save(tmp_path)
    other = build()
    other.load(tmp_path)
    results = []
    for model in (gan, other):
        torch.manual_seed(5)
        results.append(torch.stack([*model.train(x), *model.train(x), *model.test({"x": x})]))
    assert torch.equal(*results)


def test_d14_log_prob_compiles_without_a_break() -> None:
    p = Normal("x", loc=0.0, scale=1.0, features_shape=[3])
    compiled = torch.compile(lambda v: p.get_log_prob({"x": v}), backend="eager", fullgraph=True)
    p.get_log_prob({"x": torch.zeros(2, 3)})
    v = torch.randn(2, 3)
    torch.testing.assert_close(compiled(v), p.get_log_prob({"x": v}))
    assert pixyz.utils.sum_samples(torch.ones(2, 3, 4)).tolist() == [12.0, 12.0]


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="two or more"):
        MMD(prior(), prior()).eval(batch_n=1)
    with pytest.raises(VariableError, match="batch_n"):
        MMD(prior(), prior()).eval()
    with pytest.raises(PixyzError, match="kernel"):
        MMD(prior(), prior(), kernel="laplace")
    with pytest.raises(PixyzError, match="none of the variables"):
        AdversarialJensenShannon(EmpiricalDistribution("z"), prior(), Judge("w"))
    with pytest.raises(VariableError, match="different variables"):
        WassersteinDistance(prior(), EmpiricalDistribution("x"))
    with pytest.raises(PixyzError, match="no discriminator"):
        KullbackLeibler(prior(), prior()).mean().loss_train({})


def test_vi_trains() -> None:
    q, p = Encoder(), Decoder()
    model = VI(p * prior(), q, optimizer_params={"lr": 0.05})
    values = [float(model.train({"x": x.round()})) for _ in range(60)]
    assert sum(values[-10:]) < sum(values[:10]) - 2


class Net(Normal):
    def __init__(self, var=("x",), cond_var=("z",), name="p"):
        super().__init__(var=list(var), cond_var=list(cond_var), name=name)
        self.layer = nn.Linear(D, D)

    def forward(self, **given):
        loc = self.layer(sum(given.values()))
        return {"loc": loc, "scale": torch.ones_like(loc)}


def standard(var, name="p", loc=0.0, scale=1.0):
    return Normal(var=[var], name=name, loc=torch.full((D,), loc), scale=torch.full((D,), scale))


@pytest.mark.parametrize("kind", ["OrderedDict", "Parameter", "list"])
def test_d10_inputs_are_taken_by_what_they_are(kind):
    p, z = Net(), torch.ones(2, D)
    given = {
        "OrderedDict": OrderedDict(z=z),
        "Parameter": nn.Parameter(z),
        "list": [nn.Parameter(z)],
    }[kind]
    assert p.sample(given)["x"].shape == (2, D)


def test_d11_defaults_are_not_shared():
    first = Normal(loc=torch.zeros(1), scale=torch.ones(1))
    first._cond_var.append("oops")
    assert Normal(loc=torch.zeros(1), scale=torch.ones(1)).cond_var == []


def test_d12_one_variable_may_be_written_as_a_string():
    p = Laplace(var="x", loc=torch.zeros(1), scale=torch.ones(1))
    assert p.var == ["x"] and set(p.sample()) == {"x"}


def test_d15_logits_do_not_saturate():
    """Probabilities end at 1; logits do not."""
    far = torch.tensor([40.0])
    p = Bernoulli(var=["x"], cond_var=["l"], logits="l")
    torch.testing.assert_close(p.get_log_prob({"x": torch.zeros(1, 1), "l": far[None]}), -far)
    q = Categorical(var=["x"], cond_var=["l"], logits="l")
    l = torch.tensor([[0.0, 40.0]])
    torch.testing.assert_close(q.get_log_prob({"x": torch.tensor([[1.0, 0.0]]), "l": l}), -far)


def test_d12_several_variables_may_be_computed_at_once():
    class Pair(Deterministic):
        def __init__(self):
            super().__init__(var=["a", "b"], cond_var=["z"])

        def forward(self, z):
            return {"a": z, "b": 2 * z}

    drawn = (Pair() * standard("z")).sample(sample_shape=[4])
    torch.testing.assert_close(drawn["b"], 2 * drawn["a"])
    assert drawn["a"].shape == (4, 1, D)


@pytest.mark.parametrize(
    "loss_class",
    [AdversarialJensenShannon, AdversarialKullbackLeibler, AdversarialWassersteinDistance],
)
def test_critic_and_encoder_are_trained_apart(loss_class: Any) -> None:
    """FactorVAE's total correlation: an encoder against its own draws, shuffled."""

    class Shuffled(Deterministic):
        def __init__(self, q: Encoder) -> None:
            super().__init__(var=["z"], cond_var=["x_other"], name="q_{shuffle}")
            self.q = q

        def forward(self, x_other: Tensor) -> dict[str, Tensor]:
            z = self.q.sample({"x": x_other})["z"]
            return {"z": torch.stack([c[torch.randperm(len(c))] for c in z.unbind(-1)], -1)}

    q, d = Encoder(), Judge()
    adversarial = loss_class(q, Shuffled(q), discriminator=d)
    model = Model(adversarial, distributions=[q], optimizer_params={"lr": 0.1})
    before, data = q.net.weight.clone(), {"x": x, "x_other": x.flip(0)}
    model.train(data)
    assert q.net.weight.grad is not None and q.net.weight.grad.abs().sum() > 0
    assert not torch.equal(before, q.net.weight)
    weight, judge = q.net.weight.clone(), d.net[0].weight.clone()
    q.zero_grad()
    model.loss_cls.loss_train(data)
    assert torch.equal(weight, q.net.weight) and q.net.weight.grad is None
    assert not torch.equal(judge, d.net[0].weight)
    # in a sum with an expectation: 0.3.3 raises a TypeError once reparam is passed
    total = (Expectation(q, LogProb(prior())) + adversarial).mean()
    assert torch.autograd.grad(total.eval(data), [q.net.weight])[0].abs().sum() > 0
    assert total.loss_train(data).ndim == 0 and total.loss_test(data).ndim == 0


def test_variables_may_be_given_by_name_to_a_training_step() -> None:
    class Conditional(Judge):
        def __init__(self) -> None:
            Deterministic.__init__(self, var=["t"], cond_var=["z", "y"], name="d")
            self.net, self.seen = nn.Sequential(nn.Linear(Z, 1), nn.Sigmoid()), []

        def forward(self, z: Tensor, y: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
            self.seen.append(y)
            return {"t": self.net(z * y)}

    d, y = Conditional(), torch.full((6, 1), 2.0)
    loss = AdversarialKullbackLeibler(Encoder(), prior(), discriminator=d)
    loss.loss_train({"x": x}, y=y)
    assert len(d.seen) == 2 and all(torch.equal(s, y) for s in d.seen)


def test_reinforce_by_the_score_or_pathwise() -> None:
    """d/d(loc, scale) E[x^2] = (2 loc, 2 scale); 0.3.3 gives 0 or twice as much."""
    loc, scale = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(1.0))
    p, square = Normal("x", loc=loc, scale=scale), Parameter("x") * Parameter("x")
    for surrogate in (
        REINFORCE(p, square, b=1.25, sample_shape=[40_000]),
        REINFORCE(p, square, sample_shape=[40_000], reparam=True),
    ):
        grads = torch.autograd.grad(surrogate.mean().eval(), [loc, scale])
        torch.testing.assert_close(torch.stack(grads), torch.tensor([1.0, 2.0]), rtol=0, atol=0.12)


@pytest.mark.parametrize("count", [1, 5])
def test_means_in_the_place_of_draws(count: int) -> None:
    """``eval(sample_mean=True)``, as in 0.3.3, and draws again without it."""
    q, p = Encoder(), prior()
    loss = Expectation(q, LogProb(p), sample_shape=[count])
    wanted = p.get_log_prob({"z": q.get_params({"x": x})["loc"]})
    for _ in range(2):
        assert torch.equal(loss.eval({"x": x}, sample_mean=True), wanted)
        assert not torch.equal(loss.eval({"x": x}), loss.eval({"x": x}, sample_mean=False))
    value, drawn = Expectation(q, LogProb(p)).eval({"x": x}, return_dict=True, sample_mean=True)
    assert (
        torch.equal(value, wanted)
        and torch.equal(drawn["z"], q.sample_mean({"x": x}))
        and "sample_mean" not in drawn
    )
