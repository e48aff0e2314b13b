"""Wings: packages beside the library that add to it from outside, and that can be deleted.

No room of the library imports a wing. A wing is found by its name when :mod:`pixyz` is imported,
and says there what it does when a package is complete (:func:`when_complete`); a package says at
its end that it is (:func:`complete`). ``pixyz.compat``, for scripts of pixyz 0.3.3, is the one
wing that ships.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from types import ModuleType

WINGS = ("pixyz.compat",)
"""What is looked for; one that is not there is not missed."""

_complete: set[str] = set()
_waiting: dict[str, list[Callable[[ModuleType], None]]] = {}


def open_wings() -> None:
    """Import the wings that are there, beside the other packages of the library."""
    beside = sys.modules["pixyz"].__path__
    for name in WINGS:
        if PathFinder.find_spec(name, beside) is not None:
            importlib.import_module(name)


def when_complete(package: str, then: Callable[[ModuleType], None]) -> None:
    """Call ``then`` with a package when all of it is imported, or now if it is."""
    if package in _complete:
        then(sys.modules[package])
    else:
        _waiting.setdefault(package, []).append(then)


def complete(package: str) -> None:
    """Say that all of a package is imported."""
    _complete.add(package)
    for then in _waiting.pop(package, ()):
        then(sys.modules[package])
