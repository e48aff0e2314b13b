"""``p * q``: a joint distribution, held as a graph of factors (Suzuki, Kaneko and Matsuo, 2023,
section 4.1).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from pixyz.distributions.core import direct
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.graph import DistGraph
from pixyz.distributions.core.hooks import made_by
from pixyz.distributions.core.params import apply, sum_over
from pixyz.expression.protocol import DRAW, SCORE, Draw, Score
from pixyz.plan import Axis, Scope, Slot
from pixyz.types import VariableError


@made_by("product")
class MultiplyDistribution(Distribution):
    r"""The joint of two distributions: ``p(x|z) * p(z)`` is ``p(x,z)``. The order of the operands
    is free.

    Variables are in the order in which the factors, as multiplied, name them first; ``sample_mean``
    is that of the first one.

    Raises:
        VariableError: both draw one variable, or they depend on each other in a circle.

    :math:`p(x, z) = p(x|z)\, p(z)`.

    >>> from pixyz.distributions import Normal
    >>> p = Normal("z", loc=0.0, scale=1.0, features_shape=[2]) * Normal(
    ...     "y", loc=0.0, scale=1.0, features_shape=[2]
    ... )
    >>> p.prob_joint_factorized_and_text
    'p(z,y) = p(z)p(y)'
    """

    def __init__(self, a: Distribution, b: Distribution) -> None:
        for part in (a, b):
            if not isinstance(part, Distribution):
                raise VariableError(
                    f"a distribution is multiplied by distributions, got {type(part).__name__}"
                )
        graph = DistGraph([*a.factors_as_multiplied(), *b.factors_as_multiplied()])
        ordered = list(graph.factors(reverse=True))
        super().__init__(graph.var, graph.cond_var, a.name)
        self._graph = graph
        self._ordered = ordered
        for i, factor in enumerate(ordered):
            self.add_module(str(i), factor)

    @property
    def input_var(self) -> list[str]:
        return self._graph.input_var

    @property
    def graph(self) -> DistGraph[Distribution]:
        return self._graph

    @property
    def distribution_name(self) -> str:
        return "Joint"

    @property
    def prob_text(self) -> str:
        if len({f.name for f in self._ordered}) > 1:
            return self.prob_factorized_text
        return super().prob_text

    @property
    def prob_factorized_text(self) -> str:
        return "".join(f.prob_text for f in self._ordered)

    @property
    def prob_joint_factorized_and_text(self) -> str:
        return f"{super().prob_text} = {self.prob_factorized_text}"

    def factors(self) -> list[Distribution]:
        return list(self._ordered)

    def factors_as_multiplied(self) -> list[Distribution]:
        return self._graph.as_multiplied

    def _describe(self) -> str:
        return "\n".join(f._describe_factor() for f in reversed(self._ordered))

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        inner = scope.child()
        drawn: dict[str, Slot] = {}
        random: set[str] = set()
        for factor in reversed(self._ordered):
            mine = replace(how, particles=()) if random & set(factor.cond_var) else how
            found = factor.lower_sample(inner, how=mine)
            inner.values.update(found)
            inner.masks.update(getattr(found, "masks", {}))
            drawn.update({v: found[v] for v in factor.var})
            if any(set(how.particles) & set(s.axes) for s in found.values()):
                random |= set(factor.var)
        result = Drawn({**inner.values, **drawn})
        result.masks = {a: m for a, m in inner.masks.items() if a not in scope.masks}
        return result

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        total: Slot | None = None
        for factor in self._ordered:
            slot = factor.lower_log_prob(scope, how=how)
            total = (
                slot
                if total is None
                else scope.builder.point(operator.add, total, slot, label=f"log {self.prob_text}")
            )
        assert total is not None
        return total

    def lower_entropy(self, scope: Scope) -> Slot | None:
        """The sum over factors, where none depends on what another one draws (else it is an
        expectation: ``Entropy``).
        """
        total: Slot | None = None
        for factor in self._ordered:
            part = None if set(factor.cond_var) & set(self.var) else factor.lower_entropy(scope)
            if part is None:
                return None
            part = sum_over(scope, part, SCORE, f"H[{factor.prob_text}]")
            total = (
                part
                if total is None
                else scope.builder.point(operator.add, total, part, label=f"H[{self.prob_text}]")
            )
        return total

    @property
    def has_reparam(self) -> bool:
        return all(factor.has_reparam for factor in self._ordered)

    def sample_variance(self, x_dict: object = None) -> Tensor:
        """The variance of the first variable, given the means of those that it depends on."""

        def lower(scope: Scope) -> Slot:
            factor = self._graph.distribution(self.var[0])
            reads = set(factor.cond_var) & set(self.var)
            means = self.lower_sample(scope, how=Draw(mean=True)) if reads else None
            params = factor.lower_params(scope.child(means))
            return apply(factor.formula("variance_of"), params, "variance")

        return direct.variance(self, x_dict, lower)

    def replace_var(self, /, **replace_dict: str) -> Distribution:
        unknown = [v for v in replace_dict if v not in self._graph.all_var]
        if unknown:
            raise VariableError(
                f"{self.prob_text} has no variable {unknown}; it has {self._graph.all_var}"
            )
        parts = []
        for factor in self._graph.as_multiplied:
            own = {o: n for o, n in replace_dict.items() if o in factor.var or o in factor.cond_var}
            parts.append(factor.replace_var(**own) if own else factor)
        return self._rebuilt(parts)

    def detach(self) -> Distribution:
        return self._rebuilt([f.detach() for f in self._graph.as_multiplied])

    def frozen(self) -> Distribution:
        return self._rebuilt([f.frozen() for f in self._graph.as_multiplied])

    def _rebuilt(self, parts: Sequence[Distribution]) -> Distribution:
        joint = parts[0]
        for part in parts[1:]:
            joint = MultiplyDistribution(joint, part)
        joint._name = self._name
        return joint


class Drawn(dict[str, Slot]):
    """Slots of a sample, with the masks of the series among them."""

    masks: dict[Axis, Slot]
