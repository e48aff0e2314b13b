"""check_family: every family of the library passes; what is wrong in a family from outside is
named.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from law_parts import LAWS, Law
from torch import Tensor
from torch.nn import functional as F

from pixyz import distributions as pd
from pixyz.distributions import Normal, ParametricDistribution, all_states, check_family
from pixyz.types import PixyzError


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_every_family_is_what_it_says(law: Law) -> None:
    p = law.make(var="x", **{k: v[0] for k, v in law.params.items()}, **law.options)
    found = check_family(p)
    assert {"declaration", "shapes", "gradients", "divergence"} <= set(found)
    if law.univariate and not p.relaxes:
        assert {"mass", "law"} <= set(found) or "states" in found


def test_every_public_family_is_in_the_table_or_is_no_density() -> None:
    classes = [
        c
        for c in vars(pd).values()
        if isinstance(c, type) and issubclass(c, ParametricDistribution)
    ]
    families = {
        c
        for c in classes
        if c.params_keys and not issubclass(c, (pd.ProductOfNormal, pd.ElementWiseProductOfNormal))
    }
    assert {c.__name__ for c in families - {law.make for law in LAWS}} == {
        "FactorizedBernoulli",
        "TwoHot",
    }
    for cls in families:
        assert check_family(cls) == ["declaration"]
    assert not pd.FactorizedBernoulli.normalized and not pd.TwoHot.normalized
    assert "gradients" in check_family(pd.FactorizedBernoulli, probs=torch.tensor([0.3, 0.8]))


# ---------------------------------------------------------------- a finite family from outside,
# from beginning to end


def uniform(shape: Any, like: Tensor) -> Tensor:
    return torch.rand(tuple(shape), dtype=like.dtype, device=like.device)


class Spin(ParametricDistribution):
    """-1 or 1, each feature by itself; ``field`` is half the logarithm of the odds."""

    params_keys = ("field",)
    noise = staticmethod(uniform)
    noise_shape = ("field",)
    pathwise = False

    @staticmethod
    def draw(noise: Tensor, field: Tensor) -> Tensor:
        return torch.where(noise < torch.sigmoid(2 * field), 1.0, -1.0).to(field)

    @staticmethod
    def log_density(x: Tensor, field: Tensor) -> Tensor:
        return torch.where(x.abs() == 1, F.logsigmoid(2 * x * field), -math.inf)

    @staticmethod
    def mean_of(field: Tensor) -> Tensor:
        return torch.tanh(field)

    def states(self) -> Tensor:
        return all_states(torch.tensor([-1.0, 1.0]), self.features_shape)


def test_a_finite_family_from_outside_is_marginalised() -> None:
    field = torch.tensor([0.3, -1.0])
    assert "states" in check_family(Spin, field=field)
    z = Spin("z", field=field)
    x = Normal("x", "z", loc="z", scale=0.5, features_shape=[2])
    values = torch.randn(5, 2)
    up = torch.sigmoid(2 * field)
    each = [
        w.log() + torch.distributions.Normal(s, 0.5).log_prob(values)
        for w, s in ((up, 1.0), (1 - up, -1.0))
    ]
    exact = torch.logsumexp(torch.stack(each), 0).sum(-1)
    torch.testing.assert_close((x * z).marginalize_var("z").get_log_prob({"x": values}), exact)
    many = Normal("x", "z", loc="z", scale=1.0) * Spin("z", field=torch.zeros(40))
    with pytest.raises(PixyzError, match=r"2\^40 values are too many"):
        many.marginalize_var("z").get_log_prob(torch.zeros(1, 40))


# ---------------------------------------------------------------- what does not fit is said where
# the class is written


def family(**changes: Any) -> type[ParametricDistribution]:
    return type("Mine", (Spin,), {"__module__": __name__, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"draw": staticmethod(lambda noise, mu: noise)},
            r"Mine: draw reads 'mu', which is no parameter \(params_keys: \['field'\]\)",
        ),
        (
            {"log_density": staticmethod(lambda value, field: field)},
            "log_density reads 'value'.*are called 'x'",
        ),
        ({"mean_of": staticmethod(lambda loc: loc)}, "mean_of reads 'loc'.*no formula derive_loc"),
        ({"derive_odds": staticmethod(lambda filed: filed)}, "derive_odds reads 'filed'"),
        ({"noise_shape": ()}, "draws noise of no shape: noise_shape names the parameters"),
        ({"noise_shape": ("loc",)}, "noise_shape names 'loc', which is no parameter"),
        (
            {"noise": 0.1},
            r"noise is a function f\(shape, like\) of a family, got 0\.1; "
            r"call the attribute otherwise",
        ),
        ({"mean_of": 0.0}, r"mean_of is a formula of a family, got 0\.0"),
        ({"noise": None}, r"defines draw and no noise: noise = staticmethod\(f\)"),
        (
            {"alternatives": {"probs": "logits"}},
            r"alternatives names \['probs'\], but params_keys is \['field'\]",
        ),
        ({"log_density": None}, "has no density: define log_density"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused_with_the_class(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PixyzError, match=message):
        family(**changes)


def test_a_derived_parameter_and_a_method_are_fine() -> None:
    class Tilted(Spin):
        tilt: ClassVar[float] = 0.1

        def derive_tilted(self, field: Tensor) -> Tensor:
            return field + self.tilt

        def mean_of(self, tilted: Tensor) -> Tensor:  # type: ignore[override]
            return torch.tanh(tilted)

    with pytest.raises(PixyzError, match="mean_of says"):
        check_family(Tilted, field=torch.tensor([0.3]))


# ---------------------------------------------------------------- numbers that are wrong


def normal(shape: Any, like: Tensor) -> Tensor:
    return torch.randn(tuple(shape), dtype=like.dtype, device=like.device)


class Bell(ParametricDistribution):
    """A normal distribution, from outside."""

    params_keys = ("loc", "scale")
    noise = staticmethod(normal)
    noise_shape = ("loc", "scale")
    draw = staticmethod(lambda noise, loc, scale: loc + scale * noise)
    log_density = staticmethod(
        lambda x, loc, scale: (
            -0.5 * ((x - loc) / scale) ** 2 - (scale * math.sqrt(2 * math.pi)).log()
        )
    )
    mean_of = staticmethod(lambda loc, scale: loc + 0 * scale)
    variance_of = staticmethod(lambda loc, scale: scale**2 + 0 * loc)
    entropy_of = staticmethod(
        lambda loc, scale: (scale * math.sqrt(2 * math.pi * math.e)).log() + 0 * loc
    )


WRONG: list[tuple[dict[str, Callable[..., Tensor]], str]] = [
    (
        {"log_density": lambda x, loc, scale: -0.5 * ((x - loc) / scale) ** 2 - scale.log()},
        r"the mass 2\.506.*not 1",
    ),
    ({"draw": lambda noise, loc, scale: loc + 1.2 * scale * noise}, "draws and density differ"),
    (
        {"draw": lambda noise, loc, scale: (loc + scale * noise).flatten(0, 0)[:1]},
        "3 draws have the shape",
    ),
    (
        {"draw": lambda noise, loc, scale: (loc + scale * noise).detach()},
        "it is pathwise, but draws have no gradient",
    ),
    (
        {"mean_of": lambda loc, scale: loc + 0.1 * scale},
        r"mean_of says .*, but the mean of 20000 draws is",
    ),
    ({"variance_of": lambda loc, scale: scale + 0 * loc}, "variance_of says"),
    ({"entropy_of": lambda loc, scale: scale.log() + 0 * loc}, "entropy_of says"),
    (
        {
            "log_density": lambda x, loc, scale: (
                Bell.log_density(x, loc, scale) + 0 * (x - loc).abs().sqrt() * (x - x).sqrt()
            )
        },
        "a gradient of the log-density is not finite",
    ),
    (
        {
            "log_density": lambda x, loc, scale: torch.where(
                x > loc + 9 * scale, math.nan, Bell.log_density(x, loc, scale)
            )
        },
        "is NaN; outside of the support it is -inf",
    ),
]


def test_a_family_from_outside_passes() -> None:
    given = {"loc": torch.tensor([0.5, -1.0]), "scale": torch.tensor([2.0, 0.1])}
    assert (
        check_family(Bell, **given)
        == check_family(Bell("x", **given))
        == [
            "declaration",
            "shapes",
            "mass",
            "law",
            "mean",
            "variance",
            "entropy",
            "gradients",
            "divergence",
        ]
    )


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_numbers_are_named(changes: dict[str, Callable[..., Tensor]], message: str) -> None:
    cls = type(
        "Wrong",
        (Bell,),
        {"__module__": __name__, **{k: staticmethod(v) for k, v in changes.items()}},
    )
    state = torch.get_rng_state()
    with pytest.raises(PixyzError, match=message):
        check_family(cls, loc=torch.tensor([0.5]), scale=torch.tensor([2.0]))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_density_of_noise_that_disagrees_is_named() -> None:
    class Noisy(Bell):
        draw = staticmethod(lambda noise, loc, scale: loc + scale * noise)
        log_density = staticmethod(lambda x, loc, scale: Bell.log_density(x, loc, scale))
        minus_log_density_of_noise = staticmethod(lambda noise, scale: 0.5 * noise**2 + scale.log())

    with pytest.raises(PixyzError, match="by its noise"):
        check_family(Noisy, loc=torch.tensor([0.5]), scale=torch.tensor([2.0]))


def test_states_that_are_wrong_are_named() -> None:
    for states, message in (
        (lambda self: torch.tensor([[-1.0], [-1.0]]), "names a value twice"),
        (lambda self: torch.tensor([[1.0]]), r"sums to 0\.6456"),
        (lambda self: torch.tensor([-1.0, 1.0]), r"has the shape \[2\]"),
    ):
        with pytest.raises(PixyzError, match=message):
            check_family(family(states=states), field=torch.tensor([0.3]))


def test_what_cannot_be_checked_is_refused() -> None:
    for given, more, message in (
        (Normal("x", "z", loc="z", scale=1.0), {}, "has conditions"),
        (pd.Scan, {}, "is for families"),
        (Normal("x", loc=0.0, scale=1.0), {"loc": 1.0}, "are for a class"),
    ):
        with pytest.raises(PixyzError, match=message):
            check_family(given, **more)
