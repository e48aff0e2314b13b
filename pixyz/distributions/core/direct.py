"""Direct calls of a distribution, ``p.sample(x)`` and the like: each builds a plan of its own and
runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from pixyz.distributions.core.foreign import own_lowering
from pixyz.distributions.core.params import Formula, Params, apply, sum_over
from pixyz.expression.protocol import Draw, Score
from pixyz.plan import Axis, Scope, Slot
from pixyz.types import PixyzError, ShapeError

BATCH = "@batch_n"
Lower = Callable[[Scope, Draw], Mapping[str, Slot]]


class Called(Protocol):
    """What is asked of a distribution that is called."""

    @property
    def var(self) -> list[str]: ...

    @property
    def cond_var(self) -> list[str]: ...

    @property
    def input_var(self) -> list[str]: ...

    @property
    def prob_text(self) -> str: ...

    def formula(self, name: str) -> Formula: ...

    def lower_params(self, scope: Scope) -> Params: ...

    def lower_entropy(self, scope: Scope) -> Slot | None: ...

    def _values(self, x_dict: object, variables: Sequence[str] | None = None) -> dict[str, Any]: ...

    def _run(
        self,
        key: Hashable,
        values: Mapping[str, object],
        build: Callable[[Scope], Mapping[str, Slot]],
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]: ...


def sample(
    p: Called,
    x_dict: object,
    batch_n: int | None,
    sample_shape: Sequence[int],
    reparam: bool,
    mean: bool,
    generator: torch.Generator | None,
    lower: Lower | None = None,
    key: str = "sample",
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What was given, and a sample.

    Args:
        p: the distribution.
        x_dict, batch_n, sample_shape, reparam, mean, generator: the arguments of ``sample``.
        lower: writes the steps; if None the distribution does, and its variables are returned.
        key: a name for this way.
    """
    values = _given(p, x_dict, batch_n)
    shape = tuple(int(n) for n in sample_shape)

    def build(scope: Scope) -> Mapping[str, Slot]:
        how = Draw(reparam, tuple(Axis("particle", n) for n in reversed(shape)), mean)
        if scope.builder.given(BATCH):
            scope.mode = replace(scope.mode, batch_n=scope.builder.input(BATCH, "none"))
        if lower is not None:
            return lower(scope, how)
        drawn = own_lowering(p, "lower_sample")(scope, how=how)
        return {name: drawn[name] for name in p.var}

    drawn = p._run((key, shape, reparam, mean), values, build, generator)
    values.pop(BATCH, None)
    return values, drawn


def _given(p: Called, x_dict: object, n: int | None) -> dict[str, Any]:
    values = p._values(x_dict)
    if isinstance(n, bool):
        raise PixyzError(f"batch_n is a number of rows, got {n}; give return_all={n} by its name")
    if n is not None:
        values.update({v: _rows(values[v], n, v) for v in p.input_var if v in values})
        values[BATCH] = n
    return values


def _rows(x: Tensor, n: int, name: str) -> Tensor:
    """``x`` with a batch of ``n``: one row is repeated."""
    if x.ndim and x.shape[0] not in (1, n):
        has = f"{name!r} has the batch {x.shape[0]}"
        raise ShapeError(f"batch_n={n}, but {has}; leave batch_n out")
    return x.expand(n, *x.shape[1:]) if x.ndim else x


def variance(p: Called, x_dict: object, lower: Callable[[Scope], Slot] | None = None) -> Tensor:
    """The variance of a variable, by its formula."""

    def build(scope: Scope) -> dict[str, Slot]:
        if lower is not None:
            return {"variance": lower(scope)}
        params = p.lower_params(scope)
        return {"variance": apply(p.formula("variance_of"), params, "variance")}

    return p._run("variance", p._values(x_dict), build)["variance"]


def log_prob(
    p: Called,
    x_dict: object,
    sum_features: bool,
    dims: tuple[int, ...] | None,
    generator: torch.Generator | None,
) -> Tensor:
    """The log-density."""
    if sum_features and dims is not None and 0 in dims:
        # as in 0.3.3, where dimensions count as given
        return log_prob(p, x_dict, False, None, generator).sum(dims)

    def build(scope: Scope) -> dict[str, Slot]:
        how = Score(sum_features, dims)
        return {"log_prob": own_lowering(p, "lower_log_prob")(scope, how=how)}

    values = p._values(x_dict, [*p.var, *p.cond_var])
    return p._run(("log_prob", sum_features, dims), values, build, generator)["log_prob"]


def params(p: Called, x_dict: object) -> dict[str, Tensor]:
    """The parameters."""

    def build(scope: Scope) -> dict[str, Slot]:
        return dict(own_lowering(p, "lower_params")(scope))

    return p._run("params", p._values(x_dict), build)


def entropy(p: Called, x_dict: object, how: Score) -> Tensor:
    """The entropy, by its formula."""

    def build(scope: Scope) -> dict[str, Slot]:
        slot = p.lower_entropy(scope)
        if slot is None:
            use = "use Entropy(p, analytical=False)"
            raise NotImplementedError(f"no formula for the entropy of {p.prob_text}; {use}")
        return {"entropy": sum_over(scope, slot, how, "entropy")}

    return p._run(("entropy", how), p._values(x_dict), build)["entropy"]
