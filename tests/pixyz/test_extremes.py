"""Families at their extremes in float32: densities and draws against SciPy and closed forms in
float64, gradients finite.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special, stats
from torch import Tensor

from pixyz import distributions as pd
from pixyz.losses import Expectation

xlogy, lgamma = special.xlogy, special.gammaln


@dataclass
class Case:
    """A family with extreme parameters, values, and the logarithm of its density in float64."""

    make: Callable[..., Any]
    params: dict[str, float]
    values: list[float]
    log_density: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = ",".join(f"{k}={v:g}" for k, v in {**self.params, **self.options}.items())
        return f"{self.make.__name__}-{shown}"

    def bound(self) -> Any:
        return self.make(
            var="x", cond_var=list(self.params), **{k: k for k in self.params}, **self.options
        )


def kumaraswamy(x: Any, concentration1: Any, concentration0: Any) -> Any:
    a, b = concentration1, concentration0
    return np.log(a) + np.log(b) + (a - 1) * np.log(x) + xlogy(b - 1, -np.expm1(a * np.log(x)))


def continuous_bernoulli(x: Any, logits: Any) -> Any:
    size = np.abs(logits)
    h = np.maximum(size, 1e-9) / 2
    height = np.where(size < 1e-2, -(size**2) / 24, np.log(2 * h) - h - np.log(-np.expm1(-2 * h)))
    return logits * (x - 0.5) + height


def binomial(x: Any, total_count: Any, logits: Any) -> Any:
    n = total_count
    ways = lgamma(n + 1) - lgamma(x + 1) - lgamma(n - x + 1)
    return ways + x * special.log_expit(logits) + (n - x) * special.log_expit(-logits)


def negative_binomial(x: Any, total_count: Any, logits: Any) -> Any:
    ways = lgamma(x + total_count) - lgamma(x + 1) - lgamma(total_count)
    return ways + x * special.log_expit(logits) + total_count * special.log_expit(-logits)


def concrete(x: Any, logits: Any, temperature: float) -> Any:
    y = special.logit(x)
    gap = logits - temperature * y
    return (
        np.log(temperature)
        + gap
        - 2 * np.logaddexp(0, gap)
        + np.logaddexp(0, y)
        + np.logaddexp(0, -y)
    )


def truncated(x: Any, loc: Any, scale: Any, low: Any, high: Any) -> Any:
    return stats.truncnorm.logpdf(x, (low - loc) / scale, (high - loc) / scale, loc, scale)


def on_the_line() -> Iterator[Case]:
    line = [
        (pd.Normal, stats.norm),
        (pd.Laplace, stats.laplace),
        (pd.Cauchy, stats.cauchy),
        (pd.Gumbel, stats.gumbel_r),
    ]
    for make, law in line:
        for loc, scale in [(0, 1e-30), (0, 1e30), (1e6, 1e-2), (5, 1e15)]:
            values = [loc + scale * k for k in (-4, -1, 0, 0.5, 3)]
            yield Case(
                make,
                {"loc": loc, "scale": scale},
                values,
                lambda x, loc, scale, law=law: law.logpdf(x, loc, scale),
            )
    yield Case(
        pd.Cauchy,
        {"loc": 0, "scale": 1e-3},
        [1e25, 1e-25],
        lambda x, loc, scale: stats.cauchy.logpdf(x, loc, scale),
    )
    yield Case(
        pd.HalfCauchy,
        {"scale": 1e-3},
        [1e25, 1e-25],
        lambda x, scale: stats.halfcauchy.logpdf(x, 0, scale),
    )
    for df in (1e-3, 1e-1, 2.0, 1e3, 1e6, 1e8):
        yield Case(
            pd.StudentT,
            {"df": df, "loc": 0, "scale": 1.0},
            [0, 1, -3, 1e4, 1e20],
            lambda x, df, loc, scale: stats.t.logpdf(x, df, loc, scale),
        )
    for k in (1e-8, 1e-3, 1.0, 50, 500, 1e4, 1e6):
        yield Case(
            pd.VonMises,
            {"loc": 0.5, "concentration": k},
            [0.5, 0.5 + 1 / math.sqrt(k + 1), -3.1],
            lambda x, loc, concentration: stats.vonmises.logpdf(x, concentration, loc),
        )
    for loc, scale in [(0, 1e-3), (0, 10.0), (30, 1), (-30, 1)]:
        yield Case(
            pd.LogNormal,
            {"loc": loc, "scale": scale},
            [math.exp(loc + scale * k) for k in (-3, -1, 0, 1, 3)],
            lambda x, loc, scale: stats.lognorm.logpdf(x, scale, scale=np.exp(loc)),
        )


def positive() -> Iterator[Case]:
    for df in (1e-3, 2.0, 1e3, 1e6, 1e8):
        yield Case(
            pd.Chi2,
            {"df": df},
            [1e-30, 1e-3, 1.0, df, 2 * df],
            lambda x, df: stats.chi2.logpdf(x, df),
        )
    for a in (1e-3, 0.5, 1, 8.9, 9.1, 1e3, 1e6):
        for r in (1e-8, 1.0, 1e8):
            yield Case(
                pd.Gamma,
                {"concentration": a, "rate": r},
                [1e-3 * a / r, a / r, 2 * a / r],
                lambda x, concentration, rate: stats.gamma.logpdf(x, concentration, scale=1 / rate),
            )
            yield Case(
                pd.InverseGamma,
                {"concentration": a, "rate": r},
                [r / a / 2, r / a, 2 * r / a],
                lambda x, concentration, rate: stats.invgamma.logpdf(x, concentration, scale=rate),
            )
    for s in (1e-20, 1, 1e20):
        yield Case(
            pd.Exponential,
            {"rate": s},
            [0, 0.1 / s, 5 / s],
            lambda x, rate: stats.expon.logpdf(x, scale=1 / rate),
        )
        yield Case(
            pd.HalfNormal,
            {"scale": s},
            [0, 0.1 * s, 5 * s],
            lambda x, scale: stats.halfnorm.logpdf(x, scale=scale),
        )
        yield Case(
            pd.HalfCauchy,
            {"scale": s},
            [0, 0.1 * s, 99 * s],
            lambda x, scale: stats.halfcauchy.logpdf(x, 0, scale),
        )
        for k in (1e-2, 1, 1e4):
            yield Case(
                pd.Pareto,
                {"scale": s, "alpha": k},
                [s, 1.01 * s],
                lambda x, scale, alpha: stats.pareto.logpdf(x, alpha, scale=scale),
            )
            yield Case(
                pd.Weibull,
                {"scale": s, "concentration": k},
                [0.9 * s, s, 1.0003 * s],
                lambda x, scale, concentration: stats.weibull_min.logpdf(
                    x, concentration, scale=scale
                ),
            )


def on_an_interval() -> Iterator[Case]:
    for low, high in ((0, 1e-30), (-1e30, 1e30), (1e6, 1e6 + 1)):
        yield Case(
            pd.Uniform,
            {"low": low, "high": high},
            [low, (low + high) / 2],
            lambda x, low, high: stats.uniform.logpdf(x, low, high - low),
        )
    for a in (1e-3, 0.1, 1, 1e3, 1e6):
        for b in (1e-3, 0.1, 1, 1e3, 1e6):
            middle = min(a / (a + b), 0.9999)
            both = {"concentration1": a, "concentration0": b}
            yield Case(
                pd.Beta,
                both,
                [1e-30, 0.25, middle, 0.9999999],
                lambda x, concentration1, concentration0: stats.beta.logpdf(
                    x, concentration1, concentration0
                ),
            )
            yield Case(pd.Kumaraswamy, both, [1e-30, 0.25, 0.5, 0.9999999], kumaraswamy)
    for logits in (-200.0, -30, -5, -0.6, -0.4, -1e-3, 0.0, 0.5, 5.0, 30.0, 1e4):
        yield Case(pd.ContinuousBernoulli, {"logits": logits}, [0, 0.25, 1.0], continuous_bernoulli)
    for loc, scale, low, high in [
        (0, 1, -1, 1),
        (0, 1, 10, 11),
        (0, 1, -30, -20),
        (0, 1, 100, 101),
        (0, 1, 100, 1e6),
        (5, 0.1, -1, 1),
        (-5, 0.01, -1, 1),
        (0, 1, 3, 1e30),
        (0.5, 1e4, 0, 1),
        (0, 0.001, -1, 1),
        (0, 1, -30, 3),
        (1e3, 1.0, -1, 1),
    ]:
        yield Case(
            pd.TruncatedNormal,
            {"loc": loc, "scale": scale, "low": low, "high": high},
            [low, low + 0.25 * min(high - low, 1), min(high, low + 1)],
            truncated,
        )
    for logits in (-100.0, 0, 100.0):
        for heat in (0.01, 1.0, 10.0):
            yield Case(
                pd.ConcreteBernoulli,
                {"logits": logits},
                [1e-30, 0.25, 0.5, 0.9999996],
                lambda x, logits, heat=heat: concrete(x, logits, heat),
                {"temperature": heat},
            )
    for loc, scale in [(0, 1), (3, 1e-2), (0, 1e-3), (-2, 10.0)]:
        yield Case(
            pd.TanhNormal,
            {"loc": loc, "scale": scale},
            [math.tanh(max(loc + scale * k, -3)) for k in (-1, 0.5, 1)],
            lambda x, loc, scale: stats.norm.logpdf(np.arctanh(x), loc, scale) - np.log1p(-x * x),
        )


def counted() -> Iterator[Case]:
    for logits in (-200.0, -30, -5, -1e-3, 0.0, 5.0, 30.0, 1e4):
        yield Case(
            pd.Bernoulli,
            {"logits": logits},
            [0, 1],
            lambda x, logits: special.log_expit(np.where(x > 0, logits, -logits)),
        )
        yield Case(
            pd.Geometric,
            {"logits": logits},
            [0, 1, 1e4],
            lambda x, logits: special.log_expit(logits) + x * special.log_expit(-logits),
        )
        for n in (1, 1e3, 1e6):
            yield Case(
                pd.Binomial,
                {"total_count": n, "logits": logits},
                [0, n // 2, n, round(n * special.expit(logits))],
                binomial,
            )
        for n in (1e-3, 1.0, 1e3, 1e6):
            yield Case(
                pd.NegativeBinomial,
                {"total_count": n, "logits": logits},
                [0, 1, 100],
                negative_binomial,
            )
    for probs in (1e-30, 1e-10, 0.5, 1 - 2**-23):
        yield Case(
            pd.Bernoulli,
            {"probs": probs},
            [0, 1],
            lambda x, probs: xlogy(x, probs) + special.xlog1py(1 - x, -probs),
        )
        yield Case(
            pd.Geometric,
            {"probs": probs},
            [0, 1, 100],
            lambda x, probs: np.log(probs) + special.xlog1py(x, -probs),
        )
        yield Case(
            pd.Binomial,
            {"total_count": 10.0, "probs": probs},
            [0, 1, 10],
            lambda x, total_count, probs: (
                lgamma(11)
                - lgamma(x + 1)
                - lgamma(11 - x)
                + xlogy(x, probs)
                + special.xlog1py(10 - x, -probs)
            ),
        )
    for rate in (1e-30, 1e-3, 1e3, 1e6, 1e8):
        yield Case(
            pd.Poisson,
            {"rate": rate},
            [0, 1, round(rate), round(rate + math.sqrt(rate))],
            lambda x, rate: xlogy(x, rate) - rate - lgamma(x + 1),
        )


CASES = [*on_the_line(), *positive(), *on_an_interval(), *counted()]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_density_has_the_digits_of_float32_and_finite_gradients(case: Case) -> None:
    params = {
        k: torch.full((len(case.values), 1), v, dtype=torch.float32).requires_grad_()
        for k, v in case.params.items()
    }
    x = torch.tensor(case.values, dtype=torch.float64)[:, None].float().requires_grad_()
    found = case.bound().get_log_prob({"x": x, **params})
    exact = {k: v.detach().double().numpy() for k, v in params.items()}
    want = np.asarray(case.log_density(x.detach().double().numpy(), **exact)).squeeze(-1)
    np.testing.assert_allclose(found.detach().double().numpy(), want, rtol=1e-4, atol=5e-4)
    slopes = torch.autograd.grad(
        found.sum(), [x, *params.values()], allow_unused=case.make is pd.Uniform
    )
    for name, slope in zip(["x", *params], slopes):
        assert slope is None or slope.isfinite().all(), (
            f"gradient of {name}: {slope.flatten().tolist()}"
        )


@pytest.mark.parametrize(
    ("loc", "scale"),
    [(0, 1), (20, 0.1), (-20, 0.1), (8.7, 0.1), (9, 2), (8, 0.01), (0, 10), (2, 1e-4)],
)
def test_tanh_normal_scores_its_own_saturated_draws(loc: float, scale: float) -> None:
    torch.manual_seed(0)
    given = {
        "loc": torch.full((1, 1), loc).float().requires_grad_(),
        "scale": torch.full((1, 1), scale).float(),
    }
    q = pd.TanhNormal(var="x", cond_var=["loc", "scale"], loc="loc", scale="scale")
    u = loc + scale * torch.randn(200_000, dtype=torch.float64)
    slope = 2 * (u + F.softplus(-2 * u) - math.log(2))
    want = (slope - math.log(scale) - 0.5 * math.log(2 * math.pi) - 0.5).mean().item()
    bits = Expectation(q, q.log_prob(), sample_shape=[100_000]).mean().eval(given)
    x = q.sample(given, sample_shape=[100_000])["x"]
    near = pytest.approx(want, abs=0.03 + 0.01 * scale)
    assert bits.item() == near and q.get_log_prob({"x": x, **given}).mean().item() == near
    (pathwise,) = torch.autograd.grad(bits, given["loc"])
    assert pathwise.item() == pytest.approx(2 * torch.tanh(u).mean().item(), abs=0.02)


@pytest.mark.parametrize(
    "make", [pd.ConcreteBernoulli, pd.ConcreteCategorical, pd.Kumaraswamy], ids=lambda m: m.__name__
)
def test_relaxed_draws_that_saturate_are_scored_as_in_float64(make: Any) -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        if make is pd.Kumaraswamy:
            q = make(var="x", concentration1=0.01, concentration0=0.05).to(dtype)
        else:
            q = make(var="x", logits=torch.tensor([-20.0, 0.0, 3.0]), temperature=0.01).to(dtype)
        torch.manual_seed(0)
        found.append(Expectation(q, q.log_prob(), sample_shape=[40_000]).mean().eval({}).item())
    assert found[0] == pytest.approx(found[1], rel=5e-3)


def draws(make: Any, count: int = 20_000, **params: Any) -> Any:
    torch.manual_seed(1)
    p = make(
        var="x",
        **{k: torch.as_tensor(v, dtype=torch.float32).reshape(-1) for k, v in params.items()},
    )
    return p.sample(sample_shape=[count])["x"].double().numpy()[:, 0]


DRAWN = [
    (pd.Beta, {"concentration1": 0.1, "concentration0": 1e3}, stats.beta(0.1, 1e3)),
    (pd.Beta, {"concentration1": 1e6, "concentration0": 1e6}, stats.beta(1e6, 1e6)),
    (pd.Gamma, {"concentration": 1e6, "rate": 1e-10}, stats.gamma(1e6, scale=1e10)),
    (pd.InverseGamma, {"concentration": 0.1, "rate": 1.0}, stats.invgamma(0.1)),
    (pd.StudentT, {"df": 0.1, "loc": 0.0, "scale": 1.0}, stats.t(0.1)),
    (pd.StudentT, {"df": 1e8, "loc": 0.0, "scale": 1.0}, stats.norm()),
    (pd.VonMises, {"loc": 0.5, "concentration": 1e6}, stats.norm(0.5, 1e-3)),
    (pd.Kumaraswamy, {"concentration1": 1.0, "concentration0": 1e3}, stats.beta(1, 1e3)),
    (pd.ContinuousBernoulli, {"logits": -200.0}, stats.expon(scale=1 / 200)),
    (pd.ContinuousBernoulli, {"logits": 0.0}, stats.uniform()),
    (pd.Weibull, {"scale": 1.0, "concentration": 1e4}, stats.weibull_min(1e4)),
    (pd.Pareto, {"scale": 1.0, "alpha": 0.1}, stats.pareto(0.1)),
    (
        pd.TruncatedNormal,
        {"loc": 0.0, "scale": 1.0, "low": 0.0, "high": 1e-6},
        stats.uniform(0, 1e-6),
    ),
    (
        pd.TruncatedNormal,
        {"loc": 0.0, "scale": 1.0, "low": 3.0, "high": 1e30},
        stats.truncnorm(3, 40),
    ),
    (pd.TruncatedNormal, {"loc": 0.0, "scale": 1.0, "low": -1e30, "high": 1e30}, stats.norm()),
]


@pytest.mark.parametrize(
    ("make", "params", "law"), DRAWN, ids=lambda v: getattr(v, "__name__", None)
)
def test_draws_have_the_law(make: Any, params: dict[str, float], law: Any) -> None:
    x = draws(make, **params)[:, 0]
    assert np.isfinite(x).all() and stats.kstest(x, law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("gap", [4.0, 10.0, 100.0, 1e4])
def test_truncated_normal_draws_behind_the_near_bound(gap: float, side: float) -> None:
    """The mean far outside: draws leave the near bound as an exponential variable, and move with
    it.
    """
    ends = [side * gap, side * (gap + 1)]
    given = {"loc": 0.0, "scale": 1.0, "low": min(ends), "high": max(ends)}
    params = {k: torch.full((1, 1), v).requires_grad_() for k, v in given.items()}
    p = pd.TruncatedNormal(var="x", cond_var=list(given), **{k: k for k in given})
    torch.manual_seed(0)
    x = p.sample(params, sample_shape=[20_000], reparam=True)["x"]
    slopes = dict(zip(params, torch.autograd.grad(x.mean(), list(params.values()))))
    assert slopes["low" if side > 0 else "high"].item() == pytest.approx(1.0, abs=0.2)
    assert all(v.isfinite().all() for v in slopes.values())
    mean, variance = p.sample_mean(params).item(), p.sample_variance(params).item()
    assert side * (x.mean().item() - mean) == pytest.approx(
        0.0, abs=5 * math.sqrt(variance / 20_000) + 2e-7 * gap
    )
    rest = side * x.detach().double().numpy().ravel() - gap
    if gap < 1e3:  # then the distances are below float32's grid
        assert rest.std() == pytest.approx(math.sqrt(variance), rel=0.05)


def test_beta_and_dirichlet_of_tiny_concentrations_draw_corners() -> None:
    x = draws(pd.Beta, concentration1=1e-3, concentration0=1e-3)[:, 0]
    middle = stats.beta.cdf(0.99, 1e-3, 1e-3) - stats.beta.cdf(0.01, 1e-3, 1e-3)
    assert ((x > 0.01) & (x < 0.99)).mean() == pytest.approx(middle, abs=4e-3) and abs(
        x.mean() - 0.5
    ) < 0.02
    corners = draws(pd.Dirichlet, concentration=[1e-3] * 3)
    assert (corners.max(-1) < 0.99).mean() < 0.02 and np.abs(corners.mean(0) - 1 / 3).max() < 0.02
    assert np.abs(corners.sum(-1) - 1).max() < 1e-5


@pytest.mark.parametrize(
    ("make", "params", "x"),
    [
        (pd.Beta, {"concentration1": 1.0, "concentration0": 1.0}, [0.0, 1.0]),
        (pd.Beta, {"concentration1": 1.0, "concentration0": 1e3}, [0.0]),
        (pd.Gamma, {"concentration": 1.0, "rate": 2.0}, [0.0]),
        (pd.Chi2, {"df": 2.0}, [0.0]),
        (pd.Weibull, {"scale": 2.0, "concentration": 1.0}, [0.0]),
        (pd.Kumaraswamy, {"concentration1": 1.0, "concentration0": 1.0}, [0.0, 1.0]),
        (pd.Poisson, {"rate": 0.0}, [0.0]),
        (pd.Bernoulli, {"probs": 0.0}, [0.0]),
        (pd.Bernoulli, {"probs": 1.0}, [1.0]),
        (pd.Binomial, {"total_count": 3.0, "probs": 0.0}, [0.0]),
        (pd.ContinuousBernoulli, {"probs": 0.5}, [0.0, 1.0]),
        (pd.TanhNormal, {"loc": 0.0, "scale": 1.0}, [-1.0, 1.0]),
        (pd.HalfNormal, {"scale": 1.0}, [0.0]),
        (pd.Exponential, {"rate": 1.0}, [0.0]),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_gradients_at_the_edge_of_the_support(
    make: Any, params: dict[str, float], x: list[float]
) -> None:
    given = {k: torch.full((len(x), 1), v).requires_grad_() for k, v in params.items()}
    value = torch.tensor(x)[:, None].requires_grad_()
    p = make(var="x", cond_var=list(params), **{k: k for k in params})
    found = p.get_log_prob({"x": value, **given})
    assert found.isfinite().all()
    assert all(
        g.isfinite().all() for g in torch.autograd.grad(found.sum(), [value, *given.values()])
    )


def dirichlet(x: Tensor, a: Tensor) -> float:
    x, a = x.double(), a.double()
    return float(torch.lgamma(a.sum()) - torch.lgamma(a).sum() + ((a - 1) * x.log()).sum())


@pytest.mark.parametrize("a", [[1.0, 1.0, 1.0], [0.1, 30.0, 2.0], [1e6, 1e6, 1e6], [1e6, 1.0, 0.5]])
def test_dirichlet_and_multinomial_of_large_counts(a: list[float]) -> None:
    share = torch.tensor(a) / sum(a)
    concentration = torch.tensor([a]).requires_grad_()
    p = pd.Dirichlet(var="x", cond_var="a", concentration="a")
    x = share.clamp(min=1e-6).requires_grad_()
    found = p.get_log_prob({"x": x[None], "a": concentration})
    assert found.item() == pytest.approx(dirichlet(x.detach(), torch.tensor(a)), rel=1e-4, abs=0.3)
    slopes = torch.autograd.grad(found.sum(), [x, concentration])
    assert all(g.isfinite().all() for g in slopes)
    edge = torch.tensor([[0.0, 0.4, 0.6]]).requires_grad_()
    if a[0] == 1.0:
        flat = p.get_log_prob({"x": edge, "a": concentration})
        slopes = torch.autograd.grad(flat.sum(), [edge, concentration])
        assert flat.item() == pytest.approx(math.log(2), abs=1e-6) and all(
            g.isfinite().all() for g in slopes
        )
    counts = (share * 3e6).round()
    many = pd.Multinomial(int(counts.sum()), var="x", probs=share).get_log_prob({"x": counts[None]})
    exact = stats.multinomial.logpmf(
        counts.numpy(), int(counts.sum()), share.double().numpy() / share.double().sum().item()
    )
    assert many.item() == pytest.approx(exact, rel=1e-4, abs=0.3)


def test_one_hot_families_at_large_logits() -> None:
    logits = torch.tensor([[-1e4, 0.0, 1e4], [80.0, 80.0, -80.0]]).requires_grad_()
    makes = [
        lambda: pd.Categorical("x", "l", logits="l"),
        lambda: pd.OneHotCategoricalStraightThrough(var="x", cond_var="l", logits="l"),
        lambda: pd.RelaxedCategorical(var="x", cond_var="l", logits="l", temperature=0.01),
    ]
    for make in makes:
        p = make()
        for k in range(3):
            x = torch.eye(3)[k].expand(2, 3)
            found = p.get_log_prob({"x": x, "l": logits})
            torch.testing.assert_close(
                found.double(), torch.log_softmax(logits.double(), -1)[:, k], rtol=1e-5, atol=1e-5
            )
            assert all(g.isfinite().all() for g in torch.autograd.grad(found.sum(), logits))
        assert p.get_entropy({"l": logits}).tolist() == pytest.approx([0.0, math.log(2)], abs=1e-5)
        assert p.sample({"l": logits}, sample_shape=[50])["x"].isfinite().all()
    mixed = pd.GroupedOneHot(1, 3, "x", "l", logits="l", unimix=0.01)
    found = mixed.get_log_prob({"x": torch.eye(3)[:2], "l": logits})
    assert found.tolist() == pytest.approx(
        [math.log(0.01 / 3), math.log(0.99 / 2 + 0.01 / 3)], abs=1e-4
    )


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_normals_of_vectors_at_tiny_and_huge_scales(size: float) -> None:
    tril = size * torch.tensor([[[1.0, 0.0], [0.5, 2.0]]])
    x = size * torch.tensor([[0.3, -0.4]])
    wanted = torch.distributions.MultivariateNormal(
        torch.zeros(2).double(), scale_tril=tril[0].double()
    ).log_prob(x.double())
    p = pd.MultivariateNormal(var="x", loc=torch.zeros(2), scale_tril=tril[0])
    torch.testing.assert_close(p.get_log_prob({"x": x}).double(), wanted, rtol=1e-5, atol=1e-4)
