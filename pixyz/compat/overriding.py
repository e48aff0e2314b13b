"""Classes that override ``sample``, ``get_log_prob`` or ``get_params``: the method is one step of
every plan.

pixyz 0.3.3 computed expectations and log-densities by these methods, so its users' classes change a
distribution by overriding them.  Here a plan is made by ``lower_sample``, ``lower_log_prob`` and
``lower_params``; where a class defines an old method and not the new one, the new one calls the
old.  A ``super().sample(...)`` inside the method reaches what the library does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.foreign import calls_back
from pixyz.distributions.core.hooks import on_subclass
from pixyz.distributions.core.params import Params, repeat_rows
from pixyz.distributions.core.path import on_path
from pixyz.distributions.families.parametric import ParametricDistribution
from pixyz.expression.protocol import DRAW, SCORE, Draw, Score
from pixyz.plan import Scope, Slot
from pixyz.plan.graph import order_axes
from pixyz.plan.run.facts import call_once


@calls_back("sample")
def lower_by_sample(self: Distribution, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
    """A step that calls ``self.sample``; on the path of a loop, what was drawn there."""
    builder = scope.builder
    found = on_path(self, scope, how.reparam)
    if found is not None:
        return found
    # a mean is one value for all samples
    particles = () if scope.mode.mean and not self.input_var else how.particles
    from_inputs = [scope.lookup(v) for v in self.input_var]
    if particles:
        from_inputs = [builder.expand(s, s, order_axes({*particles, *s.axes})) for s in from_inputs]
    n = scope.mode.batch_n
    more = [] if self.input_var or n is None else [n]
    shape = () if self.input_var else tuple(a.size for a in reversed(particles))
    mean = how.mean or scope.mode.mean

    def call(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.input_var, values))
        options: dict[str, Any] = {"batch_n": int(values[-1])} if more else {}
        if shape:
            options["sample_shape"] = shape
        drawn = self.sample(
            given, return_all=False, reparam=how.reparam, sample_mean=mean, **options
        )
        return tuple([drawn[v].flatten(0, len(shape)) if shape else drawn[v] for v in self.var])

    label = f"sample of {self.prob_text}"
    slots = builder.opaque(call, [*from_inputs, *more], self.var, label)
    for slot in slots:
        if not from_inputs:
            slot.batch = "full" if more else "one"
            slot.axes = particles + slot.axes
    kept = slots if how.reparam else map(builder.detach, slots)
    return dict(zip(self.var, kept, strict=True))


@calls_back("get_log_prob")
def lower_by_log_prob(self: Distribution, scope: Scope, how: Score = SCORE) -> Slot:
    """A step that calls ``self.get_log_prob``."""
    variables = list(dict.fromkeys([*self.var, *self.cond_var]))
    dims = None if how.dims is None else list(how.dims)

    def call(*values: Tensor) -> tuple[Tensor]:
        given = dict(zip(variables, values))
        found = self.get_log_prob(given, sum_features=how.sum_features, feature_dims=dims)
        return (found,)

    args = [scope.lookup(v) for v in variables]
    return scope.builder.opaque(call, args, ["log_prob"], f"log {self.prob_text}")[0]


@calls_back("get_params")
def lower_by_params(self: ParametricDistribution, scope: Scope) -> Params:
    """A step that calls ``self.get_params``, once for all that read the parameters."""
    builder = scope.builder
    given, label = [scope.lookup(v) for v in self.cond_var], f"parameters of {self.prob_text}"
    call, keys = ParamsCall(self), self.params_keys
    slots = list(builder.net(call, given, keys, label, key=None, pinned="foreign code"))
    if not self.cond_var:
        for slot in slots:
            slot.batch = "one"
        if (n := scope.mode.batch_n) is not None:
            slots = [builder.point(repeat_rows, s, n, label=s.label, batch="full") for s in slots]
    return Params(builder, dict(zip(keys, slots, strict=True)), self._derive)


@dataclass(frozen=True)
class ParamsCall:
    """Calls ``get_params`` of a distribution."""

    owner: ParametricDistribution

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        found = call_once(self.owner.get_params, dict(zip(self.owner.cond_var, values)))
        return tuple([found[k] for k in self.owner.params_keys])


LOWERINGS: dict[str, tuple[str, Callable[..., Any]]] = {
    "sample": ("lower_sample", lower_by_sample),
    "get_log_prob": ("lower_log_prob", lower_by_log_prob),
    "get_params": ("lower_params", lower_by_params),
}
"""Old method -> the one that plans are made by, and how it calls the old one."""


def adopt(cls: type[Distribution]) -> None:
    """Let plans call the old methods that ``cls`` defines."""
    own = vars(cls)
    for old, (new, lowering) in LOWERINGS.items():
        if old in own and new not in own:
            setattr(cls, new, lowering)


on_subclass(adopt)
