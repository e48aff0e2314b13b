"""What every family does as an object: copies, types, renamings, marginals, an empty batch, extreme
parameters.
"""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from law_parts import LAWS, B, Law, every, points, some
from torch import Tensor, nn

from pixyz import distributions as pd


def constant(law: Law, wrap: Callable[[Tensor], Tensor] = lambda v: v) -> pd.ParametricDistribution:
    """The family with the first row of its parameters as constants."""
    return law.make(var="x", **{k: wrap(v[0]) for k, v in law.params.items()}, **law.options)


@every
def test_copies_after_use(law: Law) -> None:
    p, x = constant(law), {"x": points(law)[0]}
    p.sample(batch_n=B)
    wanted = p.get_log_prob(x)
    for twin in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        torch.testing.assert_close(twin.get_log_prob(x), wanted)
    learned = constant(law, nn.Parameter)
    other = constant(law, lambda v: nn.Parameter(v + 0.01))
    other.load_state_dict(learned.state_dict())
    torch.testing.assert_close(other.get_log_prob(x), wanted)
    assert {k.split(".")[-1] for k in learned.state_dict()} >= set(law.params)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_follows_the_module(law: Law, dtype: torch.dtype) -> None:
    p = constant(law).to(dtype)
    x = p.sample(batch_n=B)["x"]
    assert x.dtype == dtype and p.get_log_prob({"x": x}).dtype == dtype
    wanted = constant(law).get_log_prob({"x": x.double()})
    torch.testing.assert_close(p.get_log_prob({"x": x}).double(), wanted, rtol=2e-3, atol=2e-3)


@every
def test_variables_and_conditions_are_renamed(law: Law) -> None:
    p, x = law.bound(), points(law)[0]
    renamed = p.replace_var(x="y", **{k: f"{k}_2" for k in law.params})
    given = {f"{k}_2": v for k, v in law.params.items()}
    torch.testing.assert_close(
        renamed.get_log_prob({"y": x, **given}), p.get_log_prob({"x": x, **law.params})
    )
    torch.manual_seed(0)
    drawn = renamed.sample(given, return_all=False)
    torch.manual_seed(0)
    assert set(drawn) == {"y"} and torch.equal(drawn["y"], p.sample(law.params)["x"])


@every
def test_it_is_drawn_inside_a_marginal(law: Law) -> None:
    """``p(w|x)`` of a family's draw, marginalised over the draw."""
    joint = pd.Normal("w", "x", loc="x", scale=torch.ones(1, dtype=torch.float64)) * law.bound()
    marginal = joint.marginalize_var("x")
    drawn = marginal.sample(law.params, sample_shape=[2, 3], return_all=False)
    assert set(drawn) == {"w"} and drawn["w"].shape == (2, 3, *points(law)[0].shape)


@every
def test_an_empty_batch(law: Law) -> None:
    p, given = law.bound(), {k: v[:0] for k, v in law.params.items()}
    for shape in ((), (2,), (2, 5)):
        x = p.sample(given, sample_shape=shape)["x"]
        assert x.shape == (*shape, 0, *points(law)[0].shape[1:])
        assert p.get_log_prob({"x": x, **given}).shape == (*shape, 0)


@some(lambda law: law.univariate)
@pytest.mark.parametrize("features", [(), (4,), (2, 3), (2, 1, 3)], ids=str)
def test_features_of_any_rank(law: Law, features: tuple[int, ...]) -> None:
    p = law.make(
        var="x",
        features_shape=features,
        **{k: v[0, 0] for k, v in law.params.items()},
        **law.options,
    )
    x = p.sample(batch_n=2, sample_shape=(5, 3))["x"]
    assert x.shape == (5, 3, 2, *features)
    found = p.get_log_prob({"x": x})
    each = p.get_log_prob({"x": x}, sum_features=False)
    torch.testing.assert_close(found, each.flatten(3).sum(-1) if features else each)


@some(
    lambda law: (
        all(k in ("loc", "scale", "logits", "log_scale") for k in law.params)
        and law.make is not pd.LogNormal
    )
)
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_own_samples_have_a_density_and_finite_gradients(law: Law, size: float) -> None:
    """However small or large locations, scales and logits are, in single precision."""
    sizes = {k: v * size if k != "log_scale" else v for k, v in law.params.items()}
    params = {k: v.float().clamp(-80.0, 1e9).requires_grad_() for k, v in sizes.items()}
    torch.manual_seed(0)
    x = law.bound().sample(params, sample_shape=[50])["x"]
    found = law.bound().get_log_prob({"x": x, **params})
    assert x.isfinite().all() and found.isfinite().all()
    for g in torch.autograd.grad(found.sum(), list(params.values()), allow_unused=True):
        assert g is None or g.isfinite().all()


def test_every_law_has_a_name() -> None:
    assert len({law.name for law in LAWS}) == len(LAWS)
