"""The log-density and the density of a distribution as expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from pixyz import latex
from pixyz.expression.loss import Loss
from pixyz.expression.protocol import Density, Score
from pixyz.plan import Scope, Slot

if TYPE_CHECKING:
    import sympy


class LogProb(Loss):
    r"""The log-density of a distribution: :math:`\log p(x|z)`.

    Args:
        p: the distribution.
        sum_features: sum over feature dimensions (result ``[B]``, over series ``[T, B]``).
        feature_dims: the dimensions to sum, counted as in ``[B, ...]``; all behind the batch if
            None.

    >>> from pixyz.distributions import Normal
    >>> loss = LogProb(Normal("x", loc=0.0, scale=1.0, features_shape=[2]))
    >>> print(loss)
    \log p(x)
    >>> loss.eval({"x": torch.zeros(1, 2)})
    tensor([-1.8379])
    """

    def __init__(
        self, p: Density, sum_features: bool = True, feature_dims: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.p = p
        self.sum_features, self.feature_dims = sum_features, feature_dims

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"\log {self.p.prob_text}")

    def lower(self, scope: Scope) -> Slot:
        dims = None if self.feature_dims is None else tuple(self.feature_dims)
        return self.p.lower_log_prob(scope, how=Score(self.sum_features, dims))


class Prob(LogProb):
    """The density of a distribution: :math:`p(x|z)`.

    >>> from pixyz.distributions import Normal
    >>> Prob(Normal("x", loc=0.0, scale=1.0, features_shape=[1])).eval({"x": torch.zeros(1, 1)})
    tensor([0.3989])
    """

    def symbol(self) -> sympy.Expr:
        return latex.leaf(self.p.prob_text)

    def lower(self, scope: Scope) -> Slot:
        return scope.builder.point(torch.exp, super().lower(scope), label=self.p.prob_text)
