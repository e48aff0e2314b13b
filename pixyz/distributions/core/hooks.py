"""What modules tell the base class of distributions when they are imported: it imports none of
them.

The modules that define what operators make say so (:func:`made_by`); a wing says what it does with
each class that is defined later (:func:`on_subclass`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

C = TypeVar("C", bound=type)
_made: dict[str, Callable[..., Any]] = {}
_hooks: list[Callable[[Any], None]] = []


def made_by(operator: str) -> Callable[[C], C]:
    """The class that an operator of distributions makes: ``product``, ``renamed``, ``marginal``,
    ...
    """

    def keep(cls: C) -> C:
        _made[operator] = cls
        return cls

    return keep


def make(operator: str, *args: object, **named: object) -> Any:
    """What an operator of distributions makes."""
    return _made[operator](*args, **named)


def on_subclass(hook: Callable[[Any], None]) -> None:
    """Call ``hook`` with each class of distributions that is defined from now on."""
    _hooks.append(hook)


def tell(cls: type) -> None:
    """Tell of a class that was defined."""
    for hook in _hooks:
        hook(cls)
