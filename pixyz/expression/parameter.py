"""A variable as a term of an objective (Suzuki, Kaneko and Matsuo, 2023, Figure A1:
:math:`\\alpha`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixyz import latex
from pixyz.expression.loss import Loss
from pixyz.plan import Scope, Slot
from pixyz.types import VariableError

if TYPE_CHECKING:
    import sympy


class Parameter(Loss):
    r"""A variable as a term, :math:`\beta`: a weight that is given at each evaluation (one number,
    or ``[B]``), or any drawn value.

    Args:
        input_var: its name.
        default: the number that it is where it is neither drawn nor given; it must be given if
            None.

    Raises:
        VariableError: no name was given.

    >>> beta = Parameter("beta", default=1.0)
    >>> (2 * beta).eval({}), (2 * beta).eval({"beta": 0.5})
    (tensor(2.), tensor(1.))
    """

    def __init__(self, input_var: str | None = None, default: float | None = None) -> None:
        if not isinstance(input_var, str) or not input_var:
            raise VariableError(
                'Parameter needs the name of its variable: write alpha = Parameter("alpha")'
            )
        super().__init__(input_var if default is None else [])
        self.variable: str = input_var
        self.default = default

    def symbol(self) -> sympy.Expr:
        return latex.leaf(latex.latex_name(self.variable))

    def lower(self, scope: Scope) -> Slot:
        builder = scope.builder
        if scope.bound(self.variable):
            return scope.lookup(self.variable)
        name = scope.outer_name(self.variable)
        if self.default is not None and not builder.given(name):
            return builder.constant(self.default)
        return builder.input(name, batch="full" if name in scope.mode.rows else "none")
