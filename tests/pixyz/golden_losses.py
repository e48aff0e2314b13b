"""Objectives over distributions (``golden_expressions.py``)."""

import torch
from golden_parts import (
    B,
    Classifier,
    Discriminator,
    Feature,
    Generator,
    GeneratorY,
    Golden,
    Inference,
    InferenceY,
    Transition,
    X,
    Y,
    Z,
    bits,
    golden,
    of,
    one_hot,
    prior,
    wave,
)
from torch import Tensor, nn

from pixyz import distributions as pd
from pixyz import losses as pl


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
    return of(
        (p.log_prob().detach() * q.log_prob()).mean(), {"x": bits(B, X), "z": wave(B, Z)}, p, q
    )


@golden
def least() -> Golden:
    p, q = Generator(), Inference()
    return of(
        pl.MinLoss(p.log_prob(), q.log_prob()).sum(), {"x": bits(B, X), "z": wave(B, Z)}, p, q
    )


@golden
def most() -> Golden:
    p = Generator()
    return of(
        pl.MaxLoss(p.log_prob(), pl.ValueLoss(-2.0)).mean(), {"x": bits(B, X), "z": wave(B, Z)}, p
    )


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
    p = pd.Normal(var=["y"], cond_var=["h"], loc="h", scale=torch.tensor(1.0), features_shape=[Z])
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
    return of(
        pl.KullbackLeibler(q, z, analytical=False, sample_shape=[7]).mean(), {"x": wave(B, X)}, q
    )


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
    return of(
        (pl.KullbackLeibler(q, prior()) - pl.Expectation(q, pl.LogProb(p))).mean(),
        {"x": bits(B, X)},
        p,
        q,
    )


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
    return of(
        pl.REINFORCE(q, pl.LogProb(p), b=pl.ValueLoss(-1.0), reparam=False).mean(),
        {"x": bits(B, X)},
        p,
        q,
    )


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
    return of(
        getattr(pl, loss_class)(p, data, discriminator=d), {"x": wave(B, X), "z": wave(B, Z)}, p, d
    )


@golden
def adversarial_jensen_shannon() -> Golden:
    return adversarial("AdversarialJensenShannon")


@golden
def adversarial_kullback_leibler() -> Golden:
    return adversarial("AdversarialKullbackLeibler")


@golden
def adversarial_wasserstein() -> Golden:
    return adversarial("AdversarialWassersteinDistance")
