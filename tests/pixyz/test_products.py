"""Joints: densities multiply, samples follow the graph, circles and clashes are refused."""

import itertools
import random
from collections import OrderedDict

import pytest
import torch
from product_parts import Copy, D, Net, Sum, chain, standard, values
from torch import Tensor, nn

from pixyz.distributions import Distribution, Normal
from pixyz.types import PixyzError, ShapeError, VariableError

# --------------------------------------------------------------------------------------------
# densities


def test_log_density_is_the_sum_over_factors() -> None:
    joint, *factors = chain()
    v = values("x", "z", "w")
    wanted = sum(f.get_log_prob(v) for f in factors)
    for order in itertools.permutations(factors):
        product = order[0] * order[1] * order[2]
        torch.testing.assert_close(product.get_log_prob(v), wanted)
        torch.testing.assert_close((order[0] * (order[1] * order[2])).get_log_prob(v), wanted)
    torch.testing.assert_close(joint.log_prob().eval(v), wanted)
    torch.testing.assert_close(joint.prob().eval(v), wanted.exp())
    by_feature = sum(f.get_log_prob(v, sum_features=False) for f in factors)
    torch.testing.assert_close(joint.get_log_prob(v, sum_features=False), by_feature)
    torch.testing.assert_close(joint.get_log_prob(v, feature_dims=[1]), wanted)
    torch.testing.assert_close(joint.get_log_prob(v, feature_dims=[]), by_feature)


def test_factors_broadcast_over_the_batch() -> None:
    x, z = Net("x", ["z"]), standard("z")
    row = torch.randn(1, D)
    v = {"x": torch.randn(5, D), "z": row}
    torch.testing.assert_close((x * z).get_log_prob(v), x.get_log_prob(v) + z.get_log_prob(row))


def test_a_function_has_no_density() -> None:
    with pytest.raises(NotImplementedError, match=r"f\(y\|x\)"):
        (Copy("y", "x") * standard("x")).get_log_prob(values("x", "y"))


# --------------------------------------------------------------------------------------------
# samples


def test_samples_follow_the_graph() -> None:
    draw = random.Random(0)
    for _ in range(8):
        size = draw.randint(2, 6)
        names = [f"v{i}" for i in range(size)]
        parents = {
            n: draw.sample(names[:i], draw.randint(0, min(i, 3))) for i, n in enumerate(names)
        }
        parts = [Sum(n, parents[n]) for n in names]
        draw.shuffle(parts)
        joint: Distribution = parts[0]
        for part in parts[1:]:
            joint = joint * part
        assert set(joint.var) == set(names) and joint.cond_var == [] and joint.input_var == []
        found = joint.sample(batch_n=2)
        for n in names:
            wanted = 1 + sum((found[p] for p in parents[n]), torch.zeros(2, D))
            torch.testing.assert_close(found[n], wanted, rtol=1e-3, atol=1e-3)


def test_moments_of_a_chain() -> None:
    x = Normal(var="x", cond_var="z", loc="z", scale=0.5)
    joint = x * standard("z", loc=2.0, scale=3.0)
    torch.manual_seed(0)
    found = joint.sample(batch_n=20_000)
    error = 5 * (9.25 / 20_000) ** 0.5
    assert (found["x"].mean(0) - 2).abs().max() < error
    assert (found["x"].var(0) - 9.25).abs().max() < 0.05 * 9.25
    covariance = ((found["x"] - 2) * (found["z"] - 2)).mean(0)
    assert (covariance - 9).abs().max() < 0.05 * 9.25


def test_sample_shape_is_applied_once() -> None:
    joint, *_ = chain()
    found = joint.sample(batch_n=4, sample_shape=[2, 5])
    assert {k: v.shape for k, v in found.items()} == dict.fromkeys("xzw", torch.Size([2, 5, 4, D]))
    assert (
        len(found["w"].reshape(-1, D).unique(dim=0))
        == 40
        == len(found["x"].reshape(-1, D).unique(dim=0))
    )
    fixed = Net("x", ["z"]) * Net("z", ["w"])
    found = fixed.sample(values("w"), sample_shape=[7])
    assert found["x"].shape == found["z"].shape == (7, 5, D) and found["w"].shape == (5, D)


def test_batch_n_repeats_one_row() -> None:
    p, v = Net("x", ["z"]), values("z", batch=1)
    found = p.sample(v, batch_n=4)
    assert found["x"].shape == (4, D) and len(found["x"].unique(dim=0)) == 4
    assert p.sample(values("z"), batch_n=5)["x"].shape == (5, D)
    with pytest.raises(ShapeError, match=r"batch_n=3.*'z'.*5"):
        p.sample(values("z"), batch_n=3)


def test_the_mean_of_a_joint() -> None:
    joint = Normal(var="x", cond_var="z", loc="z", scale=4.0) * standard("z", loc=7.0, scale=3.0)
    torch.testing.assert_close(joint.sample_mean({}), torch.full((1, D), 7.0))
    torch.testing.assert_close(joint.sample({}, sample_mean=True)["z"], torch.full((1, D), 7.0))
    renamed = standard("z", loc=7.0, scale=3.0).replace_var(z="y")
    torch.testing.assert_close(renamed.sample_mean({}), torch.full((1, D), 7.0))
    torch.testing.assert_close(renamed.sample_variance({}), torch.full((1, D), 9.0))


def test_ways_to_give_the_inputs() -> None:
    p = Net("x", ["z", "w"])
    v = values("z", "w")

    def seeded(x: object, **options: object) -> dict[str, Tensor]:
        torch.manual_seed(0)
        return p.sample(x, **options)  # type: ignore[arg-type]

    wanted = seeded(v)["x"]
    torch.testing.assert_close(seeded([v["z"], v["w"]])["x"], wanted)
    torch.testing.assert_close(seeded(OrderedDict(v))["x"], wanted)
    torch.testing.assert_close(seeded({k: nn.Parameter(t) for k, t in v.items()})["x"], wanted)
    extra = seeded({**v, "other": torch.ones(1)})
    assert set(extra) == {"x", "z", "w", "other"} and set(seeded(v, return_all=False)) == {"x"}
    single = Net("x", ["z"])
    assert (
        single.sample(v["z"])["x"].shape == (5, D) == single.sample(nn.Parameter(v["z"]))["x"].shape
    )
    given = dict(v)
    p.sample(given)
    assert set(given) == {"z", "w"}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: p.sample({"z": torch.zeros(1, D)}), r"\['w'\] missing"),
        (lambda p: p.sample([torch.zeros(1, D)]), "list of 1"),
        (lambda p: p.sample("z"), "dict"),
        (
            lambda p: p.get_log_prob({"x": torch.zeros(1, D), "z": torch.zeros(1, D)}),
            r"\['w'\] missing",
        ),
        (lambda p: standard("x").sample(torch.zeros(1, D)), "no input"),
    ],
)
def test_missing_inputs_are_named(call: object, words: str) -> None:
    with pytest.raises(VariableError, match=words):
        call(Net("x", ["z", "w"]))  # type: ignore[operator]


def test_reparam_keeps_pathwise_gradients() -> None:
    joint, x, z, _ = chain()
    assert joint.sample(batch_n=2, reparam=True)["x"].requires_grad
    assert not joint.sample(batch_n=2)["x"].requires_grad
    joint.sample(batch_n=2, reparam=True)["x"].sum().backward()
    assert all(p.grad is not None for part in (x, z) for p in part.parameters())


def test_a_series_of_one_instance() -> None:
    """The same transition, renamed, three times: unrolling by hand."""
    step = Net("z", ["z_prev"])
    parts = [step.replace_var(z=f"z{t}", z_prev=f"z{t - 1}") for t in (1, 2, 3)]
    joint = parts[0] * parts[1] * parts[2] * standard("z0")
    v = values("z0", "z1", "z2", "z3")
    wanted = standard("z0").get_log_prob(v)
    for t in (1, 2, 3):
        wanted = wanted + step.get_log_prob({"z": v[f"z{t}"], "z_prev": v[f"z{t - 1}"]})
    torch.testing.assert_close(joint.get_log_prob(v), wanted)
    assert len(list(joint.parameters())) == 2
    assert set(joint.sample(batch_n=2)) == {"z0", "z1", "z2", "z3"}


# -------------------------------------------------------------------------------------------- what
# is refused


def test_circles_are_refused_and_named() -> None:
    a, b, c = Net("x", ["y"]), Net("y", ["z"], "q"), Net("z", ["x"], "r")
    for order in itertools.permutations([a, b, c]):
        with pytest.raises(VariableError, match="circle") as caught:
            order[0] * order[1] * order[2]
        told = str(caught.value)
        assert all(t in told for t in ("p(x|y)", "q(y|z)", "r(z|x)"))
        assert any(f"{u} -> {v}" in told for u, v in ("yx", "zy", "xz"))
    assert "standard" not in told and "w" not in told.split("circle")[1]


def test_clashes_are_refused_and_named() -> None:
    with pytest.raises(VariableError, match=r"'x'.*p\(x\|z\).*q\(x\).*replace_var"):
        Net("x", ["z"]) * standard("x", "q")
    p = standard("x")
    with pytest.raises(VariableError, match="'x'"):
        p * p
    with pytest.raises(VariableError, match="'x'"):
        (Net("y", ["x"]) * standard("x")) * (Net("z", ["x"]) * standard("x"))


def test_other_things_are_not_multiplied() -> None:
    for other in (2.0, "x", None):
        with pytest.raises(PixyzError, match="distribution"):
            standard("x") * other  # type: ignore[operator]
