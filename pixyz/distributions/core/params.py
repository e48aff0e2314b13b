"""Parameters of a distribution as slots of a plan, and formulas applied to them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from pixyz.plan import Builder, Slot
from pixyz.plan.looks import Parameters
from pixyz.types import PixyzError

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
        self._base: Params | None = None
        self.look: Look | None = None
        """What looks at given parameters before they are used, and their slots."""
        self.hidden: dict[str, Slot] = {}
        """Values that formulas read and that are no parameters of the family."""

    def __getitem__(self, name: str) -> Slot:
        if self._base is not None:
            return self.builder.detach(self._base[name])
        if name in self.hidden:
            return self.hidden[name]
        if name not in self._raw:
            slot = self._derive(self, name)
            if slot is None:
                raise KeyError(name)
            self._raw[name] = slot
        return self._raw[name]

    def __contains__(self, name: object) -> bool:
        return name in (self._base if self._base is not None else self._raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self._base if self._base is not None else dict(self._raw))

    def __len__(self) -> int:
        return len(self._base if self._base is not None else self._raw)

    def replace(self, name: str, slot: Slot) -> None:
        """Put another value in the place of a given parameter."""
        self._raw[name] = slot

    def expanded(self, like: Slot) -> Params:
        """The same parameters, given to every row of ``like``."""
        copy = Params(
            self.builder,
            {k: self.builder.expand(self[k], like, like.axes) for k in self},
            self._derive,
        )
        copy.look = self.look
        copy.hidden = {
            k: self.builder.expand(v, like, like.axes) if v.batch == "full" else v
            for k, v in self.hidden.items()
        }
        return copy

    def detached(self) -> Params:
        """The same parameters without gradient."""
        copy = Params(self.builder, {}, self._derive)
        copy._base, copy.look = self, self.look
        return copy


def arguments(formula: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a formula's arguments: they say which parameters it reads."""
    # the cache shall not hold the distribution of a method
    method = getattr(formula, "__func__", None)
    return _arguments(formula) if method is None else _arguments(method)[1:]


@functools.cache
def _arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def apply(
    builder: Builder,
    formula: Callable[..., Any],
    params: Mapping[str, Slot],
    label: str,
    **more: Slot,
) -> Slot:
    """Write ``formula`` with the parameters that its argument names ask for."""
    try:
        slots = [more[n] if n in more else params[n] for n in arguments(formula)]
    except KeyError as missing:
        known = sorted({*params, *more})
        raise PixyzError(
            f"{label}: its formula reads {missing}, which is no parameter of the family; "
            f"it has {known}"
        ) from None
    found = builder.point(formula, *slots, label=label)
    look_at(builder, found, params)
    return found


def look_at(builder: Builder, reader: Slot, params: Mapping[str, Slot]) -> None:
    """Look at the given parameters before ``reader`` is computed from them."""
    if isinstance(params, Params) and params.look is not None:
        look, slots = params.look
        builder.look(reader, look, *slots)


def repeat_rows(x: Tensor, n: int) -> Tensor:
    """``n`` rows of one."""
    return x.expand(n, *x.shape[1:]) if x.shape[:1] == (1,) else x
