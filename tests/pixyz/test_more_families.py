"""Laws of the families by kind: mass one, samples follow the density, values equal torch's and SciPy's, gradients flow."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch import distributions as td

from pixyz import distributions as pd
from pixyz.distributions.parametric import ParametricDistribution
from pixyz.distributions.torch_family import TorchFamily
from pixyz.losses import E, Entropy, IterativeLoss, LogProb, Parameter

B, D, K = 3, 2, 3
INF = math.inf
HALF = torch.tensor(0.5, dtype=torch.float64)
draw = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape or (B, D), dtype=torch.float64, generator=draw)


def positive(low: float = 0.5, high: float = 2.0) -> Tensor:
    return low + (high - low) * torch.rand((B, D), dtype=torch.float64, generator=draw)


def tril() -> Tensor:
    return torch.tril(normal(B, K, K) / 3) + torch.eye(K, dtype=torch.float64)


def simplex() -> Tensor:
    return normal(B, K).softmax(-1)


@dataclass
class Law:
    """A family, parameters ``[B, ...]`` for it, where it lives, and its second implementations."""

    make: Callable[..., ParametricDistribution]
    params: dict[str, Tensor]
    lives: Any = (-INF, INF)
    """Ends of an interval (numbers or names of parameters), or a list of all values."""
    torch: Callable[..., td.Distribution] | None = None
    scipy: Callable[..., Any] | None = None
    moments: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def bound(self) -> ParametricDistribution:
        keys = list(self.params)
        return self.make(var="x", cond_var=keys, **dict(zip(keys, keys)), **self.options)

    def reference(self, **params: Tensor) -> td.Distribution:
        assert self.torch is not None
        return self.torch(**(params or self.params))

    @property
    def discrete(self) -> bool:
        return isinstance(self.lives, list)

    @property
    def univariate(self) -> bool:
        return next(iter(self.params.values())).shape == (B, D)

    def ends(self) -> tuple[Tensor, Tensor]:
        low, high = (self.params[e] if isinstance(e, str) else torch.full((B, D), e, dtype=torch.float64) for e in self.lives)
        return low, high

    def grid(self, count: int = 40_000) -> tuple[Tensor, Tensor]:
        """Points ``[count, B, D]`` over the interval and the length that each stands for."""
        u = ((torch.arange(count, dtype=torch.float64) + 0.5) / count)[:, None, None]
        low, high = self.ends()
        if self.lives == (-INF, INF):
            return torch.tan(math.pi * (u - 0.5)).expand(-1, B, D), (math.pi / torch.cos(math.pi * (u - 0.5)) ** 2 / count)
        if self.lives[1] == INF:
            return low + (u / (1 - u)) ** 2, (2 * u / (1 - u) ** 3 / count)
        return low + (high - low) * u * u * (3 - 2 * u), (high - low) * 6 * u * (1 - u) / count


def counts(top: int) -> list[Tensor]:
    return [torch.tensor([float(n)], dtype=torch.float64) for n in range(top + 1)]


def compositions(total: int) -> list[Tensor]:
    return [torch.tensor(c, dtype=torch.float64) for c in itertools.product(range(total + 1), repeat=K) if sum(c) == total]


ONE_HOT = list(torch.eye(K, dtype=torch.float64))
gamma = {"concentration": positive(1.2, 3.0), "rate": positive()}
heavy = {"concentration": positive(6.0, 9.0), "rate": positive()}
line = {"loc": normal(), "scale": positive()}
beta = {"concentration1": positive(1.2, 3.0), "concentration0": positive(1.2, 3.0)}
logits = {"logits": normal()}
box = {"loc": normal(), "scale": positive(), "low": -positive(), "high": positive()}
wide = {"loc": normal(B, K), "scale_tril": tril()}
low_rank = {"loc": normal(B, K), "cov_factor": normal(B, K, 2), "cov_diag": positive()[:, :1].expand(B, K).clone()}

LAWS = [
    Law(pd.Laplace, line, torch=td.Laplace, scipy=lambda loc, scale: stats.laplace(loc, scale)),
    Law(pd.Cauchy, line, torch=td.Cauchy, scipy=lambda loc, scale: stats.cauchy(loc, scale), moments=False),
    Law(pd.Gumbel, line, torch=td.Gumbel, scipy=lambda loc, scale: stats.gumbel_r(loc, scale)),
    Law(pd.StudentT, {"df": positive(6.0, 9.0), **line}, torch=td.StudentT, scipy=lambda df, loc, scale: stats.t(df, loc, scale)),
    Law(pd.VonMises, {"loc": normal() / 2, "concentration": positive()}, (-math.pi, math.pi), td.VonMises,
        lambda loc, concentration: stats.vonmises(concentration, loc), moments=False),
    Law(pd.LogNormal, {"loc": normal() / 2, "scale": positive(0.3, 0.6)}, (0.0, INF), td.LogNormal,
        lambda loc, scale: stats.lognorm(scale, scale=np.exp(loc))),
    Law(pd.Gamma, gamma, (0.0, INF), td.Gamma, lambda concentration, rate: stats.gamma(concentration, scale=1 / rate)),
    Law(pd.InverseGamma, heavy, (0.0, INF), td.InverseGamma,
        lambda concentration, rate: stats.invgamma(concentration, scale=rate)),
    Law(pd.Chi2, {"df": positive(2.5, 5.0)}, (0.0, INF), td.Chi2, lambda df: stats.chi2(df)),
    Law(pd.Exponential, {"rate": positive()}, (0.0, INF), td.Exponential, lambda rate: stats.expon(scale=1 / rate)),
    Law(pd.HalfNormal, {"scale": positive()}, (0.0, INF), td.HalfNormal, lambda scale: stats.halfnorm(scale=scale)),
    Law(pd.HalfCauchy, {"scale": positive()}, (0.0, INF), td.HalfCauchy, lambda scale: stats.halfcauchy(scale=scale), False),
    Law(pd.Pareto, {"scale": positive(), "alpha": positive(6.0, 9.0)}, ("scale", INF), td.Pareto,
        lambda scale, alpha: stats.pareto(alpha, scale=scale)),
    Law(pd.Weibull, {"scale": positive(), "concentration": positive(1.2, 3.0)}, (0.0, INF), td.Weibull,
        lambda scale, concentration: stats.weibull_min(concentration, scale=scale)),
    Law(pd.Uniform, {"low": box["low"], "high": box["high"]}, ("low", "high"), td.Uniform,
        lambda low, high: stats.uniform(low, high - low)),
    Law(pd.Beta, beta, (0.0, 1.0), td.Beta, lambda concentration1, concentration0: stats.beta(concentration1, concentration0)),
    Law(pd.Kumaraswamy, beta, (0.0, 1.0), td.Kumaraswamy),
    Law(pd.ContinuousBernoulli, logits, (0.0, 1.0), td.ContinuousBernoulli, name="ContinuousBernoulli-logits"),
    Law(pd.ContinuousBernoulli, {"probs": normal().sigmoid()}, (0.0, 1.0), td.ContinuousBernoulli,
        name="ContinuousBernoulli-probs"),
    Law(pd.TruncatedNormal, box, ("low", "high"), scipy=lambda loc, scale, low, high: stats.truncnorm(
        (low - loc) / scale, (high - loc) / scale, loc, scale)),
    Law(pd.ConcreteBernoulli, logits, (0.0, 1.0), lambda logits: td.RelaxedBernoulli(HALF, logits=logits), moments=False,
        options={"temperature": 0.5}),
    Law(pd.Poisson, {"rate": positive(0.5, 5.0)}, counts(40), td.Poisson, lambda rate: stats.poisson(rate)),
    Law(pd.Binomial, {"total_count": torch.full((B, D), 5.0, dtype=torch.float64), **logits}, counts(5), td.Binomial,
        lambda total_count, logits: stats.binom(total_count, 1 / (1 + np.exp(-logits))), name="Binomial-logits"),
    Law(pd.Binomial, {"probs": normal().sigmoid()}, counts(4), lambda probs: td.Binomial(4, probs),
        lambda probs: stats.binom(4, probs), options={"total_count": 4}, name="Binomial-probs"),
    Law(pd.NegativeBinomial, {"total_count": positive(1.0, 3.0), "probs": positive(0.2, 0.5)}, counts(80), td.NegativeBinomial,
        lambda total_count, probs: stats.nbinom(total_count, 1 - probs)),
    Law(pd.Geometric, {"probs": positive(0.3, 0.8)}, counts(80), td.Geometric, lambda probs: stats.geom(probs, loc=-1)),
    Law(pd.OneHotCategoricalStraightThrough, {"logits": normal(B, K)}, ONE_HOT, td.OneHotCategoricalStraightThrough),
    Law(pd.Multinomial, {"probs": simplex()}, compositions(4), lambda probs: td.Multinomial(4, probs), None,
        options={"total_count": 4}),
    Law(pd.Dirichlet, {"concentration": 1 + normal(B, K).exp()}, None, td.Dirichlet),
    Law(pd.MultivariateNormal, wide, None, td.MultivariateNormal, name="MultivariateNormal-tril"),
    Law(pd.MultivariateNormal, {"loc": wide["loc"], "covariance_matrix": wide["scale_tril"] @ wide["scale_tril"].mT}, None,
        td.MultivariateNormal, name="MultivariateNormal-covariance"),
    Law(pd.LowRankMultivariateNormal, low_rank, None, td.LowRankMultivariateNormal),
    Law(pd.ConcreteCategorical, {"logits": normal(B, K)}, None, lambda logits: td.RelaxedOneHotCategorical(HALF, logits=logits),
        moments=False, options={"temperature": 0.5}),
    Law(pd.RelaxedBernoulli, logits, [torch.zeros(1).double(), torch.ones(1).double()], None,
        lambda logits: stats.bernoulli(1 / (1 + np.exp(-logits))), moments=False, options={"temperature": 0.5}),
    Law(pd.RelaxedCategorical, {"logits": normal(B, K)}, ONE_HOT, None, None, moments=False, options={"temperature": 0.5}),
]
for law in LAWS:
    law.name = law.name or law.make.__name__


def some(choose: Callable[[Law], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("law", [law for law in LAWS if choose(law)], ids=lambda law: law.name)


every = some(lambda law: True)
RELAXED = (pd.RelaxedBernoulli, pd.RelaxedCategorical)


def samples(law: Law, count: int) -> Tensor:
    torch.manual_seed(1)
    return law.bound().sample(law.params, sample_shape=[count])["x"]


def points(law: Law) -> Tensor:
    """Values in the support, ``[count, B, ...]``."""
    if law.discrete:
        width = K if not law.univariate else D
        return torch.stack([v.expand(B, width) for v in law.lives[:6]])
    return samples(law, 6)


def test_every_family_is_here_or_in_the_other_table() -> None:
    known = {law.make for law in LAWS} | {
        pd.Normal, pd.BoundedNormal, pd.TanhNormal, pd.Bernoulli, pd.Categorical, pd.GroupedOneHot, pd.TwoHot,
        pd.FactorizedBernoulli, pd.ProductOfNormal, pd.ElementWiseProductOfNormal,
    }
    public = {p for p in vars(pd).values() if isinstance(p, type) and issubclass(p, ParametricDistribution)}
    assert public - {ParametricDistribution} == known


@every
def test_log_density_equals_torch_and_scipy(law: Law) -> None:
    p, x = law.bound(), points(law)
    for row in x:
        found = p.get_log_prob({"x": row, **law.params}, sum_features=False)
        assert found.shape == ((B, D) if law.univariate else (B,))
        if law.torch is not None:
            torch.testing.assert_close(found, law.reference().log_prob(row))
        if law.scipy is not None:
            frozen = law.scipy(**{k: v.numpy() for k, v in law.params.items()})
            wanted = frozen.logpmf(row) if law.discrete else frozen.logpdf(row)
            torch.testing.assert_close(found, torch.as_tensor(wanted), rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(p.get_log_prob({"x": row, **law.params}), found if found.ndim == 1 else found.sum(-1))
    assert law.torch is not None or law.scipy is not None or law.make is pd.RelaxedCategorical


@some(lambda law: law.lives is not None)
def test_density_has_mass_one_and_samples_follow_it(law: Law) -> None:
    p, many = law.bound(), 8000
    x = None if law.make in RELAXED else samples(law, many)
    if law.discrete:
        masses = []
        for value in law.lives:
            row = value.expand(B, K if not law.univariate else D)
            mass = p.get_log_prob({"x": row, **law.params}, sum_features=False).exp()
            masses.append(mass)
            if x is not None:
                hits = x == row
                share = (hits if law.univariate else hits.all(-1)).double().mean(0)
                assert ((share - mass).abs() < 4.5 * (mass * (1 - mass) / many).sqrt() + 3 / many).all()  # some are rare
        total = torch.stack(masses).sum(0)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-5, atol=1e-5)
        return
    assert x is not None
    grid, length = law.grid()
    wide = {k: v[None] for k, v in law.params.items()}
    below = (p.get_log_prob({"x": grid, **wide}, sum_features=False).exp() * length).cumsum(0)
    torch.testing.assert_close(below[-1], torch.ones_like(below[-1]), rtol=1e-4, atol=1e-4)
    for i, j in itertools.product(range(B), range(D)):
        place = torch.searchsorted(grid[:, i, j].contiguous(), x[:, i, j].sort().values).clamp(max=len(grid) - 1)
        gap = below[place, i, j] - (torch.arange(many, dtype=torch.float64) + 0.5) / many
        assert gap.abs().max() < 2.1 / math.sqrt(many)  # Kolmogorov: probability 3e-4 each, seed fixed


@some(lambda law: law.moments)
def test_mean_and_variance_equal_references_and_samples(law: Law) -> None:
    p, many = law.bound(), 20_000
    mean, variance = p.sample_mean(law.params), p.sample_variance(law.params)
    if law.torch is not None:
        torch.testing.assert_close(mean, law.reference().mean)
        torch.testing.assert_close(variance, law.reference().variance)
    if law.scipy is not None:
        frozen = law.scipy(**{k: v.numpy() for k, v in law.params.items()})
        torch.testing.assert_close(mean, torch.as_tensor(frozen.mean()), rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(variance, torch.as_tensor(frozen.var()), rtol=1e-6, atol=1e-8)
    x = samples(law, many)
    assert ((x.mean(0) - mean).abs() < 4.5 * (variance / many).sqrt() + 1e-9).all()
    spread = ((x - mean) ** 2 - variance).square().mean(0).sqrt()
    assert (((x - mean) ** 2).mean(0) - variance).abs().le(5 * spread / math.sqrt(many) + 1e-9).all()


@some(lambda law: getattr(law.bound(), "entropy_of", None) is not None)
def test_entropy_equals_samples(law: Law) -> None:
    p, many = law.bound(), 6000
    exact = Entropy(p).eval(law.params)
    torch.manual_seed(0)
    if law.make in RELAXED:
        discrete = pd.Bernoulli if law.make is pd.RelaxedBernoulli else pd.Categorical
        wanted = Entropy(discrete(var="x", cond_var="logits", logits="logits")).eval(law.params)
        torch.testing.assert_close(exact, wanted)
        return
    mean = E(p, LogProb(p), sample_shape=[many]).eval(law.params)
    squares = E(p, LogProb(p) * LogProb(p), sample_shape=[many]).eval(law.params)
    assert ((exact + mean).abs() < 5 * ((squares - mean**2).clamp(min=0) / many).sqrt() + 1e-6).all()


@every
def test_gradients_of_the_log_density(law: Law) -> None:
    p, x = law.bound(), points(law)[1].clone()
    keys = [k for k in law.params if k != "total_count" or law.make is not pd.Binomial]
    fixed = {k: v for k, v in law.params.items() if k not in keys}

    def log_prob(*values: Tensor) -> Tensor:
        shown = dict(zip(keys, values))
        if "covariance_matrix" in shown:  # only symmetric matrices are covariances
            shown["covariance_matrix"] = (shown["covariance_matrix"] + shown["covariance_matrix"].mT) / 2
        return p.get_log_prob({"x": x, **shown, **fixed})

    leaves = [law.params[k].clone().requires_grad_() for k in keys]
    assert torch.autograd.gradcheck(log_prob, leaves, fast_mode=True)


@every
def test_gradients_through_samples(law: Law) -> None:
    p = law.bound()
    leaves = {k: v.clone().requires_grad_() for k, v in law.params.items()}
    torch.manual_seed(0)
    x = p.sample(leaves, sample_shape=[4000], reparam=True)["x"]
    assert x.requires_grad == p.has_reparam
    assert not p.sample(leaves)["x"].requires_grad
    if law.torch is not None and law.make is not pd.TruncatedNormal:
        assert p.has_reparam == law.reference().has_rsample
    if not p.has_reparam:
        return
    if not law.moments:
        slopes = torch.autograd.grad(x.tanh().sum(), list(leaves.values()))
        assert all(torch.isfinite(g).all() and g.abs().sum() > 0 for g in slopes)
        return
    found = torch.autograd.grad(x.mean(0).sum(), list(leaves.values()), allow_unused=True)
    wanted = torch.autograd.grad(p.sample_mean(leaves).sum(), list(leaves.values()), allow_unused=True)
    for a, b in zip(found, wanted):
        a, b = (torch.zeros(()) if g is None else g for g in (a, b))
        assert (a - b).abs().max() < 0.15 * max(1.0, float(b.abs().max()))


@every
@pytest.mark.parametrize("shape", [(), (2, 3)], ids=str)
def test_constants_have_shapes(law: Law, shape: tuple[int, ...]) -> None:
    constants = {k: v[0] for k, v in law.params.items()}
    p = law.make(var="x", **constants, **law.options)
    width = (D,) if law.univariate else (K,)
    assert p.features_shape == width
    x = p.sample(batch_n=5, sample_shape=shape)["x"]
    assert x.shape == (*shape, 5, *width) and len(x.reshape(-1, *width).unique(dim=0)) > 1
    one = p.sample(batch_n=5)["x"]
    first = {k: v[:1] for k, v in law.params.items()}
    torch.testing.assert_close(p.get_log_prob({"x": one}), law.bound().get_log_prob({"x": one, **first}))
    learned = law.make(var="x", **{k: nn.Parameter(v) for k, v in constants.items()}, **law.options)
    torch.testing.assert_close(learned.get_log_prob({"x": one}), p.get_log_prob({"x": one}))


@every
def test_networks_and_series(law: Law) -> None:
    """A network gives the parameters; over a series the density is that of each frame."""
    keys, steps = list(law.params), 3

    class Net(law.make):  # type: ignore[misc, name-defined]
        def forward(self, **given: Tensor) -> dict[str, Tensor]:
            return {k: given[f"in_{k}"] for k in keys}

    options = law.options if law.make is not pd.Binomial else {"total_count": law.options.get("total_count")}
    p = Net(var="x", cond_var=[f"in_{k}" for k in keys], **options)
    assert p.distribution_name == law.make.__name__
    x = points(law)[:steps]
    series = {f"in_{k}": torch.stack([v, v.flip(0), v.roll(1, 0)])[: len(x)] for k, v in law.params.items()}
    found = IterativeLoss(LogProb(p), series_var=["x", *series], reduction=None).eval({"x": x, **series})
    bound = law.bound()
    frames = [bound.get_log_prob({"x": x[t], **{k: series[f"in_{k}"][t] for k in keys}}) for t in range(len(x))]
    torch.testing.assert_close(found, torch.stack(frames))
    drawn = p.sample({f"in_{k}": v for k, v in law.params.items()}, sample_shape=[2])["x"]
    assert drawn.shape[:2] == (2, B) and drawn.dtype == torch.float64


@some(lambda law: law.lives is not None and not law.discrete)
def test_there_is_no_density_outside(law: Law) -> None:
    p = law.bound()
    low, high = law.ends()
    if law.make in (pd.ConcreteBernoulli, pd.VonMises):  # an angle has no outside
        return
    for x in ([low - 0.5] if low.isfinite().all() else []) + ([high + 0.5] if high.isfinite().all() else []):
        leaves = {k: v.clone().requires_grad_() for k, v in law.params.items()}
        found = p.get_log_prob({"x": x, **leaves}, sum_features=False)
        assert (found == -INF).all()
        for g in torch.autograd.grad(found.exp().sum(), list(leaves.values()), allow_unused=True):
            assert g is None or torch.isfinite(g).all()


@some(lambda law: issubclass(law.make, TorchFamily))  # type: ignore[arg-type]
def test_torch_s_own_object(law: Law) -> None:
    p = law.bound()
    assert type(p.dist(law.params)) is type(law.reference())
    torch.testing.assert_close(p.dist(law.params).log_prob(points(law)[0]), law.reference().log_prob(points(law)[0]))


def test_truncated_normal_far_in_the_tail() -> None:
    """Ten standard deviations off, density, mean and samples still agree with SciPy."""
    for low, high in ((10.0, 12.0), (-12.0, -10.0), (6.0, INF)):
        p = pd.TruncatedNormal(var="x", loc=0.0, scale=1.0, low=low, high=high).double()
        wanted = stats.truncnorm(low, high)
        x = torch.linspace(low + 0.01, low + 1.5, 9, dtype=torch.float64)
        torch.testing.assert_close(p.get_log_prob({"x": x}), torch.as_tensor(wanted.logpdf(x)), rtol=1e-6, atol=1e-6)
        torch.manual_seed(0)
        drawn = p.sample(batch_n=4000)["x"]
        assert ((drawn >= low) & (drawn <= high)).all()
        assert abs(drawn.mean().item() - wanted.mean()) < 5 * wanted.std() / math.sqrt(4000)


def test_truncated_normal_gradient_equals_finite_differences() -> None:
    def sample(loc: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
        torch.manual_seed(0)
        p = pd.TruncatedNormal(var="x", cond_var=list("lsab"), loc="l", scale="s", low="a", high="b")
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
    torch.testing.assert_close(q.get_log_prob({"x": x, "l": loc}, sum_features=False), wanted.log_prob(x))
    torch.testing.assert_close(q.get_log_prob({"x": x, "l": loc}), wanted.log_prob(x).sum(-1))
    torch.testing.assert_close(q.get_log_prob({"x": x, "l": loc}, feature_dims=[1]), wanted.log_prob(x).sum(-1))
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
        with pytest.raises(NotImplementedError, match="mean"):
            p.sample_mean()
        with pytest.raises(ValueError, match="temperature"):
            make(var="x", logits=torch.zeros(width), temperature=0.0)


class Chain(pd.Gamma):
    """A random walk of positive numbers: mean 1 whatever came before, spread by what came before."""

    def __init__(self) -> None:
        super().__init__(var="z", cond_var=["z_prev"])

    def forward(self, z_prev: Tensor) -> dict[str, Tensor]:
        return {"concentration": 1 + z_prev, "rate": 1 + z_prev}


@pytest.mark.parametrize("fission", [True, False])
def test_samplers_without_base_noise_run_in_a_loop(fission: bool) -> None:
    p, steps, many = Chain(), 4, 4000
    step = E(p, Parameter("z"))
    loss = IterativeLoss(step, max_iter=steps, update_value={"z": "z_prev"}, reduction=None, fission=fission)
    torch.manual_seed(0)
    start = torch.ones(many, 1, dtype=torch.float64)
    found = loss.eval({"z_prev": start})
    path = found.reshape(steps, many)
    assert ((path.mean(1) - 1).abs() < 5 * path.std(1) / math.sqrt(many)).all()
    spread = [1 / 2.0, (1 / (1 + path[0])).mean().item()]
    assert abs(path[0].var().item() - spread[0]) < 0.06 and abs(path[1].var().item() - spread[1]) < 0.08
    assert len(path[0].unique()) == many and not torch.equal(path[0], path[1])
