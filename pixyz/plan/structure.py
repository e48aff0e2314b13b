"""When a plan is out of date: an object that it was built from was given another part or setting.

A :class:`Structured` object counts assignments that can change a plan.  A plan's owner compares one number a call; only if it
differs does it look whether one of its own parts was changed, and drops its plans if so.  What is not counted changes no
plan: values of parameters and buffers, ``train()`` and ``eval()``, attributes that begin with an underscore, and plain
attributes of classes outside the library (a counter that a network keeps).  Parts inside containers (``nn.ModuleList``)
are not seen: build the object anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

_counter = itertools.count(1)
MARK = "_structure_changed"


class Clock:
    """The number of the newest change anywhere."""

    now: int = 0


class Structured(nn.Module):
    """Abstract: a module whose parts and settings decide plans."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] != "_" and name != "training" and self._changes(name, value):
            self.touch()
        super().__setattr__(name, value)

    def touch(self) -> None:
        """Say that plans of this object are out of date."""
        Clock.now = self.__dict__[MARK] = next(_counter)

    def _changes(self, name: str, value: Any) -> bool:
        held = self.__dict__.get("_modules", {})
        if name in held:
            return held[name] is not value
        if name not in self.__dict__ or isinstance(value, Tensor):
            return False
        old = self.__dict__[name]
        if isinstance(value, nn.Module) or isinstance(old, nn.Module):
            return old is not value
        return type(self).__module__.partition(".")[0] == "pixyz" and (type(old) is not type(value) or old != value)


def newest_change(modules: Iterable[nn.Module]) -> int:
    """The number of the newest change of these; 0 if there was none."""
    return max((m.__dict__.get(MARK, 0) for m in modules), default=0)
