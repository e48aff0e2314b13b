"""What a person sees while a run goes on: a live line with a bar in a terminal, a line now and then
elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TextIO

SHOWN = ("rec", "rew", "dyn", "policy", "value")
WINDOW = 60.0  # seconds that speeds are taken over
BAR = 12


class Live:
    """A line that is drawn again and again in a terminal with rich, and printed now and then
    elsewhere. A terminal that is gone never stops the run.

    Args:
        title: what runs.
        stream: where text goes, the standard error if None.
        every: seconds between lines where there is no terminal.

    >>> with Live("arm", sys.stdout) as live:
    ...     live.show(["20.0 Hz", "policy 12"])
    arm: 20.0 Hz, policy 12
    """

    def __init__(self, title: str, stream: TextIO | None = None, every: float = 10.0) -> None:
        self.title, self.every = title, every
        self.stream = stream or sys.stderr
        self._shown = float("-inf")
        self._live: Any = None

    def __enter__(self) -> Self:
        with suppress(ImportError):
            self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            with suppress(OSError, ValueError):
                self._live.stop()

    def due(self) -> bool:
        """Whether it is time to show something; then the next time is a while from now."""
        now = time.monotonic()
        if now - self._shown < (0.25 if self._live is not None else self.every):
            return False
        self._shown = now
        return True

    def show(self, parts: Sequence[str], share: float | None = None) -> None:
        """Show parts, the most important first, behind a bar of how much is done."""
        if self._live is None:
            self.message(f"{self.title}: {', '.join(parts)}")
        else:
            self._draw(parts, share)

    def message(self, text: str) -> None:
        """Say something, above the line if there is one."""
        with suppress(OSError, ValueError):  # a closed pipe or file
            if self._live is None:
                print(text, file=self.stream, flush=True)
            else:
                self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _start(self) -> None:
        if not self.stream.isatty():
            return
        from rich.console import Console
        from rich.live import Live as Lines

        console = Console(file=self.stream)
        if console.is_dumb_terminal:
            return
        self._live = Lines(console=console, refresh_per_second=4)
        self._live.start()
        self.message(self.title)

    def _draw(self, parts: Sequence[str], share: float | None) -> None:
        from rich.text import Text

        width = self._live.console.width
        if share is None:
            self._live.update(Text(fit(parts, width), no_wrap=True, overflow="crop"))
            return
        done = min(BAR, int(BAR * share))
        bar = Text.assemble(
            ("━" * done, "bar.complete"),
            ("─" * (BAR - done), "bar.back"),
            no_wrap=True,
            overflow="crop",
        )
        self._live.update(bar.append(" " + fit(parts, width - BAR - 1)))


class Display(Live):
    """Progress, steps of the total and time left first, then return, losses and speeds.

    Args:
        total: environment steps of the run.
        title: what runs.
        stream: where text goes, the standard error if None; a bar is drawn if it is a terminal and
            rich is installed.
        every: seconds between lines.
        unit: what ``total`` counts; ``"updates"`` for a run without an environment, which has no
            returns.

    >>> with Display(1000, "Pendulum-v1", sys.stdout) as display:
    ...     display.update(250, 40, -900.0, {"rec": 0.5})
    Pendulum-v1: 25 %, 250/1,000 steps, - left, return -900.0, rec 0.5, 40 updates
    """

    def __init__(
        self,
        total: int,
        title: str,
        stream: TextIO | None = None,
        every: float = 10.0,
        unit: str = "steps",
    ) -> None:
        super().__init__(title, stream, every)
        self.total, self.unit, self._ended = total, unit, False
        self._seen: deque[tuple[float, int, int]] = deque()

    def phase(self, text: str, steps: int) -> None:
        """Show at once what is done now, which may take a while and moves no number."""
        parts = [f"{100 * min(steps, self.total) // self.total} %", text]
        self.show(parts, steps / self.total)

    def update(
        self,
        steps: int,
        updates: int,
        ret: float | None,
        losses: Mapping[str, float],
        due: int = 0,
    ) -> None:
        """Show how far it is: environment steps, updates, a return of late (None: none yet), losses
        by name. While no steps are made, of updates that are ``due`` before the next one, their
        number stands in the place of the time that is left.
        """
        ended, self._ended = self._ended, steps >= self.total
        if not self.due() and (ended or not self._ended):
            return
        now = time.monotonic()
        self._seen.append((now, steps, updates))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        self.show(self._parts(ret, losses, due), steps / self.total)

    def _parts(self, ret: float | None, losses: Mapping[str, float], due: int) -> list[str]:
        """What is shown, the most important first."""
        (began, first, first_updates), (now, steps, updates) = self._seen[0], self._seen[-1]
        past = max(now - began, 1e-9)
        speed = (steps - first) / past
        left = _duration(max(self.total - steps, 0) / speed) if speed > 0 else "-"
        wait = f"{due:,} updates first" if due > 1 and not speed else f"{left} left"
        acting = self.unit != "updates"
        parts = [
            f"{100 * min(steps, self.total) // self.total} %",
            f"{steps:,}/{self.total:,} {self.unit}",
            wait,
        ]
        parts += [f"return {'-' if ret is None else f'{ret:.1f}'}"] if acting else []
        names = [k for k in SHOWN if k in losses] or list(losses)[: len(SHOWN)]
        parts += [f"{k} {losses[k]:.3g}" for k in names]
        parts += [f"{updates:,} updates"] if acting else []
        if speed > 0:
            parts += [f"{speed:.3g} steps/s"] if acting else []
            parts += [f"{(updates - first_updates) / past:.3g} updates/s"]
        return parts


def fit(parts: Sequence[str], width: int) -> str:
    """As many of the first parts as a line has room for; a part is shown whole or not.

    >>> fit(["50 %", "5/10 steps", "rec 0.5"], 20)
    '50 %, 5/10 steps'
    """
    text = ""
    for part in parts:
        longer = f"{text}, {part}" if text else part
        if len(longer) > width:
            break
        text = longer
    return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
