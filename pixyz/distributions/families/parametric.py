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

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributions as td

from pixyz.distributions.core.base import Distribution
from pixyz.distributions.core.foreign import called_back
from pixyz.distributions.core.network import call_network
from pixyz.distributions.core.params import Forward, Params, apply, repeat_rows
from pixyz.distributions.families.declaration import check_declaration, take_after
from pixyz.distributions.families.formulas import Formulas
from pixyz.distributions.families.given import Limits, Row, Value, constant_of
from pixyz.distributions.families.torch_formula import ask_torch, shape_only
from pixyz.plan import Scope, Slot
from pixyz.types import PixyzError, VariableError, VarSpec


class ParametricDistribution(Formulas, Distribution):
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

    has_network = True
    _like: ClassVar[type[ParametricDistribution] | None] = None
    _family: ClassVar[type[ParametricDistribution]]

    def __init_subclass__(
        cls, like: type[ParametricDistribution] | None = None, **kwargs: object
    ) -> None:
        """Define a family, or a network of one.

        Args:
            like: the family that it is drawn and scored as, for a class that takes its parameters
                from elsewhere.

        Raises:
            PixyzError: a class outside of the library declares what does not fit together.
        """
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        cls._family = next((base for base in cls.__mro__ if "params_keys" in vars(base)), cls)
        if like is not None:
            cls._like = like
            take_after(cls, like)
        if "params_keys" in own:
            cls._limits = None if cls.support is None else Limits(*cls.support)
            if own.get("torch_family") is not None:
                cls.distribution_torch_class = cls.torch_family
                if cls.noise is None:
                    cls.noise = shape_only  # the sampler is torch's
                ask_torch(cls, own["torch_family"], cls.torch_keys or cls.params_keys)
        if cls.__module__.partition(".")[0] != "pixyz":
            check_declaration(cls)

    def __init__(
        self,
        var: VarSpec = ("x",),
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
        **params: Value,
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
        given = {key: value for key, value in params.items() if value is not None}
        if not self._features_shape:
            shapes = {
                k: torch.as_tensor(v).shape for k, v in given.items() if not isinstance(v, str)
            }
            self._features_shape = self.sample_shape_of(shapes)
        for key, value in given.items():
            self._set_param(key, value)

    def _set_param(self, key: str, value: Value) -> None:
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
        held = constant_of(self, key, tensor, self.param_shape_of(key, tensor.shape))
        if isinstance(held, nn.Parameter):
            self.register_parameter(key, held)
        else:
            self.register_buffer(key, held)

    @classmethod
    def sample_shape_of(cls, shapes: Mapping[str, torch.Size]) -> torch.Size:
        """The shape of one sample, from those of constant parameters."""
        return torch.Size(np.broadcast_shapes(*shapes.values()))  # torch's own imports sympy

    def param_shape_of(self, key: str, given: torch.Size) -> torch.Size:
        """The shape of the constant parameter ``key`` that was ``given`` in some shape."""
        return self._features_shape

    @property
    def distribution_name(self) -> str:
        return type(self).family().__name__ if type(self).params_keys else ""

    @classmethod
    def family(cls) -> type[ParametricDistribution]:
        """The class that defines the formulas (a user's subclass only adds a network)."""
        if cls._like is not None:
            return cls._like.family()
        return cls._family

    @property
    def has_reparam(self) -> bool:
        return self.pathwise

    @property
    def drawn_by_parameters(self) -> bool:
        return not called_back(type(self), "lower_sample")

    # ---------------------------------------------------------------- lowering

    def lower_params(self, scope: Scope) -> Params:
        return self.params_from(scope, self)

    def params_from(self, scope: Scope, network: Forward) -> Params:
        """The parameters by ``network``: the distribution itself, or a copy of it with constant
        weights.
        """
        own = type(self).forward is not nn.Module.forward
        read = tuple(map(scope.lookup, self._cond_var if own else self._bound.values()))
        key = (self, network, read, scope.mode.batch_n)
        return scope.builder.once(key, lambda: self._params(scope, network, own)).copy()

    def _params(self, scope: Scope, network: Forward, own: bool) -> Params:
        """The same, written now; ``own``: whether there is a network."""
        builder, given, text = scope.builder, self._given, self.prob_text
        keys, alternatives = type(self).params_keys, type(self).alternatives
        raw: dict[str, Slot] = {}
        if own:
            wanted = [k for k in keys if k not in given and alternatives.get(k) not in given]
            wanted += builder.facts.also.get(self, ())
            raw.update(call_network(self, network, scope, wanted, alternatives, text))
            n = scope.mode.batch_n
            if n is not None and not self._cond_var:
                raw = {
                    k: builder.point(repeat_rows, s, n, label=k, batch="full")
                    for k, s in raw.items()
                }
        for key in given:
            if key in self._bound:
                raw[key] = slot = scope.lookup(self._bound[key])
                if slot.axes and slot.batch == "none":
                    by = f"{self._bound[key]!r}, the number of the step, which has no rows"
                    raise PixyzError(
                        f"{text}: {key} is {by}; define forward and return {key} from it"
                    )
            else:
                raw[key] = self._constant(scope, key, f"{key} of {text}", network is self)
        for key in keys:
            if key not in raw and alternatives.get(key) not in raw:
                raise PixyzError(
                    f"{text}: the parameter {key!r} of {self.distribution_name} is missing; "
                    f"give it to the constructor or return it from forward (has {sorted(raw)})"
                )
        params = Params(builder, raw, self._derive)
        params.look = self._look_at_params(raw, text)
        for key, formula in type(self).prepared.items():
            if key in raw:
                made = builder.point(formula, raw[key], label=f"{key} of {text}")
                params.replace(key, made)
        params.hidden.update(self.hidden_params(params, learned=network is self))
        return params

    def hidden_params(self, params: Params, learned: bool) -> dict[str, Slot]:
        """What formulas read that is no parameter of the family (a temperature that is held).

        Args:
            params: the parameters.
            learned: whether gradients reach weights.
        """
        return {}

    def params_by(self, scope: Scope, network: Forward) -> Params | None:
        return self.params_from(scope, network)

    def _constant(self, scope: Scope, key: str, label: str, learned: bool) -> Slot:
        builder = scope.builder
        slot = builder.attribute(self, key, label)
        if key in self._parameters:
            shape = self._parameters[key].shape  # type: ignore[union-attr]
            slot = builder.point(Row(self.param_shape_of(key, shape)), slot, label=key)
            slot = slot if learned else builder.detach(slot)
        n = scope.mode.batch_n
        if n is not None and not self._bound and type(self).forward is nn.Module.forward:
            slot = builder.point(repeat_rows, slot, n, label=key, batch="full")
        return slot

    def _derive(self, params: Params, name: str) -> Slot | None:
        formula = None
        for shown, hidden in type(self).alternatives.items():
            if name == shown and hidden in params:
                formula = getattr(self, f"derive_{shown}_from_{hidden}")
            elif name == hidden and shown in params:
                formula = getattr(self, f"derive_{hidden}_from_{shown}")
        if formula is None:
            formula = getattr(self, f"derive_{name}", None)
        if formula is None:
            return None
        of = self.prob_text if params.look is None else params.look[0].of
        return apply(formula, params, f"{name} of {of}")

    def lower_entropy(self, scope: Scope) -> Slot | None:
        return self.entropy_from(scope, self.lower_params(scope))

    # ---------------------------------------------------------------- torch.distributions

    def torch_dist(self, x_dict: object = None) -> td.Distribution:
        """The torch distribution at given values of ``cond_var``: a fresh object.

        >>> from pixyz.distributions import Normal
        >>> Normal("x", "z", loc="z", scale=1.0).torch_dist({"z": torch.zeros(2, 3)})
        Normal(loc: torch.Size([2, 3]), scale: torch.Size([2, 3]))
        """
        return self.as_torch(**self.get_params(x_dict))

    def as_torch(self, **params: Tensor) -> td.Distribution:
        """The torch distribution with these parameters."""
        if self.distribution_torch_class is None:
            none = "has no counterpart in torch.distributions"
            raise NotImplementedError(f"{self.distribution_name} {none}")
        made: td.Distribution = self.distribution_torch_class(**params)
        return made
