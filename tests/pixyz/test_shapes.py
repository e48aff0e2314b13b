"""Nothing broadcasts by accident: a value, parameters, terms and flags of other dimensions are
refused, whenever they come.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import pixyz
from pixyz.distributions import (
    Categorical,
    CustomProb,
    Deterministic,
    Distribution,
    GroupedOneHot,
    Laplace,
    MixtureModel,
    Normal,
    ProductOfNormal,
    Scan,
    TwoHot,
)
from pixyz.losses import E, IterativeLoss, KullbackLeibler, LogProb, Loss, MaxLoss, Parameter
from pixyz.plan import looks
from pixyz.types import ShapeError

B, T = 4, 3
FLAT, COLUMN = torch.linspace(0.0, 1.0, B), torch.linspace(0.0, 1.0, B).unsqueeze(-1)


def mean(
    var: str, by: str, name: str = "p", kind: Callable[..., Distribution] = Normal
) -> Distribution:
    """A density around a condition."""
    return kind(var=var, cond_var=by, loc=by, scale=1.0, name=name)


def both_ways(loss: Loss, x: dict[str, Tensor], turned: str, match: str) -> None:
    """Refused at once, in debug mode, after right shapes, and after right shapes of another batch;
    the right ones still work.
    """
    wrong = {
        **x,
        turned: x[turned].squeeze(-1) if x[turned].shape[-1] == 1 else x[turned].unsqueeze(-1),
    }
    with pytest.raises(ShapeError, match=match):
        loss.eval(wrong)
    with pytest.raises(ShapeError, match=match), pixyz.debug():
        loss.eval(wrong)
    right = seeded(loss, x)
    loss.eval({k: v[: B - 1] for k, v in x.items()})
    for _ in range(2):
        with pytest.raises(ShapeError, match=match):
            loss.eval(wrong)
        torch.testing.assert_close(seeded(loss, x), right)


def seeded(loss: Loss, x: dict[str, Tensor]) -> Tensor:
    torch.manual_seed(0)
    return loss.eval(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("turned", ["x", "m"])
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("kind", [Normal, Laplace])
def test_a_value_and_the_parameters_of_its_density(
    kind: Callable[..., Distribution], column: bool, turned: str
) -> None:
    shape = COLUMN if column else FLAT
    loss = -LogProb(mean("x", "m", kind=kind)).mean()
    both_ways(
        loss,
        {"x": shape + 1.0, "m": shape},
        turned,
        r"'x' has the shape .*parameters of p\(x\|m\) are loc ",
    )
    joint = -LogProb(mean("x", "m", kind=kind) * Normal("m", loc=0.0, scale=1.0, name="r"))
    both_ways(joint, {"x": shape + 1.0, "m": shape}, turned, "'x' has the shape")


class Net(Normal):
    def __init__(self, flat: bool, **options: object) -> None:
        super().__init__("x", "z", **options)  # type: ignore[arg-type]
        self.net, self.flat = nn.Linear(2, 1), flat

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        loc = self.net(z).squeeze(-1) if self.flat else self.net(z)
        return {"loc": loc, "scale": torch.ones_like(loc)}


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("declared", [None, [], [1]])
def test_a_value_and_what_a_network_returns(flat: bool, declared: list[int] | None) -> None:
    wrong, z = COLUMN if flat else FLAT, torch.randn(B, 2)
    p = Net(flat, features_shape=declared)
    for _ in range(2):
        with pytest.raises(ShapeError, match=r"'x' has the shape"):
            p.get_log_prob({"x": wrong, "z": z})


def test_an_affine_fit_is_refused_and_the_right_one_is_the_closed_form() -> None:
    x = torch.linspace(-1.0, 1.0, 20).unsqueeze(-1)
    y = 3.0 * x + 1.0

    class Line(Normal):
        def __init__(self) -> None:
            super().__init__("y", "x", name="p")
            self.net = nn.Linear(1, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"loc": self.net(x), "scale": torch.ones(1)}

    p = Line()
    with pytest.raises(ShapeError, match="'y'"):
        p.log_prob().mean().eval({"x": x, "y": y.squeeze(-1)})
    optimizer = torch.optim.LBFGS(p.parameters(), line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -p.log_prob().mean().eval({"x": x, "y": y})
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    torch.testing.assert_close([w.item() for w in p.parameters()], [3.0, 1.0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("turned", ["a", "b"])
def test_the_parameters_of_one_density(turned: str) -> None:
    p = Normal(var="x", cond_var=["a", "b"], loc="a", scale="b")
    right = {"a": COLUMN, "b": COLUMN + 1.0}
    assert p.sample(right)["x"].shape == (B, 1)
    wrong = {**right, turned: right[turned].squeeze(-1)}
    match = r"p\(x\|a,b\): the parameters loc .* would broadcast"
    for read in (p.sample, p.get_entropy, p.sample_variance, p.sample_mean):
        with pytest.raises(ShapeError, match=match):
            read(wrong)
    both_ways(E(p, Parameter("x")), right, turned, match)


@pytest.mark.parametrize("turned", ["a", "b"])
def test_two_densities_of_a_divergence(turned: str) -> None:
    x = {"a": COLUMN, "b": COLUMN}
    p, q = mean("x", "a", "p"), mean("x", "b", "q")
    both_ways(
        KullbackLeibler(p, q),
        x,
        turned,
        r"KL\[p\(x\|a\) \|\| q\(x\|b\)\]: loc of p\(x\|a\) .*scale of q",
    )
    both_ways(KullbackLeibler(p, q, analytical=False), x, turned, "'x' has the shape")
    both_ways(KullbackLeibler(p, mean("x", "b", "q", Laplace)), x, turned, "loc of p")
    both_ways(E(p, LogProb(q)), x, turned, "'x' has the shape")


def test_a_constant_prior_of_more_features_than_a_posterior_is_refused() -> None:
    for p in (
        Normal("x", loc=torch.zeros(1), scale=1.0),
        Normal("x", loc=torch.zeros(3), scale=1.0),
    ):
        with pytest.raises(ShapeError, match="loc of q"):
            KullbackLeibler(mean("x", "a", "q"), p).eval({"a": FLAT})
        for x in (FLAT, FLAT[: len(p.features_shape)], torch.zeros(3)):
            with pytest.raises(ShapeError, match="'x' has the shape"):
                p.get_log_prob({"x": x})


@pytest.mark.parametrize("turned", ["a", "b"])
def test_the_terms_of_an_objective(turned: str) -> None:
    a, b = Parameter("a"), Parameter("b")
    x = {"a": FLAT, "b": FLAT + 1.0}
    for loss in (a + b, (a - b).mean(), a * b, a / b, MaxLoss(a, b).sum()):
        both_ways(
            loss,
            x,
            turned,
            "would broadcast against each other; give them the same number of dimensions",
        )
    with pytest.raises(ShapeError, match=r"log p\(x\|m\) \[4\], w \[4, 1\]"):
        (LogProb(mean("x", "m")) * Parameter("w")).mean().eval({"x": FLAT, "m": FLAT, "w": COLUMN})
    with pytest.raises(ShapeError, match="would broadcast"):
        (LogProb(mean("x", "m")) + COLUMN).eval({"x": FLAT, "m": FLAT})


@pytest.mark.parametrize(
    "y", [torch.arange(4.0), torch.arange(4), torch.arange(4.0).unsqueeze(-1), torch.zeros(1)]
)
def test_class_numbers_are_no_one_hot_vectors(y: Tensor) -> None:
    parts: list[Distribution] = [
        Categorical("y", "l", logits="l"),
        GroupedOneHot(2, 2, "y", "l", logits="l"),
        Categorical("y", probs=torch.ones(4)),
    ]
    for p in parts:
        with pytest.raises(ShapeError, match="'y' has the shape"):
            p.get_log_prob({"y": y, "l": torch.zeros(4, 4)})
        with pytest.raises(ShapeError, match="'y' has the shape"):
            LogProb(p).mean().eval({"y": y, "l": torch.zeros(4, 4)})


def test_a_two_hot_density_takes_a_column() -> None:
    p = TwoHot("r", "l", logits="l", bins=5)
    assert p.get_log_prob({"r": COLUMN, "l": torch.zeros(B, 5)}).shape == (B,)
    for r in (FLAT, torch.zeros(B, 5)):
        with pytest.raises(ShapeError, match="'r' has the shape"):
            p.get_log_prob({"r": r, "l": torch.zeros(B, 5)})


def test_mixtures_and_products() -> None:
    mixture = MixtureModel(
        [mean("x", "a", f"p_{i}") for i in range(2)], Categorical("k", probs=torch.ones(2))
    )
    experts = ProductOfNormal([mean("x", "a", "q"), mean("x", "b", "r")])
    x = {"x": COLUMN, "a": COLUMN}
    both_ways(LogProb(mixture), x, "x", "'x' has the shape")
    both_ways(LogProb(experts), {**x, "b": COLUMN}, "x", "'x' has the shape")
    both_ways(LogProb(experts), {**x, "b": COLUMN}, "b", r"the experts of p\(x\|a,b\)")


class Difference(Deterministic):
    def __init__(self) -> None:
        super().__init__("d", ["x", "z"])

    def forward(self, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        return {"d": x - z}


class Table(Deterministic):
    """``B`` features by chance, not by broadcasting."""

    def __init__(self) -> None:
        super().__init__("d", ["x", "z"])

    def forward(self, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        return {"d": z @ torch.ones(1, B) + x.unsqueeze(-1)}


def test_rows_that_meet_inside_a_users_function() -> None:
    right, wrong = {"x": COLUMN, "z": COLUMN}, {"x": FLAT, "z": COLUMN}
    density = CustomProb(lambda x, z: -((x - z) ** 2), var=["x", "z"])
    difference = Difference()
    for _ in range(2):
        for loss in (LogProb(density), E(difference, Parameter("d"))):
            state = torch.get_rng_state()
            with pytest.raises(
                ShapeError,
                match=r"the arguments x \[4\], z \[4, 1\] .* inside it, a result is \[4, 4\]",
            ):
                loss.eval(wrong)
            assert torch.equal(torch.get_rng_state(), state)
            loss.eval(right)
    assert Table().sample(wrong)["d"].shape == (B, B)


def series(p: Distribution, **options: object) -> IterativeLoss:
    return IterativeLoss(LogProb(p), series_var=["x", "m"], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("fission", [True, False])
def test_series_of_values_and_flags(fission: bool) -> None:
    x = torch.randn(T, B, 1)
    loss = series(mean("x", "m"), fission=fission, reset_var=None)
    right = loss.eval({"x": x, "m": x, "mask": torch.ones(T, B)})
    with pytest.raises(ShapeError, match=r"'x' has the shape \[4\]"):
        loss.eval({"x": x.squeeze(-1), "m": x})
    for last in ((1,), (1, 1), (2,)):
        with pytest.raises(ShapeError, match="the flags 'mask' have the further dimensions"):
            loss.eval({"x": x, "m": x, "mask": torch.ones(T, B, *last)})
    torch.testing.assert_close(loss.eval({"x": x, "m": x, "mask": torch.ones(T, B)}), right)
    step = Normal("h", ["h_prev", "x"], loc="h_prev", scale=1.0, features_shape=[1])
    scan = Scan(
        step,
        series_var="x",
        update_value={"h": "h_prev"},
        init={"h_prev": 0},
        reset_var="first",
        mask_var="valid",
    )
    flags = {"first": torch.zeros(T, B), "valid": torch.ones(T, B)}
    assert scan.sample({"x": x, **flags})["h"].shape == (T, B, 1)
    for name in flags:
        with pytest.raises(ShapeError, match=f"the flags '{name}' have"):
            scan.sample({"x": x, **flags, name: flags[name].unsqueeze(-1)})


def test_what_is_meant_is_kept() -> None:
    x, m = torch.randn(B, 3), torch.randn(B, 3)
    row = torch.randn(1, 3)
    normal = torch.distributions.Normal
    expected = normal(m, 1.0).log_prob(x).sum(-1)
    torch.testing.assert_close(mean("x", "m").get_log_prob({"x": x, "m": m}), expected)
    for loc in (row, row[0]):  # one row, or no batch at all, for all values
        found = mean("x", "m").get_log_prob({"x": x, "m": loc})
        torch.testing.assert_close(found, normal(row, 1.0).log_prob(x).sum(-1))
    torch.testing.assert_close(  # one value under all parameters
        mean("x", "m").get_log_prob({"x": row, "m": m}), normal(m, 1.0).log_prob(row).sum(-1)
    )
    prior = Normal("x", loc=0.0, scale=1.0, features_shape=[3])
    torch.testing.assert_close(
        KullbackLeibler(mean("x", "m", "q"), prior).eval({"m": m}), 0.5 * (m * m).sum(-1)
    )
    beta, kl = Parameter("beta"), KullbackLeibler(mean("x", "m", "q"), prior)
    torch.testing.assert_close((beta * kl).eval({"m": m, "beta": 2.0}), (m * m).sum(-1))
    torch.testing.assert_close(
        (beta * kl).eval({"m": m, "beta": torch.tensor(2.0)}), (m * m).sum(-1)
    )
    torch.testing.assert_close((beta * kl).eval({"m": m, "beta": FLAT}), FLAT * kl.eval({"m": m}))
    torch.testing.assert_close(
        (kl + kl.mean()).eval({"m": m}), kl.eval({"m": m}) + kl.eval({"m": m}).mean()
    )
    many = torch.randn(5, B, 3)
    assert Normal("x", "m", loc="m", scale=1.0, features_shape=[3]).get_log_prob(
        {"x": many, "m": m}
    ).shape == (5, B)
    assert E(mean("x", "m"), LogProb(prior) * beta, sample_shape=[5]).eval(
        {"m": m, "beta": FLAT}
    ).shape == (B,)
    # a grid that is asked for by equal numbers of dimensions, and not summed
    grid = torch.randn(7, 1, 3)
    assert mean("x", "m").get_log_prob({"x": grid, "m": m[None]}, sum_features=False).shape == (
        7,
        B,
        3,
    )


def test_one_row_is_taken_and_more_are_refused_later() -> None:
    loss = Parameter("a") + Parameter("b")
    assert loss.eval({"a": FLAT[:1], "b": COLUMN[:1]}).numel() == 1
    with pytest.raises(ShapeError, match="would broadcast"):
        loss.eval({"a": FLAT, "b": COLUMN})


def test_a_column_is_no_sample_of_the_rows_of_others() -> None:
    p = Net(True, features_shape=[])
    z = torch.randn(B, 2)
    match = (
        r"'x' has the shape \[4, 1\].*'z' has \[4, 2\]; give 'x' as \[4\], or with all rows, "
        r"\[4, 4\]"
    )
    with pytest.raises(ShapeError, match=match):
        p.get_log_prob({"x": COLUMN, "z": z})
    assert p.get_log_prob({"x": COLUMN[:3], "z": z}).shape == (3, B)  # three samples for each row


def test_known_shapes_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    plain = looks.fits
    monkeypatch.setattr(looks, "fits", lambda tails: seen.append(tails) or plain(tails))
    loss = LogProb(mean("x", "m")).mean()
    for rows in (4, 4, 9, 4):
        loss.eval({"x": torch.randn(rows, 2), "m": torch.randn(rows, 2)})
        assert len(seen) == 1
    loss.eval({"x": torch.randn(1, 2), "m": torch.randn(1, 2)})
    assert len(seen) == 2
    assert "look" not in loss.plan.source


def test_what_turns_out_to_have_no_leading_dimensions_is_looked_at() -> None:
    p = mean("x", "m")
    for _ in range(2):
        with pytest.raises(ShapeError, match=r"'x' has the shape \[4, 4, 1\]"):
            p.get_log_prob({"x": torch.zeros(4, 4, 1), "m": FLAT})
    assert p.get_log_prob({"x": torch.zeros(5, B), "m": FLAT}).shape == (5,)


@pytest.mark.parametrize("reduction", ["sum", "frame", None])
@pytest.mark.parametrize("kind", ["value", "constant_var", "scaled", "last"])
def test_a_constant_for_each_frame_is_refused_in_a_step(reduction, kind):
    """It would take the place of the sum over time."""
    p, w = Normal("z", loc=0.0, scale=1.0, features_shape=[2]), torch.rand(3, 4)
    step = {
        "value": p.log_prob() * w,
        "constant_var": (Parameter("w") * p.log_prob()).constant_var({"w": w}),
        "scaled": w * 2 - p.log_prob(),
        "last": 1 + w * (p.log_prob() + 1),
    }[kind]
    loss = IterativeLoss(step, series_var="z", reduction=reduction)
    with pytest.raises(ShapeError, match="constant"):
        loss.eval({"z": torch.randn(3, 4, 2)})


def test_weights_of_frames_are_a_series():
    p, d = Normal("z", loc=0.0, scale=1.0, features_shape=[2]), {"z": torch.randn(3, 4, 2)}
    w = torch.rand(3, 4)
    loss = IterativeLoss(Parameter("w") * p.log_prob(), series_var=["z", "w"])
    each = IterativeLoss(p.log_prob(), series_var="z", reduction=None).eval(d)
    torch.testing.assert_close(loss.eval({**d, "w": w}), (w * each).sum(0))
    rows = torch.rand(4)
    loss = IterativeLoss(rows * p.log_prob(), series_var="z")
    torch.testing.assert_close(loss.eval(d), rows * each.sum(0))
    features = IterativeLoss(torch.ones(4, 2) * p.log_prob(sum_features=False), series_var="z")
    torch.testing.assert_close(features.eval(d).sum(-1), each.sum(0))


def test_a_constant_for_each_sample_is_refused_in_an_expectation():
    class Q(Normal):
        def __init__(self):
            super().__init__("z", "x", features_shape=[2])

        def forward(self, x):
            return {"loc": x, "scale": torch.ones_like(x)}

    p, d = Normal("z", loc=0.0, scale=1.0, features_shape=[2]), {"x": torch.zeros(4, 2)}
    assert E(Q(), p.log_prob() * torch.rand(4), sample_shape=[5]).eval(d).shape == (4,)
    with pytest.raises(ShapeError, match="for each sample"):
        E(Q(), p.log_prob() * torch.rand(5, 4), sample_shape=[5]).eval(d)
