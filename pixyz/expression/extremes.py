"""The smaller and the larger of two expressions, ``[B]`` or one number (Suzuki, Kaneko and Matsuo,
2023, section 4.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixyz import latex
from pixyz.expression.operators import LossOperator
from pixyz.plan import rules

if TYPE_CHECKING:
    import sympy


class MinLoss(LossOperator):
    r"""The smaller of two expressions, :math:`\min(a, b)`, element by element.

    >>> print(MinLoss(3, 1), MinLoss(3, 1).eval())
    min \left(3, 1\right) tensor(1.)
    """

    formula = staticmethod(rules.smaller)

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"min \left({self.loss1.loss_text}, {self.loss2.loss_text}\right)")


class MaxLoss(LossOperator):
    r"""The larger of two expressions, :math:`\max(a, b)`, element by element (free nats:
    ``MaxLoss(KL, 1.0)``).

    >>> print(MaxLoss(3, 1), MaxLoss(3, 1).eval())
    max \left(3, 1\right) tensor(3.)
    """

    formula = staticmethod(rules.larger)

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"max \left({self.loss1.loss_text}, {self.loss2.loss_text}\right)")
