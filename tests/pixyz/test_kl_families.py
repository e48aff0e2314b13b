"""The divergences of the families by kind equal torch's and the samples' averages."""

import math

import pytest
import torch
from torch import Tensor
from torch import distributions as td

from pixyz import distributions as pd
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.distributions.kullback_leibler import _FORMULAS
from pixyz.losses import E, KullbackLeibler, LogProb
from pixyz.losses.torch_divergences import PAIRS, SAME
from pixyz.types import PixyzError

B, D, K = 3, 2, 3
draw = torch.Generator().manual_seed(0)
Params = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _same_draws_in_any_order() -> None:
    draw.manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape or (B, D), dtype=torch.float64, generator=draw)


def positive(low: float = 0.5, high: float = 2.0) -> Tensor:
    return low + (high - low) * torch.rand((B, D), dtype=torch.float64, generator=draw)


def params(family: type, side: str, with_other: type) -> Params:
    """Parameters for which the divergence is finite."""
    first = side == "p"
    made: dict[type, Params] = {
        pd.Normal: {"loc": normal(), "scale": positive()},
        pd.Laplace: {"loc": normal(), "scale": positive(1.0, 2.0)},
        pd.Gumbel: {
            "loc": normal(),
            "scale": positive(1.5, 2.0) if not first else positive(0.5, 1.0),
        },
        pd.LogNormal: {"loc": normal(), "scale": positive()},
        pd.Cauchy: {"loc": normal(), "scale": positive()},
        pd.Uniform: {
            "low": positive(0.1, 0.3) if first else -positive(),
            "high": positive(0.6, 0.8) + (0.0 if first else 1.0),
        },
        pd.Beta: {"concentration1": positive(), "concentration0": positive()},
        pd.ContinuousBernoulli: {"logits": normal()},
        pd.Bernoulli: {"logits": normal()},
        pd.Geometric: {"logits": normal()},
        pd.Exponential: {"rate": positive()},
        pd.Gamma: {"concentration": positive(), "rate": positive(1.5, 3.0)},
        pd.InverseGamma: {"concentration": positive(2.0, 4.0), "rate": positive()},
        pd.HalfNormal: {"scale": positive()},
        pd.Pareto: {
            "scale": positive(1.0, 2.0) if first else positive(0.02, 0.09),
            "alpha": positive(4.0, 6.0),
        },
        pd.Poisson: {"rate": positive()},
        pd.Binomial: {"total_count": torch.full((B, D), 4.0).double(), "logits": normal()},
        pd.Dirichlet: {"concentration": 0.5 + normal(B, K).exp()},
        pd.MultivariateNormal: {
            "loc": normal(B, K),
            "scale_tril": normal(B, K, K).tril(-1) / 3 + torch.diag_embed(0.5 + normal(B, K).abs()),
        },
        pd.LowRankMultivariateNormal: {
            "loc": normal(B, K),
            "cov_factor": normal(B, K, 1),
            "cov_diag": positive()[:, :1].expand(B, K),
        },
        pd.RelaxedBernoulli: {"logits": normal()},
        pd.Categorical: {"logits": normal(B, K)},
        pd.RelaxedCategorical: {"logits": normal(B, K)},
        pd.OneHotCategoricalStraightThrough: {"logits": normal(B, K)},
    }
    return made[family]


def pair(p: type, q: type) -> tuple[ParametricDistribution, ParametricDistribution, Params]:
    mine, theirs = params(p, "p", q), params(q, "q", p)
    a = p(var="x", cond_var=[f"p_{k}" for k in mine], **{k: f"p_{k}" for k in mine})
    b = q(var="x", cond_var=[f"q_{k}" for k in theirs], name="q", **{k: f"q_{k}" for k in theirs})
    return a, b, {f"p_{k}": v for k, v in mine.items()} | {f"q_{k}": v for k, v in theirs.items()}


PASSING = {pd.RelaxedBernoulli, pd.RelaxedCategorical, pd.OneHotCategoricalStraightThrough}
RELAXED = [pair for pair in _FORMULAS if PASSING & set(pair)]
TORCH = [*((f, f) for f in SAME), *PAIRS]


def names(pair: object) -> str:
    return getattr(pair, "__name__", "")


@pytest.mark.parametrize(("p", "q"), [*TORCH, *RELAXED], ids=names)
def test_formula_equals_torch(p: type, q: type) -> None:
    a, b, v = pair(p, q)
    exact = KullbackLeibler(a, b).eval(v)
    plain = {pd.RelaxedBernoulli: td.Bernoulli, pd.RelaxedCategorical: td.OneHotCategorical}
    known = [
        plain[f](**d.get_params(v)) if f in plain else d.torch_dist(v) for f, d in ((p, a), (q, b))
    ]
    if pd.OneHotCategoricalStraightThrough in (p, q):
        known = [
            td.OneHotCategorical(logits=v["p_logits"]),
            td.OneHotCategorical(logits=v["q_logits"]),
        ]
    raw = td.kl_divergence(*known)
    torch.testing.assert_close(exact, raw if raw.ndim == 1 else raw.sum(-1))
    assert torch.isfinite(exact).all()
    leaves = {k: t.clone().requires_grad_() for k, t in v.items()}
    slopes = torch.autograd.grad(
        KullbackLeibler(a, b).eval(leaves).sum(), list(leaves.values()), allow_unused=True
    )
    assert any(g is not None and g.abs().sum() > 0 for g in slopes)


@pytest.mark.parametrize(("p", "q"), TORCH, ids=names)
def test_formula_equals_samples(p: type, q: type) -> None:
    a, b, v = pair(p, q)
    torch.manual_seed(1)
    many = 8000
    exact = KullbackLeibler(a, b).eval(v)
    wide = {k: t.repeat(many, *(1,) * (t.ndim - 1)) for k, t in v.items()}
    ratio = E(a, LogProb(a) - LogProb(b)).eval(wide).reshape(many, B)
    assert ((ratio.mean(0) - exact).abs() < 5 * ratio.std(0) / math.sqrt(many) + 1e-6).all()


def test_no_formula_of_torch_between_these_families_is_left_out() -> None:
    """Pairs whose divergence is always infinite excepted."""
    ours = {
        f.torch_family: f
        for f in vars(pd).values()
        if isinstance(f, type) and "torch_family" in vars(f)
    }
    ours |= {td.Normal: pd.Normal, td.Bernoulli: pd.Bernoulli}
    known = [(ours[p], ours[q]) for p, q in td.kl._KL_REGISTRY if p in ours and q in ours]
    assert len(known) > 50
    for p, q in known:
        if (p, q) not in _FORMULAS:
            a, b, given = pair(p, q)
            assert torch.isinf(td.kl_divergence(a.torch_dist(given), b.torch_dist(given))).all()


def test_inverse_gamma_to_itself_is_that_of_gamma() -> None:
    a, b, v = pair(pd.InverseGamma, pd.InverseGamma)
    wanted = td.kl_divergence(
        td.Gamma(v["p_concentration"], v["p_rate"]), td.Gamma(v["q_concentration"], v["q_rate"])
    ).sum(-1)
    torch.testing.assert_close(KullbackLeibler(a, b).eval(v), wanted)


def test_every_registered_pair_is_tested() -> None:
    # test_kl
    hot = {
        pd.Normal,
        pd.TanhNormal,
        pd.BoundedNormal,
        pd.Bernoulli,
        pd.Categorical,
        pd.GroupedOneHot,
    }
    left = set(_FORMULAS) - set(TORCH) - set(RELAXED)
    assert left == {(f, f) for f in hot}


def test_divergences_of_binomials_with_other_numbers_of_trials() -> None:
    few, many = ({"n": torch.full((1, 2), float(n)), "logits": torch.zeros(1, 2)} for n in (4, 5))
    p, q = (
        pd.Binomial(
            var="x", cond_var=[f"n_{k}", f"l_{k}"], name=k, total_count=f"n_{k}", logits=f"l_{k}"
        )
        for k in "pq"
    )

    def value(a: Params, b: Params) -> Tensor:
        given = {f"{k[0]}_{side}": v for side, of in (("p", a), ("q", b)) for k, v in of.items()}
        return KullbackLeibler(p, q).eval(given)

    assert torch.equal(value(many, few), torch.tensor([math.inf])) and torch.equal(
        value(few, few), torch.zeros(1)
    )
    with pytest.raises(PixyzError, match="more trials; use analytical=False"):
        value(few, many)
