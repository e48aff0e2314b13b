"""Divergence, and what is compared by samples of two distributions
(implicit models: Mohamed and Lakshminarayanan, 2016).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from pixyz.distributions.core.base import Distribution
from pixyz.expression import Loss
from pixyz.expression.node import Expression
from pixyz.expression.protocol import Draw
from pixyz.plan import Scope, Slot
from pixyz.types import PixyzError, VariableError


class Divergence(Loss):
    r"""Base of objectives on two distributions ``p`` and ``q``.

    A subclass may define ``forward(x_dict)``, as in 0.3.3; its input variables are then those of
    ``p`` and ``q``.

    Args:
        p, q: distributions; ``q`` may be left out.

    :math:`D[p \| q]`; a subclass says which.

    >>> from pixyz.losses import MMD
    >>> from pixyz.distributions import Normal
    >>> print(
    ...     MMD(
    ...         Normal("x", loc=0.0, scale=1.0, features_shape=[2]),
    ...         Normal("x", loc=1.0, scale=1.0, features_shape=[2]),
    ...     )
    ... )
    D_{MMD^2} \left[p(x)||p(x) \right]
    """

    p: Distribution
    q: Distribution

    def __init__(self, p: Distribution, q: Distribution | None = None) -> None:
        foreign = type(self).forward is not Expression.forward
        names = [*p.input_var, *(q.input_var if q is not None else ())]
        super().__init__(list(dict.fromkeys(names)) if foreign else None)
        self.p, self.q = p, q  # type: ignore[assignment]


def of_same_variables(what: str, p: Distribution, q: Distribution) -> None:
    """See whether two distributions are of the same variables.

    Raises:
        VariableError: they are not.
    """
    if set(p.var) != set(q.var):
        raise VariableError(
            f"{what} of {p.prob_text} and {q.prob_text}: they are of different variables, "
            f"{p.var} and {q.var}; rename one with replace_var"
        )


@dataclass(frozen=True)
class Samples:
    """Samples of two distributions that are compared, as many rows each as the inputs have.

    They have pathwise gradients wherever their distribution has them.  A distribution without
    inputs is drawn once for each row of the other one's input; where neither has inputs, give
    ``eval(batch_n=...)``.

    Args:
        what: the divergence, for messages.
        p, q: the distributions.
    """

    what: str
    p: Distribution
    q: Distribution

    def lower(
        self, scope: Scope, *which: Distribution, reparam: bool = True
    ) -> list[dict[str, Slot]]:
        """The slots of a sample of each of ``which``.

        Raises:
            VariableError: neither has an input and ``batch_n`` is not given.
        """
        inner = scope.child()
        inner.mode = replace(scope.mode, batch_n=self._rows(scope))
        return [self._draw(inner, p, reparam) for p in which]

    @staticmethod
    def _draw(scope: Scope, p: Distribution, reparam: bool) -> dict[str, Slot]:
        found = p.lower_sample(scope, how=Draw(reparam=reparam))
        kept = {v: found[v] for v in p.var}
        if scope.mode.batch_n is None and any(s.batch != "full" for s in kept.values()):
            where = f"{p.prob_text} has no input and is drawn inside a time loop"
            raise PixyzError(f"{where}: condition it on a variable there")
        return kept

    def _rows(self, scope: Scope) -> Slot | None:
        builder = scope.builder
        if builder.given("batch_n"):
            return builder.input("batch_n", "none")
        inputs = [*self.p.input_var, *self.q.input_var]
        if not inputs:
            both = f"{self.p.prob_text} and {self.q.prob_text}, which have no input"
            raise VariableError(f"{self.what} of {both}: say how many samples, eval(batch_n=64)")
        slot = scope.lookup(inputs[0])
        if slot.axes:
            return None
        return builder.point(rows, slot, label=f"rows of {inputs[0]}", batch="none")


def rows(x: Tensor) -> int:
    """The size of the batch."""
    return x.shape[0] if x.ndim else 1
