"""ParametricDistribution: a network, or constants, give the parameters of a family of densities.

A family is a class with a few formulas on tensors.  The argument names of a formula say which
parameters it reads::

    draw(noise, loc, scale)          a sample from base noise
    log_density(x, loc, scale)       the log-density, features not summed
    minus_log_density(x, ...)        optional: its negative, where that is the formula; the sign is
                                     changed after the sum
    minus_log_density_of_noise(noise, ...)   optional: the negative of a draw's in terms of the
                                             noise it was made of
    mean_of, variance_of, entropy_of(loc, scale)
    derive_NAME(...)                 a further parameter, computed once and shared
                                     (log-probabilities from logits)

A finite family says its values in ``states()``.  :func:`pixyz.distributions.check_family` tries all
of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pixyz.distributions.core.base import Params, apply, sum_over
from pixyz.distributions.core.network import call_network
from pixyz.distributions.core.params import arguments, look_at, repeat_rows
from pixyz.distributions.families.declaration import check_declaration, scores_noise
from pixyz.distributions.families.torch_formula import read_old_family
from pixyz.distributions.families.torch_object import TorchObject
from pixyz.plan import Axis, Builder, Scope, Slot
from pixyz.plan.looks import CONSTRAINTS, Domain, Parameters, Scored
from pixyz.plan.run.leads import OpenDensity
from pixyz.types import PixyzError, ShapeError, VariableError, VarSpec

OF_NOISE = "minus_log_density_of_noise"


class ParametricDistribution(TorchObject):
    r"""A density of one variable whose parameters are computed by ``forward(**cond_var)`` or are
    constants.

    Args:
        var, cond_var, name, features_shape: see :class:`Distribution`.
        **params: parameters as numbers, tensors (without batch dimension) or names of conditioning
            variables.

    :math:`p(x|z) = p(x; \theta(z))`.

    >>> from pixyz.distributions import Normal
    >>> class Generator(Normal):
    ...     def __init__(self):
    ...         super().__init__("x", "z", features_shape=[2])
    ...
    ...     def forward(self, z):
    ...         return {"loc": 2 * z, "scale": torch.ones_like(z)}
    >>> Generator().sample_mean({"z": torch.ones(1, 2)})
    tensor([[2., 2.]])
    """

    params_keys: ClassVar[tuple[str, ...]] = ()
    """The parameters of the family."""
    alternatives: ClassVar[Mapping[str, str]] = {}
    """A parameter -> the one that may stand in its place (``probs`` -> ``logits``)."""
    returned: ClassVar[tuple[str, ...]] = ()
    """Parameters that ``forward`` returns in the place of others (``logits``), where that is known;
    else the first run finds it out, and begins again.
    """
    optional: ClassVar[tuple[str, ...]] = ()
    """What else a network may return, or a conditioning variable hold."""
    noise: ClassVar[Callable[..., Any] | None] = None
    """Base noise: ``noise(shape, like)``; None if samples come from :meth:`draw_plain` without it.
    """
    noise_shape: ClassVar[tuple[str, ...]] = ()
    """The parameters whose common shape is that of a sample."""
    event_dims: ClassVar[int] = 0
    """How many trailing dimensions one density is over (1 for a one-hot vector)."""
    matrices: ClassVar[tuple[str, ...]] = ()
    """Parameters with one dimension more than a sample."""
    domain: ClassVar[Domain | None] = None
    """Where values must lie although the formula takes any (soft bits, classes, counts); see
    :mod:`pixyz.plan.looks`.
    """
    constraints: ClassVar[Mapping[str, Domain]] = CONSTRAINTS
    """Where parameters must lie."""
    own_width: ClassVar[bool] = False
    """Whether a sample has another last dimension than its parameters, of size 1."""
    relaxes: ClassVar[bool] = False
    """Whether draws are soft values of the discrete variable that density, entropy and mean are of.
    """
    normalized: ClassVar[bool] = True
    """Whether the density sums to 1; False for a score that is called a log-density."""
    exact_mean: ClassVar[bool] = True
    """Whether ``mean_of`` is the mean; False where that has no formula and another value stands for
    it.
    """
    period: ClassVar[float | None] = None
    """What may be added to a value without a change (an angle's full turn)."""
    pathwise: ClassVar[bool] = True
    """Whether ``draw`` is differentiable in the parameters."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.partition(".")[0] == "pixyz":
            return
        if "distribution_torch_class" in vars(cls):
            read_old_family(cls)
        check_declaration(cls)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        **params: Any,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape)
        if len(self._var) != 1:
            raise VariableError(
                f"{type(self).__name__} is a density of one variable, got {self._var}"
            )
        self._bound: dict[str, str] = {}
        self._given: list[str] = []
        self._returns = {
            shown: hidden for shown, hidden in self.alternatives.items() if hidden in self.returned
        }
        self._returns_also: tuple[str, ...] = ()
        self._without_rows: dict[str, int] = {}
        """Parameters that the network returns without a batch dimension, and how many dimensions
        they would have with it.
        """
        given = {key: value for key, value in params.items() if value is not None}
        if not self._features_shape:
            shapes = {
                k: torch.as_tensor(v).shape for k, v in given.items() if not isinstance(v, str)
            }
            self._features_shape = self.sample_shape_of(shapes)
        for key, value in given.items():
            self._set_param(key, value)

    def _set_param(self, key: str, value: Any) -> None:
        if key not in self.params_keys and key not in self.alternatives.values():
            accepted = [*self.params_keys, *self.alternatives.values()]
            raise PixyzError(f"{type(self).__name__} has the parameters {accepted}, got {key!r}")
        self._given.append(key)
        if isinstance(value, str):
            if value not in self._cond_var:
                raise VariableError(
                    f"{key}={value!r} names a variable that is not in cond_var {self._cond_var}"
                )
            self._bound[key] = value
            return
        tensor = torch.as_tensor(value)
        if tensor.requires_grad and not isinstance(value, nn.Parameter):
            raise PixyzError(
                f"{self.prob_text}: {key} is to be learned; give it as nn.Parameter({key})"
            )
        try:
            row = tensor.detach().expand(self.param_shape_of(key, tensor.shape))
        except RuntimeError:
            shapes = (
                f"{key} has the shape {list(tensor.shape)}, "
                f"but features_shape is {list(self._features_shape)}"
            )
            raise ShapeError(f"{self.prob_text}: {shapes}") from None
        if isinstance(value, nn.Parameter):
            self.register_parameter(key, value)
        else:
            self.register_buffer(
                key, (row if row.is_floating_point() else row.float()).clone().unsqueeze(0)
            )

    @classmethod
    def sample_shape_of(cls, shapes: Mapping[str, torch.Size]) -> torch.Size:
        """The shape of one sample, from those of constant parameters."""
        return torch.Size(np.broadcast_shapes(*shapes.values()))  # torch's own imports sympy

    def param_shape_of(self, key: str, given: torch.Size) -> torch.Size:
        """The shape of the constant parameter ``key`` that was ``given`` in some shape."""
        return self._features_shape

    @property
    def feature_rank(self) -> int | None:
        """How many feature dimensions a sample has, where that is declared or follows from
        constants.
        """
        return len(self._features_shape) if self._features_shape or self._declared else None

    @property
    def distribution_name(self) -> str:
        return self.family().__name__ if self.params_keys else ""

    @classmethod
    def family(cls) -> type[ParametricDistribution]:
        """The class that defines the formulas (a user's subclass only adds a network)."""
        for base in cls.__mro__:
            if "params_keys" in vars(base):
                return base
        return cls

    @property
    def has_reparam(self) -> bool:
        return self.pathwise

    # ---------------------------------------------------------------- lowering

    def lower_params(self, builder: Builder, scope: Scope) -> Params:
        return self.params_from(builder, scope, self)

    def params_from(self, builder: Builder, scope: Scope, network: Any) -> Params:
        """The parameters by ``network``: the distribution itself, or a copy of it with constant
        weights.
        """
        raw: dict[str, Slot] = {}
        if type(self).forward is not nn.Module.forward:
            wanted = [k for k in self.params_keys if k not in self._given]
            wanted = [k for k in wanted if self.alternatives.get(k) not in self._given] + list(
                self._returns_also
            )
            raw.update(call_network(self, network, builder, scope, wanted, self.alternatives))
            if builder.batch_n is not None and not self._cond_var:
                n = builder.batch_n
                raw = {
                    k: builder.point(repeat_rows, s, n, label=k, batch="full")
                    for k, s in raw.items()
                }
        for key in self._given:
            if key in self._bound:
                raw[key] = slot = scope.lookup(self._bound[key])
                if slot.axes and slot.batch == "none":
                    by = f"{self._bound[key]!r}, the number of the step, which has no rows"
                    raise PixyzError(
                        f"{self.prob_text}: {key} is {by}; define forward and return {key} from it"
                    )
            else:
                raw[key] = self._constant(builder, key, learned=network is self)
        self._check(set(raw))
        params = Params(builder, raw, self._derive)
        params.look = self._look_at_params(raw)
        return params

    def _look_at_params(self, raw: Mapping[str, Slot]) -> tuple[Parameters, tuple[Slot, ...]]:
        keys = [k for k in raw if k in self.params_keys or k in self.alternatives.values()]
        family = self.family()  # a user's class may have attributes of the same names
        known = family.__module__.partition(".")[0] == "pixyz" or hasattr(
            family, "distribution_torch_class"
        )
        domains = tuple(family.constraints.get(k) if known else None for k in keys)
        matrices = tuple(k in family.matrices for k in keys)
        look = Parameters(self.prob_text, self.distribution_name, tuple(keys), domains, matrices)
        return look, tuple(raw[k] for k in keys)

    def _constant(self, builder: Builder, key: str, learned: bool) -> Slot:
        slot = builder.attribute(self, key, f"{key} of {self.prob_text}")
        if key in self._parameters:
            shape = self._parameters[key].shape  # type: ignore[union-attr]
            slot = builder.point(Row(self.param_shape_of(key, shape)), slot, label=key)
            slot = slot if learned else builder.detach(slot)
        if (
            builder.batch_n is not None
            and not self._bound
            and type(self).forward is nn.Module.forward
        ):
            slot = builder.point(repeat_rows, slot, builder.batch_n, label=key, batch="full")
        return slot

    def _check(self, have: set[str]) -> None:
        for key in self.params_keys:
            if key not in have and self.alternatives.get(key) not in have:
                raise PixyzError(
                    f"{self.prob_text}: "
                    f"the parameter {key!r} of {self.distribution_name} is missing; give it to the "
                    f"constructor or return it from forward (has {sorted(have)})"
                )

    def _derive(self, params: Params, name: str) -> Slot | None:
        formula = getattr(self, f"derive_{name}", None)
        for shown, hidden in self.alternatives.items():
            if name == shown and hidden in params:
                formula = getattr(self, f"derive_{shown}_from_{hidden}")
            elif name == hidden and shown in params:
                formula = getattr(self, f"derive_{hidden}_from_{shown}")
        if formula is None:
            return None
        return apply(params.builder, formula, params, f"{name} of {self.prob_text}")

    def sample_from(
        self,
        builder: Builder,
        scope: Scope,
        params: Params,
        *,
        reparam: bool,
        particles: tuple[Axis, ...],
        mean: bool,
    ) -> dict[str, Slot]:
        label = f"{self.var[0]} ~ {self.prob_text}"
        if mean or builder.sample_mean:
            slot = apply(builder, self.formula("mean_of"), params, f"mean of {self.prob_text}")
            if particles and not builder.sample_mean:
                raise PixyzError(
                    f"the mean of {self.prob_text} is one value; "
                    f"sample_shape has no meaning with it"
                )
            return {self.var[0]: slot}
        refs = [params[n] for n in self.noise_shape]
        fn = type(self).noise
        if fn is None:
            raise NotImplementedError(
                f"{self.prob_text} cannot be sampled; "
                f"{self.distribution_name} has a mean and a density"
            )
        noise = builder.noise(fn, refs, particles, f"noise of {self.prob_text}")
        drawn = apply(builder, self.formula("draw"), params, label, noise=noise)
        if not reparam or not self.pathwise:
            drawn = builder.detach(drawn)
        drawn.label = self.var[0]
        return {self.var[0]: drawn}

    def log_prob_from(
        self,
        builder: Builder,
        scope: Scope,
        params: Params,
        *,
        sum_features: bool,
        feature_dims: Sequence[int] | None,
    ) -> Slot:
        label = f"log {self.prob_text}"
        x = scope.lookup(self.var[0])
        noise = self._noise_of(x, params)
        if noise is not None:
            slot, minus = apply(builder, self.formula(OF_NOISE), params, label, noise=noise), True
        else:
            formula, reads, minus = self.density_of(params)
            slot = self.score(builder, formula, reads, params, x, x, label, feature_dims)
            self.look_at_value(
                builder, slot, x, params, scope.outer_name(self.var[0]), sum_features
            )
        slot = sum_over(builder, slot, sum_features, feature_dims, label)
        return builder.point(operator.neg, slot, label=label) if minus else slot

    def density_of(
        self, params: Mapping[str, Slot]
    ) -> tuple[Callable[..., Any], Sequence[str], bool]:
        """The formula of the log-density with these parameters, what it reads, and whether it is
        the negative.
        """
        minus = getattr(type(self), "minus_log_density", None) is not None
        formula = self.formula("minus_log_density" if minus else "log_density")
        return formula, arguments(formula), minus

    def score(
        self,
        builder: Builder,
        formula: Callable[..., Any],
        reads: Sequence[str],
        params: Mapping[str, Slot],
        value: Slot,
        x: Slot,
        label: str,
        feature_dims: Sequence[int] | None,
    ) -> Slot:
        """``formula`` at ``value``; says how many feature dimensions the variable ``x`` has if it
        is an input.

        Where ``feature_dims`` are named, dimensions count as given and nothing is said.
        """
        slots = [value if key == "x" else params[key] for key in reads]
        source = builder.stands_for.get(x, x).step
        if source.kind == "input" and feature_dims is None:
            if self.feature_rank is not None:
                builder.ranks[source.label] = self.feature_rank
            elif self._cond_var:
                matrices = [i for i, key in enumerate(reads) if key in type(self).matrices]
                formula = OpenDensity(formula, source.label, list(reads).index("x"), matrices)
        return builder.point(formula, *slots, label=label)

    def value_domain(self) -> Domain | None:
        """Where a value must lie although the formula takes any."""
        return self.family().domain

    def look_at_value(
        self, builder: Builder, slot: Slot, x: Slot, params: Params, variable: str, summed: bool
    ) -> None:
        """Look at the value ``x`` and the parameters before the log-density ``slot`` is computed
        from them.
        """
        look_at(builder, slot, params)
        look, given = params.look or self._look_at_params({k: params[k] for k in params})
        family = self.family()
        grid = not summed and not family.event_dims
        builder.look(
            slot, Scored(variable, look, family.own_width, grid, self.value_domain()), x, *given
        )

    def _noise_of(self, x: Slot, params: Params) -> Slot | None:
        """The base noise of ``x``, where these very parameters made a pathwise draw of it and the
        family has a formula.
        """
        if not scores_noise(type(self)):
            return None  # a subclass that changes one of the formulas changes all of them
        draw = self.formula("draw")
        if x.step.kind != "point" or x.fn != draw:
            return None
        found = dict(zip(arguments(draw), x.step.args, strict=True))
        noise = found.pop("noise")
        return noise if all(params[n] is slot for n, slot in found.items()) else None

    def lower_entropy(self, builder: Builder, scope: Scope) -> Slot | None:
        return self.entropy_from(builder, self.lower_params(builder, scope))

    def entropy_from(self, builder: Builder, params: Params) -> Slot | None:
        """The entropy from parameters, features not summed; None if there is no formula."""
        if getattr(type(self), "entropy_of", None) is None:
            return None
        return apply(builder, self.formula("entropy_of"), params, f"H[{self.prob_text}]")


class Row:
    """A learned constant as ``[1, *shape]``, which it may have already."""

    def __init__(self, shape: torch.Size) -> None:
        self.shape = shape

    def __call__(self, x: Tensor) -> Tensor:
        return x.expand(self.shape).unsqueeze(0) if x.ndim <= len(self.shape) else x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and other.shape == self.shape

    def __hash__(self) -> int:
        return hash((Row, self.shape))
