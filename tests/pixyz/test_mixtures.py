"""Mixtures, products of experts and marginals: densities equal brute force, samples follow them,
posteriors are exact.
"""

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as td

from pixyz.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    ElementWiseProductOfNormal,
    GroupedOneHot,
    Laplace,
    MarginalizeVarDistribution,
    MixtureModel,
    MixtureOfNormal,
    Multinomial,
    Normal,
    ProductOfNormal,
)
from pixyz.losses import ELBO, E, Entropy, IterativeLoss, KullbackLeibler, LogProb
from pixyz.types import PixyzError, VariableError

B, D, K = 4, 2, 3
draw = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=draw)


LOCS, PROBS = normal(K, D), normal(K).softmax(-1)


def gaussian_mixture() -> MixtureModel:
    parts = [Normal(var="x", loc=loc, scale=0.5 + k, name=f"p_{k}") for k, loc in enumerate(LOCS)]
    return MixtureModel(parts, Categorical(var="z", probs=PROBS, name="prior")).double()


def torch_mixture() -> td.Distribution:
    scale = (0.5 + torch.arange(K, dtype=torch.float64))[:, None].expand(K, D)
    return td.MixtureSameFamily(td.Categorical(PROBS), td.Independent(td.Normal(LOCS, scale), 1))


class Net(Normal):
    """A linear network."""

    def __init__(
        self, var: str, cond_var: list[str], name: str = "p", width: int = D, given: int = D
    ) -> None:
        super().__init__(var=var, cond_var=cond_var, name=name, features_shape=[width])
        torch.manual_seed(len(var) + 7 * len(cond_var) + given)
        self.layer = nn.Linear(given * len(cond_var), 2 * width).double()

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, raw = self.layer(torch.cat([given[c] for c in self.cond_var], -1)).chunk(2, -1)
        return {"loc": loc, "scale": nn.functional.softplus(raw) + 0.3}


class Class(Categorical):
    def __init__(
        self, var: str, cond_var: list[str], name: str = "p", shape: tuple[int, ...] = (K,)
    ) -> None:
        super().__init__(var=var, cond_var=cond_var, name=name, features_shape=shape)
        torch.manual_seed(3)
        self.layer = nn.Linear(D * len(cond_var), K).double()

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"logits": self.layer(torch.cat([given[c] for c in self.cond_var], -1))}


def conditional_mixture() -> MixtureModel:
    constant = Normal(var="x", loc=torch.zeros(D), scale=1.0, name="p_0").double()
    return MixtureModel(
        [constant, Net("x", ["y"], "p_1"), Net("x", ["y", "w"], "p_2")], Class("z", ["y"], "prior")
    )


# --------------------------------------------------------------------------------------------
# mixtures


def test_mixture_density_equals_torch() -> None:
    p, x = gaussian_mixture(), normal(B, D)
    torch.testing.assert_close(p.get_log_prob({"x": x}), torch_mixture().log_prob(x))
    torch.testing.assert_close(p.log_prob().eval({"x": x}), torch_mixture().log_prob(x))
    table = p.get_log_prob({"x": x}, return_hidden=True)
    assert table.shape == (K, B)
    torch.testing.assert_close(table.logsumexp(0), torch_mixture().log_prob(x))
    torch.testing.assert_close(p.sample_mean(), torch_mixture().mean[None])


def test_mixture_equals_the_marginal_of_its_joint() -> None:
    """Conditional components and prior: the sum over z by enumeration is the same number."""
    p = conditional_mixture()
    v = {"x": normal(B, D), "y": normal(B, D), "w": normal(B, D)}
    rows = [c.get_log_prob(v) for c in p.distributions]
    prior = p.prior.layer(v["y"]).log_softmax(-1)
    wanted = torch.stack(rows, -1) + prior
    torch.testing.assert_close(p.get_log_prob(v), wanted.logsumexp(-1))
    torch.testing.assert_close(p.posterior().get_params(v)["logits"], wanted)
    series = {k: torch.stack([t, t.flip(0)]) for k, t in v.items()}
    found = IterativeLoss(LogProb(p), series_var=list(v), reduction=None).eval(series)
    torch.testing.assert_close(
        found, torch.stack([wanted.logsumexp(-1), wanted.logsumexp(-1).flip(0)])
    )


def test_what_is_summed_is_one_event_of_a_mixture() -> None:
    p, x = gaussian_mixture(), normal(B, D)
    scale = (0.5 + torch.arange(K, dtype=torch.float64))[:, None].expand(K, D)
    single = td.MixtureSameFamily(td.Categorical(PROBS.expand(D, K)), td.Normal(LOCS.T, scale.T))
    torch.testing.assert_close(p.get_log_prob({"x": x}, sum_features=False), single.log_prob(x))


def test_mixture_samples_follow_the_density() -> None:
    p, many = gaussian_mixture(), 30_000
    torch.manual_seed(0)
    for x in (p.sample(batch_n=many)["x"], p.sample(sample_shape=[many])["x"][:, 0]):
        error = (x.mean(0) - torch_mixture().mean).abs() / (torch_mixture().variance / many).sqrt()
        assert x.shape == (many, D) and error.max() < 4.5
    found = p.sample(batch_n=many, return_hidden=True)
    z = found["z"]
    assert z.shape == (many, K) and torch.equal(z.sum(-1), torch.ones(many, dtype=z.dtype))
    assert ((z.mean(0) - PROBS).abs() < 4.5 * (PROBS * (1 - PROBS) / many).sqrt()).all()
    for k in range(K):
        mine = found["x"][z[:, k] > 0]
        assert ((mine.mean(0) - LOCS[k]).abs() < 5 * (0.5 + k) / math.sqrt(len(mine))).all()


def test_each_row_of_a_conditional_mixture_has_a_draw_of_its_own() -> None:
    p = conditional_mixture()
    v = {
        "y": torch.zeros(500, D, dtype=torch.float64),
        "w": torch.zeros(500, D, dtype=torch.float64),
    }
    torch.manual_seed(0)
    x = p.sample(v)["x"]
    assert x.shape == (500, D) and len(x.unique(dim=0)) == 500
    assert p.sample(v, sample_shape=[7])["x"].shape == (7, 500, D)
    drawn = IterativeLoss(E(p, LogProb(p)), series_var=["y", "w"], reduction=None).eval(
        {"y": normal(5, B, D), "w": normal(5, B, D)}
    )
    assert drawn.shape == (5, B) and drawn.unique().numel() == 5 * B


def test_posterior_is_exact() -> None:
    p, x = gaussian_mixture(), normal(B, D)
    q = p.posterior()
    table = p.get_log_prob({"x": x}, return_hidden=True)
    wanted = table - table.logsumexp(0)
    torch.testing.assert_close(q.get_log_prob({"x": x}), wanted)
    torch.testing.assert_close(q.prob().eval({"x": x}), wanted.exp())
    one_hot = torch.eye(K, dtype=torch.float64)[[0, 2, 1, 0]]
    torch.testing.assert_close(q.get_log_prob({"x": x, "z": one_hot}), (wanted.T * one_hot).sum(-1))
    assert q.sample({"x": x})["z"].shape == (B, K)
    torch.testing.assert_close(q.get_entropy({"x": x}), -(wanted.exp() * wanted).sum(0))
    kl = KullbackLeibler(q, p.prior).eval({"x": x})
    torch.testing.assert_close(kl, (wanted.exp() * (wanted - PROBS.log()[:, None])).sum(0))
    assert (
        q.var == ["z"] and q.cond_var == ["x"] and q.hidden_var == ["z"] and q.prob_text == "p(z|x)"
    )
    assert q.prob_joint_factorized_and_text == r"p(z|x) = \frac{p(z,x)}{p(x)}"


def test_expectation_maximisation_never_lowers_the_likelihood() -> None:
    torch.manual_seed(0)
    data = torch_mixture().sample((200,))
    locs = nn.Parameter(normal(K, D))
    parts = [
        Normal(var="x", cond_var="m", loc="m", scale=1.0, name=f"p_{k}").replace_var(m=f"m{k}")
        for k in range(K)
    ]
    p = MixtureModel(parts, Categorical(var="z", probs=torch.ones(K), name="prior")).double()
    values, history = {f"m{k}": locs[k : k + 1].expand(200, D).detach() for k in range(K)}, []
    for _ in range(15):
        history.append(p.get_log_prob({"x": data, **values}).mean().item())
        share = p.posterior().get_log_prob({"x": data, **values}).exp()
        values = {
            f"m{k}": ((share[k, :, None] * data).sum(0) / share[k].sum()).expand(200, D)
            for k in range(K)
        }
    assert (
        all(b > a - 1e-9 for a, b in itertools.pairwise(history))
        and history[-1] > history[0] + 0.05
    )


def test_a_mixture_answers_like_any_distribution() -> None:
    p, x = gaussian_mixture(), normal(B, D)
    wanted = p.get_log_prob({"x": x})
    renamed = p.replace_var(x="y")
    torch.testing.assert_close(renamed.get_log_prob({"y": x}), wanted)
    assert renamed.sample(batch_n=5)["y"].shape == (5, D)
    joint = Normal(var="y", cond_var="x", loc="x", scale=1.0).double() * p
    torch.testing.assert_close(
        joint.get_log_prob({"x": x, "y": x}), wanted - D * math.log(math.sqrt(2 * math.pi))
    )
    assert set(joint.sample(batch_n=5)) == {"x", "y"}
    for twin in (copy.deepcopy(p), p.frozen(), p.detach()):
        torch.testing.assert_close(twin.get_log_prob({"x": x}), wanted)
    torch.manual_seed(0)
    sampled = Entropy(p, sample_shape=[4000]).eval({})
    assert (
        abs(
            float(sampled) + float(torch_mixture().log_prob(torch_mixture().sample((4000,))).mean())
        )
        < 0.15
    )
    assert p.prob_joint_factorized_and_text == (
        "p(x) = p_{0}(x|z=0)prior(z=0) + p_{1}(x|z=1)prior(z=1) + p_{2}(x|z=2)prior(z=2)"
    )
    assert "(distributions): ModuleList" in str(p) and "Mixture Model" in str(p)


def test_gradients_of_a_mixture() -> None:
    probs, loc = nn.Parameter(torch.tensor([0.3, 0.7]).double()), nn.Parameter(normal(D))
    p = MixtureModel(
        [
            Normal(var="x", loc=loc, scale=1.0).double(),
            Normal(var="x", loc=torch.zeros(D), scale=1.0).double(),
        ],
        Categorical(var="z", probs=probs),
    )
    x = normal(B, D)
    p.log_prob().mean().eval({"x": x}).backward()
    assert (
        probs.grad is not None
        and probs.grad.abs().sum() > 0
        and loc.grad is not None
        and loc.grad.abs().sum() > 0
    )
    assert not p.has_reparam and gaussian_mixture().has_reparam
    assert (
        not p.detach().get_log_prob({"x": x}).requires_grad
        and not p.frozen().get_log_prob({"x": x}).requires_grad
    )


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda n, z: MixtureModel([n("x"), n("y")], z(2)), VariableError, "same variables"),
        (lambda n, z: MixtureModel([n("x"), n("x")], z(3)), PixyzError, r"2.*\[3\]"),
        (lambda n, z: MixtureModel([n("x"), n("x")], n("z")), PixyzError, "Categorical"),
        (lambda n, z: MixtureModel([], z(2)), PixyzError, "component"),
        (
            lambda n, z: MixtureModel(
                [Normal(var="x", cond_var="z", loc="z", scale=1.0)] * 2, z(2)
            ),
            VariableError,
            "hidden",
        ),
        (
            lambda n, z: MixtureOfNormal([n("x"), Laplace(var="x", loc=0.0, scale=1.0)]),
            PixyzError,
            "Laplace",
        ),
        (lambda n, z: MixtureOfNormal([n("x"), n("x")], [0.5]), PixyzError, "2 positive"),
        (lambda n, z: ProductOfNormal([]), PixyzError, "expert"),
        (lambda n, z: ProductOfNormal([n("x"), n("y")]), VariableError, "one variable"),
        (lambda n, z: ProductOfNormal([n("x")], weight_modalities=[1.0]), PixyzError, "weight"),
        (lambda n, z: ElementWiseProductOfNormal(n("x")), VariableError, "one condition"),
    ],
)
def test_wrong_constructions_are_explained(
    make: object, error: type[Exception], words: str
) -> None:
    def n(var: str) -> Distribution:
        return Normal(var=var, loc=0.0, scale=1.0)

    with pytest.raises(error, match=words):
        make(n, lambda k: Categorical(var="z", probs=torch.ones(k)))  # type: ignore[operator]


def test_mixture_of_experts() -> None:
    p = MixtureOfNormal([Net("z", ["x"], "q"), Net("z", ["y"], "q")], [1, 3], name="q")
    v = {"x": normal(B, D), "y": normal(B, D), "z": normal(B, D)}
    rows = torch.stack([e.get_log_prob(v) for e in p.p])
    torch.testing.assert_close(
        p.get_log_prob(v), (rows + torch.tensor([0.25, 0.75]).log()[:, None]).logsumexp(0)
    )
    torch.manual_seed(0)
    x, y = v["x"][:1].expand(20_000, D), v["y"][:1].expand(20_000, D)
    z = p.sample({"x": x, "y": y}, reparam=True)["z"]
    means = [e.get_params({"x": x[:1], "y": y[:1]})["loc"][0] for e in p.p]
    assert (z.mean(0) - 0.25 * means[0] - 0.75 * means[1]).abs().max() < 0.06
    assert z.requires_grad and p.has_reparam and p.cond_var == ["x", "y"]


# --------------------------------------------------------------------------------------------
# products of experts


def experts() -> tuple[Net, Net]:
    return Net("z", ["x"], "q"), Net("z", ["y"], "q")


def test_product_of_experts_is_the_normalised_product() -> None:
    """On a grid: the product of the experts' densities and of the prior, over its integral."""
    parts = [Net("z", [c], "q", width=1) for c in "xy"]
    q = ProductOfNormal(parts, name="q")
    v = {"x": normal(1, D), "y": normal(1, D)}
    z = torch.linspace(-8, 8, 20_001, dtype=torch.float64)[:, None]
    rows = {k: t.expand(len(z), D) for k, t in v.items()}
    log = sum(e.get_log_prob({"z": z, **rows}) for e in parts) + td.Normal(0.0, 1.0).log_prob(
        z[:, 0]
    )
    wanted = log - torch.logsumexp(log, 0) - math.log(16 / 20_000)
    torch.testing.assert_close(q.get_log_prob({"z": z, **rows}), wanted)
    torch.testing.assert_close(q.log_prob().eval({"z": z, **rows}), wanted)


def test_product_of_experts_leaves_out_what_is_not_given() -> None:
    a, b = experts()
    q = ProductOfNormal([a, b], [2.0, 1.0, 0.5], name="q")
    v = {"x": normal(B, D), "y": normal(B, D)}
    p1, p2 = a.get_params(v), b.get_params(v)
    for given, terms in (("xy", [(1.0, p1), (0.5, p2)]), ("x", [(1.0, p1)]), ("y", [(0.5, p2)])):
        precision = 2.0 + sum(w / p["scale"] ** 2 for w, p in terms)
        loc = sum(w * p["loc"] / p["scale"] ** 2 for w, p in terms) / precision
        found = q.get_params({k: v[k] for k in given})
        torch.testing.assert_close(found["loc"], loc)
        torch.testing.assert_close(found["scale"], precision**-0.5)
    prior = q.get_params({})
    torch.testing.assert_close(prior["scale"], torch.full((1, D), 2.0**-0.5, dtype=torch.float64))
    assert q.sample(batch_n=5)["z"].shape == (5, D)
    with pytest.raises(VariableError, match="'x', 'y'"):
        KullbackLeibler(q, Normal(var="z", loc=0.0, scale=1.0)).eval({})
    assert set(KullbackLeibler(q, Normal(var="z", loc=0.0, scale=1.0)).input_var) == {"x", "y"}


def test_product_of_experts_is_a_normal() -> None:
    q, prior = ProductOfNormal(list(experts()), name="q"), Normal(var="z", loc=0.0, scale=1.0)
    v = {"x": normal(B, D), "y": normal(B, D)}
    wanted = td.kl_divergence(td.Normal(**q.get_params(v)), td.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(KullbackLeibler(q, prior).eval(v), wanted)
    torch.testing.assert_close(q.get_entropy(v), td.Normal(**q.get_params(v)).entropy().sum(-1))
    assert q.prob_joint_factorized_and_text == r"q(z|x,y) \propto p(z)q(z|x)q(z|y)"
    sampled = q.sample(v, reparam=True)["z"]
    sampled.sum().backward()
    assert all(w.grad is not None for w in q.parameters())
    assert not q.detach().get_log_prob({**v, "z": sampled.detach()}).requires_grad
    frozen = q.frozen()
    x = v["x"].clone().requires_grad_()
    (g,) = torch.autograd.grad(
        frozen.get_log_prob({"x": x, "y": v["y"], "z": sampled.detach()}).sum(), x
    )
    assert g.abs().sum() > 0


def test_element_wise_product_of_experts() -> None:
    expert = Net("z", ["x"], "q", given=3)
    q = ElementWiseProductOfNormal(expert, name="q")
    x = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    found = q.get_params({"x": x})
    precision, total = torch.ones(3, D, dtype=torch.float64), torch.zeros(3, D, dtype=torch.float64)
    for row, i in itertools.product(range(3), range(3)):
        if x[row, i] != 0:
            alone = torch.zeros(1, 3, dtype=torch.float64)
            alone[0, i] = x[row, i]
            p = expert.get_params({"x": alone})
            precision[row] += p["scale"][0] ** -2
            total[row] += p["loc"][0] * p["scale"][0] ** -2
    torch.testing.assert_close(found["loc"], total / precision)
    torch.testing.assert_close(found["scale"], precision**-0.5)
    assert q.sample({"x": x})["z"].shape == (3, D) and q.get_log_prob(
        {"x": x, "z": normal(3, D)}
    ).shape == (3,)
    assert not q.frozen().get_log_prob({"x": x, "z": normal(3, D)}).requires_grad


# --------------------------------------------------------------------------------------------
# marginals


def test_finite_variables_are_summed_out() -> None:
    joint = Net("x", ["z"], given=K) * Class("z", ["w"])
    p = joint.marginalize_var("z")
    v = {"x": normal(B, D), "w": normal(B, D)}
    rows = [
        joint.get_log_prob({**v, "z": torch.eye(K, dtype=torch.float64)[k].expand(B, K)})
        for k in range(K)
    ]
    wanted = torch.stack(rows).logsumexp(0)
    torch.testing.assert_close(p.get_log_prob(v), wanted)
    torch.testing.assert_close(p.log_prob().eval(v), wanted)
    torch.testing.assert_close(LogProb(p).eval(v), wanted)
    assert p.log_prob().loss_text == r"\log \sum_{z} p(x|z)p(z|w)"
    series = {k: torch.stack([t, t.flip(0)]) for k, t in v.items()}
    found = IterativeLoss(LogProb(p), series_var=["x", "w"], reduction=None).eval(series)
    torch.testing.assert_close(found, torch.stack([wanted, wanted.flip(0)]))
    renamed = p.replace_var(x="z")  # the bound z is another one
    torch.testing.assert_close(renamed.get_log_prob({"z": v["x"], "w": v["w"]}), wanted)
    product = p * Net("w", ["u"], "r")
    u = normal(B, D)
    torch.testing.assert_close(
        product.get_log_prob({**v, "u": u}),
        wanted + Net("w", ["u"], "r").get_log_prob({**v, "u": u}),
    )


def test_every_finite_family_is_summed_out() -> None:
    """Bits, several one-hot vectors, and two variables at once: the likelihood of all data is 1."""
    for z, width in (
        (Bernoulli(var="z", probs=torch.tensor([0.2, 0.7, 0.4])), 3),
        (Categorical(var="z", probs=torch.rand(2, 3, generator=draw)), 6),
        (GroupedOneHot(2, 3, var="z", logits=torch.randn(6, generator=draw)), 6),
    ):

        class Bits(Bernoulli):
            def __init__(self, width: int) -> None:
                super().__init__(var="x", cond_var=["z", "s"], features_shape=[2])
                self.layer = nn.Linear(width + 1, 2)

            def forward(self, z: Tensor, s: Tensor) -> dict[str, Tensor]:
                return {"logits": self.layer(torch.cat([z.flatten(1), s], -1))}

        p = (Bits(width) * z * Bernoulli(var="s", probs=torch.tensor([0.3]))).marginalize_var(
            ["z", "s"]
        )
        every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2)))
        torch.testing.assert_close(p.get_log_prob({"x": every}).exp().sum(), torch.tensor(1.0))


def linear_gaussian() -> tuple[Distribution, Distribution, Tensor, Tensor]:
    """x = z + noise: the evidence and the posterior are known."""
    p = (
        Normal(var="x", cond_var="z", loc="z", scale=0.8).double()
        * Normal(var="z", loc=torch.zeros(D), scale=1.0).double()
    )
    q = (
        Normal(var="z", cond_var="m", loc="m", scale=0.8 / math.sqrt(1.64), name="q")
        .double()
        .replace_var(m="m")
    )
    x = normal(B, D)
    return p, q, x, td.Normal(0.0, math.sqrt(1.64)).log_prob(x).sum(-1)


class Guess(Normal):
    def __init__(self, shrink: float, scale: float) -> None:
        super().__init__(var="z", cond_var="x", name="q", features_shape=[D])
        self.shrink, self.spread = shrink, scale

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loc": self.shrink * x, "scale": torch.full_like(x, self.spread)}


def test_importance_sampling_gives_the_evidence() -> None:
    p, _, x, wanted = linear_gaussian()
    marginal = p.marginalize_var("z")
    exact = Guess(1 / 1.64, 0.8 / math.sqrt(1.64))
    torch.testing.assert_close(marginal.get_log_prob({"x": x}, proposal=exact), wanted)
    rough = Guess(0.3, 1.2)
    torch.manual_seed(0)
    bounds = []
    for count in (1, 10, 5000):
        loss = marginal.log_prob(proposal=rough, sample_shape=[count])
        bounds.append(
            torch.stack([loss.eval({"x": x}) for _ in range(200 if count < 100 else 1)]).mean(0)
        )
    assert (bounds[0] < bounds[1]).all() and (bounds[1] < wanted + 0.02).all()
    assert (bounds[2] - wanted).abs().max() < 0.08
    torch.manual_seed(1)
    elbo = ELBO(p, rough).eval({"x": x})
    torch.manual_seed(1)
    torch.testing.assert_close(marginal.log_prob(proposal=rough).eval({"x": x}), elbo)
    text = marginal.log_prob(proposal=rough, sample_shape=[10]).loss_text
    assert text == r"\log \frac{1}{10} \sum_{z \sim q(z|x)}^{10} \frac{p(x|z)p(z)}{q(z|x)}"


def test_importance_sampling_and_sums_together() -> None:
    """p(x) of a joint with a class and a continuous variable: the class is summed, the other is
    sampled.
    """
    c = Categorical(var="c", probs=torch.ones(K), features_shape=[K]).double()
    joint = (
        Normal(var="x", cond_var="z", loc="z", scale=0.8).double()
        * Net("z", ["c"], given=K, width=D)
        * c
    )
    p = joint.marginalize_var(["z", "c"])
    x = normal(B, D)
    means = Net("z", ["c"], given=K).get_params({"c": torch.eye(K, dtype=torch.float64)})
    spread = (means["scale"] ** 2 + 0.64).sqrt()
    wanted = td.Normal(means["loc"][:, None], spread[:, None]).log_prob(x).sum(-1).logsumexp(
        0
    ) - math.log(K)
    torch.manual_seed(0)
    found = p.with_proposal(Guess(0.5, 1.0), 4000).get_log_prob({"x": x})
    assert (found - wanted).abs().max() < 0.1
    both = Guess(0.5, 1.0) * Categorical(var="c", probs=torch.ones(K), name="q").double()
    found = p.with_proposal(both, [4000]).get_log_prob({"x": x})
    assert (found - wanted).abs().max() < 0.15
    assert p.log_prob(proposal=Guess(0.5, 1.0)).loss_text == (
        r"\log \frac{1}{1} \sum_{z \sim q(z|x)}^{1} \frac{\sum_{c} p(x|z)p(z|c)p(c)}{q(z|x)}"
    )


def test_the_bound_trains_proposal_and_model() -> None:
    p, q = (
        Net("x", ["z"]) * Normal(var="z", loc=torch.zeros(D), scale=1.0).double(),
        Net("z", ["x"], "q"),
    )
    loss = -p.marginalize_var("z").log_prob(proposal=q, sample_shape=[5]).mean()
    loss.eval({"x": normal(B, D)}).backward()
    weights = [*p.parameters(), *q.parameters()]
    assert weights and all(w.grad is not None and w.grad.abs().sum() > 0 for w in weights)
    assert {id(w) for w in weights} <= {id(w) for w in loss.parameters()}


def test_what_cannot_be_had_is_explained() -> None:
    p, _, x, _ = linear_gaussian()
    marginal = p.marginalize_var("z")
    for call in (
        lambda: marginal.get_log_prob({"x": x}),
        lambda: marginal.log_prob().eval({"x": x}),
    ):
        with pytest.raises(NotImplementedError, match=r"'z'.*Normal.*proposal"):
            call()
    with pytest.raises(VariableError, match="bound"):
        marginal.log_prob(proposal=Normal(var="w", loc=0.0, scale=1.0))
    with pytest.raises(VariableError, match=r"\['u'\]"):
        marginal.log_prob(proposal=Normal(var="z", cond_var="u", loc="u", scale=1.0))
    read = Normal(var="x", cond_var="z", loc="z", scale=1.0)
    many = (read * Bernoulli(var="z", probs=torch.full((40,), 0.5))).marginalize_var("z")
    with pytest.raises(PixyzError, match=r"2\^40"):
        many.get_log_prob({"x": torch.zeros(1, 40)})
    unknown = (Net("x", ["z"], given=K) * Class("z", ["w"], shape=())).marginalize_var("z")
    with pytest.raises(PixyzError, match="features_shape"):
        unknown.get_log_prob({"x": x, "w": x})
    with pytest.raises(PixyzError, match="sum_features"):
        marginal.get_log_prob({"x": x}, sum_features=False)
    counted = (read * Multinomial(3, var="z", probs=torch.ones(2))).marginalize_var("z")
    with pytest.raises(NotImplementedError, match="Multinomial"):
        counted.get_log_prob({"x": torch.zeros(1, 2)})
    assert isinstance(counted, MarginalizeVarDistribution)
