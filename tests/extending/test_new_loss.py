"""A newcomer's task: a Loss with a rule of its own, and a setting that is changed later."""

import sympy
import torch
from torch import Tensor

from pixyz import latex
from pixyz.distributions import Normal
from pixyz.losses import IterativeLoss, LogProb, Loss
from pixyz.plan import Scope, Slot


class Hinge(Loss):
    """``max(0, floor - f)``: a term that is silent once ``f`` is good enough."""

    def __init__(self, f: Loss, floor: float) -> None:
        super().__init__()
        self.f, self.floor = f, floor

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"\max(0, {self.floor} - {self.f.loss_text})")

    def lower(self, scope: Scope) -> Slot:
        floor = self.floor
        return scope.builder.point(lambda f: torch.relu(floor - f), self.f.lower(scope))


def test_its_value_alone_and_in_a_loop_follows_its_setting() -> None:
    x = torch.randn(3, 5, 2)
    score = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(-1)
    p = Normal("x", loc=0.0, scale=1.0, features_shape=[2])
    loss = Hinge(LogProb(p), floor=-2.0)
    total = IterativeLoss(loss, series_var="x")
    for floor in (-2.0, -5.0):
        loss.floor = floor
        expected: Tensor = (floor - score).clamp(min=0.0)
        torch.testing.assert_close(loss.mean().eval({"x": x[0]}), expected[0].mean())
        torch.testing.assert_close(total.eval({"x": x}), expected.sum(0))
    assert str(loss) == r"\max(0, -5.0 - \log p(x))"
