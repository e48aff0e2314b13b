"""One path through time: a carried variable is drawn once in a step of a loop, and every term of
the step sees that draw.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Protocol

from pixyz.plan import Scope, Slot
from pixyz.types import PixyzError, VariableError


class OnPath(Protocol):
    """What is asked of a distribution that may have been drawn on a path."""

    @property
    def var(self) -> list[str]: ...

    @property
    def cond_var(self) -> list[str]: ...

    @property
    def prob_text(self) -> str: ...

    @property
    def is_random(self) -> bool: ...

    def identity(self) -> tuple[Hashable, ...]: ...


class Path(dict[str, tuple[Hashable, Slot]]):
    """What a loop has drawn: variable -> (who drew it, the slot).

    ``whole`` holds all that a distribution brought by its identity: a Scan has further series and
    masks.
    """

    whole: dict[Hashable, dict[str, Slot]]

    def __init__(self, other: Mapping[str, tuple[Hashable, Slot]] = MappingProxyType({})) -> None:
        super().__init__(other)
        self.whole = dict(getattr(other, "whole", {}))


def unshadowed(path: Mapping[str, tuple[Hashable, Slot]], bound: set[str]) -> Path:
    """The path as a loop inside it sees it, whose step binds some names anew."""
    found = Path(path)
    for name, (identity, _) in path.items():
        assert isinstance(identity, tuple)
        if name in bound or bound & set(identity[2]):
            del found[name]
    return found


def on_path(p: OnPath, scope: Scope, reparam: bool = True) -> dict[str, Slot] | None:
    """The slots of ``p``'s variables if the loop has drawn them.

    Raises:
        VariableError: the loop drew one of them from another distribution.
        PixyzError: a random draw without pathwise gradients is asked for.
    """
    outer = [scope.outer_name(v) for v in p.var] if scope.path else []
    if not any([v in scope.path for v in outer]):
        return None
    own = p.identity()
    me = (own[0], tuple(outer), tuple(scope.outer_name(v) for v in p.cond_var), *own[3:])
    found = {}
    for inner, name in zip(p.var, outer, strict=True):
        drawn, slot = scope.path.get(name, (None, None))
        if drawn != me or slot is None:
            raise VariableError(
                f"{name!r} is carried along the loop and drawn by two different distributions, "
                f"{p.prob_text} among them; "
                "a carried variable is drawn once in a step"
            )
        found[inner] = slot
    if not reparam and p.is_random:
        raise PixyzError(
            f"REINFORCE on a carried variable is refused: it would drop future credit. "
            f"{outer} of {p.prob_text} are carried "
            "along the loop, or what is carried depends on them; draw them with reparam=True, "
            "or write the return as a loss "
            "over E(Scan(...).detach(), ...)"
        )
    return found
