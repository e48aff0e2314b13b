"""The Kullback-Leibler divergence (Kullback and Leibler, 1951).

By formula from a registry, by the chain rule for joints, else by samples.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.params import Params, arguments, look_at, sum_over
from pixyz.distributions.families.bernoulli import Bernoulli
from pixyz.distributions.families.categorical import (
    Categorical,
    OneHotCategoricalStraightThrough,
)
from pixyz.distributions.families.constant import StandardCheck, constant
from pixyz.distributions.families.grouped import GroupedOneHot
from pixyz.distributions.families.normal import BoundedNormal, Normal, TanhNormal
from pixyz.distributions.families.relaxed import RelaxedBernoulli, RelaxedCategorical
from pixyz.expression import Loss
from pixyz.expression.protocol import Draw, Score
from pixyz.plan import Axis, Scope, Slot, rules
from pixyz.plan.looks import Divergence
from pixyz.types import PixyzError, VariableError, sample_counts

if TYPE_CHECKING:
    import sympy

Formula = Callable[..., Tensor]
F = TypeVar("F", bound=Formula)
Pair = tuple[Distribution, Distribution, Formula]
"""Factors of one variable, and the formula of their divergence."""
_FORMULAS: dict[tuple[type, type], Formula] = {}


def register_kl(p: type[Distribution], q: type[Distribution]) -> Callable[[F], F]:
    """Register the KL of two families: a formula whose arguments are parameters, ``p_`` or ``q_``
    in front.

    The result keeps feature dimensions (event dimensions summed), as ``log_density`` does.
    """

    def keep(formula: F) -> F:
        _FORMULAS[p, q] = formula
        return formula

    return keep


def kl_formula(p: Distribution, q: Distribution) -> Formula | None:
    """The formula that is registered for the families of two distributions, exactly."""
    return _FORMULAS.get((p.atom.family(), q.atom.family()))


class KullbackLeibler(Loss):
    r"""The Kullback-Leibler divergence, :math:`D_{KL}[p\|q] = \mathbb{E}_p[\log p - \log q]`,
    ``[B]``.

    Analytic where a formula is registered for the two families; for joints by the chain rule,
    factor by factor, :math:`\sum_i \mathbb{E}[D_{KL}[p_i\|q_i]]`; else by samples of ``p``.

    Args:
        p, q: distributions of the same variables.
        dim: sum over this dimension only (counted as in ``[B, ...]``); over all features if None.
        analytical: False always samples.
        sample_shape: how many samples, where sampled.

    Raises:
        VariableError: ``p`` and ``q`` are of different variables.

    >>> p, q = (
    ...     Normal("x", loc=m, scale=1.0, features_shape=[2], name=n)
    ...     for m, n in ((0.0, "p"), (1.0, "q"))
    ... )
    >>> KullbackLeibler(p, q).eval({})
    tensor([1.])
    """

    def __init__(
        self,
        p: Distribution,
        q: Distribution,
        dim: int | None = None,
        analytical: bool = True,
        sample_shape: Sequence[int] | int = (1,),
    ) -> None:
        super().__init__()
        if set(p.var) != set(q.var):
            raise VariableError(
                f"the KL of {p.prob_text} and {q.prob_text}: they are of different variables, "
                f"{p.var} and {q.var}; "
                "rename one with replace_var"
            )
        self.p, self.q, self.dim, self.analytical = p, q, dim, analytical
        self.sample_shape = sample_counts(sample_shape)

    def symbol(self) -> sympy.Expr:
        return latex.leaf(rf"D_{{KL}} \left[{self.p.prob_text}||{self.q.prob_text} \right]")

    def lower(self, scope: Scope) -> Slot:
        dims = None if self.dim is None else (self.dim,)
        if self.analytical:
            pairs = _pairs(self.p, self.q)
            if pairs is not None:
                return self._chain(scope, pairs, dims)
        return self._sampled(scope, dims)

    def _chain(
        self,
        scope: Scope,
        pairs: list[Pair],
        dims: tuple[int, ...] | None,
    ) -> Slot:
        builder = scope.builder
        particles = tuple(Axis("particle", n) for n in self.sample_shape)
        read = {v for p, q, _ in pairs for v in (*p.cond_var, *q.cond_var)} & set(self.p.var)
        how = Draw(particles=particles)
        inner = scope.child(self.p.lower_sample(scope, how=how) if read else None)
        total: Slot | None = None
        for p, q, formula in pairs:
            term = lower_kl(
                inner,
                formula,
                p.lower_params(inner),
                q.lower_params(inner),
                f"KL[{p.prob_text} || {q.prob_text}]",
                dims,
            )
            total = (
                term
                if total is None
                else builder.point(operator.add, total, term, label="chain rule")
            )
        assert total is not None
        return builder.reduce(
            rules.reduce_mean, total, particles, batch=False, label="mean over samples"
        )

    def _sampled(self, scope: Scope, dims: tuple[int, ...] | None) -> Slot:
        particles = tuple(Axis("particle", n) for n in self.sample_shape)
        inner = scope.child(self.p.lower_sample(scope, how=Draw(particles=particles)))
        inner.keep = scope.keep | set(particles)
        log_p = self.p.lower_log_prob(inner, how=Score(dims=dims))
        log_q = self.q.lower_log_prob(inner, how=Score(dims=dims))
        value = scope.builder.point(
            operator.sub, log_p, log_q, label=f"log {self.p.prob_text} - log {self.q.prob_text}"
        )
        return scope.builder.reduce(
            rules.reduce_mean, value, particles, batch=False, label="mean over samples"
        )


class AnalyticalKullbackLeibler(KullbackLeibler):
    """The Kullback-Leibler divergence by formula only.

    Raises:
        PixyzError: no formula is registered for the two families.
    """

    def __init__(self, p: Distribution, q: Distribution, dim: int | None = None) -> None:
        super().__init__(p, q, dim)
        if _pairs(p, q) is None:
            raise PixyzError(
                f"no formula for {self.loss_text}; use KullbackLeibler(p, q), or register_kl"
            )


def lower_kl(
    scope: Scope,
    formula: Formula,
    p: Params,
    q: Params,
    label: str,
    dims: tuple[int, ...] | None = None,
) -> Slot:
    """Write the KL of two families from their parameters, features summed."""
    names = arguments(formula)
    if formula is kl_normal:
        if constant(q):
            formula, names = KLToConstant(), KLToConstant.reads
        elif "log_scale" in p and "log_scale" in q:
            formula, names = kl_normal_by_logarithms, arguments(kl_normal_by_logarithms)
    args = [(p if n.startswith("p_") else q)[n[2:]] for n in names]
    slot = scope.builder.point(formula, *args, label=label)
    for params in (p, q):
        look_at(slot, params)
    if p.look is not None and q.look is not None:
        scope.builder.look(
            slot,
            Divergence(label, p.look[0], q.look[0], _impossible(formula, q)),
            *p.look[1],
            *q.look[1],
        )
    return sum_over(scope, slot, Score(dims=dims), label)


def _impossible(formula: Formula, q: Params) -> tuple[float, ...]:
    """The constant probabilities of ``q`` at which the divergence may be infinite."""
    if "probs" not in q or q["probs"].step.kind == "net":  # a network's may round to them
        return ()
    return {kl_bernoulli: (0.0, 1.0), kl_categorical: (0.0,)}.get(formula, ())


def _pairs(p: Distribution, q: Distribution) -> list[Pair] | None:
    """Factors of ``p`` and ``q`` with the same variables, parents first; None if any has no
    formula.

    The chain rule needs ``q``'s factors to depend on variables that ``p`` draws earlier, and on no
    later ones.
    """
    owners: dict[Hashable, Distribution] = {frozenset(f.var): f for f in q.factors()}
    pairs: list[Pair] = []
    later = set(p.var)
    for factor in reversed(p.factors()):
        variables = frozenset(factor.var)
        other = owners.get(variables)
        formula = None if other is None else kl_formula(factor, other)
        if other is None or formula is None or later & set(other.cond_var):
            return None
        later -= variables
        pairs.append((factor, other, formula))
    return pairs if len(pairs) == len(owners) else None


@register_kl(Normal, Normal)
def kl_normal(p_loc: Tensor, p_scale: Tensor, q_loc: Tensor, q_scale: Tensor) -> Tensor:
    r""":math:`\log(\sigma_q/\sigma_p) + (\sigma_p^2 + (\mu_p-\mu_q)^2)/2\sigma_q^2 - 1/2`."""
    ratio, gap = p_scale / q_scale, (p_loc - q_loc) / q_scale
    # x * x: square() costs five small operations
    return 0.5 * (ratio * ratio + gap * gap - 1.0) - ratio.log()


def kl_normal_by_logarithms(
    p_loc: Tensor,
    p_scale: Tensor,
    p_log_scale: Tensor,
    q_loc: Tensor,
    q_scale: Tensor,
    q_log_scale: Tensor,
) -> Tensor:
    """:func:`kl_normal` where both networks return the logarithm of the scale."""
    ratio, gap = p_scale / q_scale, (p_loc - q_loc) / q_scale
    return 0.5 * (ratio * ratio + gap * gap - 1.0) + (q_log_scale - p_log_scale)


class KLToConstant:
    """:func:`kl_normal` to constants; to a standard normal by the shorter formula."""

    __name__ = "kl_normal_to_constant"
    reads = ("p_loc", "p_scale", "p_log_scale", "q_loc", "q_scale")

    def __init__(self) -> None:
        self.standard = StandardCheck()

    def __call__(
        self, p_loc: Tensor, p_scale: Tensor, p_log_scale: Tensor, q_loc: Tensor, q_scale: Tensor
    ) -> Tensor:
        if p_loc.shape == p_scale.shape and self.standard(p_loc, q_loc, q_scale):
            return 0.5 * (p_scale * p_scale + p_loc * p_loc - 1.0) - p_log_scale
        return kl_normal(p_loc, p_scale, q_loc, q_scale)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KLToConstant)

    def __hash__(self) -> int:
        return hash(KLToConstant)


@register_kl(TanhNormal, TanhNormal)
def kl_tanh_normal(p_loc: Tensor, p_scale: Tensor, q_loc: Tensor, q_scale: Tensor) -> Tensor:
    """The KL does not change under a bijection of the variable."""
    return kl_normal(p_loc, p_scale, q_loc, q_scale)


@register_kl(BoundedNormal, BoundedNormal)
def kl_bounded_normal(
    p_bounded_loc: Tensor, p_bounded_scale: Tensor, q_bounded_loc: Tensor, q_bounded_scale: Tensor
) -> Tensor:
    """The KL of the normals with the bounded parameters."""
    return kl_normal(p_bounded_loc, p_bounded_scale, q_bounded_loc, q_bounded_scale)


@register_kl(Bernoulli, Bernoulli)
def kl_bernoulli(p_probs: Tensor, p_logits: Tensor, q_logits: Tensor) -> Tensor:
    r""":math:`p (l_p - l_q) - \log(1+e^{l_p}) + \log(1+e^{l_q})`."""
    softplus = torch.nn.functional.softplus
    return p_probs * (p_logits - q_logits) - softplus(p_logits) + softplus(q_logits)


@register_kl(Categorical, Categorical)
def kl_categorical(p_probs: Tensor, p_log_probs: Tensor, q_log_probs: Tensor) -> Tensor:
    r""":math:`\sum_k p_k (\log p_k - \log q_k)`."""
    return (p_probs * (p_log_probs - q_log_probs)).sum(-1)


@register_kl(GroupedOneHot, GroupedOneHot)
def kl_grouped(p_probs: Tensor, p_log_probs: Tensor, q_log_probs: Tensor) -> Tensor:
    """Group by group; groups are features and are summed."""
    return kl_categorical(p_probs, p_log_probs, q_log_probs)


BITS: tuple[type[Distribution], ...] = (Bernoulli, RelaxedBernoulli)
CLASSES: tuple[type[Distribution], ...] = (
    Categorical,
    RelaxedCategorical,
    OneHotCategoricalStraightThrough,
)
# the relaxed and the straight-through families have the density of the discrete variable, so its KL
# too
_FORMULAS.update(dict.fromkeys(itertools.product(BITS, BITS), kl_bernoulli))
_FORMULAS.update(dict.fromkeys(itertools.product(CLASSES, CLASSES), kl_categorical))
