"""What is particular to one family: soft targets, mixed-in uniforms, edges, tails, temperatures."""

import math

import pytest
import torch
from law_parts import INF, B, D, K, box, draw, normal
from scipy import stats
from torch import Tensor
from torch import distributions as td
from torch.nn import functional as F

from pixyz import distributions as pd
from pixyz.distributions import Bernoulli, BoundedNormal, Categorical, GroupedOneHot, TanhNormal
from pixyz.losses import E, IterativeLoss, Parameter


def test_bernoulli_takes_soft_targets_and_sure_events() -> None:
    logits = torch.tensor([[-200.0, 200.0, 0.0]], dtype=torch.float64)
    p = Bernoulli(var="x", logits=logits[0])
    soft = torch.tensor([[0.3, 0.9, 0.5]], dtype=torch.float64)
    wanted = soft * F.logsigmoid(logits) + (1 - soft) * F.logsigmoid(-logits)
    torch.testing.assert_close(p.get_log_prob(soft, sum_features=False), wanted)
    for dtype in (torch.float32, torch.int64, torch.bool):
        found = p.get_log_prob(torch.tensor([[0, 1, 1]], dtype=dtype))
        torch.testing.assert_close(found, torch.tensor([math.log(0.5)]).double())
    sure = Bernoulli(var="x", probs=torch.tensor([0.0, 1.0]))
    assert sure.get_log_prob(torch.tensor([[0.0, 1.0]])).abs().item() < 1e-5
    torch.testing.assert_close(sure.sample(batch_n=50)["x"], torch.tensor([0.0, 1.0]).expand(50, 2))


def test_categorical_takes_soft_targets() -> None:
    logits = torch.randn(4, 3, dtype=torch.float64)
    soft = torch.randn(4, 3, dtype=torch.float64).softmax(-1)
    p = Categorical(var="x", cond_var="l", logits="l")
    torch.testing.assert_close(
        p.get_log_prob({"x": soft, "l": logits}), (soft * logits.log_softmax(-1)).sum(-1)
    )


def test_impossible_classes_leave_numbers_finite() -> None:
    """Invalid actions are masked with logits of minus infinity."""
    logits = torch.tensor([[0.3, -math.inf, 1.0]], dtype=torch.float64, requires_grad=True)
    p = Categorical(var="x", cond_var="l", logits="l")
    x = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    reference = td.OneHotCategorical(logits=logits)
    values = torch.cat([p.get_log_prob({"x": x, "l": logits}), p.get_entropy(logits)])
    torch.testing.assert_close(values, torch.cat([reference.log_prob(x), reference.entropy()]))
    (grad,) = torch.autograd.grad(values.sum(), logits)
    assert grad.isfinite().all() and grad[0, 1] == 0


@pytest.mark.parametrize("unimix", [0.0, 0.01, 0.3])
def test_unimix_mixes_in_the_uniform_distribution(unimix: float) -> None:
    logits = torch.tensor([[50.0, 0.0, -900.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    p = GroupedOneHot(2, 3, var="x", cond_var="l", logits="l", unimix=unimix)
    wanted = (1 - unimix) * torch.softmax(logits.view(1, 2, 3), -1) + unimix / 3
    torch.testing.assert_close(p.sample_mean(logits), wanted.flatten(-2))
    torch.testing.assert_close(p.get_entropy(logits), torch.special.entr(wanted).sum((-1, -2)))
    rare = torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    found = p.get_log_prob({"x": rare, "l": logits})
    if unimix:
        torch.testing.assert_close(found, wanted.view(6)[[2, 4]].log().sum()[None])
    assert not found.isnan().any()
    sure = torch.tensor([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(
        p.get_log_prob({"x": sure, "l": logits}), wanted.view(6)[[0, 4]].log().sum()[None]
    )


def test_without_straight_through_samples_have_no_gradient() -> None:
    logits = torch.zeros(3, 6, requires_grad=True)
    for straight in (True, False):
        p = GroupedOneHot(2, 3, var="x", cond_var="l", logits="l", straight_through=straight)
        assert p.sample(logits, reparam=True)["x"].requires_grad is straight
        assert p.has_reparam is straight


def test_bounds_of_the_bounded_normal() -> None:
    p = BoundedNormal(
        var="x", cond_var=["m", "s"], loc="m", scale="s", min_scale=0.2, max_scale=0.7
    )
    m, s = torch.tensor([[-90.0], [0.0], [90.0]]), torch.tensor([[-90.0], [-2.0], [90.0]])
    torch.testing.assert_close(
        p.sample_mean({"m": m, "s": s}), torch.tensor([[-1.0], [0.0], [1.0]])
    )
    torch.testing.assert_close(
        p.sample_variance({"m": m, "s": s}).sqrt(), torch.tensor([[0.2], [0.45], [0.7]])
    )


def test_tanh_normal_at_the_edge_is_finite() -> None:
    p = TanhNormal(var="x", cond_var="m", loc="m", scale=1.0)
    m = torch.zeros(4, 1, requires_grad=True)
    x = torch.tensor([[-1.0], [1.0], [0.9999999], [0.0]])
    log_prob = p.get_log_prob({"x": x, "m": m})
    log_prob.sum().backward()
    assert log_prob.isfinite().all() and m.grad is not None and m.grad.isfinite().all()


def test_truncated_normal_far_in_the_tail() -> None:
    """Ten standard deviations off, density, mean and samples still agree with SciPy."""
    for low, high in ((10.0, 12.0), (-12.0, -10.0), (6.0, INF)):
        p = pd.TruncatedNormal(var="x", loc=0.0, scale=1.0, low=low, high=high).double()
        wanted = stats.truncnorm(low, high)
        x = torch.linspace(low + 0.01, low + 1.5, 9, dtype=torch.float64)
        torch.testing.assert_close(
            p.get_log_prob({"x": x}), torch.as_tensor(wanted.logpdf(x)), rtol=1e-6, atol=1e-6
        )
        torch.manual_seed(0)
        drawn = p.sample(batch_n=4000)["x"]
        assert ((drawn >= low) & (drawn <= high)).all()
        assert abs(drawn.mean().item() - wanted.mean()) < 5 * wanted.std() / math.sqrt(4000)


def test_truncated_normal_gradient_equals_finite_differences() -> None:
    def sample(loc: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
        torch.manual_seed(0)
        p = pd.TruncatedNormal(
            var="x", cond_var=list("lsab"), loc="l", scale="s", low="a", high="b"
        )
        return p.sample({"l": loc, "s": scale, "a": low, "b": high}, reparam=True)["x"]

    leaves = [v.clone().requires_grad_() for v in box.values()]
    assert torch.autograd.gradcheck(sample, leaves, fast_mode=True)


def test_straight_through_has_one_hot_values_and_the_gradient_of_the_probabilities() -> None:
    free = normal(B, K).requires_grad_()
    p = pd.OneHotCategoricalStraightThrough(var="x", cond_var="l", logits="l")
    x = p.sample({"l": free}, reparam=True)["x"]
    torch.testing.assert_close(x.sum(-1), torch.ones(B, dtype=torch.float64))
    assert set(x.detach().round(decimals=12).unique().tolist()) == {0.0, 1.0}
    weight = normal(B, K)
    (found,) = torch.autograd.grad((x * weight).sum(), free)
    (wanted,) = torch.autograd.grad((free.softmax(-1) * weight).sum(), free)
    torch.testing.assert_close(found, wanted)


def test_independent_sums_its_event() -> None:
    p = pd.Normal(var="x", cond_var="l", loc="l", scale=1.0).double()
    loc, x = normal(B, D, K), normal(B, D, K)
    q = pd.Independent(p, 1)
    wanted = td.Independent(td.Normal(loc, 1.0), 1)
    torch.testing.assert_close(
        q.get_log_prob({"x": x, "l": loc}, sum_features=False), wanted.log_prob(x)
    )
    torch.testing.assert_close(q.get_log_prob({"x": x, "l": loc}), wanted.log_prob(x).sum(-1))
    torch.testing.assert_close(
        q.get_log_prob({"x": x, "l": loc}, feature_dims=[1]), wanted.log_prob(x).sum(-1)
    )
    torch.testing.assert_close(q.get_entropy({"l": loc}, sum_features=False), wanted.entropy())
    torch.testing.assert_close(q.sample_mean({"l": loc}), loc)
    assert q.sample({"l": loc}, sample_shape=[4])["x"].shape == (4, B, D, K)
    assert q.distribution_name == "Independent Normal"
    with pytest.raises(ValueError, match="Independent sums 4"):
        pd.Independent(p, 4).get_log_prob({"x": x, "l": loc}, sum_features=False)


def test_factorized_bernoulli_scores_what_is_there() -> None:
    probs, x = torch.rand(B, K, generator=draw), torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1]])
    p = pd.FactorizedBernoulli(var="x", cond_var="p", probs="p")
    torch.testing.assert_close(p.get_log_prob({"x": x, "p": probs}), (x * probs.log()).sum(-1))
    assert p.distribution_name == "FactorizedBernoulli"


def test_relaxed_samples_sharpen_with_the_temperature() -> None:
    for make, width in ((pd.RelaxedBernoulli, D), (pd.RelaxedCategorical, K)):
        p = make(var="x", logits=torch.zeros(width), temperature=2.0)
        torch.manual_seed(0)
        soft = p.sample(batch_n=500)["x"]
        p.temperature.fill_(0.01)  # the plan reads it at each run
        hard = p.sample(batch_n=500)["x"]
        edge = [(v * (1 - v)).mean().item() for v in (soft, hard)]
        assert edge[0] > 0.1 > 0.01 > edge[1]
        assert p.state_dict()["temperature"] == torch.tensor(0.01)
        torch.testing.assert_close(
            p.sample_mean()[0], torch.full([width], 1 / K if width == K else 0.5)
        )
        with pytest.raises(ValueError, match="temperature"):
            make(var="x", logits=torch.zeros(width), temperature=0.0)


class Chain(pd.Gamma):
    """A random walk of positive numbers: mean 1 whatever came before,
    spread by what came before.
    """

    def __init__(self) -> None:
        super().__init__(var="z", cond_var=["z_prev"])

    def forward(self, z_prev: Tensor) -> dict[str, Tensor]:
        return {"concentration": 1 + z_prev, "rate": 1 + z_prev}


@pytest.mark.parametrize("fission", [True, False])
def test_samplers_without_base_noise_run_in_a_loop(fission: bool) -> None:
    p, steps, many = Chain(), 4, 4000
    step = E(p, Parameter("z"))
    loss = IterativeLoss(
        step, max_iter=steps, update_value={"z": "z_prev"}, reduction=None, fission=fission
    )
    torch.manual_seed(0)
    start = torch.ones(many, 1, dtype=torch.float64)
    found = loss.eval({"z_prev": start})
    path = found.reshape(steps, many)
    assert ((path.mean(1) - 1).abs() < 5 * path.std(1) / math.sqrt(many)).all()
    spread = [1 / 2.0, (1 / (1 + path[0])).mean().item()]
    assert (
        abs(path[0].var().item() - spread[0]) < 0.06
        and abs(path[1].var().item() - spread[1]) < 0.08
    )
    assert len(path[0].unique()) == many and not torch.equal(path[0], path[1])
