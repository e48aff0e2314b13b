"""Objectives: arithmetic equals torch's, expectations equal hand-written code, what is shared and what is drawn."""

import operator
import random
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as td

from pixyz.distributions import Bernoulli, Categorical, Deterministic, Normal
from pixyz.expression import Clamp, ConstantVar, as_loss
from pixyz.losses import (
    ELBO,
    CrossEntropy,
    E,
    Entropy,
    Expectation,
    IterativeLoss,
    KullbackLeibler,
    LogProb,
    Loss,
    MaxLoss,
    MinLoss,
    Parameter,
    Prob,
    ValueLoss,
)
from pixyz.types import PixyzError, VariableError

B, X, Z = 5, 6, 2


class Encoder(Normal):
    def __init__(self, cond: str = "x") -> None:
        super().__init__(var="z", cond_var=cond, name="q")
        self.net = nn.Linear(X, 2 * Z)
        self.calls = 0

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        loc, scale = self.net(given[self.cond_var[0]]).chunk(2, -1)
        return {"loc": loc, "scale": scale.exp()}


class Decoder(Bernoulli):
    def __init__(self) -> None:
        super().__init__(var="x", cond_var="z")
        self.net = nn.Linear(Z, X)
        self.calls = 0
        self.seen: list[torch.Size] = []

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        self.seen.append(z.shape)
        return {"logits": self.net(z)}


class Parts:
    """A VAE and data for it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.q, self.p = Encoder().double(), Decoder().double()
        self.prior = Normal(var="z", loc=0.0, scale=1.0, features_shape=[Z], name="p_{prior}")
        self.x = torch.rand(B, X, dtype=torch.float64)

        LogProb(self.p).eval({"x": self.x, "z": torch.zeros(B, Z).double()})  # it is seen that p returns logits
        self.reset()

    def reset(self) -> None:
        """Forget the calls of the networks."""
        self.q.calls = self.p.calls = 0
        self.p.seen.clear()

    def noise(self, seed: int, *shape: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.randn(*shape, B, Z, dtype=torch.float64)

    def posterior(self) -> td.Normal:
        loc, scale = self.q.net(self.x).chunk(2, -1)
        return td.Normal(loc, scale.exp())

    def log_likelihood(self, z: Tensor) -> Tensor:
        return td.Bernoulli(logits=self.p.net(z), validate_args=False).log_prob(self.x).sum(-1)


@pytest.fixture
def parts() -> Parts:
    return Parts()


def run(loss: Loss, given: object, seed: int = 3, **more: Tensor) -> Tensor:
    torch.manual_seed(seed)
    return loss.eval(given, **more)  # type: ignore[no-any-return]


# -------------------------------------------------------------------------------------------- arithmetic

NAMES = ("a", "b", "c")
Expression = tuple[Loss | float, Callable[[dict[str, Tensor]], Tensor | float]]
BINARY = [operator.add, operator.sub, operator.mul, operator.truediv]


def grow(draw: random.Random, depth: int) -> Expression:
    """A random expression: as a loss, and as a function on tensors."""
    if depth == 0 or draw.random() < 0.15:
        if draw.random() < 0.3:
            number = draw.choice([2, 3.0, -1.5, 0.25, 10, -4])
            return number, lambda v: number
        name = draw.choice(NAMES)
        return Parameter(name), lambda v: v[name]
    left, left_value = grow(draw, depth - 1)
    if draw.random() < 0.15 and isinstance(left, Loss):
        return -left, lambda v: -left_value(v)
    right, right_value = grow(draw, depth - 1)
    op = draw.choice(BINARY)
    if not isinstance(left, Loss) and not isinstance(right, Loss):
        left = as_loss(left)
    return op(left, right), lambda v: op(left_value(v), right_value(v))


def read_latex(text: str, values: dict[str, float]) -> float:
    """The value of a formula of numbers, letters, + - fractions, brackets and juxtaposed factors."""
    text = text.replace(r"\left(", "(").replace(r"\right)", ")").replace(r"\cdot", " ").replace("{,}", "")
    tokens = re.findall(r"\\frac|[0-9.]+(?:\s*10\^\{-?[0-9]+\})?|[a-z]|[-+(){}]|\S+", text)
    at = 0

    def peek() -> str:
        return tokens[at] if at < len(tokens) else ""

    def take(wanted: str = "") -> str:
        nonlocal at
        assert not wanted or peek() == wanted, (text, tokens, at, wanted)
        at += 1
        return tokens[at - 1]

    def total() -> float:
        value = term()
        while peek() in ("+", "-"):
            value = value + term() if take() == "+" else value - term()
        return value

    def term() -> float:
        if peek() == "-":
            take()
            return -term()
        value = factor()
        while peek() and peek() not in "+-)}":
            value *= factor()
        return value

    def factor() -> float:
        token = take()
        if token == "(":
            value = total()
            take(")")
            return value
        if token == r"\frac":
            take("{"); top = total(); take("}"); take("{"); bottom = total(); take("}")
            return top / bottom
        return values[token] if token in values else float(token)

    value = total()
    assert at == len(tokens), (text, tokens[at:])
    return value


def test_random_expressions_equal_torch_and_print_what_they_compute() -> None:
    draw = random.Random(1)
    done = 0
    while done < 150:
        loss, function = grow(draw, draw.randint(1, 4))
        if not isinstance(loss, Loss):
            continue
        done += 1
        values = {n: torch.rand(B, dtype=torch.float64) + 0.5 for n in NAMES}
        wanted = function(values)
        if not torch.as_tensor(wanted).isfinite().all() or torch.as_tensor(wanted).abs().max() > 1e6:
            continue
        torch.testing.assert_close(torch.as_tensor(loss.eval(values)).double(), torch.as_tensor(wanted).double())
        numbers = {n: v[0].item() for n, v in values.items()}
        first = torch.as_tensor(wanted).double().reshape(-1)[0].item()
        assert read_latex(str(loss), numbers) == pytest.approx(first, rel=1e-6), str(loss)


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (lambda a, b: a + 1, lambda a, b: a + 1),
        (lambda a, b: 1 + a, lambda a, b: 1 + a),
        (lambda a, b: 2.5 - a, lambda a, b: 2.5 - a),
        (lambda a, b: 2 * a / b, lambda a, b: 2 * a / b),
        (lambda a, b: 2 / a, lambda a, b: 2 / a),
        (lambda a, b: -a, lambda a, b: -a),
        (lambda a, b: torch.ones(()) * 3 - a, lambda a, b: 3 - a),
        (lambda a, b: a - torch.arange(B).double(), lambda a, b: a - torch.arange(B)),
        (lambda a, b: (a - b).abs(), lambda a, b: (a - b).abs()),
        (lambda a, b: a.clamp(min=0.2), lambda a, b: a.clamp(min=0.2)),
        (lambda a, b: a.clamp(max=0.2), lambda a, b: a.clamp(max=0.2)),
        (lambda a, b: a.clamp(-0.1, 0.1), lambda a, b: a.clamp(-0.1, 0.1)),
        (lambda a, b: MinLoss(a, b), lambda a, b: torch.minimum(a, b)),
        (lambda a, b: MaxLoss(a, b), lambda a, b: torch.maximum(a, b)),
        (lambda a, b: MinLoss(a, 0.3), lambda a, b: a.clamp(max=0.3)),
        (lambda a, b: MaxLoss(0, a), lambda a, b: a.clamp(min=0)),
        (lambda a, b: a.detach() * b, lambda a, b: a.detach() * b),
        (lambda a, b: a.named("t") + b, lambda a, b: a + b),
        (lambda a, b: a.mean(), lambda a, b: a.mean()),
        (lambda a, b: a.sum(), lambda a, b: a.sum()),
        (lambda a, b: a.mean() * b - a.sum(), lambda a, b: a.mean() * b - a.sum()),
        (lambda a, b: (a * b).mean().mean(), lambda a, b: (a * b).mean()),
    ],
)
def test_operators(build: Callable[..., Loss], wanted: Callable[..., Tensor], parts: Parts) -> None:
    """On densities, with gradients."""
    a = LogProb(Normal(var="u", cond_var="m", loc="m", scale=1.0))
    b = LogProb(Normal(var="v", cond_var="n", loc="n", scale=1.0))
    x = {n: torch.randn(B, 1, dtype=torch.float64, requires_grad=True) for n in "umvn"}

    def log_prob(u: str, m: str) -> Tensor:
        return td.Normal(x[m], 1.0).log_prob(x[u]).squeeze(-1)

    found, exact = build(a, b).eval(x), wanted(log_prob("u", "m"), log_prob("v", "n"))
    torch.testing.assert_close(found, exact)
    leaves = list(x.values())
    grads = [torch.autograd.grad(t.sum(), leaves, allow_unused=True, materialize_grads=True) for t in (found, exact)]
    for g, h in zip(*grads, strict=True):
        torch.testing.assert_close(g, h)


def test_numbers_alone() -> None:
    assert MinLoss(3, 1).eval({}) == 1 and MaxLoss(3, 1).eval({}) == 3
    assert (ValueLoss(2) * 3).eval({}) == 6 and ValueLoss(2).abs().eval({}) == 2
    torch.testing.assert_close(ValueLoss(torch.tensor([1.0, 3.0])).mean().eval({}), torch.tensor(2.0))
    for bad in ("x", None, [1.0]):
        with pytest.raises(PixyzError, match="number"):
            as_loss(bad)  # type: ignore[arg-type]
    with pytest.raises(PixyzError, match="clamp"):
        Parameter("a").clamp()


def test_parameters_are_inputs(parts: Parts) -> None:
    beta = Parameter("beta")
    loss = (-E(parts.q, LogProb(parts.p)) + beta * KullbackLeibler(parts.q, parts.prior)).mean()
    assert set(loss.input_var) == {"x", "beta"}
    kl = td.kl_divergence(parts.posterior(), td.Normal(0.0, 1.0)).sum(-1).mean()
    base = run(loss, {"x": parts.x, "beta": 0})
    for value in (2, 2.0, torch.tensor(2.0), torch.full((B,), 2.0)):
        torch.testing.assert_close(run(loss, {"x": parts.x, "beta": value}), base + 2 * kl)
    torch.testing.assert_close(run(loss, parts.x, beta=torch.tensor(2.0)), base + 2 * kl)
    with pytest.raises(VariableError, match=r'alpha = Parameter\("alpha"\)'):
        Parameter()


def test_a_parameter_may_be_a_drawn_variable(parts: Parts) -> None:
    loss = E(parts.q, Parameter("z") * Parameter("z"))
    z = parts.posterior().loc + parts.posterior().scale * parts.noise(3)
    torch.testing.assert_close(run(loss, {"x": parts.x}), z * z)
    torch.testing.assert_close(run(loss.mean(), {"x": parts.x}), (z * z).mean())


def test_a_batch_may_be_a_parameter_and_a_condition() -> None:
    """The same variable as a factor and as the mean of a draw: each row has noise of its own."""
    q = Normal(var="z", cond_var="y", loc="y", scale=1.0)
    y = torch.zeros(2000, 1)
    for loss in (Parameter("y") + E(q, Parameter("z")), E(q, Parameter("z")) + Parameter("y")):
        assert run(loss, {"y": y}).std().item() == pytest.approx(1.0, abs=0.1)
        assert run(loss.mean(), {"y": y}).shape == ()
    for many in ([3], [2, 3]):  # given weights of the rows meet several samples
        loss = E(q, Parameter("w") * LogProb(q), sample_shape=many)
        weighted = run(loss, {"y": y, "w": torch.arange(2000.0)})
        torch.testing.assert_close(weighted, torch.arange(2000.0) * run(E(q, LogProb(q), sample_shape=many), {"y": y}))
    assert (Parameter("w").mean() + Parameter("v").sum()).eval({"w": torch.arange(3.0), "v": 2}).item() == 3.0
    assert (Parameter("y") * LogProb(q)).mean().eval({"y": y, "z": y}).shape == ()


def test_fixed_variables(parts: Parts) -> None:
    free = LogProb(parts.p).mean()
    z = torch.randn(B, Z, dtype=torch.float64)
    fixed = free.constant_var({"z": z})
    assert fixed.input_var == ["x"]
    torch.testing.assert_close(fixed.eval({"x": parts.x}), free.eval({"x": parts.x, "z": z}))
    assert isinstance(fixed, ConstantVar) and "z" in str(fixed)
    scaled = (Parameter("beta") * free).constant_var({"beta": 3.0, "z": z})
    torch.testing.assert_close(scaled.eval(parts.x), 3 * free.eval({"x": parts.x, "z": z}))


# -------------------------------------------------------------------------------------------- expectations


def test_an_expectation_equals_hand_written_code(parts: Parts) -> None:
    posterior = parts.posterior()
    z = posterior.loc + posterior.scale * parts.noise(3)
    loss = E(parts.q, LogProb(parts.p))
    torch.testing.assert_close(run(loss, {"x": parts.x}), parts.log_likelihood(z))
    torch.testing.assert_close(run(LogProb(parts.p).expectation(parts.q), {"x": parts.x}), parts.log_likelihood(z))
    torch.testing.assert_close(run(E(parts.q, Prob(parts.p)), {"x": parts.x}), parts.log_likelihood(z).exp())
    weights = list(parts.q.parameters()) + list(parts.p.parameters())
    found = torch.autograd.grad(run(loss, {"x": parts.x}).sum(), weights)
    for g, h in zip(found, torch.autograd.grad(parts.log_likelihood(z).sum(), weights), strict=True):
        torch.testing.assert_close(g, h)


@pytest.mark.parametrize("shape", [7, [7], [2, 3], (1,), ()])
def test_several_samples_are_one_vectorised_evaluation(parts: Parts, shape: object) -> None:
    loss = E(parts.q, LogProb(parts.p), sample_shape=shape)  # type: ignore[arg-type]
    sizes = [shape] if isinstance(shape, int) else [n for n in shape if n > 1]  # type: ignore[attr-defined]
    value = run(loss, {"x": parts.x})
    assert parts.p.calls == 1 and parts.p.seen == [torch.Size([int(torch.tensor(sizes).prod()) * B if sizes else B, Z])]
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
        KullbackLeibler(parts.q, parts.prior) + Entropy(parts.q) + LogProb(parts.q) - E(parts.q, LogProb(parts.p) + Prob(parts.p))
        + KullbackLeibler(parts.q.detach(), parts.prior) + LogProb(parts.q.replace_var(z="w"))
    )
    z = torch.randn(B, Z, dtype=torch.float64)
    run(loss.mean(), {"x": parts.x, "z": z, "w": z})
    assert (parts.q.calls, parts.p.calls) == (1, 1)
    run(loss.mean(), {"x": parts.x, "z": z, "w": z})
    assert (parts.q.calls, parts.p.calls) == (2, 2)


def test_the_first_call_of_a_class_counts_one_more_where_logits_replace_probs() -> None:
    class Unseen(Decoder):
        pass

    p, x = Unseen(), torch.rand(B, X)
    for calls in (2, 3, 4):
        LogProb(p).eval({"x": x, "z": torch.zeros(B, Z)}) if calls == 2 else p.get_log_prob({"x": x, "z": torch.zeros(B, Z)})
        assert p.calls == calls
    other = Unseen()
    LogProb(other).eval({"x": x, "z": torch.zeros(B, Z)})
    assert other.calls == 1


def test_other_inputs_are_another_call(parts: Parts) -> None:
    loss = KullbackLeibler(parts.q, parts.prior) + KullbackLeibler(parts.q.replace_var(x="y"), parts.prior)
    y = torch.rand(B, X, dtype=torch.float64)
    value = loss.eval({"x": parts.x, "y": y})
    assert parts.q.calls == 2
    torch.testing.assert_close(value, loss.eval({"x": y, "y": parts.x}))
    torch.testing.assert_close(loss.eval({"x": y, "y": y}), 2 * KullbackLeibler(parts.q, parts.prior).eval(y))


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
    inner = td.Normal(z, torch.tensor(0.1)).log_prob(w).sum(-1).mean(0) + td.Normal(0.0, 1.0).log_prob(z).sum(-1)
    entropy = -td.Normal(0.0, 0.1).entropy() * Z  # the mean of log r, whatever the order of draws
    assert (inner.mean(0) - value).abs().max() < 1.5 and entropy.isfinite()
    exact = E(parts.q, E(r, LogProb(r), sample_shape=[4000])).eval({"x": parts.x})
    torch.testing.assert_close(exact, entropy.expand(B).double(), rtol=0, atol=0.1)


def test_shadowing_is_lexical(parts: Parts) -> None:
    """The z inside is the drawn one, the z outside the given one."""
    z = torch.full((B, Z), 9.0, dtype=torch.float64)
    loss = LogProb(parts.prior) + 0 * E(parts.prior, LogProb(parts.prior)) + E(parts.q, LogProb(parts.prior))
    posterior = parts.posterior()
    value = run(loss, {"x": parts.x, "z": z})
    assert set(loss.input_var) == {"x", "z"}
    inner = value - td.Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert (inner > -30).all() and posterior.loc.abs().max() < 5


def test_without_reparametrisation_no_gradient_passes_through_the_draw(parts: Parts) -> None:
    for reparam in (True, False):
        loss = Expectation(parts.q, LogProb(parts.p), reparam=reparam).mean()
        grads = torch.autograd.grad(loss.eval(parts.x), [parts.q.net.weight, parts.p.net.weight], allow_unused=True)
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
        run(ELBO(parts.p * parts.prior, parts.q, **many), {"x": parts.x}), run(explicit, {"x": parts.x}), rtol=0.02, atol=0.1
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
    torch.testing.assert_close(value, parts.log_likelihood(z) - KullbackLeibler(q, parts.prior).eval({"h": 2 * parts.x}))


def test_categorical_expectations_by_enumeration() -> None:
    """Samples of a one-hot variable with their gradients stopped: the mean follows the probabilities."""
    p = Categorical(var="k", probs=torch.tensor([0.2, 0.5, 0.3]))
    torch.manual_seed(0)
    mean = E(p, Parameter("k"), sample_shape=[20_000]).eval({})
    torch.testing.assert_close(mean, torch.tensor([[0.2, 0.5, 0.3]]), rtol=0, atol=0.02)


# -------------------------------------------------------------------------------------------- evaluating


def test_what_eval_returns(parts: Parts) -> None:
    loss = (E(parts.q, LogProb(parts.p)).named("fit") - KullbackLeibler(parts.q, parts.prior).named("kl")).mean()
    given = {"x": parts.x, "other": torch.ones(1)}
    value, everything = loss.eval(given, return_dict=True)
    assert value.shape == () and set(everything) == {"x", "other", "z", "fit", "kl"}
    value, drawn = loss.eval(given, return_dict=True, return_all=False)
    assert set(drawn) == {"z", "fit", "kl"} and drawn["z"].shape == (B, Z)
    torch.testing.assert_close(drawn["fit"], parts.log_likelihood(drawn["z"]))
    torch.testing.assert_close(value, (drawn["fit"] - drawn["kl"]).mean())
    torch.testing.assert_close(run(loss, given), run(loss, parts.x))
    torch.testing.assert_close(run(loss, [parts.x]), run(loss, {}, x=parts.x))
    assert set(given) == {"x", "other"}
    torch.manual_seed(5)
    plain = loss.eval(given)
    torch.manual_seed(5)
    torch.testing.assert_close(loss.eval(given, return_dict=True)[0], plain)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ({}, r"\['x', 'beta'\] missing|\['beta', 'x'\] missing"),
        ({"x": torch.zeros(1, X).double()}, r"\['beta'\] missing"),
        ({"beta": 1.0, "y": 0.0}, r"got \['beta', 'y'\].*\['x'\] missing"),
        ([torch.zeros(1)], "list of 1"),
        (3, "dict"),
    ],
)
def test_missing_variables_are_named(parts: Parts, x: object, words: str) -> None:
    loss = Parameter("beta") * E(parts.q, LogProb(parts.p)).mean()
    with pytest.raises(VariableError, match=words):
        loss.eval(x)


def test_input_var_before_and_after(parts: Parts) -> None:
    assert set((LogProb(parts.p) + LogProb(parts.q)).input_var) == {"x", "z"}
    assert E(parts.q, LogProb(parts.p)).input_var == ["x"]
    assert E(parts.prior, LogProb(parts.p)).input_var == ["x"]
    assert E(parts.p * parts.prior, LogProb(parts.p)).input_var == []
    assert ValueLoss(1.0).input_var == [] and Parameter("a").input_var == ["a"]


class Old(Loss):
    """A loss as it was written for pixyz 0.3.3."""

    def __init__(self, input_var: list[str]) -> None:
        super().__init__(input_var)

    @property
    def _symbol(self) -> object:
        return "old"

    def forward(self, x_dict: dict[str, Tensor], **kwargs: object) -> tuple[Tensor, dict[str, Tensor]]:
        return x_dict["x"].sum(-1) * x_dict["w"], {"seen": x_dict["x"]}


def test_losses_that_only_define_forward(parts: Parts) -> None:
    old = Old(["x", "w"])
    w = torch.arange(B).double()
    given = {"x": parts.x, "w": w}
    wanted = parts.x.sum(-1) * w
    torch.testing.assert_close(old.eval(given), wanted)
    assert "seen" in old.eval(given, return_dict=True)[1]
    joint = (2 * old - E(parts.q, LogProb(parts.p))).mean()
    torch.manual_seed(1)
    fit = E(parts.q, LogProb(parts.p)).eval(parts.x)
    torch.testing.assert_close(run(joint, given, seed=1), (2 * wanted - fit).mean())
    assert "old" in str(joint) and set(joint.input_var) == {"x", "w"}


def test_sizes_of_the_batch_may_change(parts: Parts) -> None:
    loss = ELBO(parts.p * parts.prior, parts.q, sample_shape=[2])
    for size in (1, 5, 2):
        assert loss.eval(parts.x[:size]).shape == (size,)
    assert len(loss._plans) == 1
    assert loss.plan is loss.plan


# -------------------------------------------------------------------------------------------- text


def all_losses(parts: Parts) -> list[Loss]:
    recon, kl = E(parts.q, LogProb(parts.p)), KullbackLeibler(parts.q, parts.prior)
    step = Normal(var="h", cond_var=["h_prev", "x"], loc="h_prev", scale=1.0)
    return [
        recon, kl, -recon, recon + kl, recon - kl, recon * kl, recon / kl, 2 * recon, recon / 3.5, 1e-7 * kl, 1 - recon,
        recon.abs(), recon.mean(), recon.sum(), recon.detach(), recon.clamp(0.5, 2), recon.named("n"), MinLoss(recon, 1),
        MaxLoss(kl, 1.0), Parameter("alpha"), ValueLoss(float("inf")), ValueLoss(-3), ValueLoss(torch.tensor(0.1)),
        ValueLoss(torch.ones(B)), kl.constant_var({"x": parts.x}), Entropy(parts.q), CrossEntropy(parts.q, parts.prior),
        CrossEntropy(parts.q, parts.prior, analytical=True), ELBO(parts.p * parts.prior, parts.q), Prob(parts.p),
        E(parts.q + parts.p.replace_var(x="y"), LogProb(parts.q)), Old(["x", "w"]), Clamp(kl, None, 3.0),
        IterativeLoss(E(step, LogProb(step)), series_var="x", update_value={"h": "h_prev"}),
        IterativeLoss(E(step, LogProb(step)), max_iter=3, series_var="x", update_value={"h": "h_prev"}, reduction=None),
        KullbackLeibler(parts.q.detach(), parts.prior), recon - recon, (recon - 0.0) * 1, -(-recon + kl),
        LogProb(parts.q.replace_var(z="w_1")), kl * kl / (kl + kl),
    ]


def test_printing_never_fails(parts: Parts) -> None:
    for loss in all_losses(parts):
        text = str(loss)
        assert text and text == loss.loss_text == repr(loss), loss
        for pair in ("{}", "[]", "()"):
            assert text.count(pair[0]) == text.count(pair[1]), text
        plan = str(loss.plan)
        assert "def plan(" in plan and plan.startswith("plan of"), plan


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda e, k: e - k, "E - K"),
        (lambda e, k: e - e, "E - E"),
        (lambda e, k: -k - e, "- K - E"),
        (lambda e, k: k + e, "K + E"),
        (lambda e, k: 2 + e, "2 + E"),
        (lambda e, k: -e + k, "- E + K"),
        (lambda e, k: e - (k - e), r"E - \left(K - E\right)"),
        (lambda e, k: (e + k) * e, r"\left(E + K\right) E"),
        (lambda e, k: 0 * e + k, "0 E + K"),
        (lambda e, k: e * 1, r"1 E|1 \cdot E"),
    ],
)
def test_terms_stay_as_they_were_written(parts: Parts, build: Callable[..., Loss], text: str) -> None:
    recon, kl = E(parts.q, LogProb(parts.p)), KullbackLeibler(parts.q, parts.prior)
    found = str(build(recon, kl)).replace(str(recon), "E").replace(str(kl), "K")
    assert found in text.split("|"), found


def test_text_of_the_leaves(parts: Parts) -> None:
    q, p, prior = parts.q, parts.p, parts.prior
    assert str(LogProb(p)) == r"\log p(x|z)"
    assert str(Prob(p)) == "p(x|z)"
    assert str(KullbackLeibler(q, prior)) == r"D_{KL} \left[q(z|x)||p_{prior}(z) \right]"
    assert str(E(q, LogProb(p))) == r"\mathbb{E}_{q(z|x)} \left[\log p(x|z) \right]"
    assert str(LogProb(p).mean()) == r"mean \left(\log p(x|z) \right)"
    assert str(LogProb(p).sum()) == r"sum \left(\log p(x|z) \right)"
    assert str(LogProb(p).detach()) == r"detach \left(\log p(x|z) \right)"
    assert str(LogProb(p).abs()) == r"|\log p(x|z)|"
    assert str(Entropy(q)) == r"H \left[ {q(z|x)} \right]"
    assert str(MinLoss(Parameter("a"), 3)) == r"min \left(a, 3\right)"
    assert str(Parameter("beta") * LogProb(p)) == r"\beta \log p(x|z)"
    assert str(IterativeLoss(LogProb(p), max_iter=4, series_var=["x", "z"])) == r"\sum_{t=0}^{3} \log p(x|z)"
    elbo = ELBO(p * prior, q)
    assert str(elbo) == r"\mathbb{E}_{q(z|x)} \left[\log p(x|z)p_{prior}(z) - \log q(z|x) \right]"


def test_the_plan_shows_what_runs(parts: Parts) -> None:
    loss = (E(parts.q, LogProb(parts.p)) - KullbackLeibler(parts.q, parts.prior)).mean()
    plan = loss.plan
    assert plan.inputs == ["x"]
    assert str(plan).count("net q(z|x)") == 1 and "kl_normal" in plan.source
    hostile = Normal(var="x", loc=0.0, scale=1.0, name="p\n    raise SystemExit  # '''\\")
    torch.testing.assert_close(LogProb(hostile).eval(torch.zeros(1)), td.Normal(0.0, 1.0).log_prob(torch.zeros(1)))
    line = '"""); import os; os.abort() #'
    strange = Normal(var=line, cond_var="\n", loc="\n", scale=1.0)
    assert LogProb(strange).eval({line: torch.zeros(1), "\n": torch.zeros(1)}).shape == (1,)
    assert str(LogProb(strange).plan)


def test_what_goes_wrong_in_a_plan_shows_its_line() -> None:
    class Broken(Normal):
        def forward(self, z: Tensor) -> dict[str, Tensor]:
            raise RuntimeError("broken network")

    import traceback

    try:
        LogProb(Broken(var="x", cond_var="z", scale=1.0)).eval({"x": torch.zeros(1), "z": torch.zeros(1)})
    except RuntimeError as error:
        lines = [f.line for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith("<pixyz plan")]
        assert lines and "=" in str(lines[0])
    else:
        raise AssertionError("no error")
