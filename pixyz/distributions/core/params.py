"""Parameters of a distribution as slots of a plan, and formulas applied to them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor

from pixyz.expression.protocol import Score
from pixyz.plan import Axis, Builder, Scope, Slot, rules
from pixyz.plan.looks import Parameters
from pixyz.types import PixyzError

Formula = Callable[..., Tensor]
"""A function of tensors whose arguments have the names of parameters."""
Forward = Callable[..., Any]
"""What gives parameters: a module, called with variables by name."""
Look = tuple[Parameters, tuple[Slot, ...]]


class Params(Mapping[str, Slot]):
    """Parameters of a distribution in a plan: given ones, and ones derived from them when they are
    asked for.
    """

    def __init__(
        self,
        builder: Builder,
        raw: Mapping[str, Slot],
        derive: Callable[[Params, str], Slot | None],
    ) -> None:
        self.builder, self._raw, self._derive = builder, dict(raw), derive
        self._derived: set[str] = set()
        self._base: Params | None = None
        self.look: Look | None = None
        """What looks at given parameters before they are used, and their slots."""
        self.hidden: dict[str, Slot] = {}
        """Values that formulas read and that are no parameters of the family."""

    def __getitem__(self, name: str) -> Slot:
        if name in self.hidden:
            return self.hidden[name]
        if name in self._raw:
            return self._raw[name]
        if self._base is not None and not (self._raw and self._base.derives(name)):
            return self.builder.detach(self._base[name])
        slot = self._derive(self, name)
        if slot is None:
            raise KeyError(name)
        self._raw[name] = slot
        self._derived.add(name)
        return slot

    def derives(self, name: str) -> bool:
        """Whether ``name`` follows from what is given."""
        given = self.hidden if name in self.hidden else self._raw
        if name in given:
            return name in self._derived
        return self._base is None or self._base.derives(name)

    def __contains__(self, name: object) -> bool:
        return name in self._raw or (self._base is not None and name in self._base)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*(self._base or ()), *self._raw]))

    def __len__(self) -> int:
        return len({*(self._base or ()), *self._raw})

    def replace(self, name: str, slot: Slot) -> None:
        """Put another value in the place of a given parameter; what follows from it is derived
        again.
        """
        for derived in self._derived:
            del self._raw[derived]
        self._derived.clear()
        self._raw[name] = slot if self._base is None else self.builder.detach(slot)

    def expanded(self, like: Slot, axes: tuple[Axis, ...] | None = None) -> Params:
        """The same parameters, given to every row of ``like``, with its leading dimensions or
        ``axes``.
        """
        builder, axes = self.builder, like.axes if axes is None else axes
        copy = Params(builder, {k: builder.expand(self[k], like, axes) for k in self}, self._derive)
        copy.look = self.look
        copy.hidden = {
            k: builder.expand(v, like, axes) if v.batch == "full" else v
            for k, v in self.hidden.items()
        }
        return copy

    def copy(self) -> Params:
        """The same parameters; what is replaced in them is not replaced here."""
        copy = Params(self.builder, self._raw, self._derive)
        copy._base, copy.look, copy.hidden = self._base, self.look, dict(self.hidden)
        copy._derived = set(self._derived)
        return copy

    def detached(self) -> Params:
        """The same parameters without gradient."""
        copy = Params(self.builder, {}, self._derive)
        copy._base, copy.look = self, self.look
        return copy


def arguments(formula: Formula) -> tuple[str, ...]:
    """The names of a formula's arguments: they say which parameters it reads."""
    # the cache shall not hold the distribution of a method
    method = getattr(formula, "__func__", None)
    return _arguments(formula) if method is None else _arguments(method)[1:]


@functools.cache
def _arguments(function: Formula) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def apply(formula: Formula, params: Params, label: str, **more: Slot) -> Slot:
    """Write ``formula`` with the parameters that its argument names ask for."""
    try:
        slots = [more[n] if n in more else params[n] for n in arguments(formula)]
    except KeyError as missing:
        known = sorted({*params, *more})
        raise PixyzError(
            f"{label}: its formula reads {missing}, which is no parameter of the family; "
            f"it has {known}"
        ) from None
    found = params.builder.point(formula, *slots, label=label)
    look_at(found, params)
    return found


def look_at(reader: Slot, params: Params) -> None:
    """Look at the given parameters before ``reader`` is computed from them."""
    if params.look is not None:
        look, slots = params.look
        params.builder.look(reader, look, *slots)


def repeat_rows(x: Tensor, n: int) -> Tensor:
    """``n`` rows of one."""
    return x.expand(n, *x.shape[1:]) if x.shape[:1] == (1,) else x


def sum_over(scope: Scope, slot: Slot, how: Score, label: str) -> Slot:
    """Sum feature dimensions: all behind the batch, or the named ones."""
    if not how.sum_features or how.dims == ():
        return slot
    if how.dims is None:
        return scope.builder.features(rules.sum_features, slot, label)
    if 0 in how.dims:
        raise PixyzError(
            "feature_dims counts as in [B, ...]; 0 is the batch and cannot be summed; use .sum()"
        )
    return scope.builder.features(rules.SumOver(how.dims), slot, label)


def none_derived(params: Params, name: str) -> Slot | None:
    """For distributions that derive no further parameter."""
    return None


class Formulated(Protocol):
    """What an error on a formula names."""

    @property
    def distribution_name(self) -> str: ...


def formula_of(p: Formulated, name: str) -> Formula:
    """A formula of the class of ``p``, by name.

    Raises:
        NotImplementedError: there is none.
    """
    cls = type(p)
    if getattr(cls, name, None) is None:
        kind = p.distribution_name or cls.__name__
        raise NotImplementedError(f"{kind} has no {name.removesuffix('_of')}")
    # as the class holds it: an object's attribute may be called so
    found = next(c.__dict__[name] for c in cls.__mro__ if name in c.__dict__)
    return found.__get__(p, cls) if hasattr(found, "__get__") else found  # type: ignore[no-any-return]
