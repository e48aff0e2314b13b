"""Mixture: one component is chosen by a hidden categorical variable, which is summed out
exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.path import on_path
from pixyz.distributions.families.noise import class_noise
from pixyz.distributions.families.one_hot import one_hot_sample
from pixyz.expression.protocol import DRAW, SCORE, Draw, Score
from pixyz.plan import Scope, Slot, rules
from pixyz.types import PixyzError, VariableError


class Mixture(Distribution):
    """Base of the mixtures: components of the same variables and the
    logarithms of their weights.
    """

    composite = True

    def __init__(
        self,
        components: Sequence[Distribution],
        cond_var: Sequence[str],
        name: str,
        features_shape: Sequence[int] | None,
    ) -> None:
        if not components:
            raise PixyzError("a mixture needs at least one component, got an empty list")
        var = components[0].var
        for part in components:
            if set(part.var) != set(var):
                raise VariableError(
                    f"the components of a mixture draw the same variables; "
                    f"{components[0].prob_text} and {part.prob_text} do not"
                )
        conditions = dict.fromkeys([*(c for part in components for c in part.cond_var), *cond_var])
        super().__init__(var, list(conditions), name, features_shape)

    def components(self) -> list[Distribution]:
        """The components."""
        raise NotImplementedError

    def lower_log_weights(self, scope: Scope) -> Slot:
        """The slot of the logarithms of the weights, ``[..., K]``."""
        raise NotImplementedError

    def lower_scores(self, scope: Scope, how: Score = SCORE) -> Slot:
        r""":math:`\log p(x|z=k) + \log p(z=k)` of all components, ``[..., K]``."""
        found = [part.lower_log_prob(scope, how=how) for part in self.components()]
        label = f"log of the components of {self.prob_text}"
        stacked = scope.builder.point(stack_last, *found, label=label)
        weights = self.lower_log_weights(scope)
        return scope.builder.point(
            add_last, stacked, weights, label=f"log joint of {self.prob_text}"
        )

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        scores = self.lower_scores(scope, how)
        return scope.builder.point(logsumexp_last, scores, label=f"log {self.prob_text}")

    def lower_draw(self, scope: Scope, how: Draw) -> tuple[dict[str, Slot], Slot]:
        """A sample and the component it came from, one-hot."""
        builder = scope.builder
        mean = how.mean or scope.mode.mean
        rows_of = self._rows(scope)
        parts = []
        for part in self.components():
            if part.drawn_by_parameters and not mean:
                params = part.lower_params(scope)
                if rows_of is not None:  # a row draws from each, also one that has no conditions
                    params = params.expanded(rows_of)
                parts.append(part.sample_from(scope, params, how=how))
            else:
                parts.append(part.lower_sample(scope, how=replace(how, mean=mean)))
        rows = [
            builder.features(first_feature, part[v], f"rows of {v}")
            for part in parts
            for v in self.var
        ]
        log_weights = builder.point(
            weights_of_rows, self.lower_log_weights(scope), *rows, label="weights"
        )
        if mean:
            weights = builder.point(torch.exp, log_weights, label=f"weights of {self.prob_text}")
            drawn = {
                v: builder.point(weighted, weights, *[p[v] for p in parts], label=f"mean of {v}")
                for v in self.var
            }
            return drawn, weights
        noise = builder.noise(
            class_noise, [log_weights], (), f"noise of the component of {self.prob_text}"
        )
        chosen = builder.point(choose, noise, log_weights, label=f"component of {self.prob_text}")
        drawn = {
            v: builder.point(
                select, chosen, *[p[v] for p in parts], label=f"{v} ~ {self.prob_text}"
            )
            for v in self.var
        }
        return drawn, chosen

    def _rows(self, scope: Scope) -> Slot | None:
        """Something with the leading dimensions of the conditions; None if there are none."""
        given = [scope.lookup(c) for c in self._cond_var]
        rows = [
            scope.builder.features(first_feature, g, "rows") for g in given if g.batch == "full"
        ]
        return (
            scope.builder.point(joint_rows, *rows, label=f"rows of {self.prob_text}")
            if rows
            else None
        )

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        found = on_path(self, scope, how.reparam)
        if found is not None:
            return found
        return self.lower_draw(scope, how)[0]


def stack_last(*xs: Tensor) -> Tensor:
    """Values along a new last dimension."""
    return torch.stack(torch.broadcast_tensors(*xs), -1)


def add_last(scores: Tensor, weights: Tensor) -> Tensor:
    """``[*lead, ..., K] + [*lead, K]``."""
    return scores + weights.reshape(
        *weights.shape[:-1], *(1,) * (scores.ndim - weights.ndim), weights.shape[-1]
    )


def logsumexp_last(x: Tensor) -> Tensor:
    return torch.logsumexp(x, -1)


def first_feature(x: Tensor, lead: int) -> Tensor:
    """The leading dimensions of ``x`` alone, as zeros."""
    return x.new_zeros(()).expand(x.shape[:lead])


def joint_rows(*rows: Tensor) -> Tensor:
    return (
        torch.zeros_like(rows[0])
        if len(rows) == 1
        else sum(torch.broadcast_tensors(*rows), torch.zeros_like(rows[0]))
    )


def weights_of_rows(log_weights: Tensor, *rows: Tensor) -> Tensor:
    """Normalised log-weights ``[*rows, K]``."""
    shape = torch.broadcast_shapes(log_weights.shape[:-1], *[r.shape for r in rows])
    return torch.log_softmax(log_weights, -1).expand(*shape, log_weights.shape[-1])


def choose(noise: Tensor, log_weights: Tensor) -> Tensor:
    """A one-hot component."""
    return one_hot_sample(noise, log_weights.detach().exp())


def select(chosen: Tensor, *xs: Tensor) -> Tensor:
    """The value of the chosen component in each row: ``chosen [*lead, K]``, values ``[*lead,
    ...]``.
    """
    result = xs[0]
    for k, x in enumerate(xs[1:], 1):
        result = torch.where(rules.lift(chosen[..., k] > 0, x), x, result)
    return result


def weighted(weights: Tensor, *xs: Tensor) -> Tensor:
    """The mean of values by weights ``[*lead, K]``."""
    return torch.stack([rules.lift(weights[..., k], x) * x for k, x in enumerate(xs)]).sum(0)
