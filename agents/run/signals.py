"""Being asked to stop: Ctrl+C, SIGTERM, SIGHUP. What is being done is finished first."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stop:
    """Within the context a signal only sets ``asked``; a second Ctrl+C interrupts at once, and
    nothing is saved then.

    In a thread other than the main one signals cannot be caught, and ``asked`` stays None unless
    :meth:`ask` is called.

    >>> with Stop() as stop:
    ...     stop.ask()
    >>> stop.asked, stop.code
    ('SIGINT', 130)
    """

    def __init__(self) -> None:
        self.asked: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def code(self) -> int:
        """The exit code of a process that was stopped so: 128 and the signal's number."""
        return 0 if self.asked is None else 128 + int(signal.Signals[self.asked])

    def ask(self, name: str = "SIGINT") -> None:
        """Stop after what is being done."""
        self.asked = self.asked or name

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in NAMES:
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked == "SIGINT" and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.ask(signal.Signals(number).name)
