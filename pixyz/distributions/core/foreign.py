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


def refuse(p: Told, what: str, lowerings: Sequence[str]) -> None:
    """Refuse what cannot be done through a method of the user's.

    Raises:
        PixyzError: one of the lowerings calls back.
    """
    for name in lowerings:
        if method := called_back(type(p), name):
            hides = f"its class overrides {method}, which hides the parameters; override {name}"
            raise PixyzError(f"{what} of {p.prob_text}: {hides}")
