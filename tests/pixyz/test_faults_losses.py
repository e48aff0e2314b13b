"""Faults of pixyz 0.3.3 in losses, models and utils: each test here fails there."""

import copy
import importlib
import inspect
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pixyz.losses
import pixyz.models
import pixyz.utils
from pixyz.distributions import Bernoulli, Deterministic, EmpiricalDistribution, Normal
from pixyz.losses import (
    ELBO,
    MMD,
    REINFORCE,
    AdversarialJensenShannon,
    AdversarialKullbackLeibler,
    AdversarialWassersteinDistance,
    Expectation,
    IterativeLoss,
    KullbackLeibler,
    LogProb,
    Parameter,
    WassersteinDistance,
)
from pixyz.models import GAN, ML, VAE, VI, Model
from pixyz.types import PixyzError, ShapeError, VariableError

Z = 3


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


def test_b2_train_twice_on_one_tensor_and_change_it_in_place() -> None:
    q, p = Encoder(), Decoder()
    loss = (KullbackLeibler(q, prior()) - Expectation(q, LogProb(p))).mean()
    model = Model(loss, distributions=[q, p], optimizer_params={"lr": 0.1})
    data = x.clone()
    values = [model.train({"x": data}) for _ in range(3)]  # 0.3.3: "backward a second time"
    kl = KullbackLeibler(q, prior()).mean()
    before = kl.eval({"x": data})
    data.mul_(5)
    assert len(set(map(float, values))) == 3 and not torch.equal(before, kl.eval({"x": data}))


def test_b3_reinforce_has_the_gradient_of_the_expectation_by_default() -> None:
    """d/d(loc, scale) E[x^2] = (2 loc, 2 scale); 0.3.3 gives 0 or twice as much."""
    loc, scale = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(1.0))
    p, square = Normal("x", loc=loc, scale=scale), Parameter("x") * Parameter("x")
    for surrogate in (
        REINFORCE(p, square, b=1.25, sample_shape=[40_000]), REINFORCE(p, square, sample_shape=[40_000], reparam=True)
    ):
        grads = torch.autograd.grad(surrogate.mean().eval(), [loc, scale])
        torch.testing.assert_close(torch.stack(grads), torch.tensor([1.0, 2.0]), rtol=0, atol=0.12)


def test_b4_mmd_of_equal_distributions_is_near_zero_and_has_gradients() -> None:
    q = Encoder()
    same = MMD(prior(), prior().replace_var(z="z")).eval(batch_n=500)
    assert same.abs() < 0.02  # 0.3.3: thousands
    torch.autograd.grad(MMD(q, prior()).eval({"x": x}), [q.net.weight])


@pytest.mark.parametrize("loss_class", [AdversarialJensenShannon, AdversarialKullbackLeibler, AdversarialWassersteinDistance])
def test_b13_adversarial_losses_train_a_network_that_draws(loss_class: Any) -> None:
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


def test_b13_mmd_and_wasserstein_train_an_encoder() -> None:
    for loss_class in (MMD, WassersteinDistance):
        q = Encoder()
        nn.init.constant_(q.net.bias, 2.0)
        model = Model(loss_class(q, prior()).mean(), distributions=[q], optimizer_params={"lr": 0.1})
        for _ in range(60):
            model.train({"x": x})
        assert q.get_params({"x": x})["loc"].norm(dim=-1).mean() < 1.2  # it was above 3


def test_b14_what_is_passed_to_loss_train_arrives() -> None:
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


def test_b15_kl_along_a_dimension_and_of_different_variables() -> None:
    p = Normal("z", loc=torch.randn(2, Z), scale=1.0, name="p")
    q = Normal("z", loc=0.0, scale=1.0, features_shape=[2, Z], name="q")
    whole = KullbackLeibler(p, q, dim=1).eval()
    assert whole.shape == (1, Z)
    torch.testing.assert_close(whole, 0.5 * p.loc.square().sum(1))
    with pytest.raises(PixyzError, match="batch"):  # 0.3.3: silently sums everything
        KullbackLeibler(p, q, dim=0).eval()
    with pytest.raises(VariableError, match="different variables"):
        KullbackLeibler(prior(), Normal("w", loc=0.0, scale=1.0, features_shape=[Z]))


def test_b19_a_flow_density_can_be_read_twice() -> None:
    flows, distributions = importlib.import_module("pixyz.flows"), importlib.import_module("pixyz.distributions")
    p = distributions.TransformedDistribution(
        prior=Normal("z", loc=0.0, scale=1.0, features_shape=[2]), flow=flows.PlanarFlow(2), var=["x"]
    )
    drawn = p.sample(batch_n=4)
    loss = LogProb(p).mean() + LogProb(p).mean()
    assert torch.equal(loss.eval(drawn), loss.eval(drawn))


def test_b21_a_mask_in_the_dict_or_as_an_argument() -> None:
    step = LogProb(Normal("x", loc=0.0, scale=1.0, features_shape=[2]))
    loss = IterativeLoss(step, series_var=["x"])
    series, mask = torch.randn(5, 3, 2), torch.ones(5, 3)
    mask[3:] = 0
    short = loss.eval({"x": series[:3]})
    torch.testing.assert_close(loss.eval({"x": series, "mask": mask}), short)
    torch.testing.assert_close(loss.eval({"x": series}, mask=mask), short)


def test_b21_other_arguments_reach_the_step() -> None:
    loss = IterativeLoss(Parameter("beta") * LogProb(Normal("x", loc=0.0, scale=1.0)), series_var=["x"])
    series = torch.randn(4, 3)
    torch.testing.assert_close(loss.eval({"x": series}, beta=2.0), 2 * loss.eval({"x": series}, beta=1.0))


def test_b22_carried_values_do_not_depend_on_the_order_of_a_dict() -> None:
    class Count(Deterministic):
        def __init__(self) -> None:
            super().__init__(var=["a"], cond_var=["b", "c"])

        def forward(self, b: Tensor, c: Tensor) -> dict[str, Tensor]:
            return {"a": b + 10 * c}

    values = []
    for update in itertools.permutations({"a": "b", "b": "c"}.items()):
        loss = IterativeLoss(Expectation(Count(), Parameter("a")), max_iter=3, update_value=dict(update))
        for start in ({"b": torch.ones(1), "c": torch.zeros(1)}, {"c": torch.zeros(1), "b": torch.ones(1)}):
            values.append(float(loss.eval(start)))
    assert set(values) == {1 + 11 + 21.0}
    swap = pixyz.utils.replace_dict_keys({"z": 2, "z_q": 3}, {"z": "z_q", "z_q": "z"})
    assert swap == {"z": 3, "z_q": 2}


def test_b23_a_conditioning_variable_with_a_long_name() -> None:
    p = Normal("z", "xx", loc="xx", scale=1.0, name="p")
    for loss in (MMD(p, prior()), WassersteinDistance(p, prior())):
        assert torch.isfinite(loss.eval({"xx": torch.randn(5, Z)})).all()


def test_b25_a_vae_without_regularizer_prints() -> None:
    model = VAE(Encoder(), Decoder())
    assert r"mean \left(- \mathbb{E}_{q(z|x)} \left[\log p(x|z) \right] \right)" in str(model)
    assert model.train({"x": x}).ndim == 0 and pixyz.utils.print_latex(model).data == model.loss_cls.loss_text


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
    for loss in (Expectation(q, LogProb(p), sample_shape=[50]), ELBO(p * prior(), q, [50]), REINFORCE(q, LogProb(p), 0, [50])):
        loss.eval({"x": x})  # the first call may find out what the networks return
        p.calls = q.calls = 0
        assert loss.eval({"x": x}).shape == (6,)
        assert (p.calls, q.calls) == (1, 1)


def test_d8_input_variables_are_an_ordered_list() -> None:
    loss = ELBO(Decoder() * prior(), Encoder()) + Parameter("b") * Parameter("a") + MMD(Encoder(), prior())
    assert isinstance(loss.input_var, list)
    assert loss.input_var == copy.deepcopy(loss).input_var and set(loss.input_var) == {"x", "a", "b"}
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
                    assert not isinstance(parameter.default, (list, dict, set)), f"{name}: {parameter}"
    first = Normal()
    first._cond_var.append("y")
    assert Normal().cond_var == []


def test_d13_training_returns_a_number_without_its_graph_and_saves_the_optimiser(tmp_path: Path) -> None:
    model = ML(Decoder(), optimizer_params={"lr": 0.1})
    data = {"x": x.round(), "z": torch.randn(6, Z)}
    loss = model.train(data)
    assert loss.grad_fn is None and not loss.requires_grad
    model.save(tmp_path / "m")
    other = ML(Decoder(), optimizer_params={"lr": 7.0})
    other.load(tmp_path / "m")
    assert torch.equal(model.train(data), other.train(data)) and torch.equal(model.train(data), other.train(data))


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


def test_several_samples_keep_their_batch():
    """B12: the sum over features must not swallow the batch behind a leading dimension of samples."""
    p = Normal("x", loc=torch.zeros(3), scale=torch.ones(3), features_shape=[3])
    x = p.sample(batch_n=4, sample_shape=(7,))
    found = p.get_log_prob(x, feature_dims=[-1])
    wanted = torch.distributions.Normal(0.0, 1.0).log_prob(x["x"]).sum(-1)
    assert found.shape == (7, 4)
    torch.testing.assert_close(found, wanted)
    assert pixyz.utils.sum_samples(x["x"], [-1]).shape == (7, 4)
