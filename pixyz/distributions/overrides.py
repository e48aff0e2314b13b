"""A class of the user's that overrides ``sample``, ``get_log_prob`` or ``get_params``: the method
is one step of every plan.

pixyz 0.3.3 computed expectations and log-densities by these methods, so its users' classes change a
distribution by overriding them.  Here a plan is made by ``lower_sample``, ``lower_log_prob`` and
``lower_params``; where a class outside of the library defines an old method and not the new one,
the new one calls the old.  A ``super().sample(...)`` inside the method reaches what the library
does, see :func:`library_lowering`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pixyz.distributions.core.params import Params, repeat_rows
from pixyz.distributions.core.path import on_path
from pixyz.plan import Axis, Builder, Scope, Slot
from pixyz.plan.graph import order_axes
from pixyz.plan.run.recall import call_once
from pixyz.types import PixyzError

if TYPE_CHECKING:
    from pixyz.distributions.core.base import Distribution
    from pixyz.distributions.families.parametric import ParametricDistribution

OLD = {"sample": "lower_sample", "get_log_prob": "lower_log_prob", "get_params": "lower_params"}
"""Old method -> the one that plans are made by."""


def adopt(cls: type[Distribution]) -> None:
    """Let plans call the old methods that ``cls`` defines."""
    if cls.__module__.partition(".")[0] == "pixyz":
        return
    own = vars(cls)
    for old, new in OLD.items():
        if old in own and new not in own:
            setattr(cls, new, _LOWERING[old])


def library_lowering(p: Distribution, name: str) -> Callable[..., Any]:
    """The method ``name`` of ``p`` without what :func:`adopt` put in its place."""
    for base in type(p).__mro__:
        found = vars(base).get(name)
        if found is not None and found not in _LOWERING.values():
            return found.__get__(p)  # type: ignore[no-any-return]
    raise AttributeError(name)


def adopted(p: Distribution, old: str) -> bool:
    """Whether the class of ``p`` overrides the old method."""
    return getattr(type(p), OLD[old]) is _LOWERING[old]


def refuse(p: Distribution, what: str) -> None:
    """Refuse what cannot be done through an old method.

    Raises:
        PixyzError: the class of ``p`` overrides one.
    """
    for old, new in OLD.items():
        if adopted(p, old) and (old != "get_params" or what == "frozen()"):
            raise PixyzError(
                f"{what} of {p.prob_text}: its class overrides {old}, which hides the parameters; "
                f"override {new}"
            )


def lower_by_sample(
    self: Distribution,
    builder: Builder,
    scope: Scope,
    *,
    reparam: bool = True,
    particles: tuple[Axis, ...] = (),
    mean: bool = False,
) -> dict[str, Slot]:
    """A step that calls ``self.sample``; on the path of a loop, what was drawn there."""
    found = on_path(self, scope, reparam)
    if found is not None:
        return found
    from_inputs = [scope.lookup(v) for v in self.input_var]
    if particles:
        from_inputs = [builder.expand(s, s, order_axes({*particles, *s.axes})) for s in from_inputs]
    more = [] if self.input_var or builder.batch_n is None else [builder.batch_n]
    shape = () if self.input_var else tuple(a.size for a in reversed(particles))

    def call(*values: Any) -> tuple[Tensor, ...]:
        given = dict(zip(self.input_var, values))
        options: dict[str, Any] = {"batch_n": int(values[-1])} if more else {}
        if shape:
            options["sample_shape"] = shape
        drawn = self.sample(given, return_all=False, reparam=reparam, sample_mean=mean, **options)
        return tuple([drawn[v].flatten(0, len(shape)) if shape else drawn[v] for v in self.var])

    slots = builder.opaque(call, [*from_inputs, *more], self.var, f"sample of {self.prob_text}")
    for slot in slots:
        if not from_inputs:
            slot.batch = "full" if more else "one"
            slot.axes = particles + slot.axes
    return dict(zip(self.var, slots if reparam else map(builder.detach, slots), strict=True))


def lower_by_log_prob(
    self: Distribution,
    builder: Builder,
    scope: Scope,
    *,
    sum_features: bool = True,
    feature_dims: Sequence[int] | None = None,
) -> Slot:
    """A step that calls ``self.get_log_prob``."""
    variables = list(dict.fromkeys([*self.var, *self.cond_var]))
    dims = None if feature_dims is None else list(feature_dims)

    def call(*values: Any) -> tuple[Tensor]:
        return (
            self.get_log_prob(
                dict(zip(variables, values)), sum_features=sum_features, feature_dims=dims
            ),
        )

    return builder.opaque(
        call, [scope.lookup(v) for v in variables], ["log_prob"], f"log {self.prob_text}"
    )[0]


def lower_by_params(self: ParametricDistribution, builder: Builder, scope: Scope) -> Params:
    """A step that calls ``self.get_params``, once for all that read the parameters."""
    given, label = [scope.lookup(v) for v in self.cond_var], f"parameters of {self.prob_text}"
    slots = list(
        builder.net(
            ParamsCall(self), given, self.params_keys, label, key=None, pinned="foreign code"
        )
    )
    if not self.cond_var:
        for slot in slots:
            slot.batch = "one"
        if builder.batch_n is not None:
            slots = [
                builder.point(repeat_rows, s, builder.batch_n, label=s.label, batch="full")
                for s in slots
            ]
    return Params(builder, dict(zip(self.params_keys, slots, strict=True)), self._derive)


@dataclass(frozen=True)
class ParamsCall:
    """Calls ``get_params`` of a distribution."""

    owner: ParametricDistribution

    def __call__(self, *values: Any) -> tuple[Tensor, ...]:
        found = call_once(self.owner.get_params, dict(zip(self.owner.cond_var, values)))
        return tuple([found[k] for k in self.owner.params_keys])


_LOWERING: dict[str, Callable[..., Any]] = {
    "sample": lower_by_sample,
    "get_log_prob": lower_by_log_prob,
    "get_params": lower_by_params,
}
