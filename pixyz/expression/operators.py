"""Operators on losses: numbers and tensors, arithmetic, bounds, a stopped gradient, a name.

The operators of Suzuki, Kaneko and Matsuo (2023), section 4.2, on ``[B]`` or ``[T, B]``.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from pixyz import latex
from pixyz.expression.loss import Loss, LossLike, as_loss, operation
from pixyz.plan import Scope, Slot, rules
from pixyz.plan.graph.formula import Fn
from pixyz.types import PixyzError, Values

if TYPE_CHECKING:
    import sympy


@operation("value")
class ValueLoss(Loss):
    """A number or a tensor, :math:`c`.

    >>> print(ValueLoss(2.0))
    2.0
    """

    value: Tensor

    def __init__(self, loss1: float | int | Tensor) -> None:
        super().__init__([])
        self.number: float | int | None = None if isinstance(loss1, Tensor) else loss1
        if isinstance(loss1, Tensor):
            self.register_buffer("value", loss1)

    def symbol(self) -> sympy.Expr:
        if self.number is not None:
            return latex.number(self.number)
        return (
            latex.number(self.value.item())
            if self.value.numel() == 1
            else latex.leaf(r"\mathrm{const}")
        )

    def lower(self, scope: Scope) -> Slot:
        if self.number is not None:
            return scope.builder.constant(self.number)
        return scope.builder.attribute(
            self, "value", "constant", batch="none" if self.value.ndim == 0 else "full"
        )


@operation("constant_var")
class ConstantVar(Loss):
    """An expression with some variables fixed to tensors, :math:`L(x = c)`.

    >>> from pixyz.losses import Parameter
    >>> ConstantVar(2 * Parameter("a"), {"a": torch.ones(3)}).eval({})
    tensor([2., 2., 2.])
    """

    def __init__(self, base_loss: Loss, constant_dict: Values) -> None:
        super().__init__()
        self.base = base_loss
        self.fixed = list(constant_dict)
        for i, value in enumerate(constant_dict.values()):
            self.register_buffer(f"constant_{i}", torch.as_tensor(value))

    def symbol(self) -> sympy.Expr:
        inner = latex.text(latex.whole(self.base.symbol()))
        return latex.leaf(
            inner + " ".join(f"|_{{{latex.latex_name(n)}=\\mathrm{{const}}}}" for n in self.fixed)
        )

    def lower(self, scope: Scope) -> Slot:
        values = {}
        for i, name in enumerate(self.fixed):
            tensor = getattr(self, f"constant_{i}")
            values[name] = scope.builder.attribute(
                self, f"constant_{i}", name, batch="full" if tensor.ndim else "none"
            )
        return self.base.lower(scope.child(values))


class LossOperator(Loss):
    r"""Two expressions and a formula: :math:`a + b,\ a - b,\ a b,\ a / b,\ \min(a, b),\ \max(a,
    b)`.

    >>> print(AddLoss(1, MulLoss(2, 3)))
    1 + 2 \cdot 3
    """

    formula: ClassVar[Fn]

    def __init__(self, loss1: LossLike, loss2: LossLike) -> None:
        super().__init__()
        self.loss1, self.loss2 = as_loss(loss1), as_loss(loss2)

    def lower(self, scope: Scope) -> Slot:
        a, b = self.loss1.lower(scope), self.loss2.lower(scope)
        return scope.builder.point(type(self).formula, a, b, label=type(self).__name__)


@operation("add")
class AddLoss(LossOperator):
    r""":math:`a + b`.

    >>> print(AddLoss(1, 2), AddLoss(1, 2).eval())
    1 + 2 tensor(3.)
    """

    formula = staticmethod(operator.add)

    def symbol(self) -> sympy.Expr:
        return latex.add(self.loss1.symbol(), self.loss2.symbol())


@operation("sub")
class SubLoss(LossOperator):
    r""":math:`a - b`.

    >>> print(SubLoss(1, 2), SubLoss(1, 2).eval())
    1 - 2 tensor(-1.)
    """

    formula = staticmethod(operator.sub)

    def symbol(self) -> sympy.Expr:
        return latex.add(self.loss1.symbol(), latex.negative(self.loss2.symbol()))


@operation("mul")
class MulLoss(LossOperator):
    r""":math:`a b`.

    >>> print(MulLoss(1, 2), MulLoss(1, 2).eval())
    1 \cdot 2 tensor(2.)
    """

    formula = staticmethod(operator.mul)

    def symbol(self) -> sympy.Expr:
        return latex.product(self.loss1.symbol(), self.loss2.symbol())


@operation("div")
class DivLoss(LossOperator):
    r""":math:`a / b`.

    >>> print(DivLoss(1, 2), DivLoss(1, 2).eval())
    \frac{1}{2} tensor(0.5000)
    """

    formula = staticmethod(operator.truediv)

    def symbol(self) -> sympy.Expr:
        return latex.quotient(self.loss1.symbol(), self.loss2.symbol())


class LossSelfOperator(Loss):
    r"""One expression and a formula: :math:`-a,\ |a|`, a mean, a sum, bounds, a stopped gradient.

    >>> print(NegLoss(torch.tensor(3.0)).clamp(min=-1.0).eval())
    tensor(-1.)
    """

    formula: ClassVar[Fn]

    def __init__(self, loss1: LossLike) -> None:
        super().__init__()
        self.loss1 = as_loss(loss1)

    def lower(self, scope: Scope) -> Slot:
        return scope.builder.point(
            type(self).formula, self.loss1.lower(scope), label=type(self).__name__
        )


@operation("neg")
class NegLoss(LossSelfOperator):
    """:math:`-a`.

    >>> print(NegLoss(2), NegLoss(2).eval())
    -2 tensor(-2.)
    """

    formula = staticmethod(operator.neg)

    def symbol(self) -> sympy.Expr:
        return latex.negative(self.loss1.symbol())


@operation("abs")
class AbsLoss(LossSelfOperator):
    """:math:`|a|`.

    >>> print(AbsLoss(-2), AbsLoss(-2).eval())
    |-2| tensor(2.)
    """

    formula = staticmethod(operator.abs)

    def symbol(self) -> sympy.Expr:
        return latex.leaf(f"|{self.loss1.loss_text}|")


@operation("detach")
class Detach(LossSelfOperator):
    r"""The value :math:`a` without its gradient.

    >>> Detach(torch.ones(2, requires_grad=True)).eval().requires_grad
    False
    """

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"detach \left({self.loss1.loss_text} \right)")

    def lower(self, scope: Scope) -> Slot:
        return scope.builder.detach(self.loss1.lower(scope))


@operation("clamp")
class Clamp(LossSelfOperator):
    r"""The value held between two bounds, :math:`\min(h, \max(l, a))`.

    >>> Clamp(torch.tensor([-1.0, 0.5, 3.0]), low=0.0, high=1.0).eval()
    tensor([0.0000, 0.5000, 1.0000])
    """

    def __init__(self, loss1: LossLike, low: float | None, high: float | None) -> None:
        super().__init__(loss1)
        if low is None and high is None:
            raise PixyzError("clamp needs min, max or both")
        self.low, self.high = low, high

    def symbol(self) -> sympy.Expr:
        text = self.loss1.loss_text
        if self.low is not None:
            text = rf"max \left({self.low:g}, {text}\right)"
        if self.high is not None:
            text = rf"min \left({self.high:g}, {text}\right)"
        return latex.leaf(text)

    def lower(self, scope: Scope) -> Slot:
        return scope.builder.point(
            rules.Clamped(self.low, self.high), self.loss1.lower(scope), label="clamp"
        )


@operation("named")
class Named(LossSelfOperator):
    """An expression :math:`a` whose value is also returned under a name.

    >>> import torch
    >>> from pixyz.expression import BatchSum
    >>> Named(BatchSum(torch.ones(3)), "total").eval(return_dict=True)
    (tensor(3.), {'total': tensor(3.)})
    """

    def __init__(self, loss1: LossLike, name: str) -> None:
        super().__init__(loss1)
        self.term = name

    def symbol(self) -> sympy.Expr:
        return self.loss1.symbol()

    def lower(self, scope: Scope) -> Slot:
        slot = self.loss1.lower(scope)
        scope.builder.terms[self.term] = slot
        return slot
