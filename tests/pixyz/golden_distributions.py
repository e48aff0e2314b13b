"""Expressions over distributions, their products, renamings, marginals and mixtures
(``golden_expressions.py``).
"""

from typing import Any

import torch
from golden_parts import (
    B,
    Classifier,
    Encoder,
    Feature,
    Generator,
    GeneratorNormal,
    GeneratorY,
    Golden,
    Inference,
    Transition,
    X,
    Y,
    Z,
    bits,
    golden,
    of,
    one_hot,
    positive,
    prior,
    simplex,
    unit,
    wave,
)
from torch import Tensor

from pixyz import distributions as pd

# --------------------------------------------------------------------------------------------
# families: log-density, moments


def bound(family: Any, x: Tensor, sum_features: bool = True, **params: Tensor) -> Golden:
    """The log-density of a family whose parameters are variables."""
    p = family(var=["x"], cond_var=[f"{k}_x" for k in params], **{k: f"{k}_x" for k in params})
    return of(
        p.log_prob(sum_features=sum_features), {"x": x, **{f"{k}_x": v for k, v in params.items()}}
    )


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
    return of(
        p.log_prob(),
        {"x": torch.tensor([[2.0, 3.0, 5.0]]).expand(B, Y).clone(), "probs": simplex(B, Y)},
    )


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
    p = pd.Normal(
        var=["x"], loc=torch.tensor(0.0), scale=torch.tensor(2.0), features_shape=[2, 3, 3]
    )
    return Golden(p, lambda x: p.get_log_prob(x), {"x": wave(B, 2, 3, 3)})


@golden
def feature_dims() -> Golden:
    p = pd.Normal(var=["x"], loc=torch.tensor(0.0), scale=torch.tensor(2.0), features_shape=[2, 3])
    return of(p.log_prob(feature_dims=[-1]), {"x": wave(B, 2, 3)})


@golden
def draw_of_a_network() -> Golden:
    q = Inference()
    return Golden(q, lambda x: q.sample(x, reparam=True)["z"], {"x": wave(B, X)}, [q])


@golden
def draws_of_many() -> Golden:
    p = pd.Normal(var=["x"], loc=torch.tensor(1.0), scale=torch.tensor(2.0), features_shape=[X])
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
    return Golden(
        q,
        lambda x: torch.cat([q.get_params(x)[k] for k in ("loc", "scale")]),
        {"x": wave(B, X)},
        [q],
    )


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


# --------------------------------------------------------------------------------------------
# products, names, marginals


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
    first, second = (
        Transition().replace_var(z="z_1", z_prev="z_0"),
        Transition().replace_var(z="z_2", z_prev="z_1"),
    )
    inputs = {"z_0": wave(B, Z), "z_1": wave(B, Z, shift=1.0), "z_2": wave(B, Z, shift=2.0)}
    return of((second * first).log_prob(), inputs, first, second)


@golden
def figure_4() -> Golden:
    p1 = pd.Normal(
        var=["x"],
        cond_var=["z"],
        loc="z",
        scale=torch.tensor(1.0),
        name="p_{1}",
        features_shape=[X],
    )
    p2 = prior("z", X, "p_{2}")
    return Golden(
        p1 * p2,
        lambda x: (p1 * p2).log_prob().eval(x),
        {"x": wave(B, X), "z": wave(B, X, shift=1.0)},
    )


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
    parts = [
        pd.Normal(
            var=["x"],
            loc=torch.tensor(float(i)),
            scale=torch.tensor(1.0),
            features_shape=[X],
            name=f"p_{{{i}}}",
        )
        for i in range(2)
    ]
    m = pd.MixtureModel(
        parts, pd.Categorical(var=["i"], probs=torch.tensor([0.3, 0.7]), name="prior"), name="p"
    )
    return Golden(m, lambda x: m.get_log_prob(x), {"x": wave(B, X)})


@golden
def posterior_of_a_mixture() -> Golden:
    parts = [
        pd.Normal(
            var=["x"],
            loc=torch.tensor(float(i)),
            scale=torch.tensor(1.0),
            features_shape=[X],
            name=f"p_{{{i}}}",
        )
        for i in range(2)
    ]
    m = pd.MixtureModel(
        parts, pd.Categorical(var=["i"], probs=torch.tensor([0.3, 0.7]), name="prior"), name="p"
    ).posterior()
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
    return Golden(
        poe,
        lambda x: poe.sample(x, reparam=True)["z"],
        {"x": wave(B, X), "y": one_hot(B, Y)},
        [q, r],
    )
