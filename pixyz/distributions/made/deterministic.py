"""Distributions that do not draw: a function of variables, a gate, a function of whole series, the
data, a mean, a density.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch

from pixyz import latex
from pixyz.distributions.core.base import Distribution, Params, apply
from pixyz.distributions.core.network import NetworkCall, call_network
from pixyz.distributions.series.read import blank_filled, read_as_series
from pixyz.plan import Axis, Builder, Scope, Slot
from pixyz.plan.looks import Domain, Read
from pixyz.types import PixyzError, VariableError, VarSpec, names


class Deterministic(Distribution):
    """A function: ``forward(**cond_var)`` returns ``{var: value}``; sampling it is computing it.

    Computed once in an evaluation, however many expectations name it.  :attr:`domains` says where
    arguments must lie (a :class:`pixyz.plan.looks.Domain` each), which is looked at on the first
    run on new shapes and in debug mode.

    Raises:
        NotImplementedError: its log-density is asked for; it has none.

    :math:`x = f(z)`.

    >>> class Double(Deterministic):
    ...     def __init__(self):
    ...         super().__init__("y", "x", name="f")
    ...
    ...     def forward(self, x):
    ...         return {"y": 2 * x}
    >>> Double().sample({"x": torch.ones(1, 2)}, return_all=False)
    {'y': tensor([[2., 2.]])}
    """

    def __init__(
        self,
        var: VarSpec,
        cond_var: VarSpec = (),
        name: str = "p",
        features_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(var, cond_var, name, features_shape)
        self._returns: dict[str, str] = {}
        self.domains: dict[str, Domain] = {}

    @property
    def distribution_name(self) -> str:
        return "Deterministic"

    @property
    def is_random(self) -> bool:
        return False

    def lower_params(self, builder: Builder, scope: Scope) -> Params:
        found = call_network(self, self, builder, scope, self.var)
        for v, domain in self.domains.items():
            builder.look(
                next(iter(found.values())), Read(v, self.prob_text, domain), scope.lookup(v)
            )
        return Params(builder, found, lambda params, name: None)

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
        return {v: params[v] for v in self.var}


class Gate(Deterministic):
    r"""``x = g new + (1 - g) old``: a new value where a gate is open, else the old one.

    Args:
        var: the result.
        new, old: the two variables, ``[B, D]``.
        by: the gate, ``[B]`` or ``[B, 1]``: a number in [0, 1], a flag, or a draw with
            straight-through gradient.

    >>> p = Gate("z", new="z_new", old="z_prev", by="m")
    >>> p.sample(
    ...     {"z_new": torch.ones(2, 1), "z_prev": torch.zeros(2, 1), "m": torch.tensor([1.0, 0.0])}
    ... )["z"].T
    tensor([[1., 0.]])

    :math:`x = g\, x_{new} + (1 - g)\, x_{old}`.
    """

    def __init__(
        self,
        var: str,
        new: str,
        old: str,
        by: str,
        name: str = "g",
        features_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(var, [new, old, by], name, features_shape)

    def forward(self, **given: torch.Tensor) -> dict[str, torch.Tensor]:
        new, old, gate = (given[v] for v in self._cond_var)
        if gate.dtype == torch.bool:
            gate = gate.to(new.dtype)
        return {
            self._var[0]: torch.lerp(
                old, new, gate.reshape(*gate.shape, *[1] * (new.ndim - gate.ndim))
            )
        }


class SeriesFunction(Deterministic):
    r"""A function of whole series, such as a lambda-return: arguments and results are time first,
    ``[T, N, ...]``.

    All other leading dimensions (an outer time, particles, the batch) come merged as ``N``.
    Arguments that are constant along the series come as ``[N, ...]``.

    Args:
        like: result -> the variable whose time axis it has (its length must be that variable's; it
            need not be an argument), or None for a result without time, ``[N, ...]``.  A result
            that is not named has the axis of the first argument.
        series_var: the arguments that are series ``[T, B, ...]`` also where that is not known:
            inputs of the plan.
        optional_var: more arguments, passed where they are given or drawn (a mask).

    Raises:
        PixyzError: no argument is a series.

    :math:`(y_1, \dots, y_T) = f(x_1, \dots, x_T)`.

    >>> class Total(SeriesFunction):
    ...     def __init__(self):
    ...         super().__init__("y", "x", series_var="x")
    ...
    ...     def forward(self, x):
    ...         return {"y": x.cumsum(0)}
    >>> Total().sample({"x": torch.ones(3, 2, 1)}, return_all=False)["y"][:, 0, 0]
    tensor([1., 2., 3.])
    """

    over_time = True

    def __init__(
        self,
        var: VarSpec,
        cond_var: VarSpec,
        name: str = "f",
        like: Mapping[str, str | None] | None = None,
        series_var: VarSpec = (),
        optional_var: VarSpec = (),
    ) -> None:
        super().__init__(var, cond_var, name)
        self.series_var, self.optional_var = (
            names(series_var, "series_var"),
            names(optional_var, "optional_var"),
        )
        if not set(self.series_var) <= {*self._cond_var, *self.optional_var}:
            raise VariableError(
                f"series_var {self.series_var} are not all among the arguments {self._cond_var}"
            )
        self.like: dict[str, str | None] = {
            **dict.fromkeys(self._var, self._cond_var[0]),
            **(like or {}),
        }
        unknown = [result for result in self.like if result not in self._var]
        if unknown:
            raise VariableError(f"like names {unknown}, but the results are {self._var}")

    @property
    def distribution_name(self) -> str:
        return "Function of series"

    def lower_params(self, builder: Builder, scope: Scope) -> Params:
        given = [
            v for v in self.optional_var if scope.bound(v) or builder.given(scope.outer_name(v))
        ]
        args = {v: blank_filled(builder, scope.lookup(v)) for v in [*self._cond_var, *given]}
        series = {v: args[v] for v in self.series_var if v in args}
        if not all(any(a.kind == "time" for a in slot.axes) for slot in series.values()):
            args.update(read_as_series(builder, series)[1])
        time = [a for slot in args.values() for a in slot.axes if a.kind == "time"]
        if not time:
            raise PixyzError(
                f"{self.prob_text} is a function over time, "
                f"but none of {self._cond_var} is a series here"
            )
        newest = max((a.family for a in time), key=lambda a: a.number)
        outs = []
        for v in self._var:
            source = self.like[v]
            found = (
                None if source is None else args[source] if source in args else scope.lookup(source)
            )
            axes = [] if found is None else [a for a in found.axes if a.family is newest]
            if source is not None and not axes:
                raise PixyzError(
                    f"{self.prob_text}: {v!r} shall be a series like {source!r}, "
                    f"which is constant in time here"
                )
            outs.append((v, axes[0] if axes else None))
        call = NetworkCall(self, self, list(args), self._var, {})
        slots = builder.series(
            call, list(args.values()), outs, newest, self.prob_text, key=tuple(self._var)
        )
        return Params(builder, dict(zip(self._var, slots, strict=True)), lambda params, name: None)


class EmpiricalDistribution(Distribution):
    r"""The data: a sample is what was given.

    :math:`x \sim p_{data}(x)`.

    >>> EmpiricalDistribution("x").sample({"x": torch.ones(1, 2)})
    {'x': tensor([[1., 1.]])}
    """

    def __init__(self, var: VarSpec, name: str = "p_{data}") -> None:
        super().__init__(var, (), name)

    @property
    def distribution_name(self) -> str:
        return "Data distribution"

    @property
    def input_var(self) -> list[str]:
        return self.var

    def lower_sample(
        self,
        builder: Builder,
        scope: Scope,
        *,
        reparam: bool = True,
        particles: tuple[Axis, ...] = (),
        mean: bool = False,
    ) -> dict[str, Slot]:
        return {v: scope.lookup(v) for v in self._var}


class Mean(Distribution):
    r"""The mean of another distribution as a variable: ``Mean(reward, "r")`` reads
    :math:`\\mathbb{E}[reward]`.

    Parameters are shared with every other use of that distribution.

    >>> from pixyz.distributions import Bernoulli
    >>> reward = Bernoulli("r", probs=torch.tensor([0.25]))
    >>> Mean(reward, "mean_r").sample(batch_n=1)["mean_r"]
    tensor([[0.2500]])
    """

    prefix: ClassVar[str] = r"\bar"

    def __init__(self, p: Distribution, var: str) -> None:
        super().__init__(var, p.cond_var, f"{self.prefix}{{{latex.latex_name(p.name)}}}")
        self.p = p

    @property
    def distribution_name(self) -> str:
        return "Mean"

    @property
    def is_random(self) -> bool:
        return False

    def lower_params(self, builder: Builder, scope: Scope) -> Params:
        params = self.p.lower_params(builder, scope)
        slot = apply(builder, self.p.formula("mean_of"), params, f"mean of {self.p.prob_text}")
        return Params(builder, {self._var[0]: slot}, lambda params, name: None)

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
        return {self._var[0]: params[self._var[0]]}


class LogDensity(Distribution):
    r"""The log-density of another distribution as a variable, ``[N]``: :math:`l = \log p(x|z)`,
    features summed.

    What reads it may be a network, such as a target of soft values (Haarnoja et al. 2018). A draw
    is scored by its noise, as in :class:`pixyz.losses.LogProb`.

    >>> from pixyz.distributions import Normal
    >>> LogDensity(Normal("x", loc=0.0, scale=1.0), "l").sample({"x": torch.zeros(1)})["l"]
    tensor([-0.9189])
    """

    def __init__(self, p: Distribution, var: str) -> None:
        super().__init__(var, [*p.var, *p.cond_var], rf"\log {latex.latex_name(p.name)}")
        self.p = p

    @property
    def distribution_name(self) -> str:
        return "Log-density"

    @property
    def is_random(self) -> bool:
        return False

    def lower_params(self, builder: Builder, scope: Scope) -> Params:
        return Params(
            builder,
            {self._var[0]: self.p.lower_log_prob(builder, scope)},
            lambda params, name: None,
        )

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
        return {self._var[0]: params[self._var[0]]}
