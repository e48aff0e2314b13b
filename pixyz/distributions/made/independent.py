"""Elements that are read as one event."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.params import sum_over
from pixyz.distributions.core.views import View
from pixyz.expression.protocol import DRAW, SCORE, Draw, Score
from pixyz.plan import Scope, Slot
from pixyz.types import PixyzError


class Independent(View):
    r"""A distribution whose last feature dimensions are one event: its log-density sums them,
    whatever is asked.

    ``get_log_prob`` of any distribution sums all features, so this matters where
    ``sum_features=False`` or ``feature_dims`` shall leave some of them: images of independent
    pixels in a mixture over patches.

    Args:
        p: a distribution.
        reinterpreted_batch_ndims: how many of the last feature dimensions.

    >>> import torch
    >>> from pixyz.distributions import Normal
    >>> p = Independent(Normal(var="x", loc=0.0, scale=1.0, features_shape=[2, 3]), 1)
    >>> p.get_log_prob({"x": torch.zeros(4, 2, 3)}, sum_features=False).shape
    torch.Size([4, 2])

    :math:`\log p(x) = \sum_i \log p(x_i)` over the dimensions of the event.
    """

    composite = True

    def __init__(self, p: Distribution, reinterpreted_batch_ndims: int) -> None:
        if reinterpreted_batch_ndims < 0:
            raise PixyzError(
                f"reinterpreted_batch_ndims is a number of dimensions, "
                f"got {reinterpreted_batch_ndims}"
            )
        super().__init__(p, p.var, p.cond_var)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    @property
    def input_var(self) -> list[str]:
        return self.p.input_var

    @property
    def distribution_name(self) -> str:
        return f"Independent {self.p.distribution_name}"

    def identity(self) -> tuple[Hashable, ...]:
        return self.p.identity()

    def detach(self) -> Distribution:
        return Independent(self.p.detach(), self.reinterpreted_batch_ndims)

    def frozen(self) -> Distribution:
        return Independent(self.p.frozen(), self.reinterpreted_batch_ndims)

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        return self.p.lower_sample(scope, how=how)

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        label = f"log {self.prob_text}"
        each = self.p.lower_log_prob(scope, how=Score(sum_features=False))
        slot = self._event(scope, each, label)
        return sum_over(scope, slot, how, label)

    def lower_entropy(self, scope: Scope) -> Slot | None:
        slot = self.p.lower_entropy(scope)
        return None if slot is None else self._event(scope, slot, f"H[{self.prob_text}]")

    def _event(self, scope: Scope, slot: Slot, label: str) -> Slot:
        dims = tuple(range(-self.reinterpreted_batch_ndims, 0))
        return scope.builder.features(SumLast(dims), slot, label) if dims else slot


@dataclass(frozen=True)
class SumLast:
    """Sum the dimensions ``dims``, counted from the end."""

    dims: tuple[int, ...]

    def __call__(self, x: Tensor, lead: int) -> Tensor:
        if x.ndim - lead < len(self.dims):
            asked = f"Independent sums {len(self.dims)} feature dimensions"
            raise PixyzError(f"{asked}, the log-density has {x.ndim - lead}")
        return x.sum(self.dims)
