"""What a family's formulas make of parameters: draws, log-densities, entropies."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pixyz.distributions.core.named import Named
from pixyz.distributions.core.params import (
    Formula,
    Params,
    apply,
    arguments,
    formula_of,
    look_at,
    sum_over,
)
from pixyz.distributions.families.declaration import Declaration, scores_noise
from pixyz.distributions.families.given import Limits, zero_outside
from pixyz.distributions.families.scales import Scales
from pixyz.expression.protocol import Draw, Score
from pixyz.plan import Scope, Slot
from pixyz.plan.graph import Origin
from pixyz.plan.looks import POSITIVE, Domain, Parameters, Scored
from pixyz.plan.run.leads import OpenDensity
from pixyz.types import PixyzError

OF_NOISE = "minus_log_density_of_noise"


class Formulas(Declaration, Named):
    """The half of a parametric distribution that begins where its parameters are there."""

    _limits: ClassVar[Limits | None] = None
    _declared: bool

    @classmethod
    def family(cls) -> Any:
        """The class that defines the formulas."""
        raise NotImplementedError

    def formula(self, name: str) -> Formula:
        """A formula of the family, by name."""
        return formula_of(self, name)

    @property
    def feature_rank(self) -> int | None:
        """How many feature dimensions a sample has, where that is declared or follows from
        constants.
        """
        shape = self._features_shape
        return len(shape) if shape or self._declared else None

    def sample_from(self, scope: Scope, params: Params, how: Draw) -> dict[str, Slot]:
        builder, variable, text = scope.builder, self.var[0], self.prob_text
        if how.mean or scope.mode.mean:
            slot = apply(self.formula("mean_of"), params, f"mean of {text}")
            if how.particles and not scope.mode.mean:
                one = f"the mean of {text} is one value"
                raise PixyzError(f"{one}; sample_shape has no meaning with it")
            return {variable: slot}
        refs, fn = [params[n] for n in type(self).noise_shape], type(self).noise
        if fn is None:
            has = f"{self.distribution_name} has a mean and a density"
            raise NotImplementedError(f"{text} cannot be sampled; {has}")
        noise = builder.noise(fn, refs, how.particles, f"noise of {text}")
        draw = self.formula("draw")
        drawn = apply(draw, params, f"{variable} ~ {text}", noise=noise)
        given = zip(arguments(draw), drawn.step.args, strict=True)
        drawn.origin = Origin(draw, tuple(s for n, s in given if n != "noise"), noise)
        if not how.reparam or not self.pathwise:
            drawn = builder.detach(drawn)
        drawn.label = variable
        return {variable: drawn}

    def log_prob_from(self, scope: Scope, params: Params, how: Score) -> Slot:
        builder, own, text = scope.builder, self.var[0], self.prob_text
        label, x, variable = f"log {text}", scope.lookup(own), scope.outer_name(own)
        noise = self._noise_of(x, params)
        if noise is not None:  # a draw lies in the support
            slot, minus = apply(self.formula(OF_NOISE), params, label, noise=noise), True
            self._look_at_scales(scope, slot, params, variable)
        else:
            formula, reads, minus = self.density_of(params)
            limits, value = type(self).family()._limits, x
            if limits is not None:
                inside = builder.point(limits, x, label=f"support of {text}")
                value = builder.point(limits.held, x, inside, label=f"{own} in the support")
            slot = self._score(scope, formula, reads, params, value, x, how, label)
            self._look_at_value(scope, slot, x, params, variable, how)
            self._look_at_scales(scope, slot, params, variable)
            if limits is not None:
                slot = builder.point(zero_outside, slot, inside, label=label)
        slot = sum_over(scope, slot, how, label)
        return builder.point(operator.neg, slot, label=label) if minus else slot

    def density_of(self, params: Mapping[str, Slot]) -> tuple[Formula, Sequence[str], bool]:
        """The formula of the log-density with these parameters, what it reads, and whether it is
        the negative.
        """
        minus = getattr(type(self), "minus_log_density", None) is not None
        formula = self.formula("minus_log_density" if minus else "log_density")
        return formula, arguments(formula), minus

    def _score(
        self,
        scope: Scope,
        formula: Formula,
        reads: Sequence[str],
        params: Mapping[str, Slot],
        value: Slot,
        x: Slot,
        how: Score,
        label: str,
    ) -> Slot:
        """``formula`` at ``value``; says how many feature dimensions an input ``x`` has.

        Where dimensions are named they count as given, and nothing is said.
        """
        slots = [value if key == "x" else params[key] for key in reads]
        builder = scope.builder
        source = (x.stands_for or x).step
        if source.kind == "input" and how.dims is None:
            if self.feature_rank is not None:
                builder.ranks[source.label] = self.feature_rank
            elif self._cond_var:
                matrices = [i for i, key in enumerate(reads) if key in type(self).matrices]
                formula = OpenDensity(formula, source.label, list(reads).index("x"), matrices)
        return builder.point(formula, *slots, label=label)

    def value_domain(self) -> Domain | None:
        """Where a value must lie although the formula takes any."""
        return type(self).family().domain

    def _look_at_value(
        self, scope: Scope, slot: Slot, x: Slot, params: Params, variable: str, how: Score
    ) -> None:
        """Look at the value ``x`` and the parameters before the log-density is computed."""
        look_at(slot, params)
        look, given = params.look or self._look_at_params(dict(params), self.prob_text)
        family = type(self).family()
        grid = not how.sum_features and not family.event_dims
        scored = Scored(variable, look, family.own_width, grid, self.value_domain())
        scope.builder.look(slot, scored, x, *given)

    def _look_at_scales(self, scope: Scope, slot: Slot, params: Params, variable: str) -> None:
        """Look at the scales before the log-density ``slot``, or what it reads, is computed."""
        look, given = params.look or self._look_at_params(dict(params), self.prob_text)
        domains, parts = type(self).family().constraints, zip(look.names, look.matrices, given)
        scales = [part for part in parts if domains.get(part[0]) is POSITIVE]
        if not scales:
            return
        keys, matrices, slots = zip(*scales, strict=True)
        scales_of = Scales(look.of, look.family, variable, keys, matrices)
        derived = [a for a in slot.step.args if a not in given and set(a.step.args) & set(given)]
        for reader in derived or [slot]:
            scope.builder.look(reader, scales_of, *slots)

    def _noise_of(self, x: Slot, params: Params) -> Slot | None:
        """The base noise of ``x``, where these very parameters made a pathwise draw of it and the
        family has a formula.
        """
        origin = x.origin
        if origin is None or not scores_noise(type(self)):
            return None  # a subclass that changes one of the formulas changes all of them
        draw = self.formula("draw")
        given = (params[n] for n in arguments(draw) if n != "noise")
        return origin.noise if origin.same(draw, given) else None

    def entropy_from(self, scope: Scope, params: Params) -> Slot | None:
        """The entropy from parameters, features not summed; None if there is no formula."""
        if getattr(type(self), "entropy_of", None) is None:
            return None
        return apply(self.formula("entropy_of"), params, f"H[{self.prob_text}]")

    def _look_at_params(
        self, raw: Mapping[str, Slot], text: str
    ) -> tuple[Parameters, tuple[Slot, ...]]:
        shown, hidden = type(self).params_keys, type(self).alternatives.values()
        keys = [k for k in raw if k in shown or k in hidden]
        family = type(self).family()  # a user's class may have attributes of the same names
        ours = family.__module__.partition(".")[0] == "pixyz" or hasattr(
            family, "distribution_torch_class"
        )
        domains = tuple([family.constraints.get(k) if ours else None for k in keys])
        matrices = tuple([k in family.matrices for k in keys])
        look = Parameters(text, self.distribution_name, tuple(keys), domains, matrices)
        return look, tuple([raw[k] for k in keys])
