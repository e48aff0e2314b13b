"""What a run computes once: a network that is called at each step of a loop keeps here what does
not depend on the step.

    def forward(self, x):
        packed = once((self, "packed"), self.pack)      # the first call of a run packs, the others
                                                        find it

It lives from the beginning of a run of a plan to its end, in the thread that runs.  Outside of a
run, and within :func:`one_run`, code written by hand has the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class _Running(threading.local):
    held: dict[Hashable, Any] | None = None


RUNNING = _Running()
"""What the innermost run of this thread holds; None outside of runs."""


@contextmanager
def one_run() -> Iterator[None]:
    """A run: what is computed within it by :func:`once` is computed once."""
    outer, RUNNING.held = RUNNING.held, {}
    try:
        yield
    finally:
        RUNNING.held = outer


def once(key: Hashable, make: Callable[[], T]) -> T:
    """``make()``, or what it was in this run; outside of a run it is always made.

    Args:
        key: what it is of; holds everything that it depends on.

    >>> with one_run():
    ...     once("a", list) is once("a", list)
    True
    >>> once("a", list) is once("a", list)
    False
    """
    held = RUNNING.held
    if held is None:
        return make()
    if key not in held:
        held[key] = make()
    found: T = held[key]
    return found
