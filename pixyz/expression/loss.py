"""Loss: an expression with arithmetic, its operators, and the expectation (Suzuki, Kaneko and
Matsuo, 2023, section 4.2).

A value is ``[B]``, ``[T, B]`` where it is of a series, or one number; operators work on each entry.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Union

import torch
from torch import Tensor, nn

from pixyz import latex
from pixyz.expression.node import Expression
from pixyz.plan import Axis, Builder, Scope, Slot, rules
from pixyz.plan.masks import valid_rows
from pixyz.types import PixyzError, sample_counts

if TYPE_CHECKING:
    import sympy

LossLike = Union["Loss", float, int, Tensor]


class Loss(Expression):
    r"""An objective: an expression over named variables that can be added, scaled and reduced,
    :math:`a L_1 + L_2`.

    A subclass defines :meth:`lower` and :meth:`symbol`; one written for pixyz 0.3.3, with
    ``forward(x_dict)`` and ``_symbol``, works too and runs as one step of the plan.

    Args:
        input_var: the variables that ``forward`` needs, for subclasses that define it; else found
            by lowering.

    >>> from pixyz.losses import Parameter
    >>> loss = 2 * Parameter("a") - Parameter("b") / 4
    >>> print(loss, loss.eval({"a": 1.0, "b": 2.0}))
    2 a - \frac{b}{4} tensor(1.5000)
    """

    def __add__(self, other: LossLike) -> Loss:
        return AddLoss(self, other)

    def __radd__(self, other: LossLike) -> Loss:
        return AddLoss(other, self)

    def __sub__(self, other: LossLike) -> Loss:
        return SubLoss(self, other)

    def __rsub__(self, other: LossLike) -> Loss:
        return SubLoss(other, self)

    def __mul__(self, other: LossLike) -> Loss:
        return MulLoss(self, other)

    def __rmul__(self, other: LossLike) -> Loss:
        return MulLoss(other, self)

    def __truediv__(self, other: LossLike) -> Loss:
        return DivLoss(self, other)

    def __rtruediv__(self, other: LossLike) -> Loss:
        return DivLoss(other, self)

    def __neg__(self) -> Loss:
        return NegLoss(self)

    def abs(self) -> Loss:
        """The absolute value."""
        return AbsLoss(self)

    def mean(self) -> Loss:
        """The mean over batch and time (inside a step of :class:`IterativeLoss`: over the batch at
        each step).
        """
        return BatchMean(self)

    def sum(self) -> Loss:
        """The sum over batch and time (inside a step of :class:`IterativeLoss`: over the batch at
        each step).
        """
        return BatchSum(self)

    def detach(self) -> Loss:
        """The same value without gradient."""
        return Detach(self)

    def clamp(self, min: float | None = None, max: float | None = None) -> Loss:
        """The value held between ``min`` and ``max`` (free nats: ``KL(q, p).clamp(min=1.)``)."""
        return Clamp(self, min, max)

    def expectation(
        self, p: Any, sample_shape: Sequence[int] | int = (1,), reparam: bool = True
    ) -> Loss:
        """The expectation of this expression under ``p``."""
        return Expectation(p, self, sample_shape=sample_shape, reparam=reparam)

    def constant_var(self, constant_dict: Mapping[str, Any]) -> Loss:
        """The expression with some variables fixed."""
        return ConstantVar(self, constant_dict)

    def loss_train(self, train_x_dict: Any = None, **kwargs: Any) -> Tensor:
        """One training step of each adversarial loss in the expression; the sum of their critics'
        objectives.
        """
        return self._each_critic("loss_train", train_x_dict, kwargs)

    def loss_test(self, test_x_dict: Any = None, **kwargs: Any) -> Tensor:
        """The sum of the critics' objectives of all adversarial losses in the expression, without
        gradients.
        """
        return self._each_critic("loss_test", test_x_dict, kwargs)

    def _each_critic(self, method: str, x_dict: Any, kwargs: Mapping[str, Any]) -> Tensor:
        critics = [
            node for node in walk(self) if getattr(type(node), method) is not getattr(Loss, method)
        ]
        if not critics:
            raise PixyzError(
                f"{method} is for adversarial losses, {self.loss_text} has no discriminator"
            )
        return torch.stack([getattr(node, method)(x_dict, **kwargs) for node in critics]).sum()

    def named(self, name: str) -> Loss:
        """The same expression; its value is also returned under ``name`` by ``eval(...,
        return_dict=True)``.
        """
        return Named(self, name)


def as_loss(value: LossLike) -> Loss:
    """A number or tensor as an expression."""
    if isinstance(value, Loss):
        return value
    if isinstance(value, Tensor):
        return ValueLoss(value)
    if isinstance(value, numbers.Real):  # numpy's too
        return ValueLoss(int(value) if isinstance(value, numbers.Integral) else float(value))
    raise PixyzError(f"expected a loss, a number or a tensor, got {type(value).__name__}")


def walk(loss: nn.Module) -> Iterator[Loss]:
    """``loss`` and all expressions in it, as written."""
    if isinstance(loss, Loss):
        yield loss
    for child in nn.Module.children(loss):
        if isinstance(child, Loss):
            yield from walk(child)


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

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        if self.number is not None:
            return builder.constant(self.number)
        return builder.attribute(
            self, "value", "constant", batch="none" if self.value.ndim == 0 else "full"
        )


class ConstantVar(Loss):
    """An expression with some variables fixed to tensors, :math:`L(x = c)`.

    >>> from pixyz.losses import Parameter
    >>> ConstantVar(2 * Parameter("a"), {"a": torch.ones(3)}).eval({})
    tensor([2., 2., 2.])
    """

    def __init__(self, base_loss: Loss, constant_dict: Mapping[str, Any]) -> None:
        super().__init__()
        self.base = base_loss
        self.fixed = list(constant_dict)
        for i, value in enumerate(constant_dict.values()):
            self.register_buffer(f"constant_{i}", torch.as_tensor(value))

    def symbol(self) -> sympy.Expr:
        inner = latex.text(self.base.symbol())
        return latex.leaf(
            inner + " ".join(f"|_{{{latex.latex_name(n)}=\\mathrm{{const}}}}" for n in self.fixed)
        )

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        values = {}
        for i, name in enumerate(self.fixed):
            tensor = getattr(self, f"constant_{i}")
            values[name] = builder.attribute(
                self, f"constant_{i}", name, batch="full" if tensor.ndim else "none"
            )
        return self.base.lower(builder, scope.child(values))


class LossOperator(Loss):
    r"""Two expressions and a formula: :math:`a + b,\ a - b,\ a b,\ a / b,\ \min(a, b),\ \max(a,
    b)`.

    >>> print(AddLoss(1, MulLoss(2, 3)))
    1 + 2 \cdot 3
    """

    formula: ClassVar[Callable[..., Any]]

    def __init__(self, loss1: LossLike, loss2: LossLike) -> None:
        super().__init__()
        self.loss1, self.loss2 = as_loss(loss1), as_loss(loss2)

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        a, b = self.loss1.lower(builder, scope), self.loss2.lower(builder, scope)
        return builder.point(type(self).formula, a, b, label=type(self).__name__)


class AddLoss(LossOperator):
    r""":math:`a + b`.

    >>> print(AddLoss(1, 2), AddLoss(1, 2).eval())
    1 + 2 tensor(3.)
    """

    formula = staticmethod(operator.add)

    def symbol(self) -> sympy.Expr:
        return latex.add(self.loss1.symbol(), self.loss2.symbol())


class SubLoss(LossOperator):
    r""":math:`a - b`.

    >>> print(SubLoss(1, 2), SubLoss(1, 2).eval())
    1 - 2 tensor(-1.)
    """

    formula = staticmethod(operator.sub)

    def symbol(self) -> sympy.Expr:
        return latex.add(self.loss1.symbol(), latex.negative(self.loss2.symbol()))


class MulLoss(LossOperator):
    r""":math:`a b`.

    >>> print(MulLoss(1, 2), MulLoss(1, 2).eval())
    1 \cdot 2 tensor(2.)
    """

    formula = staticmethod(operator.mul)

    def symbol(self) -> sympy.Expr:
        return latex.product(self.loss1.symbol(), self.loss2.symbol())


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

    formula: ClassVar[Callable[..., Any]]

    def __init__(self, loss1: LossLike) -> None:
        super().__init__()
        self.loss1 = as_loss(loss1)

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        return builder.point(
            type(self).formula, self.loss1.lower(builder, scope), label=type(self).__name__
        )


class NegLoss(LossSelfOperator):
    """:math:`-a`.

    >>> print(NegLoss(2), NegLoss(2).eval())
    -2 tensor(-2.)
    """

    formula = staticmethod(operator.neg)

    def symbol(self) -> sympy.Expr:
        return latex.negative(self.loss1.symbol())


class AbsLoss(LossSelfOperator):
    """:math:`|a|`.

    >>> print(AbsLoss(-2), AbsLoss(-2).eval())
    |-2| tensor(2.)
    """

    formula = staticmethod(operator.abs)

    def symbol(self) -> sympy.Expr:
        return latex.leaf(f"|{self.loss1.loss_text}|")


class Detach(LossSelfOperator):
    r"""The value :math:`a` without its gradient.

    >>> Detach(torch.ones(2, requires_grad=True)).eval().requires_grad
    False
    """

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"detach \left({self.loss1.loss_text} \right)")

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        return builder.detach(self.loss1.lower(builder, scope))


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

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        return builder.point(
            rules.Clamped(self.low, self.high), self.loss1.lower(builder, scope), label="clamp"
        )


class _Reduction(LossSelfOperator):
    """A reduction over batch and time."""

    word = ""
    reduction: Callable[..., Any]

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"{self.word} \left({self.loss1.loss_text} \right)")

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        arg = self.loss1.lower(builder, scope)
        axes = [a for a in arg.axes if a not in scope.keep]
        mask = valid_rows(builder, scope, arg.axes) if arg.batch == "full" else None
        if mask is None and type(self).reduction is rules.reduce_mean:
            mean = builder.mean_of_sums(arg, self.word)
            if mean is not None:
                return mean
        return builder.reduce(
            type(self).reduction, arg, axes, batch=True, label=self.word, mask=mask
        )


class BatchMean(_Reduction):
    r"""The mean over batch and time, :math:`\frac{1}{TB} \sum_{t,b} a_{tb}`.

    >>> BatchMean(torch.tensor([1.0, 3.0])).eval()
    tensor(2.)
    """

    word = "mean"
    reduction = staticmethod(rules.reduce_mean)


class BatchSum(_Reduction):
    r"""The sum over batch and time, :math:`\sum_{t,b} a_{tb}`.

    >>> BatchSum(torch.tensor([1.0, 3.0])).eval()
    tensor(4.)
    """

    word = "sum"
    reduction = staticmethod(rules.reduce_sum)


class Named(LossSelfOperator):
    """An expression :math:`a` whose value is also returned under a name.

    >>> Named(BatchSum(torch.ones(3)), "total").eval(return_dict=True)
    (tensor(3.), {'total': tensor(3.)})
    """

    def __init__(self, loss1: LossLike, name: str) -> None:
        super().__init__(loss1)
        self.term = name

    def symbol(self) -> sympy.Expr:
        return self.loss1.symbol()

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        slot = self.loss1.lower(builder, scope)
        builder.terms[self.term] = slot
        return slot


class Expectation(Loss):
    r""":math:`\mathbb{E}_{p(z|x)}[f(x, z)]`, by samples of ``p``.

    Args:
        p: the distribution; ``p + q`` stands for the product.
        f: the expression.
        sample_shape: how many samples; they are a leading dimension of one vectorised evaluation.
        reparam: pathwise gradients through the draw.

    >>> from pixyz.distributions import Normal
    >>> p = Normal("x", loc=0.0, scale=1.0)
    >>> print(Expectation(p, p.log_prob()))
    \mathbb{E}_{p(x)} \left[\log p(x) \right]
    """

    def __init__(
        self, p: Any, f: LossLike, sample_shape: Sequence[int] | int = (1,), reparam: bool = True
    ) -> None:
        super().__init__()
        self.p = p.as_product() if hasattr(p, "as_product") else p
        self.f = as_loss(f)
        self.sample_shape = sample_counts(sample_shape)
        self.reparam = reparam

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"\mathbb{{E}}_{{{self.p.prob_text}}} \left[{self.f.loss_text} \right]")

    def lower(self, builder: Builder, scope: Scope) -> Slot:
        particles = tuple(Axis("particle", n) for n in self.sample_shape)
        carried = any(scope.outer_name(v) in scope.path for v in self.p.var)
        if carried and self.sample_shape == tuple(a.size for a in scope.particles):
            particles = scope.particles  # it is along the path that it draws
        inner = scope.child(
            drawn := self.p.lower_sample(builder, scope, reparam=self.reparam, particles=particles)
        )
        inner.keep = scope.keep | set(particles)
        inner.masks.update(getattr(drawn, "masks", {}))
        if not scope.keep and not particles:
            # whole series are returned from the outermost expectation only
            series = scope.parent is None
            builder.returned.update(
                {k: drawn[k] for k in self.p.var if series or not drawn[k].axes}
            )
        return builder.reduce(
            rules.reduce_mean,
            self.f.lower(builder, inner),
            particles,
            batch=False,
            label="mean over samples",
        )


E = Expectation
