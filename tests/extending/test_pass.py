"""A newcomer's task: a new pass; here a product of a value with itself becomes a square."""

import operator
from dataclasses import dataclass, replace

import torch

from pixyz.distributions import Normal
from pixyz.losses import LogProb, Loss
from pixyz.plan import PASSES, Graph, Options, Point, Step


@dataclass(frozen=True)
class Squares:
    name = "squares"

    def applies(self, graph: Graph, options: Options) -> bool:
        return any(map(self.is_square, graph.steps))

    def __call__(self, graph: Graph, options: Options) -> Graph:
        twice = {s for s in graph.steps if self.is_square(s)}
        new = {s: replace(s, fn=torch.square, args=s.args[:1]) for s in twice}
        return graph.but(steps=tuple(new.get(s, s) for s in graph.steps))

    def is_square(self, step: Step) -> bool:
        return isinstance(step, Point) and step.fn is operator.mul and len(set(step.args)) == 1


def test_values_and_gradients_are_the_same_and_the_plan_says_square() -> None:
    def squared() -> Loss:
        log_p = LogProb(Normal("x", loc=0.0, scale=1.0, features_shape=[2]))
        return (log_p * log_p).mean()

    x = torch.linspace(-1.0, 1.0, 6).reshape(3, 2).requires_grad_()
    loss, plain = squared().through([*PASSES, Squares()]), squared()
    found, wanted = loss.eval({"x": x}), plain.eval({"x": x})
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, x), torch.autograd.grad(wanted, x))
    assert "square" in loss.plan.source and "square" not in plain.plan.source
