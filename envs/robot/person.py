"""The person beside the robot: keys, and a hand on the controls."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

_KEYS = {" ": "pause", "s": "success", "f": "failure", "r": "reset", "x": "stop", "\x1b": "stop"}
KEYS = "space: pause, go on   s: success   f: failure   r: reset   x: stop"
"""What the keys of `Keyboard` mean."""


@dataclass(frozen=True)
class Wishes:
    """What a person wants in this tick. `action` replaces the policy's: name -> number, a whole
    command.

    `pause` holds as long as it is wished; `success`, `failure` and `reset` end the episode.

    >>> Wishes(pause=True).stop
    False
    """

    action: Mapping[str, float] | None = None
    pause: bool = False
    success: bool = False
    failure: bool = False
    reset: bool = False
    stop: bool = False


NONE = Wishes()


class Person(Protocol):
    """Asked once a tick, and returns at once.

    >>> class Nobody:
    ...     def wishes(self):
    ...         return Wishes()
    >>> Nobody().wishes().pause
    False
    """

    def wishes(self) -> Wishes: ...


class Keyboard:
    """Single keys from the terminal, without Return; see `KEYS`. A context manager, which puts the
    terminal back.

    Args:
        teleoperator: an object with `get_action() -> name -> number or None`, such as a leader arm;
            while it returns a command, the person moves the robot.

    >>> with Keyboard() as keyboard:
    ...     keyboard.wishes().stop
    False
    """

    def __init__(self, teleoperator: Any = None) -> None:
        self._teleoperator = teleoperator
        self._paused = False
        self._before: Any = None

    def __enter__(self) -> Self:
        # no terminal, or one that has no such modes
        with suppress(ImportError, OSError, ValueError):
            import termios
            import tty

            if sys.stdin.isatty():
                self._before = termios.tcgetattr(sys.stdin)
                tty.setcbreak(sys.stdin.fileno())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
            self._before = None

    def wishes(self) -> Wishes:
        """The keys that were pressed since the last call."""
        found = [_KEYS[key] for key in self._pressed() if key in _KEYS]
        if found.count("pause") % 2:
            self._paused = not self._paused
        action = None if self._teleoperator is None else self._teleoperator.get_action()
        others = {name: True for name in found if name != "pause"}
        return Wishes(action=action, pause=self._paused, **others)

    def _pressed(self) -> str:
        if self._before is None:
            return ""
        text = b""
        while select.select([sys.stdin], [], [], 0.0)[0]:
            got = os.read(sys.stdin.fileno(), 64)
            if not got:
                break
            text += got
        return text.decode(errors="ignore").lower()
