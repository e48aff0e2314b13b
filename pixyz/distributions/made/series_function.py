"""A function of whole series, such as a lambda-return."""

from __future__ import annotations

from collections.abc import Mapping

from pixyz.distributions.core.network import NetworkCall
from pixyz.distributions.core.params import Forward, Params, none_derived
from pixyz.distributions.made.deterministic import Deterministic
from pixyz.distributions.series.read import blank_filled, read_as_series
from pixyz.plan import Scope
from pixyz.types import PixyzError, VariableError, VarSpec, names


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

    >>> import torch
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
        self.series_var = names(series_var, "series_var")
        self.optional_var = names(optional_var, "optional_var")
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

    def params_by(self, scope: Scope, network: Forward) -> Params:
        builder = scope.builder
        given = [
            v for v in self.optional_var if scope.bound(v) or builder.given(scope.outer_name(v))
        ]
        args = {v: blank_filled(scope, scope.lookup(v)) for v in [*self._cond_var, *given]}
        series = {v: args[v] for v in self.series_var if v in args}
        if not all(any(a.kind == "time" for a in slot.axes) for slot in series.values()):
            args.update(read_as_series(scope, series)[1])
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
        call = NetworkCall(network, self, list(args), self._var, {})
        slots = builder.series(
            call, list(args.values()), outs, newest, self.prob_text, key=tuple(self._var)
        )
        return Params(builder, dict(zip(self._var, slots, strict=True)), none_derived)
