"""Values outside of the support have density 0 or are refused; parameters that are none are
refused, by name.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import pixyz
from pixyz import distributions as pd
from pixyz.distributions import Bernoulli, Categorical, Distribution, GroupedOneHot, Normal
from pixyz.losses import E, Entropy, IterativeLoss, KullbackLeibler, LogProb
from pixyz.types import PixyzError

HALF, THIRDS = torch.full((3,), 0.5), torch.ones(3) / 3
ONE = torch.ones(3)

OUTSIDE: list[tuple[str, Callable[[], Distribution], list[list[float]]]] = [
    ("Bernoulli", lambda: pd.Bernoulli("x", probs=HALF), [[0, 1, 255], [-1, 0, 1]]),
    (
        "FactorizedBernoulli",
        lambda: pd.FactorizedBernoulli("x", probs=HALF),
        [[0, 1, 2], [-1, 0, 1]],
    ),
    ("RelaxedBernoulli", lambda: pd.RelaxedBernoulli("x", probs=HALF), [[0, 1, 2], [-1, 0, 1]]),
    (
        "ConcreteBernoulli",
        lambda: pd.ConcreteBernoulli("x", probs=HALF),
        [[0.5, 0.5, 2], [-1, 0.5, 0.5]],
    ),
    (
        "ContinuousBernoulli",
        lambda: pd.ContinuousBernoulli("x", probs=HALF),
        [[0, 1, 2], [-1, 0, 1]],
    ),
    (
        "Categorical",
        lambda: pd.Categorical("x", probs=THIRDS),
        [[0, 0, 2], [0, 0, 0], [1, 1, 0], [-1, 1, 1]],
    ),
    (
        "OneHotCategoricalStraightThrough",
        lambda: pd.OneHotCategoricalStraightThrough("x", probs=THIRDS),
        [[0, 0, 0]],
    ),
    (
        "RelaxedCategorical",
        lambda: pd.RelaxedCategorical("x", probs=THIRDS),
        [[0, 0, 0], [1, 1, 0]],
    ),
    (
        "ConcreteCategorical",
        lambda: pd.ConcreteCategorical("x", probs=THIRDS),
        [[0.5, 0.5, 0.5], [0.1, 0.1, 0.1]],
    ),
    ("Multinomial", lambda: pd.Multinomial(2, "x", probs=THIRDS), [[-1, 2, 1], [0.5, 0.5, 1]]),
    (
        "Dirichlet",
        lambda: pd.Dirichlet("x", concentration=2 * ONE),
        [[0.5, 0.5, 0.5], [-0.5, 0.5, 1], [0, 0, 0]],
    ),
    ("Poisson", lambda: pd.Poisson("x", rate=ONE), [[0, 1, 0.5], [-1, 0, 1]]),
    ("Geometric", lambda: pd.Geometric("x", probs=HALF), [[0, 1, 0.5], [-1, 0, 1]]),
    (
        "Binomial",
        lambda: pd.Binomial("x", total_count=3, probs=HALF),
        [[0, 1, 0.5], [0, 1, 4], [-1, 0, 1]],
    ),
    (
        "NegativeBinomial",
        lambda: pd.NegativeBinomial("x", total_count=3 * ONE, probs=HALF),
        [[0, 1, 0.5], [-1, 0, 1]],
    ),
    (
        "Beta",
        lambda: pd.Beta("x", concentration1=2 * ONE, concentration0=ONE),
        [[0.5, 0.5, 1.5], [-1, 0.5, 0.5]],
    ),
    (
        "Kumaraswamy",
        lambda: pd.Kumaraswamy("x", concentration1=2 * ONE, concentration0=ONE),
        [[0.5, 0.5, 1.5], [-1, 0.5, 0.5]],
    ),
    ("Uniform", lambda: pd.Uniform("x", low=0 * ONE, high=ONE), [[0.5, 0.5, 1.5], [-1, 0.5, 0.5]]),
    (
        "TruncatedNormal",
        lambda: pd.TruncatedNormal("x", loc=0 * ONE, scale=1.0, low=-1.0, high=1.0),
        [[0, 0, 2], [-2, 0, 0]],
    ),
    ("TanhNormal", lambda: pd.TanhNormal("x", loc=0 * ONE, scale=ONE), [[0, 0, 2], [-2, 0, 0]]),
    ("LogNormal", lambda: pd.LogNormal("x", loc=0 * ONE, scale=ONE), [[-1, 1, 1]]),
    ("Gamma", lambda: pd.Gamma("x", concentration=2 * ONE, rate=ONE), [[-1, 1, 1]]),
    ("InverseGamma", lambda: pd.InverseGamma("x", concentration=2 * ONE, rate=ONE), [[-1, 1, 1]]),
    ("Chi2", lambda: pd.Chi2("x", df=3 * ONE), [[-1, 1, 1]]),
    ("Exponential", lambda: pd.Exponential("x", rate=ONE), [[-1, 1, 1]]),
    ("HalfNormal", lambda: pd.HalfNormal("x", scale=ONE), [[-1, 1, 1]]),
    ("HalfCauchy", lambda: pd.HalfCauchy("x", scale=ONE), [[-1, 1, 1]]),
    ("Pareto", lambda: pd.Pareto("x", scale=ONE, alpha=ONE), [[0.5, 2, 2]]),
    ("Weibull", lambda: pd.Weibull("x", scale=ONE, concentration=ONE), [[-1, 1, 1]]),
]
CASES = [
    pytest.param(make, value, id=f"{name}-{value}")
    for name, make, values in OUTSIDE
    for value in values
]


@pytest.mark.parametrize(("make", "value"), CASES)
def test_a_value_outside_of_the_support(
    make: Callable[[], Distribution], value: list[float]
) -> None:
    """Its density is 0, or it is refused: when a plan runs first, and in debug mode; all ways to a
    density agree.
    """
    for read in (
        lambda p, x: p.get_log_prob(x),
        lambda p, x: LogProb(p).eval(x),
        lambda p, x: LogProb(p).mean().eval(x),
    ):
        p, x = make(), {"x": torch.tensor([value], dtype=torch.float32)}
        domain = p.value_domain()
        if domain is None or not domain.misfit(x["x"]):
            assert bool((read(p, x) == -torch.inf).all())
            continue
        for debugging in (False, True):
            with pytest.raises(PixyzError, match=r"'x' in log p\(x\) must"), pixyz.debug(debugging):
                read(p, x)


def test_every_family_is_here() -> None:
    """Families whose values may be any numbers need no line."""
    anything = {
        "Normal",
        "BoundedNormal",
        "Laplace",
        "Cauchy",
        "Gumbel",
        "StudentT",
        "VonMises",
        "MultivariateNormal",
        "LowRankMultivariateNormal",
        "TwoHot",
        "GroupedOneHot",
    }
    families = {
        n
        for n, c in vars(pd).items()
        if isinstance(c, type)
        and issubclass(c, pd.ParametricDistribution)
        and c.params_keys
        and "Product" not in n
    }
    assert families == anything | {name for name, _, _ in OUTSIDE}


def test_pixels_are_told_what_to_do_and_grey_values_are_soft_targets() -> None:
    p = Bernoulli("x", "z", logits="z")
    pixels, z = torch.tensor([[0.0, 128.0, 255.0]]), torch.zeros(1, 3)
    with pytest.raises(
        PixyzError,
        match=r"'x' in log p\(x\|z\) must lie between 0 and 1, got 128 and 1 more .* x / 255",
    ):
        (-LogProb(p).mean()).eval({"x": pixels, "z": z})
    with pytest.raises(PixyzError, match="x / 255"):
        p.get_log_prob({"x": pixels.byte(), "z": z})
    torch.testing.assert_close(
        p.get_log_prob({"x": pixels / 255, "z": z}), torch.full((1,), 3 * -0.6931472)
    )
    rounded = torch.tensor([[1.0 + 1e-6, 0, -1e-6]])
    torch.testing.assert_close(
        p.get_log_prob({"x": rounded, "z": z}), torch.full((1,), 3 * -0.6931472)
    )


def test_the_name_is_the_one_that_the_value_was_given_under() -> None:
    p = Bernoulli("x", probs=HALF).replace_var(x="image")
    with pytest.raises(PixyzError, match="'image' in log"):
        p.get_log_prob({"image": 9 * torch.ones(1, 3)})


def test_soft_classes_and_groups() -> None:
    p = GroupedOneHot(2, 3, "s", logits=torch.zeros(6), unimix=0.0)
    for right in ([0, 1, 0, 1, 0, 0], [0.5, 0.5, 0, 0.2, 0.3, 0.5]):
        torch.testing.assert_close(
            p.get_log_prob({"s": torch.tensor([right])}).exp(), torch.full((1,), 1 / 9)
        )
    for wrong in ([1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]):
        with pytest.raises(PixyzError, match=r"'s' in log .* must sum to 1"):
            GroupedOneHot(2, 3, "s", logits=torch.zeros(6)).get_log_prob(
                {"s": torch.tensor([wrong]).float()}
            )


def test_attributes_of_a_users_class_may_be_called_so() -> None:
    class Own(Bernoulli):
        domain, constraints, own_width, matrices = "images", None, 3, 2  # type: ignore[assignment]

    with pytest.raises(PixyzError, match="'x' in log"):
        Own("x", probs=HALF).get_log_prob({"x": 9 * torch.ones(1, 3)})


def test_masked_frames_may_hold_anything() -> None:
    loss = IterativeLoss(LogProb(Bernoulli("x", "z", logits="z")), series_var=["x", "z"])
    x, z = torch.full((3, 2, 1), 200.0), torch.zeros(3, 2, 1)
    x[:2] = 1.0
    mask = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(
        loss.eval({"x": x, "z": z, "mask": mask}), torch.full((2,), -2 * 0.6931472)
    )


# ---------------------------------------------------------------- parameters


class Scaled(Normal):
    """A network that returns a scale of a given sign."""

    def __init__(self, sign: float, var: str = "z") -> None:
        super().__init__(var, "x", name="q")
        self.sign = sign

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loc": x, "scale": self.sign * torch.ones_like(x)}


X = {"x": torch.zeros(4, 2)}
PRIOR = Normal("z", loc=0.0, scale=1.0, name="p")


@pytest.mark.parametrize(
    "read",
    [
        lambda q: q.sample(X),
        lambda q: q.get_log_prob({**X, "z": X["x"]}),
        lambda q: q.get_entropy(X),
        lambda q: q.sample_mean(X),
        lambda q: E(q, LogProb(PRIOR)).eval(X),
        lambda q: KullbackLeibler(q, PRIOR).eval(X),
        lambda q: Entropy(q).eval(X),
        lambda q: KullbackLeibler(q.detach(), PRIOR).eval(X),
        lambda q: q.replace_var(x="y").sample({"y": X["x"]}),
        lambda q: (q * Normal("x", loc=0.0, scale=1.0, features_shape=[2], name="r")).sample(
            batch_n=3
        ),
        lambda q: IterativeLoss(E(q, LogProb(PRIOR)), series_var="x").eval(
            {"x": torch.zeros(3, 4, 2)}
        ),
    ],
)
def test_a_negative_scale_of_a_network(read: Callable[[Distribution], object]) -> None:
    for debugging in (False, True):
        match = r"q\(z\|[xy]\): 'scale' of Normal must be at least 0, got -1 and"
        with pytest.raises(PixyzError, match=match), pixyz.debug(debugging):
            read(Scaled(-1.0))
    read(Scaled(1.0))


NEGATIVE: dict[str, dict[str, object]] = {
    "Normal": {"loc": 0.0, "scale": -1.0},
    "TanhNormal": {"loc": 0.0, "scale": -1.0},
    "Laplace": {"loc": 0.0, "scale": -1.0},
    "Cauchy": {"loc": 0.0, "scale": -1.0},
    "Gumbel": {"loc": 0.0, "scale": -1.0},
    "LogNormal": {"loc": 0.0, "scale": -1.0},
    "StudentT": {"df": -1.0, "loc": 0.0, "scale": 1.0},
    "VonMises": {"loc": 0.0, "concentration": -1.0},
    "TruncatedNormal": {"loc": 0.0, "scale": -1.0, "low": -1.0, "high": 1.0},
    "Uniform": {"low": 1.0, "high": 0.0},
    "Poisson": {"rate": -1.0},
    "Exponential": {"rate": -1.0},
    "Gamma": {"concentration": -1.0, "rate": 1.0},
    "InverseGamma": {"concentration": 1.0, "rate": -1.0},
    "Chi2": {"df": -1.0},
    "HalfNormal": {"scale": -1.0},
    "HalfCauchy": {"scale": -1.0},
    "Pareto": {"scale": 1.0, "alpha": -1.0},
    "Weibull": {"scale": -1.0, "concentration": 1.0},
    "Beta": {"concentration1": -1.0, "concentration0": 1.0},
    "Kumaraswamy": {"concentration1": 1.0, "concentration0": -1.0},
    "Bernoulli": {"probs": 1.5},
    "FactorizedBernoulli": {"probs": -0.5},
    "ContinuousBernoulli": {"probs": 1.5},
    "Geometric": {"probs": 1.5},
    "Binomial": {"total_count": -1.0, "probs": 0.5},
    "NegativeBinomial": {"total_count": 1.0, "probs": 1.5},
    "Dirichlet": {"concentration": torch.tensor([1.0, -1.0])},
    "Categorical": {"probs": torch.tensor([1.5, -0.5])},
    "RelaxedCategorical": {"probs": torch.tensor([1.5, -0.5])},
    "OneHotCategoricalStraightThrough": {"probs": torch.zeros(3)},
    "MultivariateNormal": {"loc": torch.zeros(2), "scale_tril": -torch.eye(2)},
    "LowRankMultivariateNormal": {
        "loc": torch.zeros(2),
        "cov_factor": torch.ones(2, 1),
        "cov_diag": -torch.ones(2),
    },
}


@pytest.mark.parametrize("name", NEGATIVE)
def test_parameters_of_every_family(name: str) -> None:
    params = NEGATIVE[name]
    family = getattr(pd, name)
    with pytest.raises(PixyzError, match=rf"p\(x\): (the diagonal of )?'\w+' of {name} must"):
        family(var="x", **params).sample(batch_n=2)
    bound = family(var="x", cond_var=list(params), **{k: k for k in params})
    given = {k: torch.as_tensor(v).expand(2, *torch.as_tensor(v).shape) for k, v in params.items()}
    with pytest.raises(PixyzError, match=rf"'\w+' of {name} must"):
        bound.sample(given)


def test_bounded_normals_and_logits_take_any_number() -> None:
    pd.BoundedNormal("x", loc=0.0, scale=-3.0).sample(batch_n=2)
    Categorical("x", logits=torch.tensor([-1.0, -300.0])).sample(batch_n=2)
    Bernoulli("x", logits=torch.tensor([-300.0, 300.0])).sample(batch_n=2)


@pytest.mark.parametrize(
    "family", [Categorical, pd.RelaxedCategorical, Bernoulli, pd.RelaxedBernoulli]
)
def test_a_divergence_from_a_constant_that_excludes_what_the_other_allows(
    family: Callable[..., Distribution],
) -> None:
    p = family(var="x", probs=torch.tensor([0.5, 0.5]), name="p")
    never = family(var="x", probs=torch.tensor([1.0, 0.0]), name="q")
    match = (
        r"KL\[p\(x\) \|\| q\(x\)\] is infinite: 'probs' of q\(x\) is 0 where that of p\(x\) is not"
    )
    with pytest.raises(PixyzError, match=match):
        KullbackLeibler(p, never).eval({})
    assert KullbackLeibler(never, p).eval({}).isfinite().all()
    same = KullbackLeibler(never, family(var="x", probs=torch.tensor([1.0, 0.0]), name="q")).eval(
        {}
    )
    torch.testing.assert_close(same, torch.zeros(1), atol=1e-4, rtol=0.0)
