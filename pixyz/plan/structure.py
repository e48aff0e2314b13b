"""When a plan is out of date: an object that it was built from was given another part or setting.

A :class:`Structured` object counts assignments that can change a plan.  A plan's owner compares one number a call; only if it
differs does it look whether one of its own parts was changed, and drops its plans if so.  What is not counted changes no
plan: values of parameters and buffers, ``train()`` and ``eval()``, attributes that begin with an underscore, and attributes
of classes outside the library that are no argument of a library class's constructor (a counter that a network keeps).  What
lies inside a container (``nn.ModuleList``, a dict) is not seen: build the object anew, or call :meth:`Structured.touch`.
"""

from __future__ import annotations

import functools
import inspect
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
        if name in self.__dict__.get("_buffers", ()) or name in self.__dict__.get("_parameters", ()):
            return (name in self._parameters) != isinstance(value, nn.Parameter)
        if name not in self.__dict__ or isinstance(value, Tensor):
            return False
        old = self.__dict__[name]
        if isinstance(value, nn.Module) or isinstance(old, nn.Module):
            return old is not value
        kind: type = type(self)
        return _is_setting(kind, name) and (type(old) is not type(value) or old != value)

    def __delattr__(self, name: str) -> None:
        if name in self._parameters or name in self._buffers or name in self._modules:
            self.touch()
        super().__delattr__(name)


@functools.cache
def _is_setting(kind: type, name: str) -> bool:
    """Whether a class of the library keeps a setting there: any attribute; on a subclass, an argument of its constructor."""
    ours = [c for c in kind.__mro__ if c.__module__.partition(".")[0] == "pixyz"]
    return bool(ours) and (ours[0] is kind or any(name in inspect.signature(c).parameters for c in ours))


def newest_change(modules: Iterable[nn.Module]) -> int:
    """The number of the newest change of these; 0 if there was none."""
    return max((m.__dict__.get(MARK, 0) for m in modules), default=0)
