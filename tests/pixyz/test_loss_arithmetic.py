"""Arithmetic of objectives: it equals torch's,
and a printed formula computes what was evaluated.
"""

import operator
import random
import re
from collections.abc import Callable

import pytest
import torch
from loss_parts import B, Parts, Z, run
from torch import Tensor
from torch import distributions as td

from pixyz.distributions import Normal
from pixyz.expression import ConstantVar, as_loss
from pixyz.losses import (
    E,
    KullbackLeibler,
    LogProb,
    Loss,
    MaxLoss,
    MinLoss,
    Parameter,
    ValueLoss,
)
from pixyz.types import PixyzError, ShapeError, VariableError

NAMES = ("a", "b", "c")
Expression = tuple[Loss | float, Callable[[dict[str, Tensor]], Tensor | float]]
BINARY = [operator.add, operator.sub, operator.mul, operator.truediv]


@pytest.fixture
def parts() -> Parts:
    return Parts()


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
    """The value of a formula of numbers, letters, + - fractions,
    brackets and juxtaposed factors.
    """
    text = (
        text.replace(r"\left(", "(")
        .replace(r"\right)", ")")
        .replace(r"\cdot", " ")
        .replace("{,}", "")
    )
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
            take("{")
            top = total()
            take("}")
            take("{")
            bottom = total()
            take("}")
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
        if (
            not torch.as_tensor(wanted).isfinite().all()
            or torch.as_tensor(wanted).abs().max() > 1e6
        ):
            continue
        torch.testing.assert_close(
            torch.as_tensor(loss.eval(values)).double(), torch.as_tensor(wanted).double()
        )
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
    grads = [
        torch.autograd.grad(t.sum(), leaves, allow_unused=True, materialize_grads=True)
        for t in (found, exact)
    ]
    for g, h in zip(*grads, strict=True):
        torch.testing.assert_close(g, h)


def test_numbers_alone() -> None:
    assert MinLoss(3, 1).eval({}) == 1 and MaxLoss(3, 1).eval({}) == 3
    assert (ValueLoss(2) * 3).eval({}) == 6 and ValueLoss(2).abs().eval({}) == 2
    torch.testing.assert_close(
        ValueLoss(torch.tensor([1.0, 3.0])).mean().eval({}), torch.tensor(2.0)
    )
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
        torch.testing.assert_close(
            weighted, torch.arange(2000.0) * run(E(q, LogProb(q), sample_shape=many), {"y": y})
        )
    assert (Parameter("w").mean() + Parameter("v").sum()).eval(
        {"w": torch.arange(3.0), "v": 2}
    ).item() == 3.0
    with pytest.raises(ShapeError, match=r"y \[2000, 1\], log p\(z\|y\) \[2000\]"):
        (Parameter("y") * LogProb(q)).mean().eval({"y": y, "z": y})


def test_fixed_variables(parts: Parts) -> None:
    free = LogProb(parts.p).mean()
    z = torch.randn(B, Z, dtype=torch.float64)
    fixed = free.constant_var({"z": z})
    assert fixed.input_var == ["x"]
    torch.testing.assert_close(fixed.eval({"x": parts.x}), free.eval({"x": parts.x, "z": z}))
    assert isinstance(fixed, ConstantVar) and "z" in str(fixed)
    scaled = (Parameter("beta") * free).constant_var({"beta": 3.0, "z": z})
    torch.testing.assert_close(scaled.eval(parts.x), 3 * free.eval({"x": parts.x, "z": z}))
