"""When a plan is out of date: an object that it was built from was given another part or setting.

A :class:`Structured` object counts assignments that can change a plan.  A plan's owner compares one
number a call; only if it differs does it look whether one of its own parts was changed, and drops
its plans if so.  What is not counted changes no plan: values of parameters and buffers, ``train()``
and ``eval()``, attributes that begin with an underscore, and attributes of classes outside the
library that are no argument of a library class's constructor (a counter that a network keeps) -
unless code outside the library read them while the plan was written (:func:`reading`), as the
``lower`` of a loss of one's own does: what was read is counted, whatever it is.  What is put into a
container (``nn.ModuleList``, a dict) is not seen: build the object anew, or call
:meth:`Structured.touch`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import itertools
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

_counter = itertools.count(1)
MARK = "_structure_changed"
READ = "_read_by_plans"
_FOREIGN: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes outside the library."""
_MISSING = object()


class Clock:
    """The number of the newest change anywhere."""

    now: int = 0


class Structured(nn.Module):
    """Abstract: a module whose parts and settings decide plans."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if not _ours(cls.__module__):
            _FOREIGN.add(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get(READ, ()):
            if _reads.found is None and _differ(self._held(name), value):
                self.touch()
        elif name[0] != "_" and name != "training" and self._changes(name, value):
            self.touch()
        super().__setattr__(name, value)

    def _held(self, name: str) -> Any:
        """What an attribute is, a parameter or the default of the class among them."""
        places = (
            self.__dict__,
            *(self.__dict__.get(k, {}) for k in ("_parameters", "_buffers", "_modules")),
        )
        return next(
            (d[name] for d in places if name in d),
            inspect.getattr_static(type(self), name, _MISSING),
        )

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        if "_plans" in self.__dict__:  # a copy plans for itself: its settings may change
            self.__dict__["_plans"] = copy.copy(self.__dict__["_plans"])

    def touch(self) -> None:
        """Say that plans of this object are out of date."""
        Clock.now = self.__dict__[MARK] = next(_counter)

    def _changes(self, name: str, value: object) -> bool:
        held = self.__dict__.get("_modules", {})
        if name in held:
            return held[name] is not value
        if name in self.__dict__.get("_buffers", ()) or name in self.__dict__.get(
            "_parameters", ()
        ):
            return (name in self._parameters) != isinstance(value, nn.Parameter)
        if name not in self.__dict__ or isinstance(value, Tensor):
            return False
        old = self.__dict__[name]
        if isinstance(value, nn.Module) or isinstance(old, nn.Module):
            return old is not value
        kind: type = type(self)
        return _is_setting(kind, name) and (type(old) is not type(value) or old != value)

    def __delattr__(self, name: str) -> None:
        if (
            name in self._parameters
            or name in self._buffers
            or name in self._modules
            or name in self.__dict__.get(READ, ())
        ):
            self.touch()
        super().__delattr__(name)


@functools.cache
def _is_setting(kind: type, name: str) -> bool:
    """Whether a class of the library keeps a setting there: any attribute; on a subclass, an
    argument of its constructor.
    """
    ours = [c for c in kind.__mro__ if _ours(c.__module__)]
    return bool(ours) and (
        ours[0] is kind or any(name in inspect.signature(c).parameters for c in ours)
    )


def _ours(module: str) -> bool:
    return module.partition(".")[0] == "pixyz"


def _differ(old: object, new: object) -> bool:
    if old is new:
        return False
    if type(old) is not type(new) or isinstance(old, (Tensor, nn.Module)):
        return True
    try:
        return bool(old != new)
    except Exception:  # arrays
        return True


# ---------------------------------------------------------------- what is read while a plan is
# written


class _Reads(threading.local):
    """The objects of which something was read, in this thread;
    None where no plan is being written.
    """

    found: dict[int, Structured] | None = None


_reads, _writing, _lock = _Reads(), 0, threading.Lock()
_read, _frame = object.__getattribute__, sys._getframe
_inner: set[str] = set()
"""Modules of the library and of torch that have read something: it is not noted."""


def _noting(self: Structured, name: str) -> Any:
    """``object.__getattribute__`` that notes what code outside the library reads."""
    reader = _frame(1).f_globals.get("__name__", "")
    if reader not in _inner and name[:2] != "__" and (found := _reads.found) is not None:
        if reader.partition(".")[0] in ("pixyz", "torch"):
            _inner.add(reader)
        else:
            _read(self, "__dict__").setdefault(READ, set()).add(name)
            found[id(self)] = self
    return _read(self, name)


@contextlib.contextmanager
def reading() -> Iterator[list[Structured]]:
    """Note what code outside the library reads of :class:`Structured` objects; at the end the list
    holds these, and those in containers that were read.

    Only here classes outside the library have a ``__getattribute__`` in Python: later reads cost
    what they always did.
    """
    objects: list[Structured] = []
    if torch.compiler.is_compiling():
        yield objects
        return
    before, _reads.found = _reads.found, {}
    _note(1)
    try:
        yield objects
    finally:
        _note(-1)
        found, _reads.found = _reads.found or {}, before
        if before is not None:
            before.update(found)
        for one in found.values():
            objects.append(one)
            for name in one.__dict__[READ]:
                objects += _inside(one.__dict__.get(name))


def _note(change: int) -> None:
    global _writing
    with _lock:
        _writing += change
        for kind in list(_FOREIGN):
            if (
                _writing
                and "__getattribute__" not in vars(kind)
                and kind.__getattribute__ is object.__getattribute__
            ):
                kind.__getattribute__ = _noting  # type: ignore[method-assign, assignment]
            elif not _writing and vars(kind).get("__getattribute__") is _noting:
                del kind.__getattribute__


def _inside(held: object) -> list[Structured]:
    """The objects in a container, and their parts."""
    if isinstance(held, dict):
        held = list(held.values())
    if not isinstance(held, (list, tuple, set)):
        return []
    modules = [m for one in held if isinstance(one, nn.Module) for m in one.modules()]
    return [m for m in modules if isinstance(m, Structured)] + [
        p for one in held for p in _inside(one)
    ]


def parts(module: nn.Module) -> list[nn.Module]:
    """A module and all inside it, each once, as ``nn.Module.modules`` gives them, without names."""
    found: dict[nn.Module, None] = {}
    waiting = [module]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = None
            if inside := one._modules:
                waiting += [m for m in inside.values() if m is not None][::-1]
    return list(found)


def newest_change(modules: Iterable[nn.Module]) -> int:
    """The number of the newest change of these; 0 if there was none."""
    return max((m.__dict__.get(MARK, 0) for m in modules), default=0)
