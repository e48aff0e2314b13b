"""Laws of the losses that compare distributions by samples, and of objectives on several devices or
in mixed precision.
"""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim
from torch.distributions import Normal as TorchNormal
from torch.distributions import kl_divergence

from pixyz.distributions import Bernoulli, Deterministic, EmpiricalDistribution, Normal
from pixyz.expression import Loss
from pixyz.losses import (
    ELBO,
    IWAE,
    MMD,
    REINFORCE,
    AdversarialJensenShannon,
    AdversarialKullbackLeibler,
    AdversarialWassersteinDistance,
    DataParalleledLoss,
    Expectation,
    IterativeLoss,
    KullbackLeibler,
    LogProb,
    Parameter,
    WassersteinDistance,
)
from pixyz.losses.mmd import (
    gaussian_rbf_kernel,
    inverse_multiquadratic_rbf_kernel,
    pairwise_distance_matrix,
)
from pixyz.models import GAN, Model
from pixyz.types import PixyzError


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def normal(loc: float, scale: float = 1.0, features: int = 1, name: str = "p") -> Normal:
    return Normal("z", loc=loc, scale=scale, features_shape=[features], name=name)


def repeated(loss: Loss, times: int, **kwargs: Any) -> tuple[float, float]:
    """Mean and standard error."""
    values = torch.stack([loss.eval(**kwargs) for _ in range(times)])
    return float(values.mean()), float(values.std() / times**0.5)


# ---------------------------------------------------------------------------------------------- MMD


def closed_mmd(m1: float, s1: float, m2: float, s2: float, sigma_sqr: float, d: int) -> float:
    """E k(x, y) of independent normals is a normal integral: (1 + 2v/s)^(-d/2) exp(-d m^2 / (s +
    2v)).
    """

    def mean_kernel(m: float, v: float) -> float:
        v, m = torch.tensor(v, dtype=torch.float64), torch.tensor(m, dtype=torch.float64)
        return float(
            (1 + 2 * v / sigma_sqr) ** (-d / 2) * torch.exp(-d * m**2 / (sigma_sqr + 2 * v))
        )

    return (
        mean_kernel(0, 2 * s1**2)
        + mean_kernel(0, 2 * s2**2)
        - 2 * mean_kernel(m1 - m2, s1**2 + s2**2)
    )


@pytest.mark.parametrize(
    ("m", "s", "sigma_sqr", "d"), [(0.0, 1.0, 2.0, 1), (1.0, 1.0, 2.0, 2), (0.5, 2.0, 5.0, 3)]
)
def test_mmd_is_unbiased(m: float, s: float, sigma_sqr: float, d: int) -> None:
    loss = MMD(normal(0.0, 1.0, d), normal(m, s, d, "q"), sigma_sqr=sigma_sqr)
    mean, error = repeated(loss, 400, batch_n=20)
    assert abs(mean - closed_mmd(0.0, 1.0, m, s, sigma_sqr, d)) < 4 * error
    assert error < 0.02


@pytest.mark.parametrize("kernel", [gaussian_rbf_kernel, inverse_multiquadratic_rbf_kernel])
def test_mmd_is_the_mean_over_pairs(kernel: Callable[..., Tensor]) -> None:
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    p, q = EmpiricalDistribution("z"), normal(0.0, 1.0, 3)
    loss = MMD(p, q, kernel=kernel, sigma_sqr=1.5)

    def k(a: Tensor, b: Tensor) -> Tensor:
        square = (a - b).square().sum()
        return torch.exp(-square / 1.5) if kernel is gaussian_rbf_kernel else 1.5 / (square + 1.5)

    def pairs(a: Tensor, b: Tensor, same: bool) -> Tensor:
        return torch.stack(
            [k(a[i], b[j]) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        ).mean()

    expected = pairs(x, x, True) + pairs(y, y, True) - 2 * pairs(x, y, False)
    torch.testing.assert_close(loss.estimate(x, y), expected)
    # no digits are lost far from zero
    torch.testing.assert_close(loss.estimate(x + 1e3, y + 1e3), expected)
    torch.testing.assert_close(pairwise_distance_matrix(x, y), torch.cdist(x, y).square())


def test_the_kernels_of_0_3_3_by_name() -> None:
    torch.manual_seed(1)
    a = MMD(EmpiricalDistribution("z"), normal(0.0, 1.0, 2), "inv-multiquadratic").eval(
        {"z": torch.ones(6, 2)}
    )
    torch.manual_seed(1)
    b = MMD(
        EmpiricalDistribution("z"), normal(0.0, 1.0, 2), inverse_multiquadratic_rbf_kernel
    ).eval({"z": torch.ones(6, 2)})
    assert torch.equal(a, b)


def test_mmd_gradient_is_that_of_its_closed_form() -> None:
    m = nn.Parameter(torch.tensor([1.0]))
    loss = MMD(Normal("z", loc=m, scale=1.0, name="p"), normal(0.0, 1.0, 1, "q"))
    grads = torch.stack([torch.autograd.grad(loss.eval(batch_n=50), m)[0] for _ in range(200)])
    h = 1e-4
    true = (closed_mmd(1 + h, 1, 0, 1, 2.0, 1) - closed_mmd(1 - h, 1, 0, 1, 2.0, 1)) / (2 * h)
    assert abs(float(grads.mean()) - true) < 4 * float(grads.std()) / 200**0.5


def test_mmd_at_each_step_of_a_series() -> None:
    step = MMD(
        Normal("z", "x", loc="x", scale=1e-6, name="p"),
        Normal("z", "y", loc="y", scale=1e-6, name="q"),
    )
    x, y = torch.randn(3, 6, 2), torch.randn(3, 6, 2)
    each = [step.eval({"x": a, "y": b}) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(
        IterativeLoss(step, series_var=["x", "y"]).eval({"x": x, "y": y}),
        torch.stack(each).sum(),
        rtol=1e-4,
        atol=1e-4,
    )


# ----------------------------------------------------------------------------------------------
# Wasserstein


def test_wasserstein_of_points_is_their_distance() -> None:
    class Point(Deterministic):
        def __init__(self, name: str) -> None:
            super().__init__(var=["z"], cond_var=[name], name=name)

        def forward(self, **x: Tensor) -> dict[str, Tensor]:
            return {"z": next(iter(x.values()))}

    a, b = torch.randn(5, 3), torch.randn(5, 3)
    loss = WassersteinDistance(Point("a"), Point("b"))
    torch.testing.assert_close(loss.eval({"a": a, "b": b}), (a - b + 1e-6).norm(dim=-1))
    other = WassersteinDistance(Point("a"), Point("b"), metric=lambda u, v: (u - v).abs().sum(-1))
    torch.testing.assert_close(other.eval({"a": a, "b": b}), (a - b).abs().sum(-1))


def test_wasserstein_of_normals_is_the_mean_of_a_folded_normal() -> None:
    """|x - y| with x - y ~ N(m, 2): sqrt(4/pi) exp(-m^2/4) + m erf(m/2)."""
    m = torch.tensor(0.7)
    value = WassersteinDistance(normal(0.7), normal(0.0, name="q")).eval(batch_n=40_000)
    true = (4 / torch.pi) ** 0.5 * torch.exp(-(m**2) / 4) + m * torch.erf(m / 2)
    assert abs(value.mean() - true) < 4 * value.std() / 200
    assert true > 0.7  # above the distance itself, |m|


# ----------------------------------------------------------------------------------------------
# adversarial


class Quadratic(Deterministic):
    """The family that holds the optimal discriminator of two normals: logits quadratic in z."""

    def __init__(self, logits: bool) -> None:
        super().__init__(var=["t"], cond_var=["z"], name="d")
        self.net, self.logits = nn.Linear(2, 1), logits

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        t = self.net(torch.cat([z, z.square()], -1))
        return {"t": t if self.logits else t.sigmoid()}


@pytest.mark.parametrize("logits", [False, True])
def test_adversarial_kl_with_the_best_discriminator_is_the_kl(logits: bool) -> None:
    p, q, d = normal(0.6, 0.8), normal(0.0, 1.0, name="q"), Quadratic(logits)
    loss = AdversarialKullbackLeibler(p, q, d, optimizer_params={"lr": 0.03}, logits=logits)
    for _ in range(300):
        loss.loss_train(batch_n=2000)
    true = kl_divergence(TorchNormal(0.6, 0.8), TorchNormal(0.0, 1.0))
    assert abs(loss.eval(batch_n=50_000) - true) < 0.05


def test_adversarial_js_is_what_the_optimal_discriminator_gives() -> None:
    """At d* = p / (p + q) minus the critic's objective is 2 JS - 2 log 2, and the other generator's
    objective too.
    """
    p, q, d = normal(1.0), normal(0.0, name="q"), Quadratic(True)
    with torch.no_grad():
        d.net.weight.copy_(torch.tensor([[1.0, 0.0]]))  # log p - log q = z - 1/2
        d.net.bias.fill_(-0.5)
    loss = AdversarialJensenShannon(p, q, d, inverse_g_loss=False, logits=True)
    z = torch.linspace(-9, 10, 20_001, dtype=torch.float64)
    lp, lq = TorchNormal(1.0, 1.0).log_prob(z), TorchNormal(0.0, 1.0).log_prob(z)
    middle = torch.logaddexp(lp, lq) - torch.log(torch.tensor(2.0))
    js = 0.5 * torch.trapezoid(lp.exp() * (lp - middle) + lq.exp() * (lq - middle), z)
    true = 2 * js - 2 * torch.log(torch.tensor(2.0))
    assert abs(-loss.eval(batch_n=100_000, discriminator=True) - true) < 0.02
    assert abs(loss.eval(batch_n=100_000) - true) < 0.02
    assert abs(-loss.critic.eval(batch_n=100_000) - true) < 0.02
    gentle = AdversarialJensenShannon(p, q, d, logits=True).eval(batch_n=100_000)
    assert gentle > 0 and not torch.isclose(gentle, loss.eval(batch_n=100_000))


def test_adversarial_wasserstein_is_the_difference_of_means_and_clips() -> None:
    class Line(Deterministic):
        def __init__(self) -> None:
            super().__init__(var=["t"], cond_var=["z"], name="d")
            self.net = nn.Linear(1, 1)

        def forward(self, z: Tensor) -> dict[str, Tensor]:
            return {"t": self.net(z)}

    d = Line()
    loss = AdversarialWassersteinDistance(
        normal(1.0), normal(0.0, name="q"), d, clip_value=0.5, optimizer_params={"lr": 0.1}
    )
    for _ in range(30):
        loss.loss_train(batch_n=500)
        assert d.net.weight.abs() <= 0.5 and d.net.bias.abs() <= 0.5
    assert abs(loss.eval(batch_n=100_000) - 0.5) < 0.02  # slope 0.5 times a shift of 1
    assert abs(loss.eval(batch_n=100_000) + loss.loss_test(batch_n=100_000)) < 0.02


@pytest.mark.parametrize(
    "loss_class",
    [AdversarialJensenShannon, AdversarialKullbackLeibler, AdversarialWassersteinDistance],
)
def test_the_two_objectives_print_run_copy_and_ignore_a_flag_that_is_false(loss_class: Any) -> None:
    loss = loss_class(normal(1.0), EmpiricalDistribution("z"), Quadratic(False))
    data = {"z": torch.randn(7, 1)}
    assert str(loss).startswith("mean(") and r"\mathbb{E}_{p_{data}(z)}" in str(loss.critic)
    values = []
    for twin in (loss, copy.deepcopy(loss)):
        for kwargs in ({}, {"discriminator": False}, {"discriminator": True}):
            torch.manual_seed(2)
            values.append(float(twin.eval(data, **kwargs)))
    assert values[0] == values[1] != values[2] and values[:3] == values[3:]
    torch.manual_seed(2)
    assert float(loss.critic.eval(data)) == values[2] == float(loss.loss_test(data) * 0 + values[2])


# ----------------------------------------------------------------------------------------------
# REINFORCE, IWAE


def test_reinforce_of_bits_has_the_analytic_gradient_and_a_baseline_lowers_its_spread() -> None:
    """E[f(x)], x ~ Bernoulli(sigmoid(a)): d/da = sigma'(a) (f(1) - f(0))."""
    a = nn.Parameter(torch.tensor(0.4))
    p, reward = Bernoulli("x", logits=a), 3 * Parameter("x") + 5
    s = torch.sigmoid(torch.tensor(0.4))
    spreads = []
    for b in (0, 5 + 3 * float(s)):
        loss = REINFORCE(p, reward, b, sample_shape=[100]).mean()
        grads = torch.stack([torch.autograd.grad(loss.eval(), a)[0] for _ in range(300)])
        assert abs(grads.mean() - 3 * s * (1 - s)) < 4 * grads.std() / 300**0.5
        spreads.append(float(grads.std()))
    assert spreads[1] < spreads[0] / 3


def test_iwae_grows_from_the_elbo_to_the_likelihood() -> None:
    """x ~ N(z, 1), z ~ N(0, 1): log p(x) is N(0, 2) at x."""
    p = Normal("x", "z", loc="z", scale=1.0, features_shape=[1]) * normal(0.0)
    q = Normal("z", "x", loc="x", scale=0.9, name="q", features_shape=[1])
    x = torch.full((20_000, 1), 0.8)
    true = TorchNormal(0.0, 2.0**0.5).log_prob(torch.tensor(0.8))
    bounds = [IWAE(p, q, [k]).eval({"x": x[: 20_000 // k]}).mean() for k in (1, 10, 200)]
    torch.manual_seed(9)
    one = IWAE(p, q, 1).eval({"x": x})
    torch.manual_seed(9)
    torch.testing.assert_close(one, ELBO(p, q).eval({"x": x}))
    assert bounds[0] < bounds[1] - 0.05 < true and abs(bounds[2] - true) < 0.03


# ----------------------------------------------------------------------------------------------
# devices, processes, precision


def vae() -> tuple[nn.Module, nn.Module, Loss]:
    class Encoder(Normal):
        def __init__(self) -> None:
            super().__init__(var=["z"], cond_var=["x"], name="q")
            self.net = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"loc": self.net(x), "scale": torch.full((), 1e-6)}

    class Decoder(Bernoulli):
        def __init__(self) -> None:
            super().__init__(var=["x"], cond_var=["z"])
            self.net = nn.Linear(3, 4)

        def forward(self, z: Tensor) -> dict[str, Tensor]:
            return {"logits": self.net(z)}

    torch.manual_seed(0)
    q, p = Encoder(), Decoder()
    return q, p, KullbackLeibler(q, normal(0.0, 1.0, 3)) - Expectation(q, LogProb(p))


def test_parts_of_a_batch_on_copies_give_the_whole() -> None:
    q, p, loss = vae()
    x = torch.rand(7, 4).round()
    parallel = DataParalleledLoss(loss, device_ids=["cpu", "cpu", "cpu"])
    whole, parts = loss.eval({"x": x}), parallel.eval({"x": x})
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)
    weights = [*q.parameters(), *p.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(parallel.mean().eval({"x": x}), weights),
        torch.autograd.grad(whole.mean(), weights),
        rtol=1e-4,
        atol=1e-4,
    )
    model = Model(
        parallel.mean(), distributions=[q, p], optimizer=optim.SGD, optimizer_params={"lr": 0.5}
    )
    first = model.train({"x": x})
    assert model.train({"x": x}) < first  # the copies see the new weights
    assert parallel.loss_text == loss.loss_text and copy.deepcopy(parallel).eval(
        {"x": x}
    ).shape == (7,)
    with pytest.raises(PixyzError, match="sizes"):
        parallel.eval({"x": x, "y": x[:2]})


PROCESS = """
import os, sys, time, torch, torch.distributed as dist
from torch import nn
from pixyz.distributions import Normal
from pixyz.losses import DataParalleledLoss
from pixyz.models import Model
rank, file = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + file, rank=rank, world_size=2)
class P(Normal):
    def __init__(self):
        super().__init__(var="y", cond_var="x")
        self.net = nn.Linear(2, 1)
        nn.init.constant_(self.net.weight, 0.1); nn.init.zeros_(self.net.bias)
    def forward(self, x):
        return {"loc": self.net(x), "scale": torch.ones(())}
p = P()
loss = DataParalleledLoss(-p.log_prob(), distributed=True).mean()
model = Model(loss, distributions=[p], optimizer=torch.optim.SGD, optimizer_params={"lr": 0.1})
data = torch.arange(16.0).reshape(8, 2) / 8
for _ in range(3):
    model.train({"x": data[rank::2], "y": data[rank::2].sum(-1, keepdim=True)})
print(p.net.weight.flatten().tolist() + p.net.bias.tolist(), flush=True)
dist.barrier()
time.sleep(0.5)  # the other process may still read from this one
os._exit(0)  # gloo's threads may abort the interpreter while it ends
"""


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS]
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "meet")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=root,
        )
        for rank in range(2)
    ]
    outs = []
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        outs.append(torch.tensor(eval(out)))
    assert torch.equal(*outs)

    class P(Normal):
        def __init__(self) -> None:
            super().__init__(var="y", cond_var="x")
            self.net = nn.Linear(2, 1)
            nn.init.constant_(self.net.weight, 0.1)
            nn.init.zeros_(self.net.bias)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"loc": self.net(x), "scale": torch.ones(())}

    p, data = P(), torch.arange(16.0).reshape(8, 2) / 8
    model = Model(
        -p.log_prob().mean(), distributions=[p], optimizer=optim.SGD, optimizer_params={"lr": 0.1}
    )
    for _ in range(3):
        model.train({"x": data, "y": data.sum(-1, keepdim=True)})
    torch.testing.assert_close(outs[0], torch.cat([p.net.weight.flatten(), p.net.bias]).detach())


def test_mixed_precision_on_the_cpu() -> None:
    q, p, loss = vae()
    seen = []
    p.net.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    x = torch.rand(7, 4).round()
    model = Model(loss.mean(), distributions=[q, p], optimizer_params={"lr": 0.05}, amp=True)
    values = [float(model.train({"x": x})) for _ in range(30)]
    assert set(seen) == {torch.bfloat16} and model.scaler is None
    assert values[-1] < values[0] - 0.1
    assert all(
        w.dtype == torch.float32 == w.grad.dtype for w in model.parameters if w.grad is not None
    )
    critic = AdversarialKullbackLeibler(normal(0.0), normal(1.0, name="q"), Quadratic(False))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(critic.loss_train(batch_n=8))


def test_a_schedule_goes_on_after_loading(tmp_path: Path) -> None:
    def build() -> Model:
        q, p, loss = vae()
        return Model(
            loss.mean(),
            distributions=[q, p],
            optimizer_params={"lr": 0.1},
            scheduler=optim.lr_scheduler.StepLR,
            scheduler_params={"step_size": 2, "gamma": 0.5},
        )

    x, model = torch.rand(7, 4).round(), build()
    rates = []
    for _ in range(3):
        model.train({"x": x})
        rates.append(model.optimizer.param_groups[0]["lr"])
    assert rates == [0.1, 0.05, 0.05]
    model.save(tmp_path)
    other = build()
    other.load(tmp_path)
    other.train({"x": x})
    assert other.optimizer.param_groups[0]["lr"] == 0.025
    plain = Model(vae()[2].mean(), distributions=list(model.distributions))
    plain.save(tmp_path / "plain")
    with pytest.raises(PixyzError, match=r"training\.json"):
        build().load(tmp_path / "plain")


def test_weights_that_0_3_3_saved(tmp_path: Path) -> None:
    q, p, loss = vae()
    model = Model(loss.mean(), distributions=[q, p])
    torch.save({"distributions": model.distributions.state_dict()}, tmp_path / "model.pth")
    before = q.net.weight.clone()
    nn.init.zeros_(q.net.weight)
    model.load(tmp_path / "model.pth")
    assert torch.equal(before, q.net.weight)
    torch.save({"weights": {}}, tmp_path / "other.pth")
    with pytest.raises(PixyzError, match="distributions"):
        model.load(tmp_path / "other.pth")


def test_a_generator_learns_from_logits_where_the_discriminator_is_sure() -> None:
    class Sure(Deterministic):
        def __init__(self, logits: bool) -> None:
            super().__init__("t", "x", name="d")
            self.net, self.logits = nn.Linear(1, 1), logits

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            t = self.net(x) - 200.0
            return {"t": t if self.logits else torch.sigmoid(t)}

    p = Normal("x", loc=nn.Parameter(torch.zeros(1)), scale=1.0, name="p")
    for logits in (True, False):
        model = GAN(p, Sure(logits), logits=logits)
        model.loss_cls.eval({"x": torch.ones(8, 1)}).backward()
        assert bool(p.loc.grad.abs().sum() > 0) == logits
        p.loc.grad = None
