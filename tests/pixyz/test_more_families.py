"""Laws of the families by kind: mass one, samples follow the density, values equal torch's and
SciPy's, gradients flow.
"""

import itertools
import math

import pytest
import torch
from law_parts import INF, LAWS, RELAXED, B, D, K, Law, every, points, samples, some
from torch import Tensor, nn

from pixyz import distributions as pd
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.losses import E, Entropy, IterativeLoss, LogProb


def test_every_family_is_in_the_table() -> None:
    """But for two that are no densities, and the products of experts, which are Normal."""
    known = {law.make for law in LAWS} | {
        pd.TwoHot,
        pd.FactorizedBernoulli,
        pd.ProductOfNormal,
        pd.ElementWiseProductOfNormal,
    }
    public = {
        p
        for p in vars(pd).values()
        if isinstance(p, type) and issubclass(p, ParametricDistribution)
    }
    assert public - {ParametricDistribution} == known


@every
def test_log_density_equals_torch_and_scipy(law: Law) -> None:
    p, x = law.bound(), points(law)
    for row in x:
        found = p.get_log_prob({"x": row, **law.params}, sum_features=not law.univariate)
        assert found.shape == ((B, D) if law.univariate else (B,))
        if law.torch is not None:
            torch.testing.assert_close(found, law.reference().log_prob(row))
        if law.scipy is not None:
            frozen = law.scipy(**{k: v.numpy() for k, v in law.params.items()})
            wanted = frozen.logpmf(row) if law.discrete else frozen.logpdf(row)
            torch.testing.assert_close(found, torch.as_tensor(wanted), rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(
            p.get_log_prob({"x": row, **law.params}), found if found.ndim == 1 else found.sum(-1)
        )
    assert law.torch is not None or law.scipy is not None or law.make is pd.RelaxedCategorical


@some(lambda law: law.lives is not None)
def test_density_has_mass_one_and_samples_follow_it(law: Law) -> None:
    p, many = law.bound(), 8000
    x = None if law.make in RELAXED else samples(law, many)
    if law.discrete:
        masses = []
        for value in law.lives:
            row = value.expand(B, K if not law.univariate else D)
            mass = p.get_log_prob({"x": row, **law.params}, sum_features=not law.univariate).exp()
            masses.append(mass)
            if x is not None:
                hits = x == row
                share = (hits if law.univariate else hits.all(-1)).double().mean(0)
                assert (
                    (share - mass).abs() < 4.5 * (mass * (1 - mass) / many).sqrt() + 3 / many
                ).all()  # some are rare
        total = torch.stack(masses).sum(0)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-5, atol=1e-5)
        return
    assert x is not None
    grid, length = law.grid()
    wide = {k: v[None] for k, v in law.params.items()}
    below = (p.get_log_prob({"x": grid, **wide}, sum_features=False).exp() * length).cumsum(0)
    torch.testing.assert_close(below[-1], torch.ones_like(below[-1]), rtol=1e-4, atol=1e-4)
    for i, j in itertools.product(range(B), range(D)):
        place = torch.searchsorted(grid[:, i, j].contiguous(), x[:, i, j].sort().values).clamp(
            max=len(grid) - 1
        )
        gap = below[place, i, j] - (torch.arange(many, dtype=torch.float64) + 0.5) / many
        # Kolmogorov: probability 3e-4 each, seed fixed
        assert gap.abs().max() < 2.1 / math.sqrt(many)


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
    assert (
        (((x - mean) ** 2).mean(0) - variance).abs().le(5 * spread / math.sqrt(many) + 1e-9).all()
    )


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
    assert (
        (exact + mean).abs() < 5 * ((squares - mean**2).clamp(min=0) / many).sqrt() + 1e-6
    ).all()


@every
def test_gradients_of_the_log_density(law: Law) -> None:
    p, x = law.bound(), points(law)[1].clone()
    keys = [k for k in law.params if k != "total_count" or law.make is not pd.Binomial]
    fixed = {k: v for k, v in law.params.items() if k not in keys}

    def log_prob(*values: Tensor) -> Tensor:
        shown = dict(zip(keys, values))
        if "covariance_matrix" in shown:  # only symmetric matrices are covariances
            shown["covariance_matrix"] = (
                shown["covariance_matrix"] + shown["covariance_matrix"].mT
            ) / 2
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
    wanted = torch.autograd.grad(
        p.sample_mean(leaves).sum(), list(leaves.values()), allow_unused=True
    )
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
    torch.manual_seed(0)
    x = p.sample(batch_n=20, sample_shape=shape)["x"]
    assert x.shape == (*shape, 20, *width) and len(x.reshape(-1, *width).unique(dim=0)) > 1
    one = p.sample(batch_n=5)["x"]
    first = {k: v[:1] for k, v in law.params.items()}
    torch.testing.assert_close(
        p.get_log_prob({"x": one}), law.bound().get_log_prob({"x": one, **first})
    )
    learned = law.make(var="x", **{k: nn.Parameter(v) for k, v in constants.items()}, **law.options)
    torch.testing.assert_close(learned.get_log_prob({"x": one}), p.get_log_prob({"x": one}))


@every
def test_networks_and_series(law: Law) -> None:
    """A network gives the parameters; over a series the density is that of each frame."""
    keys, steps = list(law.params), 3

    class Net(law.make):  # type: ignore[misc, name-defined]
        def forward(self, **given: Tensor) -> dict[str, Tensor]:
            return {k: given[f"in_{k}"] for k in keys}

    options = (
        law.options
        if law.make is not pd.Binomial
        else {"total_count": law.options.get("total_count")}
    )
    p = Net(var="x", cond_var=[f"in_{k}" for k in keys], **options)
    assert p.distribution_name == law.make.__name__
    x = points(law)[:steps]
    series = {
        f"in_{k}": torch.stack([v, v.flip(0), v.roll(1, 0)])[: len(x)]
        for k, v in law.params.items()
    }
    found = IterativeLoss(LogProb(p), series_var=["x", *series], reduction=None).eval(
        {"x": x, **series}
    )
    bound = law.bound()
    frames = [
        bound.get_log_prob({"x": x[t], **{k: series[f"in_{k}"][t] for k in keys}})
        for t in range(len(x))
    ]
    torch.testing.assert_close(found, torch.stack(frames))
    drawn = p.sample({f"in_{k}": v for k, v in law.params.items()}, sample_shape=[2])["x"]
    assert drawn.shape[:2] == (2, B) and drawn.dtype == torch.float64


@some(lambda law: law.lives is not None and not law.discrete)
def test_there_is_no_density_outside(law: Law) -> None:
    p = law.bound()
    low, high = law.ends()
    if law.make in (pd.ConcreteBernoulli, pd.VonMises):  # an angle has no outside
        return
    for x in ([low - 0.5] if low.isfinite().all() else []) + (
        [high + 0.5] if high.isfinite().all() else []
    ):
        leaves = {k: v.clone().requires_grad_() for k, v in law.params.items()}
        found = p.get_log_prob({"x": x, **leaves}, sum_features=False)
        assert (found == -INF).all()
        for g in torch.autograd.grad(found.exp().sum(), list(leaves.values()), allow_unused=True):
            assert g is None or torch.isfinite(g).all()


@some(lambda law: law.make.torch_family is not None)  # type: ignore[attr-defined]
def test_torch_s_own_object(law: Law) -> None:
    p = law.bound()
    assert type(p.torch_dist(law.params)) is type(law.reference())
    torch.testing.assert_close(
        p.torch_dist(law.params).log_prob(points(law)[0]), law.reference().log_prob(points(law)[0])
    )
