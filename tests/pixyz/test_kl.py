"""Divergence and entropy: the formulas equal torch's and the samples' averages; where gradients go;
joints.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as td

from pixyz.distributions import (
    Bernoulli,
    BoundedNormal,
    Categorical,
    Deterministic,
    Distribution,
    GroupedOneHot,
    Normal,
    TanhNormal,
)
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.kullback_leibler import _FORMULAS, kl_formula
from pixyz.losses import ELBO, CrossEntropy, E, Entropy, KullbackLeibler, LogProb
from pixyz.types import PixyzError, VariableError

B, D, K = 4, 3, 5
Make = Callable[..., ParametricDistribution]
Params = dict[str, Tensor]
draw = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=draw)


def loc_scale() -> Params:
    return {"loc": normal(B, D) / 2, "scale": (normal(B, D) / 2).exp()}


CASES: dict[str, tuple[type, Make, Callable[[], Params]]] = {
    "Normal": (Normal, Normal, loc_scale),
    "TanhNormal": (
        TanhNormal,
        TanhNormal,
        lambda: {"loc": normal(B, D) / 3, "scale": 0.3 + normal(B, D).sigmoid() / 2},
    ),
    "BoundedNormal": (
        BoundedNormal,
        BoundedNormal,
        lambda: {"loc": normal(B, D), "scale": normal(B, D)},
    ),
    "Bernoulli-logits": (Bernoulli, Bernoulli, lambda: {"logits": 2 * normal(B, D)}),
    "Bernoulli-probs": (Bernoulli, Bernoulli, lambda: {"probs": normal(B, D).sigmoid()}),
    "Categorical-logits": (Categorical, Categorical, lambda: {"logits": 2 * normal(B, K)}),
    "Categorical-probs": (Categorical, Categorical, lambda: {"probs": normal(B, K).exp()}),
    "GroupedOneHot": (
        GroupedOneHot,
        lambda **k: GroupedOneHot(2, K, unimix=0.05, **k),
        lambda: {"logits": 2 * normal(B, 2 * K)},
    ),
}
every = pytest.mark.parametrize("case", CASES)


def pair(case: str) -> tuple[ParametricDistribution, ParametricDistribution, Params]:
    """Two distributions of ``x`` of one family with their parameters as inputs, and values for
    these.
    """
    _, make, params = CASES[case]
    p_params, q_params = params(), params()
    p = make(var="x", cond_var=[f"p_{k}" for k in p_params], **{k: f"p_{k}" for k in p_params})
    q = make(
        var="x", cond_var=[f"q_{k}" for k in q_params], name="q", **{k: f"q_{k}" for k in q_params}
    )
    values = {f"p_{k}": v for k, v in p_params.items()} | {f"q_{k}": v for k, v in q_params.items()}
    return p, q, values


def torch_kl(p: ParametricDistribution, q: ParametricDistribution, values: Params) -> Tensor:
    a, b = p.torch_dist(values), q.torch_dist(values)
    if isinstance(a, td.TransformedDistribution) and isinstance(b, td.TransformedDistribution):
        a, b = a.base_dist, b.base_dist
    if isinstance(a, td.Independent) and isinstance(b, td.Independent):
        a, b = a.base_dist, b.base_dist
    raw = td.kl_divergence(a, b)
    return raw if raw.ndim == 1 else raw.sum(-1)


def test_every_registered_pair_is_tested() -> None:
    tested = {family for family, _, _ in CASES.values()}
    assert {(f, f) for f in tested} == {pair for pair in _FORMULAS if set(pair) <= tested}


@every
def test_formula_equals_torch(case: str) -> None:
    p, q, values = pair(case)
    torch.testing.assert_close(KullbackLeibler(p, q).eval(values), torch_kl(p, q, values))
    torch.testing.assert_close(
        KullbackLeibler(p, p.replace_var()).eval(values), torch.zeros(B, dtype=torch.float64)
    )


@every
def test_formula_equals_samples(case: str) -> None:
    p, q, values = pair(case)
    torch.manual_seed(1)
    many = 4000
    ratio = LogProb(p) - LogProb(q)
    mean = E(p, ratio, sample_shape=[many])
    found, squared = mean.eval(values), E(p, ratio * ratio, sample_shape=[many]).eval(values)
    error = ((squared - found**2) / many).sqrt()
    exact = KullbackLeibler(p, q).eval(values)
    assert ((found - exact).abs() < 5 * error + 1e-6).all()
    sampled = KullbackLeibler(p, q, analytical=False, sample_shape=[many]).eval(values)
    assert ((sampled - exact).abs() < 5 * error + 1e-6).all()
    assert not torch.equal(sampled, exact)


@every
def test_entropy_equals_torch_and_samples(case: str) -> None:
    p, _, values = pair(case)
    torch.manual_seed(2)
    many = 4000
    sampled = Entropy(p, analytical=False, sample_shape=[many]).eval(values)
    squares = E(p, LogProb(p) * LogProb(p), sample_shape=[many]).eval(values)
    error = ((squares - sampled**2).clamp(min=0) / many).sqrt()
    if case == "TanhNormal":  # no formula: samples
        again = Entropy(p, sample_shape=[many]).eval(values)
        assert ((sampled - again).abs() < 8 * error).all() and not torch.equal(sampled, again)
        return
    exact = Entropy(p).eval(values)
    raw = p.torch_dist(values).entropy()
    torch.testing.assert_close(exact, raw if raw.ndim == 1 else raw.sum(-1))
    assert ((sampled - exact).abs() < 5 * error + 1e-6).all()


@every
def test_cross_entropy_is_entropy_plus_divergence(case: str) -> None:
    p, q, values = pair(case)
    torch.manual_seed(3)
    many = 4000
    sampled = CrossEntropy(p, q, sample_shape=[many]).eval(values)
    squares = E(p, LogProb(q) * LogProb(q), sample_shape=[many]).eval(values)
    error = ((squares - sampled**2).clamp(min=0) / many).sqrt()
    entropy = Entropy(p, sample_shape=[many]).eval(values)
    assert ((sampled - entropy - KullbackLeibler(p, q).eval(values)).abs() < 8 * error + 1e-6).all()
    if case != "TanhNormal":
        exact = CrossEntropy(p, q, analytical=True).eval(values)
        torch.testing.assert_close(exact, entropy + KullbackLeibler(p, q).eval(values))


@every
def test_gradient_stops_at_detached_parameters(case: str) -> None:
    p, q, values = pair(case)
    leaves = {k: v.clone().requires_grad_() for k, v in values.items()}

    def touched(loss: KullbackLeibler) -> tuple[bool, bool]:
        grads = torch.autograd.grad(
            loss.eval(leaves).sum(), list(leaves.values()), allow_unused=True
        )
        moved = {
            k for k, g in zip(leaves, grads, strict=True) if g is not None and g.abs().sum() > 0
        }
        return any(k.startswith("p_") for k in moved), any(k.startswith("q_") for k in moved)

    assert touched(KullbackLeibler(p, q)) == (True, True)
    assert touched(KullbackLeibler(p.detach(), q)) == (False, True)
    assert touched(KullbackLeibler(p, q.detach())) == (True, False)
    torch.testing.assert_close(
        KullbackLeibler(p.detach(), q).eval(values), KullbackLeibler(p, q).eval(values)
    )
    both = 0.8 * KullbackLeibler(p.detach(), q) + 0.2 * KullbackLeibler(p, q.detach())
    torch.testing.assert_close(both.eval(values), KullbackLeibler(p, q).eval(values))


@every
def test_gradient_of_the_formula(case: str) -> None:
    p, q, values = pair(case)
    kl = KullbackLeibler(p, q)
    assert torch.autograd.gradcheck(
        lambda *v: kl.eval(dict(zip(values, v, strict=True))),
        [v.clone().requires_grad_() for v in values.values()],
        fast_mode=True,
    )


def test_without_a_formula_samples_are_used() -> None:
    p = Normal(var="x", loc=torch.zeros(2), scale=0.5)
    q = TanhNormal(var="x", loc=torch.zeros(2), scale=1.0, name="q")
    inside = TanhNormal(var="x", loc=torch.zeros(2), scale=0.5)
    assert kl_formula(p, q) is None
    torch.manual_seed(0)
    value = KullbackLeibler(inside, p, sample_shape=[5000]).eval({})
    wanted = (
        (
            inside.torch_dist().log_prob(x := inside.sample(batch_n=20_000)["x"])
            - p.torch_dist().log_prob(x)
        )
        .sum(-1)
        .mean()
    )
    torch.testing.assert_close(value, wanted[None], rtol=0.1, atol=0.02)
    assert (
        "sample" in KullbackLeibler(inside, p).plan.source
        or "noise" in KullbackLeibler(inside, p).plan.source
    )


def test_unimix_is_seen_by_the_divergence() -> None:
    sure = torch.tensor([[90.0, 0.0, 0.0]], dtype=torch.float64)
    other = torch.tensor([[0.0, 90.0, 0.0]], dtype=torch.float64)
    for unimix in (0.01, 0.1):
        p = GroupedOneHot(1, 3, var="x", cond_var="a", logits="a", unimix=unimix)
        q = GroupedOneHot(1, 3, var="x", cond_var="b", logits="b", unimix=unimix, name="q")
        high, low = 1 - unimix + unimix / 3, unimix / 3
        wanted = torch.tensor([(high - low) * math.log(high / low)], dtype=torch.float64)
        torch.testing.assert_close(KullbackLeibler(p, q).eval({"a": sure, "b": other}), wanted)


# --------------------------------------------------------------------------------------------
# joints


def joint(name: str, shift: float) -> tuple[Distribution, Distribution, Distribution]:
    z = Normal(var="z", loc=torch.full((2,), shift), scale=1.0, name=name).double()
    x = Normal(
        var="x", cond_var="z", loc="z", scale=0.5 + shift, name=name, features_shape=[2]
    ).double()
    return x * z, x, z


def test_joint_is_the_sum_over_factors() -> None:
    p, p_x, p_z = joint("p", 0.25)
    q, q_x, q_z = joint("q", 0.5)
    kl = KullbackLeibler(p, q)
    z = torch.zeros(1, 2, dtype=torch.float64)
    # both conditionals have the mean z, so the inner divergence is the same for each z
    wanted = KullbackLeibler(p_z, q_z).eval({}) + KullbackLeibler(p_x, q_x).eval({"z": z})
    torch.testing.assert_close(kl.eval({}), wanted)
    torch.manual_seed(0)
    sampled = KullbackLeibler(p, q, analytical=False, sample_shape=[20_000]).eval({})
    torch.testing.assert_close(sampled, wanted, rtol=0.1, atol=0.02)


class Shifted(Normal):
    def __init__(self, name: str, factor: float) -> None:
        super().__init__(var="x", cond_var="z", name=name, scale=1.0)
        self.factor = factor

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"loc": self.factor * z}


def test_inner_divergence_is_an_expectation_over_parents() -> None:
    """``KL = E_{p(z)}[(a z - b z)^2 / 2]``, which is ``(a - b)^2 / 2`` for a standard normal z."""
    z = Normal(var="z", loc=torch.zeros(4000, dtype=torch.float64), scale=1.0)
    p, q = Shifted("p", 1.0) * z, Shifted("q", 3.0) * z
    torch.manual_seed(0)
    assert KullbackLeibler(p, q).eval({}).item() / 4000 == pytest.approx(2.0, rel=0.15)


def test_factors_in_another_order_are_sampled() -> None:
    """q(x)q(z|x) against p(x|z)p(z): no factor by factor formula, and none of the variables is
    asked for.
    """
    p, _, _ = joint("p", 0.0)
    q_x = Normal(var="x", loc=torch.zeros(2, dtype=torch.float64), scale=1.25**0.5, name="q")
    kl = KullbackLeibler(p, q_x * _Posterior(), sample_shape=[4])
    assert kl.input_var == []
    torch.manual_seed(0)
    torch.testing.assert_close(kl.eval({}), torch.zeros(1, dtype=torch.float64), rtol=0, atol=1e-5)


class _Posterior(Normal):
    """The posterior of z ~ N(0, 1), x ~ N(z, 1/4)."""

    def __init__(self) -> None:
        super().__init__(
            var="z", cond_var="x", name="q", scale=torch.tensor(0.2**0.5, dtype=torch.float64)
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loc": 0.8 * x}


def test_joint_divergence_and_entropy_may_share_variables_with_the_data() -> None:
    p, p_x, p_z = joint("p", 0.0)
    assert KullbackLeibler(p, p.replace_var()).eval({}).abs().item() < 1e-12
    zero = torch.zeros(1, 2, dtype=torch.float64)
    torch.testing.assert_close(
        Entropy(p).eval({}), Entropy(p_z).eval({}) + Entropy(p_x).eval({"z": zero})
    )


def test_conditional_names_are_respected_after_renaming() -> None:
    q = Normal(var="z", cond_var="x", loc="x", scale=1.0, name="q").replace_var(x="data")
    p = Normal(var="z", loc=0.0, scale=1.0)
    kl = KullbackLeibler(q, p)
    assert kl.input_var == ["data"]
    x = torch.randn(5, 2)
    torch.testing.assert_close(kl.eval({"data": x}), 0.5 * x.square().sum(-1))
    torch.testing.assert_close(
        KullbackLeibler(q.replace_var(z="w"), p.replace_var(z="w")).eval({"data": x}),
        0.5 * x.square().sum(-1),
    )


def test_dim_sums_one_dimension() -> None:
    p = Normal(var="z", cond_var="m", loc="m", scale=1.0)
    q = Normal(var="z", loc=0.0, scale=1.0, name="q")
    m = torch.randn(4, 2, 3)
    for dim in (1, 2, -1):
        for sampled in (False, True):
            torch.manual_seed(0)
            value = KullbackLeibler(p, q, dim=dim, analytical=not sampled).eval({"m": m})
            assert value.shape == (4, 2 if dim != 1 else 3)
            if not sampled:
                torch.testing.assert_close(value, 0.5 * m.square().sum(dim))
    with pytest.raises(PixyzError, match="batch"):
        KullbackLeibler(p, q, dim=0).eval({"m": m})


def test_different_variables_are_refused() -> None:
    with pytest.raises(VariableError, match=r"replace_var"):
        KullbackLeibler(Normal(var="z", loc=0.0, scale=1.0), Normal(var="w", loc=0.0, scale=1.0))


class Net(Normal):
    def __init__(self, name: str) -> None:
        super().__init__(var="z", cond_var="x", name=name)
        self.net = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(x).chunk(2, -1)
        return {"loc": loc, "scale": scale.exp()}


def test_detached_frozen_and_both() -> None:
    """detach: no gradient at all; frozen: to the inputs, not to the weights;
    both together: none.
    """
    q, p = Net("q"), Net("p")

    def gradients(one: Distribution) -> tuple[bool, bool]:
        x = torch.randn(5, 3, requires_grad=True)
        value = (
            KullbackLeibler(one, p.replace_var(x="y")).eval({"x": x, "y": torch.randn(5, 3)}).sum()
        )
        value = (
            value
            + E(one, LogProb(p.replace_var(x="y"))).eval({"x": x, "y": torch.randn(5, 3)}).sum()
        )
        found = torch.autograd.grad(value, [x, q.net.weight], allow_unused=True)
        return found[0] is not None, found[1] is not None

    assert gradients(q) == (True, True)
    assert gradients(q.frozen()) == (True, False)
    assert gradients(q.detach()) == (False, False)
    assert gradients(q.frozen().detach()) == (False, False)
    assert gradients(q.detach().frozen()) == (False, False)
    assert gradients(q.replace_var(x="w").frozen().replace_var(w="x")) == (True, False)


def test_frozen_follows_the_weights_and_keeps_constants() -> None:
    class Half(Normal):
        def __init__(self) -> None:
            super().__init__(var="z", cond_var="x", scale=0.5)
            self.net = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"loc": self.net(x)}

    p, x, z = Half(), torch.randn(5, 3), torch.randn(5, 2)
    frozen = p.frozen()
    for _ in range(2):
        torch.testing.assert_close(
            frozen.get_log_prob({"x": x, "z": z}), p.get_log_prob({"x": x, "z": z})
        )
        with torch.no_grad():
            p.net.weight.add_(1.0)
    p.net.weight = nn.Parameter(torch.zeros(2, 3))
    torch.testing.assert_close(
        frozen.get_log_prob({"x": x, "z": z}), p.get_log_prob({"x": x, "z": z})
    )
    prior = Normal(var="x", loc=nn.Parameter(torch.zeros(3)), scale=1.0)
    value = (p * prior).frozen().get_log_prob({"x": x, "z": z})
    torch.testing.assert_close(value, (p * prior).get_log_prob({"x": x, "z": z}))
    assert not value.requires_grad


def test_frozen_networks_are_called_once() -> None:
    calls = []

    class Counted(Net):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            calls.append(1)
            return super().forward(x)

    q = Counted("q")
    loss = KullbackLeibler(q.frozen(), Normal(var="z", loc=0.0, scale=1.0)) + Entropy(q.frozen())
    loss.eval({"x": torch.randn(5, 3)})
    assert len(calls) == 1


def test_the_paper_s_bound_is_below_the_evidence() -> None:
    """For a linear Gaussian model the ELBO with the true posterior is the evidence,
    and else lower.
    """
    p, _, _ = joint("p", 0.0)
    x = torch.randn(6, 2, dtype=torch.float64)
    evidence = td.Normal(0.0, 1.25**0.5).log_prob(x).sum(-1)
    torch.testing.assert_close(ELBO(p, _Posterior()).eval({"x": x}), evidence, rtol=1e-5, atol=1e-6)
    wide = Normal(var="z", cond_var="x", loc="x", scale=1.0, name="q")
    torch.manual_seed(0)
    assert (ELBO(p, wide, sample_shape=[2000]).eval({"x": x}) < evidence).all()


def test_a_function_has_no_divergence() -> None:
    class Copy(Deterministic):
        def __init__(self) -> None:
            super().__init__("z", "x")

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"z": x}

    with pytest.raises(NotImplementedError, match="log-density"):
        KullbackLeibler(Copy(), Normal(var="z", loc=0.0, scale=1.0)).eval({"x": torch.zeros(2)})


def test_kl_to_a_standard_normal_notices_that_it_is_one_no_more() -> None:
    q = Normal(var="z", cond_var=["m", "s"], loc="m", scale="s", name="q")
    prior = Normal(var="z", loc=torch.zeros(3), scale=torch.ones(3), name="p")
    x = {"m": torch.randn(4, 3), "s": torch.rand(4, 3) + 0.5}
    kl = KullbackLeibler(q, prior)

    def right() -> Tensor:
        a = torch.distributions.Normal(x["m"], x["s"])
        return torch.distributions.kl_divergence(
            a, torch.distributions.Normal(prior.loc, prior.scale)
        ).sum(-1)

    torch.testing.assert_close(kl.eval(x), right())
    with torch.no_grad():
        prior.scale.fill_(2.0)  # written to
    torch.testing.assert_close(kl.eval(x), right())
    prior.scale = torch.ones(3)  # another tensor
    torch.testing.assert_close(kl.eval(x), right())
    prior.loc = torch.full((3,), 0.5)
    torch.testing.assert_close(kl.eval(x), right())
    wide = KullbackLeibler(q, Normal(var="z", loc=torch.zeros(3), scale=torch.ones(3)))
    torch.testing.assert_close(
        wide.eval({"m": torch.zeros(4, 1), "s": torch.ones(4, 1)}), torch.zeros(4)
    )
