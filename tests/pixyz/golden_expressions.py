"""Expressions that pixyz 0.3.3 and this library build from the same source; ``golden_033.json`` holds what 0.3.3 gives.

``benchmarks/golden_033.py`` runs this file on 0.3.3 and records inputs, value, gradients (of all weights and all floating
inputs) and printed text; ``test_golden.py`` runs it here and compares.  Weights are a fixed pattern, so that only the noise
of normal draws, whose stream both share, depends on a generator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz import distributions as pd
from pixyz import flows as pf
from pixyz import losses as pl
from pixyz import models as pm

B, X, Z, Y = 4, 3, 4, 3  # B * Z fills a whole block of the normal generator: draws together equal draws in turn


@dataclass
class Golden:
    """An expression: what is printed, what is computed from which inputs, whose weights get gradients."""

    shown: Any
    compute: Callable[[dict[str, Any]], Tensor]
    inputs: dict[str, Any]
    modules: list[Any] = field(default_factory=list)


CASES: dict[str, Callable[[], Golden]] = {}


def golden(function: Callable[[], Golden]) -> Callable[[], Golden]:
    """Add an expression to the table."""
    CASES[function.__name__] = function
    return function


def of(loss: Any, inputs: dict[str, Any], *modules: Any) -> Golden:
    """A loss and its evaluation."""
    return Golden(loss, lambda x: loss.eval(x), inputs, list(modules))


def fill(modules: list[Any]) -> list[nn.Parameter]:
    """Set all weights to a pattern."""
    found = list({id(p): p for m in modules for p in m.parameters()}.values())
    with torch.no_grad():
        for i, p in enumerate(found):
            k = torch.arange(p.numel(), dtype=p.dtype)
            p.copy_(0.5 * torch.sin(1.7 * k + 0.3 * k * k + i).reshape(p.shape))
    return found


def evaluate(name: str, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Build an expression in float64 and compute it: its inputs, value, gradients and text.

    Args:
        inputs: recorded inputs, in the place of the expression's own.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        made = CASES[name]()
        weights = fill(made.modules)
        given = dict(made.inputs if inputs is None else inputs)
        leaves = {k: v.requires_grad_() for k, v in given.items() if isinstance(v, Tensor) and v.is_floating_point()}
        torch.manual_seed(1)
        value = made.compute(given)
        wanted = [*weights, *leaves.values()]
        grads: list[Tensor | None] = [None] * len(wanted)
        if value.requires_grad:
            grads = list(torch.autograd.grad(value.sum(), wanted, allow_unused=True))
        return {"inputs": given, "value": value.detach(), "gradients": grads, "text": str(made.shown)}
    finally:
        torch.set_default_dtype(before)


# -------------------------------------------------------------------------------------------- inputs


def wave(*shape: int, shift: float = 0.0) -> Tensor:
    """Numbers between -1 and 1."""
    count = int(torch.tensor(shape).prod())
    return torch.sin(2.3 * torch.arange(count, dtype=torch.get_default_dtype()) + shift).reshape(shape)


def positive(*shape: int) -> Tensor:
    """Numbers between 0.5 and 1.5."""
    return 1.0 + 0.5 * wave(*shape, shift=0.5)


def unit(*shape: int) -> Tensor:
    """Numbers between 0.1 and 0.9."""
    return 0.5 + 0.4 * wave(*shape, shift=0.9)


def simplex(*shape: int) -> Tensor:
    """Positive numbers that sum to one in the last dimension."""
    found = positive(*shape)
    return found / found.sum(-1, keepdim=True)


def bits(*shape: int) -> Tensor:
    return (wave(*shape, shift=0.3) > 0).to(torch.get_default_dtype())


def one_hot(count: int, classes: int) -> Tensor:
    return torch.eye(classes)[torch.arange(count) % classes]


# -------------------------------------------------------------------------------------------- distributions with networks


class Encoder(pd.Normal):
    """q(z|x)."""

    def __init__(self, var: str = "z", cond: str = "x", name: str = "q", sizes: tuple[int, int] = (X, Z)) -> None:
        super().__init__(var=[var], cond_var=[cond], name=name)
        self.fc1, self.fc2 = nn.Linear(*sizes), nn.Linear(*sizes)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        (x,) = given.values()
        return {"loc": self.fc1(x), "scale": F.softplus(self.fc2(x))}


class Inference(pd.Normal):
    """q(z|x)."""

    def __init__(self) -> None:
        super().__init__(var=["z"], cond_var=["x"], name="q")
        self.fc1, self.fc2 = nn.Linear(X, Z), nn.Linear(X, Z)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loc": self.fc1(x), "scale": F.softplus(self.fc2(x))}


class InferenceY(pd.Normal):
    """q(z|x,y)."""

    def __init__(self) -> None:
        super().__init__(var=["z"], cond_var=["x", "y"], name="q")
        self.fc1, self.fc2 = nn.Linear(X + Y, Z), nn.Linear(X + Y, Z)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        both = torch.cat([x, y], 1)
        return {"loc": self.fc1(both), "scale": F.softplus(self.fc2(both))}


class Generator(pd.Bernoulli):
    """p(x|z)."""

    def __init__(self) -> None:
        super().__init__(var=["x"], cond_var=["z"], name="p")
        self.fc = nn.Linear(Z, X)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"probs": torch.sigmoid(self.fc(z))}


class GeneratorNormal(pd.Normal):
    """p(x|z), real."""

    def __init__(self) -> None:
        super().__init__(var=["x"], cond_var=["z"], name="p")
        self.fc = nn.Linear(Z, X)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        loc = self.fc(z)
        return {"loc": loc, "scale": torch.ones_like(loc)}


class GeneratorY(pd.Bernoulli):
    """p(x|z,y)."""

    def __init__(self) -> None:
        super().__init__(var=["x"], cond_var=["z", "y"], name="p")
        self.fc = nn.Linear(Z + Y, X)

    def forward(self, z: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"probs": torch.sigmoid(self.fc(torch.cat([z, y], 1)))}


class Classifier(pd.Categorical):
    """q(y|x)."""

    def __init__(self) -> None:
        super().__init__(var=["y"], cond_var=["x"], name="q")
        self.fc = nn.Linear(X, Y)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"probs": torch.softmax(self.fc(x), -1)}


class Discriminator(pd.Deterministic):
    """t = d(x)."""

    def __init__(self, var: str = "x", size: int = X) -> None:
        super().__init__(var=["t"], cond_var=[var], name="d")
        self.fc = nn.Linear(size, 1)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        (x,) = given.values()
        return {"t": torch.sigmoid(self.fc(x))}


class Feature(pd.Deterministic):
    """h = f(x)."""

    def __init__(self) -> None:
        super().__init__(var=["h"], cond_var=["x"], name="f")
        self.fc = nn.Linear(X, Z)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"h": torch.tanh(self.fc(x))}


class Transition(pd.Normal):
    """p(z|z_prev)."""

    def __init__(self, name: str = "p") -> None:
        super().__init__(var=["z"], cond_var=["z_prev"], name=name)
        self.fc1, self.fc2 = nn.Linear(Z, Z), nn.Linear(Z, Z)

    def forward(self, z_prev: Tensor) -> dict[str, Tensor]:
        return {"loc": self.fc1(z_prev), "scale": F.softplus(self.fc2(z_prev))}


class Filter(pd.Normal):
    """q(z|x,z_prev)."""

    def __init__(self) -> None:
        super().__init__(var=["z"], cond_var=["x", "z_prev"], name="q")
        self.fc1, self.fc2 = nn.Linear(X + Z, Z), nn.Linear(X + Z, Z)

    def forward(self, x: Tensor, z_prev: Tensor) -> dict[str, Tensor]:
        both = torch.cat([x, z_prev], -1)
        return {"loc": self.fc1(both), "scale": F.softplus(self.fc2(both))}


class Cell(pd.Deterministic):
    """h = f(x, z, h_prev)."""

    def __init__(self) -> None:
        super().__init__(var=["h"], cond_var=["x", "z", "h_prev"], name="f")
        self.cell = nn.GRUCell(X + Z, Z)

    def forward(self, x: Tensor, z: Tensor, h_prev: Tensor) -> dict[str, Tensor]:
        return {"h": self.cell(torch.cat([z, x], -1), h_prev)}


class Slice(pd.Deterministic):
    """x_t = x[t]."""

    def __init__(self) -> None:
        super().__init__(var=["x_t"], cond_var=["x", "t"], name="s")

    def forward(self, x: Tensor, t: int) -> dict[str, Tensor]:
        return {"x_t": x[t]}


def prior(var: str = "z", size: int = Z, name: str = "p_{prior}") -> Any:
    return pd.Normal(var=[var], loc=torch.tensor(0.), scale=torch.tensor(1.), features_shape=[size], name=name)


# -------------------------------------------------------------------------------------------- families: log-density, moments


def bound(family: Any, x: Tensor, sum_features: bool = True, **params: Tensor) -> Golden:
    """The log-density of a family whose parameters are variables."""
    p = family(var=["x"], cond_var=[f"{k}_x" for k in params], **{k: f"{k}_x" for k in params})
    return of(p.log_prob(sum_features=sum_features), {"x": x, **{f"{k}_x": v for k, v in params.items()}})


@golden
def normal() -> Golden:
    return bound(pd.Normal, wave(B, X), loc=wave(B, X, shift=2.0), scale=positive(B, X))


@golden
def laplace() -> Golden:
    return bound(pd.Laplace, wave(B, X), loc=wave(B, X, shift=2.0), scale=positive(B, X))


@golden
def bernoulli() -> Golden:
    return bound(pd.Bernoulli, bits(B, X), probs=unit(B, X))


@golden
def bernoulli_soft_targets() -> Golden:
    return bound(pd.Bernoulli, unit(B, X), probs=unit(B, X))


@golden
def bernoulli_unsummed() -> Golden:
    return bound(pd.Bernoulli, bits(B, X), sum_features=False, probs=unit(B, X))


@golden
def relaxed_bernoulli() -> Golden:
    return bound(pd.RelaxedBernoulli, bits(B, X), probs=unit(B, X))


@golden
def factorized_bernoulli() -> Golden:
    return bound(pd.FactorizedBernoulli, bits(B, X), probs=unit(B, X))


@golden
def categorical() -> Golden:
    return bound(pd.Categorical, one_hot(B, Y), probs=simplex(B, Y))


@golden
def relaxed_categorical() -> Golden:
    return bound(pd.RelaxedCategorical, one_hot(B, Y), probs=simplex(B, Y))


@golden
def multinomial() -> Golden:
    return bound(pd.Multinomial, one_hot(B, Y), probs=simplex(B, Y))


@golden
def multinomial_of_ten() -> Golden:
    p = pd.Multinomial(var=["x"], cond_var=["probs"], probs="probs", total_count=10)
    return of(p.log_prob(), {"x": torch.tensor([[2., 3., 5.]]).expand(B, Y).clone(), "probs": simplex(B, Y)})


@golden
def dirichlet() -> Golden:
    return bound(pd.Dirichlet, simplex(B, Y), concentration=1 + positive(B, Y))


@golden
def beta() -> Golden:
    return bound(pd.Beta, unit(B, X), concentration1=positive(B, X), concentration0=1 + unit(B, X))


@golden
def gamma() -> Golden:
    return bound(pd.Gamma, positive(B, X), concentration=positive(B, X), rate=unit(B, X))


@golden
def normal_of_numbers() -> Golden:
    p = pd.Normal(var=["x"], loc=0.3, scale=1.5, features_shape=[X], name="p1")
    return Golden(p, lambda x: p.get_log_prob(x), {"x": wave(B, X)})


@golden
def normal_of_a_tensor() -> Golden:
    p = pd.Normal(var=["x"], loc=wave(X), scale=positive(X))
    return Golden(p, lambda x: p.get_log_prob(x), {"x": wave(B, X)})


@golden
def normal_of_images() -> Golden:
    p = pd.Normal(var=["x"], loc=torch.tensor(0.), scale=torch.tensor(2.), features_shape=[2, 3, 3])
    return Golden(p, lambda x: p.get_log_prob(x), {"x": wave(B, 2, 3, 3)})


@golden
def feature_dims() -> Golden:
    p = pd.Normal(var=["x"], loc=torch.tensor(0.), scale=torch.tensor(2.), features_shape=[2, 3])
    return of(p.log_prob(feature_dims=[-1]), {"x": wave(B, 2, 3)})


@golden
def draw_of_a_network() -> Golden:
    q = Inference()
    return Golden(q, lambda x: q.sample(x, reparam=True)["z"], {"x": wave(B, X)}, [q])


@golden
def draws_of_many() -> Golden:
    p = pd.Normal(var=["x"], loc=torch.tensor(1.), scale=torch.tensor(2.), features_shape=[X])
    return Golden(p, lambda x: p.sample(batch_n=B, sample_shape=[5])["x"], {})


@golden
def mean_of_a_network() -> Golden:
    q = Inference()
    return Golden(q, lambda x: q.sample_mean(x), {"x": wave(B, X)}, [q])


@golden
def variance_of_a_network() -> Golden:
    q = Inference()
    return Golden(q, lambda x: q.sample_variance(x), {"x": wave(B, X)}, [q])


@golden
def mean_of_a_bernoulli() -> Golden:
    p = Generator()
    return Golden(p, lambda x: p.sample_mean(x), {"z": wave(B, Z)}, [p])


@golden
def mean_of_a_categorical() -> Golden:
    p = Classifier()
    return Golden(p, lambda x: p.sample_mean(x), {"x": wave(B, X)}, [p])


@golden
def parameters_of_a_network() -> Golden:
    q = Inference()
    return Golden(q, lambda x: torch.cat([q.get_params(x)[k] for k in ("loc", "scale")]), {"x": wave(B, X)}, [q])


@golden
def entropy_of_a_network() -> Golden:
    q = Inference()
    return Golden(q, lambda x: q.get_entropy(x), {"x": wave(B, X)}, [q])


@golden
def deterministic() -> Golden:
    f = Feature()
    return Golden(f, lambda x: f.sample(x)["h"], {"x": wave(B, X)}, [f])


@golden
def data_distribution() -> Golden:
    p = pd.EmpiricalDistribution(["x"])
    return Golden(p, lambda x: p.sample(x)["x"], {"x": wave(B, X)})


# -------------------------------------------------------------------------------------------- products, names, marginals


@golden
def joint() -> Golden:
    p, z = Generator(), prior()
    return Golden(p * z, lambda x: (p * z).get_log_prob(x), {"x": bits(B, X), "z": wave(B, Z)}, [p])


@golden
def joint_in_the_other_order() -> Golden:
    p, z = Generator(), prior()
    return of((z * p).log_prob(), {"x": bits(B, X), "z": wave(B, Z)}, p)


@golden
def joint_of_three() -> Golden:
    p, z = GeneratorY(), prior()
    y = pd.Categorical(var=["y"], probs=torch.tensor([0.2, 0.3, 0.5]), name="p_{y}")
    inputs = {"x": bits(B, X), "z": wave(B, Z), "y": one_hot(B, Y)}
    return Golden(p * z * y, lambda x: (p * z * y).get_log_prob(x), inputs, [p])


@golden
def draw_of_a_joint() -> Golden:
    p, q = GeneratorNormal(), Inference().replace_var(x="w")
    both = p * q
    return Golden(both, lambda x: both.sample(x, reparam=True)["x"], {"w": wave(B, X)}, [p, q])


@golden
def chain() -> Golden:
    first, second = Transition().replace_var(z="z_1", z_prev="z_0"), Transition().replace_var(z="z_2", z_prev="z_1")
    inputs = {"z_0": wave(B, Z), "z_1": wave(B, Z, shift=1.0), "z_2": wave(B, Z, shift=2.0)}
    return of((second * first).log_prob(), inputs, first, second)


@golden
def figure_4() -> Golden:
    p1 = pd.Normal(var=["x"], cond_var=["z"], loc="z", scale=torch.tensor(1.), name="p_{1}", features_shape=[X])
    p2 = prior("z", X, "p_{2}")
    return Golden(p1 * p2, lambda x: (p1 * p2).log_prob().eval(x), {"x": wave(B, X), "z": wave(B, X, shift=1.0)})


@golden
def renamed() -> Golden:
    q = Inference().replace_var(z="u", x="v")
    return Golden(q, lambda x: q.get_log_prob(x), {"u": wave(B, Z), "v": wave(B, X)}, [q])


@golden
def renamed_joint() -> Golden:
    p = Generator()
    joint = (p * prior()).replace_var(x="y", z="w")
    return of(joint.log_prob(), {"y": bits(B, X), "w": wave(B, Z)}, p)


@golden
def marginal() -> Golden:
    p = GeneratorNormal()
    m = (p * prior()).marginalize_var("z")
    return Golden(m, lambda x: m.sample(batch_n=B, reparam=True)["x"], {}, [p])


@golden
def marginal_of_two() -> Golden:
    p, q = GeneratorNormal(), Inference().replace_var(x="w")
    m = (p * q * prior("w", X)).marginalize_var(["z", "w"])
    return Golden(m, lambda x: m.sample(batch_n=B, reparam=True)["x"], {}, [p, q])


@golden
def posterior_times_marginal() -> Golden:
    q, data = Inference(), prior("x", X, "p_{d}")
    m = (q * data).marginalize_var("x")
    return Golden(m, lambda x: m.sample(batch_n=B, reparam=True)["z"], {}, [q])


@golden
def mixture() -> Golden:
    parts = [pd.Normal(var=["x"], loc=torch.tensor(float(i)), scale=torch.tensor(1.), features_shape=[X], name=f"p_{{{i}}}")
             for i in range(2)]
    m = pd.MixtureModel(parts, pd.Categorical(var=["i"], probs=torch.tensor([0.3, 0.7]), name="prior"), name="p")
    return Golden(m, lambda x: m.get_log_prob(x), {"x": wave(B, X)})


@golden
def posterior_of_a_mixture() -> Golden:
    parts = [pd.Normal(var=["x"], loc=torch.tensor(float(i)), scale=torch.tensor(1.), features_shape=[X], name=f"p_{{{i}}}")
             for i in range(2)]
    m = pd.MixtureModel(parts, pd.Categorical(var=["i"], probs=torch.tensor([0.3, 0.7]), name="prior"), name="p").posterior()
    return Golden(m, lambda x: m.prob().eval(x), {"x": wave(B, X), "i": one_hot(B, 2)})


@golden
def product_of_experts() -> Golden:
    q, r = Inference(), Encoder("z", "y", "r", (Y, Z))
    poe = pd.ProductOfNormal([q, r])
    return Golden(poe, lambda x: poe.sample_mean(x), {"x": wave(B, X), "y": one_hot(B, Y)}, [q, r])


@golden
def draw_of_a_product_of_experts() -> Golden:
    q, r = Inference(), Encoder("z", "y", "r", (Y, Z))
    poe = pd.ProductOfNormal([prior(), q, r])
    return Golden(poe, lambda x: poe.sample(x, reparam=True)["z"], {"x": wave(B, X), "y": one_hot(B, Y)}, [q, r])


# -------------------------------------------------------------------------------------------- losses


@golden
def log_prob_of_a_network() -> Golden:
    p = Generator()
    return of(pl.LogProb(p), {"x": bits(B, X), "z": wave(B, Z)}, p)


@golden
def prob_of_a_network() -> Golden:
    p = Generator()
    return of(pl.Prob(p), {"x": bits(B, X), "z": wave(B, Z)}, p)


@golden
def arithmetic() -> Golden:
    p, q = Generator(), Inference()
    inputs = {"x": bits(B, X), "z": wave(B, Z), "beta": torch.tensor(0.7)}
    return of((p.log_prob() * 2 + q.log_prob() / 3 - pl.Parameter("beta")).mean(), inputs, p, q)


@golden
def negative_and_absolute() -> Golden:
    p = Generator()
    return of((-p.log_prob()).abs().sum(), {"x": bits(B, X), "z": wave(B, Z)}, p)


@golden
def detached() -> Golden:
    p, q = Generator(), Inference()
    return of((p.log_prob().detach() * q.log_prob()).mean(), {"x": bits(B, X), "z": wave(B, Z)}, p, q)


@golden
def least() -> Golden:
    p, q = Generator(), Inference()
    return of(pl.MinLoss(p.log_prob(), q.log_prob()).sum(), {"x": bits(B, X), "z": wave(B, Z)}, p, q)


@golden
def most() -> Golden:
    p = Generator()
    return of(pl.MaxLoss(p.log_prob(), pl.ValueLoss(-2.0)).mean(), {"x": bits(B, X), "z": wave(B, Z)}, p)


@golden
def fixed_variables() -> Golden:
    p = Generator()
    return of(p.log_prob().constant_var({"x": bits(B, X)}).mean(), {"z": wave(B, Z)}, p)


@golden
def weighted_sum() -> Golden:
    q, z = Inference(), prior()
    loss = (pl.Parameter("a") * pl.KullbackLeibler(q, z)).mean() + pl.Parameter("b")
    return of(loss, {"x": wave(B, X), "a": torch.tensor(2.0), "b": torch.tensor(0.5)}, q)


@golden
def expectation() -> Golden:
    p, q = Generator(), Inference()
    return of(pl.Expectation(q, pl.LogProb(p)), {"x": bits(B, X)}, p, q)


@golden
def expectation_of_five_draws() -> Golden:
    p, q = Generator(), Inference()
    return of(pl.LogProb(p).expectation(q, sample_shape=[5]).mean(), {"x": bits(B, X)}, p, q)


@golden
def expectation_of_a_product() -> Golden:
    p, q = GeneratorY(), InferenceY()
    inner = pl.Expectation(q, pl.LogProb(p) - pl.LogProb(q))
    return of(inner.mean(), {"x": bits(B, X), "y": one_hot(B, Y)}, p, q)


@golden
def expectation_of_a_deterministic() -> Golden:
    f = Feature()
    p = pd.Normal(var=["y"], cond_var=["h"], loc="h", scale=torch.tensor(1.), features_shape=[Z])
    return of(pl.Expectation(f, p.log_prob()).mean(), {"x": wave(B, X), "y": wave(B, Z)}, f)


@golden
def divergence() -> Golden:
    q, z = Inference(), prior()
    return of(pl.KullbackLeibler(q, z), {"x": wave(B, X)}, q)


@golden
def divergence_of_networks() -> Golden:
    q, t = Inference(), Transition()
    return of(pl.KullbackLeibler(q, t).mean(), {"x": wave(B, X), "z_prev": wave(B, Z)}, q, t)


@golden
def divergence_of_categoricals() -> Golden:
    q = Classifier()
    y = pd.Categorical(var=["y"], probs=torch.tensor([0.2, 0.3, 0.5]), name="p")
    return of(pl.KullbackLeibler(q, y), {"x": wave(B, X)}, q)


@golden
def divergence_by_draws() -> Golden:
    q, z = Inference(), prior()
    return of(pl.KullbackLeibler(q, z, analytical=False, sample_shape=[7]).mean(), {"x": wave(B, X)}, q)


@golden
def entropy() -> Golden:
    q = Inference()
    return of(pl.Entropy(q).mean(), {"x": wave(B, X)}, q)


@golden
def entropy_by_draws() -> Golden:
    q = Inference()
    return of(pl.Entropy(q, analytical=False, sample_shape=[3]).mean(), {"x": wave(B, X)}, q)


@golden
def cross_entropy() -> Golden:
    q, z = Inference(), prior()
    return of(pl.CrossEntropy(q, z).mean(), {"x": wave(B, X)}, q)


@golden
def cross_entropy_by_formula() -> Golden:
    q, z = Inference(), prior()
    return of(pl.CrossEntropy(q, z, analytical=True).mean(), {"x": wave(B, X)}, q)


@golden
def elbo() -> Golden:
    p, q = Generator(), Inference()
    return of(pl.ELBO(p * prior(), q).mean(), {"x": bits(B, X)}, p, q)


@golden
def vae() -> Golden:
    p, q = Generator(), Inference()
    return of((pl.KullbackLeibler(q, prior()) - pl.Expectation(q, pl.LogProb(p))).mean(), {"x": bits(B, X)}, p, q)


@golden
def conditional_vae() -> Golden:
    p, q = GeneratorY(), InferenceY()
    loss = (-pl.Expectation(q, pl.LogProb(p)) + pl.KullbackLeibler(q, prior())).mean()
    return of(loss, {"x": bits(B, X), "y": one_hot(B, Y)}, p, q)


@golden
def importance_weighted() -> Golden:
    p, q = Generator(), Inference()
    return of(pl.ELBO(p * prior(), q, sample_shape=[4]).mean(), {"x": bits(B, X)}, p, q)


@golden
def reinforce() -> Golden:
    p, q = Generator(), Inference()
    return of(pl.REINFORCE(q, pl.LogProb(p), b=pl.ValueLoss(-1.0), reparam=False).mean(), {"x": bits(B, X)}, p, q)


@golden
def reinforce_by_default() -> Golden:
    p, q = Generator(), Inference()
    return of(pl.REINFORCE(q, pl.LogProb(p)).mean(), {"x": bits(B, X)}, p, q)


@golden
def mmd() -> Golden:
    q = Inference()
    return of(pl.MMD(q, prior()), {"x": wave(B, X)}, q)


@golden
def wasserstein() -> Golden:
    q = Inference()
    return of(pl.WassersteinDistance(q, prior()), {"x": wave(B, X)}, q)


def adversarial(loss_class: str) -> Golden:
    """Data against a deterministic generator, so that no noise is compared."""

    class Made(pd.Deterministic):
        def __init__(self) -> None:
            super().__init__(var=["x"], cond_var=["z"], name="p")
            self.fc = nn.Linear(Z, X)

        def forward(self, z: Tensor) -> dict[str, Tensor]:
            return {"x": self.fc(z)}

    p, data, d = Made(), pd.EmpiricalDistribution(["x"]), Discriminator()
    return of(getattr(pl, loss_class)(p, data, discriminator=d), {"x": wave(B, X), "z": wave(B, Z)}, p, d)


@golden
def adversarial_jensen_shannon() -> Golden:
    return adversarial("AdversarialJensenShannon")


@golden
def adversarial_kullback_leibler() -> Golden:
    return adversarial("AdversarialKullbackLeibler")


@golden
def adversarial_wasserstein() -> Golden:
    return adversarial("AdversarialWassersteinDistance")


# -------------------------------------------------------------------------------------------- series


@golden
def state_space_model() -> Golden:
    p, q, t = Generator(), Filter(), Transition()
    step = (pl.KullbackLeibler(q, t) - pl.Expectation(q, pl.LogProb(p))).mean()
    loss = pl.IterativeLoss(step, max_iter=5, series_var=["x"], update_value={"z": "z_prev"})
    return of(loss, {"x": bits(5, B, X), "z_prev": torch.zeros(B, Z)}, p, q, t)


@golden
def state_space_model_by_draws() -> Golden:
    p, q, t = Generator(), Filter(), Transition()
    loss = pl.IterativeLoss(pl.ELBO(p * t, q), series_var=["x"], update_value={"z": "z_prev"})
    return of(loss.mean(), {"x": bits(5, B, X), "z_prev": torch.zeros(B, Z)}, p, q, t)


@golden
def recurrent_network() -> Golden:
    """The example of 0.3.3's documentation: a deterministic cell is carried."""
    p, f = Generator().replace_var(z="h"), Cell()
    loss = pl.IterativeLoss(
        p.log_prob().expectation(f).mean(), max_iter=5, series_var=["x", "z"], update_value={"h": "h_prev"}
    )
    return of(loss, {"x": bits(5, B, X), "z": wave(5, B, Z), "h_prev": torch.zeros(B, Z)}, p, f)


@golden
def masked_series() -> Golden:
    p, q, t = Generator(), Filter(), Transition()
    step = pl.KullbackLeibler(q, t) - pl.Expectation(q, pl.LogProb(p))
    loss = pl.IterativeLoss(step, max_iter=4, series_var=["x"], update_value={"z": "z_prev"})
    mask = torch.ones(4, B)
    mask[2:, 1] = 0
    return Golden(loss, lambda x: loss.eval(x, mask=mask), {"x": bits(4, B, X), "z_prev": torch.zeros(B, Z)}, [p, q, t])


@golden
def sliced_series() -> Golden:
    p = prior("x_t", X, "p")
    loss = pl.IterativeLoss(p.log_prob().mean(), max_iter=3, slice_step=Slice(), timestep_var=["t"])
    return of(loss, {"x": wave(3, B, X)})


@golden
def series_without_carry() -> Golden:
    p, q = Generator(), Inference()
    step = (pl.KullbackLeibler(q, prior()) - pl.Expectation(q, pl.LogProb(p))).mean()
    return of(pl.IterativeLoss(step, max_iter=3, series_var=["x"]), {"x": bits(3, B, X)}, p, q)


# -------------------------------------------------------------------------------------------- flows


def flow_density(*parts: Any, size: int = 4) -> Golden:
    """log p(x) of an invertible flow over a normal."""
    flow = pf.FlowList(list(parts)) if len(parts) > 1 else parts[0]
    p = pd.InverseTransformedDistribution(prior("z", size), flow=flow, var=["x"])
    return Golden(p, lambda x: p.get_log_prob(x), {"x": wave(B, size)}, [flow])


def scale_and_translate(size: int) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(size, size), nn.Linear(size, size)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return torch.tanh(self.fc1(x)), self.fc2(x)

    return Net()


@golden
def flow_coupling() -> Golden:
    return flow_density(pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4)))


@golden
def flow_two_couplings() -> Golden:
    return flow_density(
        pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4)), pf.Reverse(4),
        pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4), inverse_mask=True),
    )


@golden
def flow_permuted() -> Golden:
    return flow_density(
        pf.Permutation([2, 0, 3, 1]), pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4))
    )


@golden
def flow_images() -> Golden:
    flow = pf.FlowList([pf.Squeeze(), pf.ChannelConv(4), pf.Unsqueeze()])
    z = pd.Normal(var=["z"], loc=torch.tensor(0.), scale=torch.tensor(1.), features_shape=[1, 4, 4], name="p_{prior}")
    p = pd.InverseTransformedDistribution(z, flow=flow, var=["x"])
    return Golden(p, lambda x: p.get_log_prob(x), {"x": wave(B, 1, 4, 4)}, [flow])


@golden
def flow_batch_norm() -> Golden:
    return flow_density(
        pf.BatchNorm1d(4), pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4)), pf.BatchNorm1d(4)
    )


@golden
def flow_act_norm() -> Golden:
    """In evaluation mode, where no data set the initial scale."""
    flow = pf.ActNorm2d(2).eval()
    z = pd.Normal(var=["z"], loc=torch.tensor(0.), scale=torch.tensor(1.), features_shape=[2, 3, 3], name="p_{prior}")
    p = pd.InverseTransformedDistribution(z, flow=flow, var=["x"])
    return Golden(p, lambda x: p.get_log_prob(x), {"x": wave(B, 2, 3, 3)}, [flow])


@golden
def flow_inference() -> Golden:
    flow = pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4))
    p = pd.InverseTransformedDistribution(prior("z", 4), flow=flow, var=["x"])
    return Golden(p, lambda x: p.inference(x)["z"], {"x": wave(B, 4)}, [flow])


@golden
def flow_of_maximum_likelihood() -> Golden:
    flow = pf.AffineCoupling(in_features=4, scale_translate_net=scale_and_translate(4))
    p = pd.InverseTransformedDistribution(prior("z", 4), flow=flow, var=["x"])
    return of((-p.log_prob()).mean(), {"x": wave(B, 4)}, flow)


@golden
def flow_planar_posterior() -> Golden:
    q, flow = Inference(), pf.PlanarFlow(Z)
    p = pd.TransformedDistribution(q, flow=flow, var=["z_2"])
    return Golden(p, lambda x: p.sample(x, compute_jacobian=True, reparam=True)["z_2"], {"x": wave(B, X)}, [q, flow])


# -------------------------------------------------------------------------------------------- models


def trained(model: Any, inputs: dict[str, Any], *modules: Any) -> Golden:
    """The loss of three training steps and the weights after them."""

    def compute(x: dict[str, Any]) -> Tensor:
        losses = [model.train({k: v.detach().clone() for k, v in x.items()}).detach().reshape(1) for _ in range(3)]
        return torch.cat([*losses, *(p.detach().flatten() for m in modules for p in m.parameters())])

    return Golden(model, compute, inputs, list(modules))


@golden
def model() -> Golden:
    p, q = Generator(), Inference()
    loss = (pl.KullbackLeibler(q, prior()) - pl.Expectation(q, pl.LogProb(p))).mean()
    made = pm.Model(loss, distributions=[p, q], optimizer=torch.optim.SGD, optimizer_params={"lr": 0.1})
    return trained(made, {"x": bits(B, X)}, p, q)


@golden
def model_vae() -> Golden:
    p, q = Generator(), Inference()
    made = pm.VAE(q, p, regularizer=pl.KullbackLeibler(q, prior()), optimizer=torch.optim.SGD, optimizer_params={"lr": 0.1})
    return trained(made, {"x": bits(B, X)}, q, p)


@golden
def model_vi() -> Golden:
    p, q = Generator(), Inference()
    made = pm.VI(p * prior(), q, optimizer=torch.optim.SGD, optimizer_params={"lr": 0.1})
    return trained(made, {"x": bits(B, X)}, p, q)


@golden
def model_gan() -> Golden:
    """The generator's loss and weights after three steps of both; the prior's draws are normal."""

    class Made(pd.Deterministic):
        def __init__(self) -> None:
            super().__init__(var=["x"], cond_var=["z"], name="p")
            self.fc = nn.Linear(Z, X)

        def forward(self, z: Tensor) -> dict[str, Tensor]:
            return {"x": self.fc(z)}

    g, d = Made(), Discriminator()
    p = (g * prior()).marginalize_var("z")
    sgd = torch.optim.SGD
    made = pm.GAN(p, d, optimizer=sgd, optimizer_params={"lr": 0.1}, d_optimizer=sgd, d_optimizer_params={"lr": 0.1})

    def compute(x: dict[str, Tensor]) -> Tensor:
        losses = [v.detach().reshape(1) for _ in range(3) for v in made.train({"x": x["x"].detach().clone()})]
        return torch.cat([*losses, *(p.detach().flatten() for m in (g, d) for p in m.parameters())])

    return Golden(made, compute, {"x": wave(B, X)}, [g, d])


@golden
def model_ml() -> Golden:
    p = Classifier()
    made = pm.ML(p, optimizer=torch.optim.SGD, optimizer_params={"lr": 0.1})
    return trained(made, {"x": wave(B, X), "y": one_hot(B, Y)}, p)
