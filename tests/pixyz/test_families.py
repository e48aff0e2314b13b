"""Laws of every family: its density equals a second implementation and sums to one, its samples
follow it.
"""

import math

import pytest
import torch
from family_parts import B, D, Family, Grouped, _event, every, points
from torch import Tensor

from pixyz.distributions import Bernoulli, Categorical, GroupedOneHot, TanhNormal
from pixyz.losses import Entropy, IterativeLoss, LogProb


@every
def test_log_density_equals_the_reference(f: Family) -> None:
    p = f.bound()
    for x in points(f):
        raw = f.dist().log_prob(x)
        torch.testing.assert_close(p.get_log_prob({"x": x, **f.params}, sum_features=False), raw)
        summed = raw if raw.ndim == 1 else raw.sum(-1)
        torch.testing.assert_close(p.get_log_prob({"x": x, **f.params}), summed)
        torch.testing.assert_close(p.prob().eval({"x": x, **f.params}), summed.exp())
        torch.testing.assert_close(
            p.torch_dist(f.params).log_prob(_event(f, x)).reshape(B, -1).sum(-1), summed
        )


@every
def test_density_has_mass_one(f: Family) -> None:
    p = f.bound()
    if f.values is not None:
        rows = [
            p.get_log_prob({"x": v.expand(B, -1), **f.params}, sum_features=f.make is GroupedOneHot)
            for v in f.values
        ]
        mass = torch.stack(rows).exp().sum(0)
    else:
        low, high = f.ends
        angle = torch.linspace(-math.pi / 2, math.pi / 2, 40_002, dtype=torch.float64)[1:-1]
        edges = low + (high - low) * (1 + angle.sin()) / 2  # dense at the ends
        middle = (edges[1:] + edges[:-1]) / 2
        x = middle[:, None, None].expand(-1, 1, D)
        params = {k: v[None] for k, v in f.params.items()}
        density = p.get_log_prob({"x": x, **params}, sum_features=False).exp()
        mass = (density * edges.diff()[:, None, None]).sum(0)
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=1e-4, atol=1e-4)


@every
def test_samples_have_the_mean_and_variance(f: Family) -> None:
    torch.manual_seed(0)
    count = 20_000
    x = f.bound().sample(f.params, sample_shape=[count])["x"]
    assert x.shape == (count, *f.params[next(iter(f.params))].shape) and x.dtype == torch.float64
    if f.make is TanhNormal:
        x, loc, spread = torch.atanh(x), f.params["loc"], f.params["scale"]
    else:
        loc, spread = f.dist().mean, f.dist().variance.sqrt()
    error = (x.mean(0) - loc) / (spread / math.sqrt(count))
    assert error.abs().max() < 5
    fourth = ((x - loc) ** 4).mean(0) - spread**4
    assert (
        (((x - loc) ** 2).mean(0) - spread**2)
        .abs()
        .le(5 * (fourth / count).clamp(min=1e-12).sqrt() + 1e-9)
        .all()
    )


@every
def test_mean_variance_and_entropy_equal_the_reference(f: Family) -> None:
    p = f.bound()
    if f.make is TanhNormal:
        torch.testing.assert_close(p.sample_mean(f.params), f.params["loc"].tanh())
        for call in (p.sample_variance, p.get_entropy):
            with pytest.raises(NotImplementedError, match=r"TanhNormal|entropy"):
                call(f.params)
        return
    torch.testing.assert_close(p.sample_mean(f.params), f.dist().mean)
    torch.testing.assert_close(p.sample_variance(f.params), f.dist().variance)
    raw = f.dist().entropy()
    torch.testing.assert_close(p.get_entropy(f.params, sum_features=False), raw)
    torch.testing.assert_close(Entropy(p).eval(f.params), raw if raw.ndim == 1 else raw.sum(-1))


@every
def test_samples_lie_in_the_support(f: Family) -> None:
    torch.manual_seed(1)
    x = f.bound().sample(f.params, sample_shape=[200])["x"]
    if f.values is None:
        assert (x > f.ends[0]).all() and (x < f.ends[1]).all()
        return
    assert set(x.unique().tolist()) == {0.0, 1.0}
    if f.make in (Categorical, GroupedOneHot):
        sums = _event(f, x).sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))


@every
def test_gradient_of_the_log_density(f: Family) -> None:
    p, x = f.bound(), points(f)[2]

    def log_prob(*params: Tensor) -> Tensor:
        return p.get_log_prob({"x": x, **dict(zip(f.params, params))})

    leaves = [v.clone().requires_grad_() for v in f.params.values()]
    assert torch.autograd.gradcheck(log_prob, leaves, fast_mode=True)


@every
def test_gradient_through_samples(f: Family) -> None:
    p = f.bound()

    def draw(*params: Tensor) -> Tensor:
        torch.manual_seed(3)
        return p.sample(dict(zip(f.params, params)), reparam=True)["x"]

    leaves = [v.clone().requires_grad_() for v in f.params.values()]
    x = draw(*leaves)
    if not p.has_reparam:
        assert f.make in (Bernoulli, Categorical) and not x.requires_grad
    elif f.make is GroupedOneHot:  # straight through: the gradient of the probabilities
        weight = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
        (straight,) = torch.autograd.grad((x * weight).sum(), leaves)
        (wanted,) = torch.autograd.grad(
            (Grouped(leaves[0], float(f.options["unimix"])).mean * weight).sum(), leaves
        )
        torch.testing.assert_close(straight, wanted)
        assert straight.abs().sum() > 0
    else:
        assert torch.autograd.gradcheck(draw, leaves, fast_mode=True)
    assert not p.sample(dict(zip(f.params, leaves)))["x"].requires_grad


@every
@pytest.mark.parametrize("shape", [(), (5,), (1,), (2, 5)], ids=str)
def test_shapes_of_constants(f: Family, shape: tuple[int, ...]) -> None:
    p = f.constant()
    features = f.params[next(iter(f.params))].shape[1:]
    torch.manual_seed(0)
    x = p.sample(batch_n=20, sample_shape=shape)["x"]
    assert x.shape == (*shape, 20, *features)
    flat = x.reshape(-1, *features)
    assert len(flat.unique(dim=0)) > 1
    assert p.sample()["x"].shape == (1, *features)
    assert p.get_log_prob({"x": flat}).shape == (len(flat),)
    first = {k: v[:1] for k, v in f.params.items()}
    torch.testing.assert_close(
        p.get_log_prob({"x": flat}), f.bound().get_log_prob({"x": flat, **first})
    )


@every
def test_series_equal_their_frames(f: Family) -> None:
    p, steps = f.bound(), 3
    series = {k: torch.stack([v, v.flip(0), v.roll(1, 0)]) for k, v in f.params.items()}
    x = torch.stack(list(points(f)[:steps]))
    loss = IterativeLoss(LogProb(p), series_var=["x", *series], reduction=None)
    found = loss.eval({"x": x, **series})
    frames = [
        p.get_log_prob({"x": x[t], **{k: v[t] for k, v in series.items()}}) for t in range(steps)
    ]
    torch.testing.assert_close(found, torch.stack(frames))
    direct = p.get_log_prob({"x": x, **series}, sum_features=False)
    raw = [
        p.get_log_prob({"x": x[t], **{k: v[t] for k, v in series.items()}}, sum_features=False)
        for t in range(steps)
    ]
    torch.testing.assert_close(direct, torch.stack(raw))


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_type_of_the_parameters_is_kept(f: Family, dtype: torch.dtype) -> None:
    p, params = f.bound(), {k: v.to(dtype) for k, v in f.params.items()}
    x = p.sample(params)["x"]
    assert x.dtype == dtype
    assert p.get_log_prob({"x": x, **params}).dtype == dtype
    assert p.sample_mean(params).dtype == dtype


@every
def test_equal_seeds_give_equal_samples_and_new_calls_new_ones(f: Family) -> None:
    p = f.bound()

    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return p.sample(f.params, sample_shape=[20])["x"]

    torch.testing.assert_close(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
