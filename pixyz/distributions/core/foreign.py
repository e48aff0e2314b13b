"""Lowerings that call a method of the user's back: how the core tells them from its own.

A wing may put a lowering into a class outside of the library that calls a method of that class,
such as ``sample``.  That method may call ``super().sample``, which must not end in the lowering
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from pixyz.types import PixyzError

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "calls_back"


class Told(Protocol):
    """What an error names."""

    @property
    def prob_text(self) -> str: ...


def calls_back(method: str) -> Callable[[F], F]:
    """Mark a lowering that calls ``method`` of the distribution."""

    def mark(lowering: F) -> F:
        setattr(lowering, _MARK, method)
        return lowering

    return mark


def called_back(cls: type, lowering: str) -> str:
    """The method that a lowering of the class calls; an empty string for one of the library's."""
    return getattr(getattr(cls, lowering, None), _MARK, "")


def own_lowering(p: object, name: str) -> Callable[..., Any]:
    """The lowering ``name`` of ``p`` that does not call back."""
    for base in type(p).__mro__:
        found = vars(base).get(name)
        if found is not None and not hasattr(found, _MARK):
            return found.__get__(p)  # type: ignore[no-any-return]
    raise AttributeError(name)


_BEHIND = {
    "lower_sample": ("sample_from",),
    "lower_log_prob": ("log_prob_from",),
    "lower_params": ("params_by", "params_from"),
}
"""What a view of a distribution calls in the place of a lowering."""


def refuse(p: Told, what: str, lowerings: Sequence[str]) -> None:
    """Refuse what cannot be done through a method of the user's.

    Raises:
        PixyzError: one of the lowerings calls back, or is overridden where a view does not ask it.
    """
    for name in lowerings:
        if method := called_back(type(p), name):
            instead = f"override {_BEHIND[name][-1]}"
            hides = f"its class overrides {method}, which hides the parameters; {instead}"
            raise PixyzError(f"{what} of {p.prob_text}: {hides}")
        behind = _BEHIND[name]
        if _depth(type(p), name) < min(_depth(type(p), other) for other in behind):
            passed = f"its class overrides {name}, which would be passed over"
            raise PixyzError(f"{what} of {p.prob_text}: {passed}; override {behind[-1]} instead")


def _depth(cls: type, name: str) -> int:
    """How far from a class the one is that defines ``name``."""
    bases = cls.__mro__
    return next((i for i, base in enumerate(bases) if name in vars(base)), len(bases))
