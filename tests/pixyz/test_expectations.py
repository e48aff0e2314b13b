"""Expectations equal hand-written code; what they share, what they draw,
what gradient they give.
"""

import pytest
import torch
from loss_parts import B, Decoder, Encoder, Parts, X, Z, run
from torch import Tensor
from torch import distributions as td

from pixyz.distributions import Categorical, Deterministic, Normal
from pixyz.losses import (
    ELBO,
    E,
    Entropy,
    Expectation,
    KullbackLeibler,
    LogProb,
    Parameter,
    Prob,
)
from pixyz.types import PixyzError


@pytest.fixture
def parts() -> Parts:
    return Parts()


def test_an_expectation_equals_hand_written_code(parts: Parts) -> None:
    posterior = parts.posterior()
    z = posterior.loc + posterior.scale * parts.noise(3)
    loss = E(parts.q, LogProb(parts.p))
    torch.testing.assert_close(run(loss, {"x": parts.x}), parts.log_likelihood(z))
    torch.testing.assert_close(
        run(LogProb(parts.p).expectation(parts.q), {"x": parts.x}), parts.log_likelihood(z)
    )
    torch.testing.assert_close(
        run(E(parts.q, Prob(parts.p)), {"x": parts.x}), parts.log_likelihood(z).exp()
    )
    weights = list(parts.q.parameters()) + list(parts.p.parameters())
    found = torch.autograd.grad(run(loss, {"x": parts.x}).sum(), weights)
    for g, h in zip(
        found, torch.autograd.grad(parts.log_likelihood(z).sum(), weights), strict=True
    ):
        torch.testing.assert_close(g, h)


@pytest.mark.parametrize("shape", [7, [7], [2, 3], (1,), ()])
def test_several_samples_are_one_vectorised_evaluation(parts: Parts, shape: object) -> None:
    loss = E(parts.q, LogProb(parts.p), sample_shape=shape)  # type: ignore[arg-type]
    sizes = [shape] if isinstance(shape, int) else [n for n in shape if n > 1]  # type: ignore[attr-defined]
    value = run(loss, {"x": parts.x})
    assert parts.p.calls == 1 and parts.p.seen == [
        torch.Size([int(torch.tensor(sizes).prod()) * B if sizes else B, Z])
    ]
    posterior = parts.posterior()
    noise = parts.noise(3, *sizes[::-1]) if len(sizes) > 1 else parts.noise(3, *sizes)
    each = parts.log_likelihood((posterior.loc + posterior.scale * noise).reshape(-1, B, Z))
    torch.testing.assert_close(value, each.mean(0))
    nonlinear = E(parts.q, LogProb(parts.p) * LogProb(parts.p), sample_shape=shape)  # type: ignore[arg-type]
    torch.testing.assert_close(run(nonlinear, {"x": parts.x}), each.square().mean(0))


def test_wrong_sample_shapes_are_refused(parts: Parts) -> None:
    for shape in (0, [2, 0], [-1]):
        with pytest.raises(PixyzError, match="sample_shape"):
            E(parts.q, LogProb(parts.p), sample_shape=shape)


def test_two_expectations_draw_twice_and_share_parameters(parts: Parts) -> None:
    recon = E(parts.q, LogProb(parts.p))
    difference = recon - E(parts.q, LogProb(parts.p))
    value = run(difference, {"x": parts.x})
    assert (value.abs() > 1e-6).all()
    assert (parts.q.calls, parts.p.calls) == (1, 2)
    assert str(difference).count(r"\mathbb{E}") == 2
    same = run(recon - recon, {"x": parts.x})
    assert (same.abs() > 1e-6).all()
    inside = E(parts.q, LogProb(parts.p) - LogProb(parts.p))
    torch.testing.assert_close(run(inside, {"x": parts.x}), torch.zeros(B, dtype=torch.float64))


def test_each_network_is_called_once(parts: Parts) -> None:
    loss = (
        KullbackLeibler(parts.q, parts.prior)
        + Entropy(parts.q)
        + LogProb(parts.q)
        - E(parts.q, LogProb(parts.p) + Prob(parts.p))
        + KullbackLeibler(parts.q.detach(), parts.prior)
        + LogProb(parts.q.replace_var(z="w"))
    )
    z = torch.randn(B, Z, dtype=torch.float64)
    run(loss.mean(), {"x": parts.x, "z": z, "w": z})
    assert (parts.q.calls, parts.p.calls) == (1, 1)
    run(loss.mean(), {"x": parts.x, "z": z, "w": z})
    assert (parts.q.calls, parts.p.calls) == (2, 2)


def test_the_first_call_of_a_class_counts_once_where_logits_replace_probs() -> None:
    class Unseen(Decoder):
        pass

    p, x = Unseen(), torch.rand(B, X)
    for calls in (1, 2, 3):
        LogProb(p).eval({"x": x, "z": torch.zeros(B, Z)}) if calls == 1 else p.get_log_prob(
            {"x": x, "z": torch.zeros(B, Z)}
        )
        assert p.calls == calls
    other = Unseen()
    LogProb(other).eval({"x": x, "z": torch.zeros(B, Z)})
    assert other.calls == 1


def test_other_inputs_are_another_call(parts: Parts) -> None:
    loss = KullbackLeibler(parts.q, parts.prior) + KullbackLeibler(
        parts.q.replace_var(x="y"), parts.prior
    )
    y = torch.rand(B, X, dtype=torch.float64)
    value = loss.eval({"x": parts.x, "y": y})
    assert parts.q.calls == 2
    torch.testing.assert_close(value, loss.eval({"x": y, "y": parts.x}))
    torch.testing.assert_close(
        loss.eval({"x": y, "y": y}), 2 * KullbackLeibler(parts.q, parts.prior).eval(y)
    )


def test_nested_expectations(parts: Parts) -> None:
    r = Normal(var="w", cond_var="z", loc="z", scale=0.1, name="r")
    loss = E(parts.q, E(r, LogProb(r) + LogProb(parts.prior), sample_shape=[4]), sample_shape=[3])
    assert loss.input_var == ["x"]
    torch.manual_seed(3)
    value = loss.eval({"x": parts.x})
    assert value.shape == (B,)
    posterior = parts.posterior()
    torch.manual_seed(3)
    z = posterior.loc + posterior.scale * torch.randn(3, B, Z, dtype=torch.float64)
    w = z + 0.1 * torch.randn(4, 3, B, Z, dtype=torch.float64)
    inner = td.Normal(z, torch.tensor(0.1)).log_prob(w).sum(-1).mean(0) + td.Normal(
        0.0, 1.0
    ).log_prob(z).sum(-1)
    entropy = -td.Normal(0.0, 0.1).entropy() * Z  # the mean of log r, whatever the order of draws
    assert (inner.mean(0) - value).abs().max() < 1.5 and entropy.isfinite()
    exact = E(parts.q, E(r, LogProb(r), sample_shape=[4000])).eval({"x": parts.x})
    torch.testing.assert_close(exact, entropy.expand(B).double(), rtol=0, atol=0.1)


def test_shadowing_is_lexical(parts: Parts) -> None:
    """The z inside is the drawn one, the z outside the given one."""
    z = torch.full((B, Z), 9.0, dtype=torch.float64)
    loss = (
        LogProb(parts.prior)
        + 0 * E(parts.prior, LogProb(parts.prior))
        + E(parts.q, LogProb(parts.prior))
    )
    posterior = parts.posterior()
    value = run(loss, {"x": parts.x, "z": z})
    assert set(loss.input_var) == {"x", "z"}
    inner = value - td.Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert (inner > -30).all() and posterior.loc.abs().max() < 5


def test_without_reparametrisation_no_gradient_passes_through_the_draw(parts: Parts) -> None:
    for reparam in (True, False):
        loss = Expectation(parts.q, LogProb(parts.p), reparam=reparam).mean()
        grads = torch.autograd.grad(
            loss.eval(parts.x), [parts.q.net.weight, parts.p.net.weight], allow_unused=True
        )
        assert (grads[0] is not None) is reparam and grads[1] is not None


def test_the_score_function_estimates_the_gradient() -> None:
    """``E[f.detach() log q]`` has the gradient of ``E[f]`` on average: d/dm E[z^2] = 2 m."""
    m = torch.full((40_000, 1), 1.5, requires_grad=True)
    q = Normal(var="z", cond_var="m", loc="m", scale=1.0)
    reward = Parameter("z") * Parameter("z")
    surrogate = Expectation(q, reward.detach() * LogProb(q, sum_features=False), reparam=False)
    torch.manual_seed(0)
    (grad,) = torch.autograd.grad(surrogate.sum().eval({"m": m}), m)
    assert grad.mean().item() == pytest.approx(3.0, abs=0.1)
    (path,) = torch.autograd.grad(E(q, reward).sum().eval({"m": m}), m)
    assert path.mean().item() == pytest.approx(3.0, abs=0.05)


def test_the_elbo_equals_its_terms(parts: Parts) -> None:
    posterior = parts.posterior()
    z = posterior.loc + posterior.scale * parts.noise(3)
    prior = td.Normal(0.0, 1.0)
    wanted = parts.log_likelihood(z) + (prior.log_prob(z) - posterior.log_prob(z)).sum(-1)
    torch.testing.assert_close(run(ELBO(parts.p * parts.prior, parts.q), {"x": parts.x}), wanted)
    many = {"sample_shape": [3000]}
    explicit = E(parts.q, LogProb(parts.p), **many) - KullbackLeibler(parts.q, parts.prior)  # type: ignore[arg-type]
    torch.testing.assert_close(
        run(ELBO(parts.p * parts.prior, parts.q, **many), {"x": parts.x}),
        run(explicit, {"x": parts.x}),
        rtol=0.02,
        atol=0.1,
    )


def test_a_function_in_an_expectation_is_computed_once(parts: Parts) -> None:
    class Features(Deterministic):
        def __init__(self) -> None:
            super().__init__("h", "x", name="f")
            self.calls = 0

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            self.calls += 1
            return {"h": 2 * x}

    f, q = Features(), Encoder("h").double()
    loss = E(f * q, LogProb(parts.p)) - E(f, KullbackLeibler(q, parts.prior))
    assert loss.input_var == ["x"]
    value = run(loss, {"x": parts.x})
    assert (f.calls, q.calls) == (1, 1)
    torch.manual_seed(3)
    z = q.sample({"h": 2 * parts.x})["z"]
    torch.testing.assert_close(
        value, parts.log_likelihood(z) - KullbackLeibler(q, parts.prior).eval({"h": 2 * parts.x})
    )


def test_categorical_expectations_by_enumeration() -> None:
    """Samples of a one-hot variable with their gradients stopped: the mean follows the
    probabilities.
    """
    p = Categorical(var="k", probs=torch.tensor([0.2, 0.5, 0.3]))
    torch.manual_seed(0)
    mean = E(p, Parameter("k"), sample_shape=[20_000]).eval({})
    torch.testing.assert_close(mean, torch.tensor([[0.2, 0.5, 0.3]]), rtol=0, atol=0.02)


@pytest.mark.parametrize("draws", [[1], [7], [2, 3]])
def test_a_sum_over_the_batch_is_the_mean_over_draws(draws: list[int]) -> None:
    """``E[f.sum()] = E[f].sum()``: the draws of an expectation are averaged, whatever is done to
    the batch inside.
    """
    rows = torch.linspace(-1.0, 1.0, B).unsqueeze(-1)
    q = Normal("z", "x", loc="x", scale=1e-6, features_shape=[1], name="q")
    square = Normal("z", loc=0.0, scale=1.0, features_shape=[1])
    wanted = torch.distributions.Normal(0.0, 1.0).log_prob(rows).sum()
    x = {"x": rows}
    inside = E(q, LogProb(square).sum(), draws)
    for loss in (inside, E(q, LogProb(square), draws).sum(), E(q, inside, [3])):
        torch.testing.assert_close(loss.eval(x), wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        E(q, LogProb(square).mean(), draws).eval(x), wanted / B, atol=1e-4, rtol=1e-4
    )
    both = E(q, LogProb(square).sum() - 2 * LogProb(square).mean(), draws)
    torch.testing.assert_close(both.eval(x), wanted - 2 * wanted / B, atol=1e-4, rtol=1e-4)
