"""The marginal of a joint, and its likelihood where it can be had.

A finite variable is summed out exactly; another one is integrated by importance sampling from a
proposal.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.hooks import made_by
from pixyz.distributions.core.params import Params
from pixyz.distributions.core.path import on_path
from pixyz.distributions.core.states import States
from pixyz.distributions.core.views import View
from pixyz.expression import LogProb
from pixyz.expression.protocol import DRAW, SCORE, Draw, Score
from pixyz.plan import Axis, Scope, Slot, rules
from pixyz.types import PixyzError, VariableError, VarSpec, names

if TYPE_CHECKING:
    import sympy


@made_by("marginal")
class MarginalizeVarDistribution(View):
    r"""The marginal of a joint, :math:`p(x) = \int p(x, z)\,dz`: some variables are drawn and stay
    inside.

    Its bound variables live in a scope of their own, so they never meet another variable of the
    same name.  The log-density is exact where the bound variables are finite (``states()``:
    Bernoulli, Categorical, ... of known shape): the joint is evaluated at all values in one
    vectorised call and summed.  The others need a ``proposal``; the estimate is that of importance
    weighted autoencoders, :math:`\log \frac1K \sum_k p(x, z_k) / q(z_k|x)` (Burda et al. 2016, eq.
    8), whose expectation is a lower bound of :math:`\log p(x)` that rises with K.

    Args:
        p: the joint.
        marginalize_list: the bound variables.
        proposal: a distribution of the bound variables that are not summed out.
        sample_shape: how many samples of the proposal.

    Raises:
        VariableError: an unknown variable, nothing would be left, or the proposal draws other
            variables.
        NotImplementedError: the log-density of an integral is asked for without a proposal.

    >>> import torch
    >>> from pixyz.distributions import Categorical, Normal
    >>> z = Categorical(var="z", probs=torch.tensor([0.5, 0.5]))
    >>> p = Normal(var="x", cond_var="z", loc="z", scale=1.0) * z
    >>> p.marginalize_var("z").get_log_prob({"x": torch.zeros(1, 2)})
    tensor([-2.3379])
    """

    composite = True

    def __init__(
        self,
        p: Distribution,
        marginalize_list: VarSpec,
        proposal: Distribution | None = None,
        sample_shape: Sequence[int] | int = (1,),
    ) -> None:
        bound = names(marginalize_list, "marginalize_list")
        unknown = [v for v in bound if v not in p.var]
        if unknown or not bound:
            raise VariableError(
                f"{p.prob_text} does not draw {unknown or 'nothing'}; it draws {p.var}"
            )
        left = [v for v in p.var if v not in bound]
        if not left:
            raise VariableError(f"marginalising {bound} leaves no variable of {p.prob_text}")
        super().__init__(p, left, p.cond_var)
        self.bound = bound
        shape = (
            (sample_shape,)
            if isinstance(sample_shape, int)
            else tuple(int(n) for n in sample_shape)
        )
        if any(n < 1 for n in shape):
            raise PixyzError(f"sample_shape must be positive numbers, got {shape}")
        self.proposal, self.sample_shape = proposal, shape
        if proposal is not None:
            self._check(proposal)

    def _check(self, proposal: Distribution) -> None:
        if not set(proposal.var) <= set(self.bound):
            raise VariableError(
                f"the proposal {proposal.prob_text} must draw bound variables, {self.bound}, only"
            )
        foreign = set(proposal.cond_var) - {*self.var, *self.cond_var}
        if foreign:
            known = [*self.var, *self.cond_var]
            raise VariableError(
                f"the proposal {proposal.prob_text} depends on {sorted(foreign)}; "
                f"{self.prob_text} has {known}"
            )

    # ---------------------------------------------------------------- text and structure

    @property
    def input_var(self) -> list[str]:
        return self.p.input_var

    @property
    def atom(self) -> Distribution:
        return self

    @property
    def drawn_by_parameters(self) -> bool:
        return False

    @property
    def prob_factorized_text(self) -> str:
        measure = "".join(f"d{latex.latex_name(v)}" for v in self.bound)
        return r"\int " * len(self.bound) + self.p.prob_factorized_text + measure

    def renamed_inside(self, mapping: Mapping[str, str]) -> Distribution | None:
        """The marginal of the renamed joint; None where a new name is a bound variable's."""
        if set(mapping.values()) & set(self.bound):
            return None
        return MarginalizeVarDistribution(self.p.replace_var(**mapping), self.bound)

    @property
    def log_prob_text(self) -> str:
        """How the log-density is computed."""
        inside = self.p.prob_factorized_text
        drawn = [] if self.proposal is None else self.proposal.var
        summed = [latex.latex_name(v) for v in self.bound if v not in drawn]
        if summed:
            inside = rf"\sum_{{{','.join(summed)}}} {inside}"
        if self.proposal is None:
            return rf"\log {inside}"
        count, q = math.prod(self.sample_shape), self.proposal.prob_text
        who = ",".join(latex.latex_name(v) for v in drawn)
        return (
            rf"\log \frac{{1}}{{{count}}} \sum_{{{who} \sim "
            rf"{q}}}^{{{count}}} \frac{{{inside}}}{{{q}}}"
        )

    def with_proposal(
        self, proposal: Distribution | None, sample_shape: Sequence[int] | int = (1,)
    ) -> Distribution:
        """The same marginal; its log-density is estimated by samples of ``proposal``."""
        return MarginalizeVarDistribution(self.p, self.bound, proposal, sample_shape)

    def log_prob(
        self,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
        proposal: Distribution | None = None,
        sample_shape: Sequence[int] | int = (1,),
    ) -> LogProb:
        """The log-density as an expression, by samples of ``proposal`` if one is given."""
        p = self if proposal is None else self.with_proposal(proposal, sample_shape)
        return MarginalLogProb(p, sum_features, feature_dims)

    def get_log_prob(
        self,
        x_dict: object,
        sum_features: bool = True,
        feature_dims: Sequence[int] | None = None,
        proposal: Distribution | None = None,
        sample_shape: Sequence[int] | int = (1,),
        **kwargs: Any,
    ) -> Tensor:
        """The log-density ``[B]``; for many calls with a proposal keep ``p.with_proposal(q,
        K)``.
        """
        if proposal is None:
            return super().get_log_prob(x_dict, sum_features, feature_dims, **kwargs)
        return self.with_proposal(proposal, sample_shape).get_log_prob(
            x_dict, sum_features, feature_dims, **kwargs
        )

    def detach(self) -> Distribution:
        return MarginalizeVarDistribution(
            self.p.detach(), self.bound, self.proposal, self.sample_shape
        )

    def frozen(self) -> Distribution:
        return MarginalizeVarDistribution(
            self.p.frozen(), self.bound, self.proposal, self.sample_shape
        )

    # ---------------------------------------------------------------- lowering

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        found = on_path(self, scope, how.reparam)
        if found is not None:
            return found
        inner = scope.child()
        inner.path = {}
        drawn = self.p.lower_sample(inner, how=how)
        return {v: drawn[v] for v in self.var}

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        builder = scope.builder
        if how != SCORE:
            raise PixyzError(
                f"the features of {self.prob_text} are dependent; its log-density is one number, "
                f"sum_features=True"
            )
        particles = tuple(Axis("particle", n) for n in self.sample_shape if n > 1)
        drawn: dict[str, Slot] = {}
        if self.proposal is not None:
            found = self.proposal.lower_sample(scope, how=Draw(particles=particles))
            drawn = {v: found[v] for v in self.proposal.var}
        axes: list[Axis] = []
        for v in self.bound:
            if v not in drawn:
                values = self._states(v)
                axes.append(Axis("particle", len(values)))
                drawn[v] = builder.states(values, axes[-1], f"all {v}")
        inner = scope.child(drawn)
        inner.path = {}
        label = f"log {self.prob_text}"
        joint = self.p.lower_log_prob(inner)
        total = builder.reduce(rules.reduce_logsumexp, joint, axes, batch=False, label=label)
        if self.proposal is None:
            return total
        weight = builder.point(
            operator.sub, total, self.proposal.lower_log_prob(inner), label="log weight"
        )
        total = builder.reduce(rules.reduce_logsumexp, weight, particles, batch=False, label=label)
        count = math.prod(self.sample_shape)
        return (
            builder.point(operator.sub, total, builder.constant(math.log(count)), label=label)
            if count > 1
            else total
        )

    def _states(self, variable: str) -> States:
        owner = next(f for f in self.p.factors() if variable in f.var)
        try:
            values = type(owner.atom).states(owner.atom)  # a user's attribute may be called so
        except PixyzError as error:
            raise PixyzError(f"{owner.prob_text}: {error}") from None
        if values is None:
            raise NotImplementedError(
                f"the log-density of {self.prob_joint_factorized_and_text} is an "
                f"integral over {variable!r}, drawn by "
                f"{owner.prob_text} ({owner.distribution_name}); estimate it by "
                f"log_prob(proposal=q, sample_shape=[K]), or "
                "bound it with ELBO(p, q)"
            )
        return States(values, self.p)

    def lower_params(self, scope: Scope) -> Params:
        raise NotImplementedError(f"the marginal {self.prob_text} has no parameters")

    def lower_entropy(self, scope: Scope) -> Slot | None:
        return None


class MarginalLogProb(LogProb):
    """The log-density of a marginal; its text says how it is computed."""

    def symbol(self) -> sympy.Expr:
        assert isinstance(self.p, MarginalizeVarDistribution)
        return latex.leaf(self.p.log_prob_text)
