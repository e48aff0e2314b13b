"""Several draws of a batch, ``[K, B, ...]``: the density of each row is what it is alone, ``[K,
B]``, for every distribution.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixyz import distributions as pd
from pixyz.distributions import Categorical, Normal
from pixyz.flows import PlanarFlow, RealNVP
from pixyz.losses import Expectation, LogProb
from pixyz.types import ShapeError

B, Z = 4, 2
SHAPES = [(7,), (B,), (2, 7), (1,)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def ramp(*shape: int, low: float = 0.4, high: float = 0.8) -> Tensor:
    """Numbers from ``low`` to ``high``."""
    return torch.linspace(low, high, int(torch.tensor(shape).prod())).reshape(shape)


def tril(*lead: int) -> Tensor:
    return torch.eye(3).expand(*lead, 3, 3) + ramp(*lead, 3, 3).tril()


CONSTANTS: dict[str, Callable[..., dict[str, Tensor]]] = {
    **dict.fromkeys(
        ["Normal", "BoundedNormal", "TanhNormal", "Laplace", "Cauchy", "Gumbel", "LogNormal"],
        lambda *b: {"loc": ramp(*b, 3), "scale": ramp(*b, 3)},
    ),
    **dict.fromkeys(
        [
            "Bernoulli",
            "FactorizedBernoulli",
            "RelaxedBernoulli",
            "ConcreteBernoulli",
            "ContinuousBernoulli",
            "Geometric",
            "Categorical",
            "OneHotCategoricalStraightThrough",
            "RelaxedCategorical",
            "ConcreteCategorical",
            "Multinomial",
        ],
        lambda *b: {"probs": ramp(*b, 3)},
    ),
    **dict.fromkeys(
        ["Beta", "Kumaraswamy"],
        lambda *b: {"concentration1": 1 + ramp(*b, 3), "concentration0": 2 + ramp(*b, 3)},
    ),
    **dict.fromkeys(
        ["Gamma", "InverseGamma"],
        lambda *b: {"concentration": 2 + ramp(*b, 3), "rate": ramp(*b, 3)},
    ),
    **dict.fromkeys(["Exponential", "Poisson"], lambda *b: {"rate": ramp(*b, 3)}),
    **dict.fromkeys(["HalfNormal", "HalfCauchy"], lambda *b: {"scale": ramp(*b, 3)}),
    "Binomial": lambda *b: {"total_count": torch.full((*b, 3), 5.0), "probs": ramp(*b, 3)},
    "Chi2": lambda *b: {"df": 2 + ramp(*b, 3)},
    "Dirichlet": lambda *b: {"concentration": 1 + ramp(*b, 3)},
    "GroupedOneHot": lambda *b: {"logits": ramp(*b, 6)},
    "LowRankMultivariateNormal": lambda *b: {
        "loc": ramp(*b, 3),
        "cov_factor": ramp(*b, 3, 2),
        "cov_diag": ramp(*b, 3),
    },
    "MultivariateNormal": lambda *b: {"loc": ramp(*b, 3), "scale_tril": tril(*b)},
    "NegativeBinomial": lambda *b: {"total_count": 2 + ramp(*b, 3), "probs": ramp(*b, 3)},
    "Pareto": lambda *b: {"scale": ramp(*b, 3), "alpha": 2 + ramp(*b, 3)},
    "StudentT": lambda *b: {"df": 3 + ramp(*b, 3), "loc": ramp(*b, 3), "scale": ramp(*b, 3)},
    "TruncatedNormal": lambda *b: {
        "loc": ramp(*b, 3),
        "scale": ramp(*b, 3),
        "low": ramp(*b, 3) - 1,
        "high": ramp(*b, 3) + 1,
    },
    "Uniform": lambda *b: {"low": -ramp(*b, 3), "high": ramp(*b, 3)},
    "VonMises": lambda *b: {"loc": ramp(*b, 3), "concentration": 1 + ramp(*b, 3)},
    "Weibull": lambda *b: {"scale": ramp(*b, 3), "concentration": 1 + ramp(*b, 3)},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "GroupedOneHot": {"groups": 2, "classes": 3},
    "Multinomial": {"total_count": 4},
}
each_family = pytest.mark.parametrize("name", list(CONSTANTS))


def row_by_row(
    p: pd.Distribution, drawn: dict[str, Tensor], shape: tuple[int, ...], given: dict[str, Tensor]
) -> Tensor:
    """The log-density of each draw of each row by itself."""
    drawn = {k: v.reshape(-1, *v.shape[len(shape) :]) for k, v in drawn.items() if k not in given}
    count = int(torch.tensor(shape).prod())
    found = [
        p.get_log_prob(
            {
                **{k: v[i, j : j + 1] for k, v in drawn.items()},
                **{k: v[j : j + 1] for k, v in given.items()},
            }
        )
        for i in range(count)
        for j in range(B)
    ]
    return torch.cat(found).reshape(*shape, B)


def check(
    p: pd.Distribution, shape: tuple[int, ...], given: dict[str, Tensor] | None = None
) -> None:
    """Density and expression of several draws: shapes, values, and the same again."""
    given = given or {}
    torch.manual_seed(0)
    drawn = p.sample(given, batch_n=B, sample_shape=shape)
    wanted = row_by_row(p, {v: drawn[v] for v in p.var} | given, shape, given)
    assert wanted.shape == (*shape, B)
    values = {v: drawn[v] for v in p.var} | given
    for _ in range(2):
        torch.testing.assert_close(p.get_log_prob(values), wanted, rtol=1e-4, atol=1e-4)
        loss = p.log_prob()
        torch.testing.assert_close(loss.eval(values), wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(loss.mean().eval(values), wanted.mean(), rtol=1e-4, atol=1e-4)
        # one draw of the batch through the same objects, before and after
        one = {k: v if k in given else v[(0,) * len(shape)] for k, v in values.items()}
        torch.testing.assert_close(
            p.get_log_prob(one), wanted[(0,) * len(shape)], rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(loss.eval(one), wanted[(0,) * len(shape)], rtol=1e-4, atol=1e-4)


def test_every_family_is_in_the_table() -> None:
    public = {
        n
        for n, p in vars(pd).items()
        if isinstance(p, type) and issubclass(p, pd.ParametricDistribution)
    }
    # below
    others = {
        "ParametricDistribution",
        "ProductOfNormal",
        "ElementWiseProductOfNormal",
        "TwoHot",
    }
    assert public - others == set(CONSTANTS)


@each_family
@each_shape
def test_constants(name: str, shape: tuple[int, ...]) -> None:
    check(getattr(pd, name)(var="x", **CONSTANTS[name](), **OPTIONS.get(name, {})), shape)


@each_family
@each_shape
def test_parameters_from_conditions(name: str, shape: tuple[int, ...]) -> None:
    """Their shape tells how many dimensions are features."""
    given = CONSTANTS[name](B)
    keys = {k: k for k in given}
    check(
        getattr(pd, name)(var="x", cond_var=list(given), **keys, **OPTIONS.get(name, {})),
        shape,
        given,
    )


@each_family
def test_one_number_a_row_is_declared(name: str) -> None:
    """``features_shape=[]``: a value ``[K, B]`` is several draws."""
    constants = CONSTANTS[name]()
    if getattr(pd, name).event_dims:
        pytest.skip("a density of vectors")
    p = getattr(pd, name)(var="x", features_shape=[], **{k: v[0] for k, v in constants.items()})
    check(p, (7,))


@pytest.mark.parametrize("name", ["Normal", "Bernoulli", "Gamma", "StudentT"])
def test_images(name: str) -> None:
    """Features of rank 3, constant and computed."""
    constants = {k: v[0].expand(2, 3, 2) for k, v in CONSTANTS[name]().items()}
    check(getattr(pd, name)(var="x", **constants), (7,))
    given = {k: v.expand(B, 2, 3, 2).contiguous() for k, v in constants.items()}
    check(getattr(pd, name)(var="x", cond_var=list(given), **{k: k for k in given}), (B,), given)


class Net(Normal):
    """A network that mixes up dimensions unless it sees ``[rows, features]``: it must declare them
    to be led itself.
    """

    def __init__(
        self, var: str = "x", cond_var: Any = "z", features: int = 3, **options: Any
    ) -> None:
        super().__init__(var, cond_var, **options)
        self.net = nn.Linear(Z * len(self.cond_var), features)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        assert all(v.ndim == 2 for v in given.values())
        loc = self.net(torch.cat(list(given.values()), dim=1))
        return {"loc": loc, "scale": torch.full((), 0.7)}


class Line(Net):
    """A network that takes any number of dimensions, so that the shape of its parameters can be
    looked at.
    """

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc = self.net(torch.cat(list(given.values()), dim=-1))
        return {"loc": loc, "scale": torch.full_like(loc, 0.7)}


class Weights(Categorical):
    def __init__(self) -> None:
        super().__init__("c", "z")
        self.net = nn.Linear(Z, 2)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(z)}


class Guess(Normal):
    def __init__(self) -> None:
        super().__init__("u", "x", name="q")
        self.net = nn.Linear(3, Z)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        assert x.ndim == 2
        return {"loc": 0.1 * self.net(x), "scale": torch.full((), 1.3)}


def prior(var: str = "z") -> Normal:
    return Normal(var, loc=torch.zeros(Z), scale=torch.ones(Z))


def coin(var: str = "z") -> Categorical:
    return Categorical(var, probs=torch.tensor([0.3, 0.7]))


z = torch.randn(B, Z, generator=torch.Generator().manual_seed(1))
COMPOSED: dict[str, tuple[Callable[[], pd.Distribution], dict[str, Tensor]]] = {
    "network": (Net, {"z": z}),
    "network, declared": (lambda: Net(features_shape=[3]), {"z": z}),
    "network of two": (lambda: Net(cond_var=["z", "y"]), {"z": z, "y": z + 1}),
    "renamed": (lambda: Net().replace_var(x="a", z="b"), {"b": z}),
    "detached": (lambda: Net().detach(), {"z": z}),
    "frozen": (lambda: Net().frozen(), {"z": z}),
    "copied": (lambda: copy.deepcopy(Net()), {"z": z}),
    "independent": (lambda: pd.Independent(Normal("x", loc=torch.zeros(2, 3), scale=1.0), 1), {}),
    "joint": (lambda: Net() * prior(), {}),
    "joint, renamed": (lambda: (Net() * prior()).replace_var(x="a", z="b"), {}),
    "joint given another": (lambda: Net("x", ["z", "y"]) * prior(), {"y": z}),
    "chain": (
        lambda: Net("v", "u", features_shape=[3]) * Net("u", "z", Z, features_shape=[Z]),
        {"z": z},
    ),
    "chain, undeclared": (lambda: Line("v", "u") * Line("u", "z", Z), {"z": z}),
    "marginal, undeclared": (lambda: (Line() * coin()).marginalize_var("z"), {}),
    "mixture of networks, undeclared": (
        lambda: pd.MixtureModel([Line(), Line()], Weights()),
        {"z": z},
    ),
    "marginal of a finite variable": (
        lambda: (Net(features_shape=[3]) * coin()).marginalize_var("z"),
        {},
    ),
    "mixture": (
        lambda: pd.MixtureModel(
            [Normal("x", loc=ramp(3) + i, scale=1.0) for i in range(2)], coin("c")
        ),
        {},
    ),
    "mixture of networks": (
        lambda: pd.MixtureModel([Net(features_shape=[3]), Net()], Weights()),
        {"z": z},
    ),
    "mixture of experts": (
        lambda: pd.MixtureOfNormal([Net(), Net(cond_var="y")]),
        {"z": z, "y": z + 1},
    ),
    "product of experts": (
        lambda: pd.ProductOfNormal([Net(), Net(cond_var="y")]),
        {"z": z, "y": z + 1},
    ),
    "product of declared experts": (
        lambda: pd.ProductOfNormal([Net(features_shape=[3])]),
        {"z": z},
    ),
    "element-wise experts": (lambda: pd.ElementWiseProductOfNormal(Net()), {"z": z}),
    "flow": (
        lambda: pd.InverseTransformedDistribution(
            Normal("u", loc=torch.zeros(4), scale=1.0), RealNVP(4), "x"
        ),
        {},
    ),
    "flow of a network": (
        lambda: pd.TransformedDistribution(Net("u", features_shape=[3]), RealNVP(3), "x"),
        {"z": z},
    ),
    "flow by its forward direction": (
        lambda: pd.TransformedDistribution(
            Normal("u", loc=torch.zeros(3), scale=1.0), PlanarFlow(3), "x"
        ),
        {},
    ),
}


@pytest.mark.parametrize("name", list(COMPOSED))
@each_shape
def test_composed(name: str, shape: tuple[int, ...]) -> None:
    make, given = COMPOSED[name]
    torch.manual_seed(0)
    check(make(), shape, given)


@each_shape
def test_posterior_of_a_mixture(shape: tuple[int, ...]) -> None:
    make, _ = COMPOSED["mixture"]
    p = make()
    posterior = p.posterior()  # type: ignore[attr-defined]
    x = p.sample(batch_n=B, sample_shape=shape)["x"]
    c = torch.eye(2)[torch.arange(B) % 2].expand(*shape, B, 2)
    found = posterior.get_log_prob({"x": x, "c": c})
    wanted = posterior.get_log_prob({"x": x.reshape(-1, 3), "c": c.reshape(-1, 2)}).reshape(
        *shape, B
    )
    torch.testing.assert_close(found, wanted)


@each_shape
def test_two_hot(shape: tuple[int, ...]) -> None:
    p, l, x = pd.TwoHot("r", "l", logits="l", bins=5), torch.randn(B, 5), torch.randn(*shape, B, 1)
    found = p.get_log_prob({"r": x, "l": l})
    wanted = p.get_log_prob({"r": x.reshape(-1, 1), "l": l.repeat(found.numel() // B, 1)})
    torch.testing.assert_close(found, wanted.reshape(*shape, B))


@each_shape
def test_importance_sampling_of_a_marginal(shape: tuple[int, ...]) -> None:
    """Draws of the proposal are further leading dimensions; the estimate is of each row."""
    torch.manual_seed(0)
    p = (Net("x", "u", features_shape=[3]) * prior("u")).marginalize_var("u")
    marginal = p.with_proposal(Guess(), 3000)  # type: ignore[attr-defined]
    x = torch.randn(*shape, B, 3)
    found = marginal.get_log_prob({"x": x})
    wanted = marginal.get_log_prob({"x": x.reshape(-1, 3)}).reshape(*shape, B)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.25)


def test_conditions_with_fewer_leading_dimensions_are_shared() -> None:
    p = Net(features_shape=[3])
    x = torch.randn(5, 7, B, 3)
    for given in (z, torch.randn(7, B, Z), torch.randn(5, 7, B, Z), z[:1]):
        wide = given.expand(5, 7, B, Z).reshape(-1, Z)
        wanted = p.get_log_prob({"x": x.reshape(-1, 3), "z": wide}).reshape(5, 7, B)
        torch.testing.assert_close(p.get_log_prob({"x": x, "z": given}), wanted)


def test_what_is_computed_does_not_depend_on_earlier_calls() -> None:
    """A condition ``[K, B, Z]`` of a density that nothing is known of: all behind the first, as in
    0.3.3, before and after.
    """

    class Free(Net):
        def forward(self, **given: Tensor) -> dict[str, Tensor]:
            return {
                "loc": self.net(torch.cat(list(given.values()), dim=-1)),
                "scale": torch.ones(()),
            }

    p, x = Free(), torch.randn(7, B, 3)
    many = {"x": x, "z": torch.randn(7, B, Z)}
    for _ in range(2):
        assert p.get_log_prob(many).shape == (7,)
        assert p.get_log_prob({"x": x, "z": z}).shape == (7, B)
        assert p.get_log_prob({"x": x[0], "z": z}).shape == (B,)


def test_a_table_of_parameters_has_no_batch() -> None:
    """Parameters ``[C, D]`` that are the same for all rows say nothing of leading dimensions."""

    class Table(Normal):
        def __init__(self) -> None:
            super().__init__("x", "z")
            self.loc = nn.Parameter(torch.zeros(5, 3))

        def forward(self, z: Tensor) -> dict[str, Tensor]:
            return {"loc": self.loc, "scale": torch.ones(())}

    assert Table().get_log_prob({"x": torch.zeros(B, 5, 3), "z": z}).shape == (B,)


def test_features_are_not_summed_where_they_are_named_or_wanted() -> None:
    p = Normal("x", loc=torch.zeros(2, 3), scale=1.0)
    x = torch.randn(7, B, 2, 3)
    assert p.get_log_prob({"x": x}, sum_features=False).shape == (7, B, 2, 3)
    assert p.get_log_prob({"x": x}, feature_dims=[-1]).shape == (7, B, 2)
    assert p.get_log_prob({"x": x}, feature_dims=[]).shape == (7, B, 2, 3)
    assert p.get_log_prob({"x": x}, feature_dims=[1, 2, 3]).shape == (7,)  # as counted in [B, ...]


def test_in_expressions() -> None:
    """Sums of densities, expectations inside, draws that are returned."""
    torch.manual_seed(0)
    p, x = Net("x", "u", features_shape=[3]), torch.randn(7, B, 3)
    flat = x.reshape(-1, 3)
    loss = LogProb(p).expectation(Guess(), sample_shape=[2]) - LogProb(
        Normal("x", loc=torch.zeros(3), scale=2.0)
    )
    value, drawn = loss.eval({"x": x}, return_dict=True)
    assert value.shape == (7, B) and loss.eval({"x": flat}).shape == (7 * B,)
    single = Expectation(Guess(), LogProb(p))
    value, drawn = single.eval({"x": x}, return_dict=True)
    wanted = LogProb(p).eval({"x": flat, "u": drawn["u"].reshape(-1, Z)}).reshape(7, B)
    torch.testing.assert_close(value, wanted)
    grads = torch.autograd.grad(single.mean().eval({"x": x}), list(p.parameters()))
    assert all(g.abs().sum() > 0 for g in grads)


def test_the_usual_call_is_not_touched() -> None:
    """The text of a plan for ``[B, ...]`` has no step for this, and the networks run once."""
    calls = []
    p = Net()
    p.register_forward_hook(lambda *_: calls.append(1))
    loss = LogProb(p).mean()
    assert "lead" not in str(loss.plan) and "rank" not in loss.plan.source
    for n in (1, 2, 3):
        loss.eval({"x": torch.zeros(B, 3), "z": z})
        assert len(calls) == n


def test_unequal_leading_dimensions_are_explained() -> None:
    joint = Net() * prior()
    with pytest.raises(ShapeError, match="leading dimensions"):
        (joint * Normal("w", loc=torch.zeros(2), scale=1.0)).get_log_prob(
            {"x": torch.zeros(7, B, 3), "z": torch.zeros(7, B, Z), "w": torch.zeros(5, B, 2)}
        )


def test_an_empty_batch() -> None:
    p = Normal("x", loc=torch.zeros(3), scale=1.0)
    assert p.get_log_prob({"x": torch.zeros(7, 0, 3)}).shape == (7, 0)
    assert p.get_log_prob({"x": torch.zeros(0, 3)}).shape == (0,)


class Shift(Normal):
    """``x = m + sum(c)``: a condition ``[B, C]``."""

    def __init__(self) -> None:
        super().__init__("x", ["m", "c"], features_shape=[2])

    def forward(self, m: Tensor, c: Tensor) -> dict[str, Tensor]:
        assert c.ndim == 2
        return {"loc": m + c.sum(-1, keepdim=True), "scale": torch.ones_like(m)}


@pytest.mark.parametrize(
    ("draws", "rows", "width"),
    [
        (3, 3, 3),
        (3, 3, 1),
        (3, 3, 5),
        (5, 3, 3),
        (3, 5, 3),
        (3, 5, 5),
        (3, 1, 3),
        (1, 3, 3),
        (3, 1, 1),
        (5, 3, 5),
    ],
)
def test_a_condition_whose_sizes_look_like_leading_dimensions(
    draws: int, rows: int, width: int
) -> None:
    """``c [B, C]`` is a batch of rows although ``[K, B]`` has the same sizes; ``c [K, B, C]`` has a
    row for each draw.
    """
    p, normal = Shift(), torch.distributions.Normal
    x, m, c = torch.randn(draws, rows, 2), torch.randn(rows, 2), torch.randn(rows, width)
    wanted = normal(m + c.sum(-1, keepdim=True), 1.0).log_prob(x).sum(-1)
    torch.testing.assert_close(p.get_log_prob({"x": x, "m": m, "c": c}), wanted)
    torch.testing.assert_close(LogProb(p).eval({"x": x, "m": m, "c": c}), wanted)
    each = torch.randn(draws, rows, width)
    wanted = normal(m + each.sum(-1, keepdim=True), 1.0).log_prob(x).sum(-1)
    torch.testing.assert_close(p.get_log_prob({"x": x, "m": m, "c": each}), wanted)
