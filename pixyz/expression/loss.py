"""Loss: an expression with arithmetic (Suzuki, Kaneko and Matsuo, 2023, section 4.2).

A value is ``[B]``, ``[T, B]`` where it is of a series, or one number; operators work on each entry.
What an operator makes stands in files of its own (``operators``, ``reductions``), which enter their
classes in :data:`OPERATIONS`.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, Union

import torch
from torch import Tensor, nn

from pixyz.expression.node import Expression
from pixyz.types import PixyzError, Values

LossLike = Union["Loss", float, int, Tensor]
C = TypeVar("C", bound=type["Loss"])

OPERATIONS: dict[str, Callable[..., Loss]] = {}
"""The class of each operation on losses, by the name of the operation."""


def operation(name: str) -> Callable[[C], C]:
    """Enter a class as what an operation makes."""

    def enter(made: C) -> C:
        OPERATIONS[name] = made
        return made

    return enter


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
        return OPERATIONS["add"](self, other)

    def __radd__(self, other: LossLike) -> Loss:
        return OPERATIONS["add"](other, self)

    def __sub__(self, other: LossLike) -> Loss:
        return OPERATIONS["sub"](self, other)

    def __rsub__(self, other: LossLike) -> Loss:
        return OPERATIONS["sub"](other, self)

    def __mul__(self, other: LossLike) -> Loss:
        return OPERATIONS["mul"](self, other)

    def __rmul__(self, other: LossLike) -> Loss:
        return OPERATIONS["mul"](other, self)

    def __truediv__(self, other: LossLike) -> Loss:
        return OPERATIONS["div"](self, other)

    def __rtruediv__(self, other: LossLike) -> Loss:
        return OPERATIONS["div"](other, self)

    def __neg__(self) -> Loss:
        return OPERATIONS["neg"](self)

    def abs(self) -> Loss:
        """The absolute value."""
        return OPERATIONS["abs"](self)

    def mean(self) -> Loss:
        """The mean over batch and time (inside a step of :class:`IterativeLoss`: over the batch at
        each step).
        """
        return OPERATIONS["mean"](self)

    def sum(self) -> Loss:
        """The sum over batch and time (inside a step of :class:`IterativeLoss`: over the batch at
        each step).
        """
        return OPERATIONS["sum"](self)

    def detach(self) -> Loss:
        """The same value without gradient."""
        return OPERATIONS["detach"](self)

    def clamp(self, min: float | None = None, max: float | None = None) -> Loss:
        """The value held between ``min`` and ``max`` (free nats: ``KL(q, p).clamp(min=1.)``)."""
        return OPERATIONS["clamp"](self, min, max)

    def expectation(
        self, p: Any, sample_shape: Sequence[int] | int = (1,), reparam: bool = True
    ) -> Loss:
        """The expectation of this expression under ``p``."""
        return OPERATIONS["expectation"](p, self, sample_shape=sample_shape, reparam=reparam)

    def constant_var(self, constant_dict: Values) -> Loss:
        """The expression with some variables fixed."""
        return OPERATIONS["constant_var"](self, constant_dict)

    def loss_train(self, train_x_dict: object = None, **kwargs: object) -> Tensor:
        """One training step of each adversarial loss in the expression; the sum of their critics'
        objectives.
        """
        return self._each_critic("loss_train", train_x_dict, kwargs)

    def loss_test(self, test_x_dict: object = None, **kwargs: object) -> Tensor:
        """The sum of the critics' objectives of all adversarial losses in the expression, without
        gradients.
        """
        return self._each_critic("loss_test", test_x_dict, kwargs)

    def _each_critic(self, method: str, x_dict: object, kwargs: Values) -> Tensor:
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
        return OPERATIONS["named"](self, name)


def as_loss(value: LossLike) -> Loss:
    """A number or tensor as an expression."""
    if isinstance(value, Loss):
        return value
    if isinstance(value, Tensor):
        return OPERATIONS["value"](value)
    if isinstance(value, numbers.Real):  # numpy's too
        return OPERATIONS["value"](
            int(value) if isinstance(value, numbers.Integral) else float(value)
        )
    raise PixyzError(f"expected a loss, a number or a tensor, got {type(value).__name__}")


def walk(loss: nn.Module) -> Iterator[Loss]:
    """``loss`` and all expressions in it, as written."""
    if isinstance(loss, Loss):
        yield loss
    for child in nn.Module.children(loss):
        if isinstance(child, Loss):
            yield from walk(child)
