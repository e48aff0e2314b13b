"""What pixyz 0.3.3 got wrong about losses and models, right: tests of the listed faults, by number.

They are written with 0.3.3's own names; ``benchmarks/faults_033.py`` runs them there, and each
fails.
"""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pixyz.utils
from pixyz.distributions import Bernoulli, Deterministic, Normal
from pixyz.losses import (
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
from pixyz.models import VAE, Model

Z = 3


class Encoder(Normal):
    def __init__(self, name: str = "q", cond: str = "x") -> None:
        super().__init__(var=["z"], cond_var=[cond], name=name)
        self.net = nn.Linear(4, Z)

    def forward(self, **x: Tensor) -> dict[str, Tensor]:
        return {"loc": self.net(next(iter(x.values()))), "scale": torch.ones(())}


class Decoder(Bernoulli):
    def __init__(self) -> None:
        super().__init__(var=["x"], cond_var=["z"])
        self.net = nn.Linear(Z, 4)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"probs": torch.sigmoid(self.net(z))}


class Judge(Deterministic):
    def __init__(self, var: str = "z", features: int = Z) -> None:
        super().__init__(var=["t"], cond_var=[var], name="d")
        self.net = nn.Sequential(nn.Linear(features, 1), nn.Sigmoid())

    def forward(self, **x: Tensor) -> dict[str, Tensor]:
        return {"t": self.net(next(iter(x.values())))}


class Shuffled(Deterministic):
    """Draws of an encoder, each feature shuffled over the batch:
    FactorVAE's product of marginals.
    """

    def __init__(self, q: Encoder) -> None:
        super().__init__(var=["z"], cond_var=["x_other"], name="q_{shuffle}")
        self.q = q

    def forward(self, x_other: Tensor) -> dict[str, Tensor]:
        z = self.q.sample({"x": x_other})["z"]
        return {"z": torch.stack([c[torch.randperm(len(c))] for c in z.unbind(-1)], -1)}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def prior(var: str = "z") -> Normal:
    return Normal(
        loc=torch.zeros(Z), scale=torch.ones(Z), var=[var], features_shape=[Z], name="p_{prior}"
    )


x = torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
ADVERSARIAL = [AdversarialJensenShannon, AdversarialKullbackLeibler, AdversarialWassersteinDistance]


def test_b2_train_twice_on_one_tensor() -> None:
    q, p = Encoder(), Decoder()
    loss = (KullbackLeibler(q, prior()) - Expectation(q, LogProb(p))).mean()
    model = Model(loss, distributions=[q, p], optimizer_params={"lr": 0.1})
    data = {"x": x.clone()}
    assert len({float(model.train(data)) for _ in range(3)}) == 3


def test_b2_a_loss_follows_changes_of_its_input_in_place() -> None:
    kl, data = KullbackLeibler(Encoder(), prior()).mean(), x.clone()
    before = kl.eval({"x": data})
    data.mul_(5)
    assert not torch.equal(before, kl.eval({"x": data}))


def test_b3_reinforce_has_the_gradient_of_the_expectation_by_default() -> None:
    """d/d(loc, scale) E[x^2] = (2 loc, 2 scale);
    0.3.3 adds the pathwise gradient to the score's.
    """

    class Rows(Normal):
        def __init__(self) -> None:
            super().__init__(var=["x"], name="p")
            self.loc, self.scale = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(1.0))

        def forward(self) -> dict[str, Tensor]:
            return {"loc": self.loc.expand(200_000), "scale": self.scale.expand(200_000)}

    p, square = Rows(), Parameter("x") * Parameter("x")
    grads = torch.autograd.grad(REINFORCE(p, square).mean().eval({}), [p.loc, p.scale])
    torch.testing.assert_close(torch.stack(grads), torch.tensor([1.0, 2.0]), rtol=0, atol=0.1)


@pytest.mark.parametrize("kernel", ["gaussian", "inv-multiquadratic"])
def test_b4_mmd_of_equal_distributions_is_near_zero(kernel: str) -> None:
    p, q = (
        Normal(var=["z"], cond_var=[v], loc=v, scale=torch.ones(Z), name=n) for n, v in ("pu", "qv")
    )
    zeros = {v: torch.zeros(500, Z) for v in "uv"}
    assert MMD(p, q, kernel=kernel, sigma_sqr=1.0).eval(zeros).abs() < 0.02  # 0.3.3: thousands


@pytest.mark.parametrize("kernel", ["gaussian", "inv-multiquadratic"])
def test_b4_mmd_has_gradients(kernel: str) -> None:
    q = Encoder()
    grad = torch.autograd.grad(MMD(q, Encoder("p"), kernel=kernel).eval({"x": x}), [q.net.weight])[
        0
    ]
    assert grad.abs().sum() > 0


@pytest.mark.parametrize("loss_class", ADVERSARIAL)
def test_b13_adversarial_losses_train_a_network_that_draws(loss_class: Any) -> None:
    q, d = Encoder(), Judge()
    model = Model(
        loss_class(q, Shuffled(q), discriminator=d), distributions=[q], optimizer_params={"lr": 0.1}
    )
    before = q.net.weight.clone()
    model.train({"x": x, "x_other": x.flip(0)})
    assert q.net.weight.grad is not None and q.net.weight.grad.abs().sum() > 0
    assert not torch.equal(before, q.net.weight)


@pytest.mark.parametrize("loss_class", ADVERSARIAL)
def test_b13_adversarial_losses_in_a_sum_with_an_expectation(loss_class: Any) -> None:
    """The adversarial term has a gradient of its own beside that of the expectation."""
    q, other = Encoder(), Encoder("q_2")
    total = Expectation(other, LogProb(prior())).mean() + loss_class(
        q, Shuffled(q), discriminator=Judge()
    )
    value = total.mean().eval({"x": x, "x_other": x.flip(0)})
    grads = torch.autograd.grad(value, [q.net.weight, other.net.weight], allow_unused=True)
    assert all(g is not None and g.abs().sum() > 0 for g in grads)


@pytest.mark.parametrize("loss_class", [MMD, WassersteinDistance])
def test_b13_mmd_and_wasserstein_train_an_encoder(loss_class: Any) -> None:
    q, p = Encoder(), Normal(var=["z"], cond_var=["zero"], loc="zero", scale=torch.ones(Z))
    nn.init.constant_(q.net.bias, 2.0)
    model = Model(loss_class(q, p).mean(), distributions=[q], optimizer_params={"lr": 0.1})
    for _ in range(60):
        model.train({"x": x, "zero": torch.zeros(6, Z)})
    assert q.get_params({"x": x})["loc"].norm(dim=-1).mean() < 1.2  # it was above 3


@pytest.mark.parametrize("method", ["loss_train", "loss_test"])
def test_b14_what_is_passed_to_the_training_step_arrives(method: str) -> None:
    """``sample_mean=True`` makes two normals of equal means indistinguishable, as it does for
    ``eval``.
    """
    p, q = (
        Normal(var=["z"], cond_var=["m"], loc="m", scale=torch.full((Z,), s), name=n)
        for n, s in (("p", 9.0), ("q", 0.1))
    )
    d = Judge()
    with torch.no_grad():
        d.net[0].weight.fill_(3.0)
        d.net[0].bias.zero_()
    loss = AdversarialKullbackLeibler(p, q, discriminator=d)
    found = getattr(loss, method)({"m": torch.zeros(50, Z)}, sample_mean=True)
    torch.testing.assert_close(found.detach(), torch.full_like(found, 2 * math.log(2.0)).detach())


def test_b15_kl_along_a_dimension() -> None:
    loc = torch.randn(2, Z)
    p = Normal(var=["z"], loc=loc, scale=torch.ones(2, Z), name="p")
    q = Normal(var=["z"], loc=torch.zeros(2, Z), scale=torch.ones(2, Z), name="q")
    whole = KullbackLeibler(p, q, dim=1).eval({})
    assert whole.shape == (1, Z)
    torch.testing.assert_close(whole, 0.5 * loc.square().sum(0, keepdim=True))
    with pytest.raises(ValueError, match="batch"):  # 0.3.3: silently sums everything
        KullbackLeibler(p, q, dim=0).eval({})


def test_b15_kl_of_different_variables() -> None:
    with pytest.raises(ValueError, match="different variables"):
        KullbackLeibler(prior(), prior("w"))


def test_b21_a_mask_in_the_dict() -> None:
    """As in the paper's Figure 9; 0.3.3 ignores it there."""
    series, mask = torch.randn(5, 3, Z), torch.ones(5, 3)
    mask[3:] = 0
    loss = IterativeLoss(LogProb(prior("x")), series_var=["x"])
    short = loss.eval({"x": series[:3]})
    torch.testing.assert_close(loss.eval({"x": series, "mask": mask}), short)


def test_b21_other_arguments_reach_the_step() -> None:
    """A weight that is given by its name, as to any other loss."""
    loss = IterativeLoss(Parameter("beta") * LogProb(prior("x")), series_var=["x"])
    series = torch.randn(4, 3, Z)
    found = [loss.eval({"x": series, "beta": b}) for b in (1.0, 2.0)]
    torch.testing.assert_close(found[1], 2 * found[0])
    torch.testing.assert_close(loss.eval({"x": series}, beta=2.0), found[1])


def test_b22_carried_values_are_those_of_the_step_before() -> None:
    """``new -> near -> far`` is a shift register, whatever the variables are called and however
    they are ordered.
    """

    class Count(Deterministic):
        def __init__(self, new: str, near: str, far: str) -> None:
            super().__init__(var=[new], cond_var=[near, far])
            self.order = new, near, far

        def forward(self, **given: Tensor) -> dict[str, Tensor]:
            new, near, far = self.order
            return {new: given[near] + 10 * given[far]}

    values = []
    for new, near, far in itertools.permutations("abc"):
        for update in itertools.permutations({new: near, near: far}.items()):
            loss = IterativeLoss(
                Parameter(new).expectation(Count(new, near, far)),
                max_iter=3,
                update_value=dict(update),
            )
            for start in (
                {near: torch.ones(1), far: torch.zeros(1)},
                {far: torch.zeros(1), near: torch.ones(1)},
            ):
                values.append(float(loss.eval(start)))
    assert set(values) == {1 + 11 + 21.0}


def test_b22_names_are_replaced_at_once() -> None:
    """Whatever the order of the same content."""
    found = [
        pixyz.utils.replace_dict_keys(d, {"z": "z_q"})
        for d in ({"z": 2, "z_q": 3}, {"z_q": 3, "z": 2})
    ]
    assert found == [{"z_q": 2}] * 2


def test_b22_a_step_s_loss_is_not_changed_in_place() -> None:
    """A mask multiplies a step's loss; the tensor that the step returned stays as it was."""
    series = torch.ones(2, 2)
    found = IterativeLoss(Parameter("w"), series_var=["w"]).eval(
        {"w": series}, mask=torch.zeros(2, 2)
    )
    assert not found.any() and torch.equal(series, torch.ones(2, 2))


def test_b23_a_conditioning_variable_with_a_long_name() -> None:
    p = Normal(var=["z"], cond_var=["xx"], loc="xx", scale=torch.ones(Z), name="p")
    q = Normal(var=["z"], cond_var=["yy"], loc="yy", scale=torch.ones(Z), name="q")
    for loss in (MMD(p, q), WassersteinDistance(p, q)):
        assert torch.isfinite(loss.eval({"xx": torch.randn(5, Z), "yy": torch.randn(5, Z)})).all()


def test_b25_a_vae_without_regularizer_prints() -> None:
    model = VAE(Encoder(), Decoder())
    assert r"\mathbb{E}_{q(z|x)} \left[\log p(x|z) \right]" in str(model)
    assert model.train({"x": x}).ndim == 0 and r"\log p(x|z)" in pixyz.utils.print_latex(model).data
