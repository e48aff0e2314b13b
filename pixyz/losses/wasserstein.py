"""An upper bound of the Wasserstein distance, by independent samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import PairwiseDistance

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.losses.sampled import Divergence, Samples, of_same_variables
from pixyz.plan import Scope, Slot
from pixyz.types import ShapeError, VariableError

if TYPE_CHECKING:
    import sympy


class WassersteinDistance(Divergence):
    r"""The expected distance of independent samples, ``[B]``; with gradients to both distributions.

    .. math::
        W'(p, q) = \mathbb{E}_{x_p\sim p, x_q \sim q}[d(x_p, x_q)] \geq W(p, q)

    The Wasserstein distance is the least such expectation over all joint laws of :math:`x_p` and
    :math:`x_q`; the two are equal where ``p`` or ``q`` is deterministic.

    Args:
        p, q: distributions of the same variable.
        metric: from two tensors ``[B, ...]`` to ``[B]``; the Euclidean distance over the last
            dimension if None.

    Raises:
        VariableError: ``p`` and ``q`` are of different variables, or of several.
        ShapeError: samples of different shape.

    >>> import torch
    >>> from pixyz.distributions import Normal
    >>> p = Normal("z", "x", loc="x", scale=1.0, name="p")
    >>> q = Normal("z", loc=0.0, scale=1.0, features_shape=[3], name="q")
    >>> print(WassersteinDistance(p, q))
    W^{upper} \left(p(z|x), q(z) \right)
    >>> WassersteinDistance(p, q).eval({"x": torch.zeros(8, 3)}).shape
    torch.Size([8])
    """

    def __init__(
        self,
        p: Distribution,
        q: Distribution,
        metric: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        of_same_variables(type(self).__name__, p, q)
        super().__init__(p, q)
        if len(p.var) != 1:
            raise VariableError(
                f"the Wasserstein distance is of one variable, {p.prob_text} is of {p.var}"
            )
        self.metric = PairwiseDistance(p=2.0) if metric is None else metric

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"W^{{upper}} \left({self.p.prob_text}, {self.q.prob_text} \right)")

    def lower(self, scope: Scope) -> Slot:
        p, q, name = self.p, self.q, self.p.var[0]
        draws = Samples(type(self).__name__, p, q).lower(scope, p, q)
        xs = [drawn[name] for drawn in draws]
        return scope.builder.net(self.distance, xs, ["distance"], "distance", key=None)[0]

    def distance(self, x: Tensor, y: Tensor) -> tuple[Tensor]:
        """The metric, row by row."""
        if x.shape != y.shape:
            raise ShapeError(
                f"samples of different shape, {list(x.shape)} and {list(y.shape)}; "
                f"give both one features_shape"
            )
        return (self.metric(x, y),)
