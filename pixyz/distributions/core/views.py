"""Distributions seen otherwise: renamed (Suzuki, Kaneko and Matsuo, 2023, section 4.1), without
gradient to parameters (KL balancing: Hafner et al., 2021), with constant weights.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from pixyz import latex
from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.constant_weights import ConstantWeights
from pixyz.distributions.core.hooks import made_by
from pixyz.distributions.core.params import Forward, Params
from pixyz.distributions.core.path import on_path
from pixyz.expression.protocol import DRAW, SCORE, Draw, Score
from pixyz.plan import Scope, Slot
from pixyz.types import PixyzError, VariableError


class View(Distribution):
    """A distribution that answers through another one.

    Args:
        p: the distribution seen.
        var, cond_var: the variables as seen from outside.
    """

    def __init__(self, p: Distribution, var: Sequence[str], cond_var: Sequence[str]) -> None:
        super().__init__(var, cond_var, p.name, p.features_shape)
        self.p = p

    @property
    def distribution_name(self) -> str:
        return self.p.distribution_name

    @property
    def atom(self) -> Distribution:
        return self.p.atom

    @property
    def has_reparam(self) -> bool:
        return self.p.has_reparam

    @property
    def is_data(self) -> bool:
        return self.p.is_data

    @property
    def is_random(self) -> bool:
        return self.p.is_random

    def _describe(self) -> str:
        return self.p._describe()

    def inner_scope(self, scope: Scope) -> Scope:
        """The scope as ``p`` sees it."""
        return scope

    def outward(self, drawn: Mapping[str, Slot]) -> dict[str, Slot]:
        """A sample of ``p`` under the names seen from outside."""
        return dict(drawn)

    def lower_params(self, scope: Scope) -> Params:
        return self.p.lower_params(self.inner_scope(scope))

    def sample_from(self, scope: Scope, params: Params, how: Draw) -> dict[str, Slot]:
        inner = self.inner_scope(scope)
        return self.outward(self.p.sample_from(inner, params, how=how))

    def log_prob_from(self, scope: Scope, params: Params, how: Score) -> Slot:
        inner = self.inner_scope(scope)
        return self.p.log_prob_from(inner, params, how=how)

    def entropy_from(self, scope: Scope, params: Params) -> Slot | None:
        return self.p.entropy_from(scope, params)

    def lower_entropy(self, scope: Scope) -> Slot | None:
        params = self.lower_params(scope)
        return self.atom.entropy_from(scope, params)

    def params_by(self, scope: Scope, network: Forward) -> Params | None:
        return self.p.params_by(self.inner_scope(scope), network)

    @property
    def drawn_by_parameters(self) -> bool:
        return self.p.drawn_by_parameters


@made_by("renamed")
class ReplaceVarDistribution(View):
    """``p`` with other variable names, all replaced at once.

    Raises:
        VariableError: an unknown variable, or two variables that would carry one name.

    :math:`p(y|u)` from :math:`p(x|z)`: the same density of other names.

    >>> from pixyz.distributions import Normal
    >>> Normal("x", loc=0.0, scale=1.0, features_shape=[2]).replace_var(x="y").prob_text
    'p(y)'
    """

    def __init__(self, p: Distribution, replace_dict: Mapping[str, str]) -> None:
        known = [*p.var, *p.cond_var]
        unknown = [v for v in replace_dict if v not in known]
        if unknown:
            raise VariableError(f"{p.prob_text} has no variable {unknown}; it has {known}")
        renamed = [replace_dict.get(v, v) for v in known]
        if len(set(renamed)) != len(renamed):
            raise VariableError(
                f"renaming {dict(replace_dict)} gives two variables of {p.prob_text} one name: "
                f"{renamed}"
            )
        replace_dict = p.renames(replace_dict)
        p = p.under_renaming
        self_var = [replace_dict.get(v, v) for v in p.var]
        super().__init__(p, self_var, [replace_dict.get(v, v) for v in p.cond_var])
        self.mapping: dict[str, str] = dict(replace_dict)

    @property
    def under_renaming(self) -> Distribution:
        return self.p

    def renames(self, mapping: Mapping[str, str]) -> dict[str, str]:
        names = {v: v for v in [*self.p.var, *self.p.cond_var]} | self.mapping
        return {inner: mapping.get(outer, outer) for inner, outer in names.items()}

    @property
    def input_var(self) -> list[str]:
        return [self.mapping.get(v, v) for v in self.p.input_var]

    @property
    def prob_factorized_text(self) -> str:
        inside = self.p.renamed_inside(self.mapping)
        return self.prob_text if inside is None else inside.prob_factorized_text

    def _describe(self) -> str:
        inside = self.p.renamed_inside(self.mapping)
        return (
            f"{self.prob_text} -> {self.p.prob_text}:\n{self.p._describe()}"
            if inside is None
            else inside._describe()
        )

    def _describe_factor(self) -> str:
        return self._describe()

    def identity(self) -> tuple[Hashable, ...]:
        inner = self.p.identity()
        return (inner[0], tuple(self.var), tuple(self.cond_var), *inner[3:])

    def detach(self) -> Distribution:
        return (
            ReplaceVarDistribution(self.p.detach(), self.mapping)
            if self.p.composite
            else super().detach()
        )

    def frozen(self) -> Distribution:
        return (
            ReplaceVarDistribution(self.p.frozen(), self.mapping)
            if self.p.composite
            else super().frozen()
        )

    def inner_scope(self, scope: Scope) -> Scope:
        return scope.renamed(self.mapping)

    def outward(self, drawn: Mapping[str, Slot]) -> dict[str, Slot]:
        return {self.mapping.get(v, v): slot for v, slot in drawn.items()}

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        inner = self.inner_scope(scope)
        return self.outward(self.p.lower_sample(inner, how=how))

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        inner = self.inner_scope(scope)
        return self.p.lower_log_prob(inner, how=how)

    def lower_entropy(self, scope: Scope) -> Slot | None:
        return self.p.lower_entropy(self.inner_scope(scope))


@made_by("detached")
class DetachedDistribution(View):
    r"""``p`` without gradient to its parameters: log-densities, KL and samples see them as
    constants.

    In text :math:`\bar p`; see :meth:`pixyz.distributions.Distribution.detach`.

    >>> import torch
    >>> from torch import nn
    >>> from pixyz.distributions import Normal
    >>> from pixyz.losses import LogProb
    >>> p = Normal("x", loc=nn.Parameter(torch.zeros(2)), scale=1.0, features_shape=[2])
    >>> LogProb(p.detach()).eval({"x": torch.ones(1, 2)}).requires_grad
    False
    """

    def __init__(self, p: Distribution) -> None:
        super().__init__(p, p.var, p.cond_var)
        self._name = rf"\bar{{{latex.latex_name(p.name)}}}"

    def identity(self) -> tuple[Hashable, ...]:
        return (*self.p.identity(), "detached")

    def lower_params(self, scope: Scope) -> Params:
        return self.p.lower_params(scope).detached()

    def params_by(self, scope: Scope, network: Forward) -> Params | None:
        found = self.p.params_by(scope, network)
        return None if found is None else found.detached()


@made_by("frozen")
class FrozenDistribution(View):
    r"""``p`` with its weights as constants: gradients flow through its inputs, not into its
    weights.

    The copy shares the weights' memory, so it follows the optimiser, and whatever else is set.

    :math:`p_{\bar\theta}(x|z)`; see :meth:`pixyz.distributions.Distribution.frozen`.

    >>> import torch
    >>> from torch import nn
    >>> from pixyz.distributions import Normal
    >>> from pixyz.losses import LogProb
    >>> p = Normal("x", loc=nn.Parameter(torch.zeros(2)), scale=1.0, features_shape=[2])
    >>> LogProb(p.frozen()).eval({"x": torch.ones(1, 2)}).requires_grad
    False
    """

    def __init__(self, p: Distribution) -> None:
        super().__init__(p, p.var, p.cond_var)
        self._name = rf"\underline{{{latex.latex_name(p.name)}}}"
        if not self.atom.has_network:
            raise PixyzError(
                f"frozen() is for distributions with a network, {p.prob_text} has none"
            )

    def identity(self) -> tuple[Hashable, ...]:
        return (*self.p.identity(), "frozen")

    def lower_params(self, scope: Scope) -> Params:
        params = self.p.params_by(scope, ConstantWeights(self.atom))
        assert params is not None
        return params


@made_by("drawn")
class DrawnDistribution(View):
    """``p``, of which samples are asked for with further options.

    :math:`x \\sim p(x|z)`, drawn as ``how`` says; densities are those of ``p``.

    >>> from pixyz.distributions import Draw, Normal
    >>> Normal("x", loc=0.0, scale=1.0, features_shape=[2]).drawn_with(Draw(mean=True)).sample()
    {'x': tensor([[0., 0.]])}
    """

    def __init__(self, p: Distribution, how: Draw) -> None:
        super().__init__(p, p.var, p.cond_var)
        self.how = how

    def identity(self) -> tuple[Hashable, ...]:
        return (*self.p.identity(), "drawn", self.how)

    def _asked(self, how: Draw) -> Draw:
        reparam, mean = how.reparam and self.how.reparam, how.mean or self.how.mean
        return replace(self.how, reparam=reparam, particles=how.particles, mean=mean)

    def sample_from(self, scope: Scope, params: Params, how: Draw) -> dict[str, Slot]:
        return self.p.sample_from(scope, params, how=self._asked(how))

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        found = on_path(self, scope, how.reparam)
        return self.p.lower_sample(scope, how=self._asked(how)) if found is None else found

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        return self.p.lower_log_prob(scope, how=how)

    def lower_entropy(self, scope: Scope) -> Slot | None:
        return self.p.lower_entropy(scope)

    def detach(self) -> Distribution:
        return self.p.detach().drawn_with(self.how)

    def frozen(self) -> Distribution:
        return self.p.frozen().drawn_with(self.how)
