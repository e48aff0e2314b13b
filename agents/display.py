"""What a person sees while a run goes on: a live bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TextIO

SHOWN = ("rec", "rew", "dyn", "policy", "value")
WINDOW = 60.0  # seconds that speeds are taken over


class Display:
    """Steps, updates, return, losses, speeds and time left. A terminal that is gone never stops the run.

    Args:
        total: environment steps of the run.
        title: what runs.
        stream: where text goes, the standard error if None; a bar is drawn if it is a terminal and rich is installed.
        every: seconds between lines.
        unit: what ``total`` counts; ``"updates"`` for a run without an environment, which has no returns.
    """

    def __init__(
        self, total: int, title: str, stream: TextIO | None = None, every: float = 10.0, unit: str = "steps"
    ) -> None:
        self.total, self.title, self.every, self.unit = total, title, every, unit
        self.stream = stream or sys.stderr
        self._seen: deque[tuple[float, int, int]] = deque()
        self._shown = float("-inf")
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        with suppress(ImportError):
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.stop()

    def update(self, steps: int, updates: int, ret: float | None, losses: Mapping[str, float]) -> None:
        """Show how far it is: environment steps, updates, a return of late (None: none yet), losses by name."""
        now = time.monotonic()
        wait = 0.25 if self._bar is not None else self.every
        if now - self._shown < wait and steps < self.total:
            return
        self._shown = now
        self._seen.append((now, steps, updates))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        text = self._text(ret, losses)
        if self._bar is None:
            self.message(f"{self.title}: {steps:,}/{self.total:,} {self.unit}, {text}")
        else:
            self._bar.update(self._task, completed=steps, text=text)

    def message(self, text: str) -> None:
        """Say something, above the bar if there is one."""
        with suppress(OSError, ValueError):  # a closed pipe or file
            if self._bar is None:
                print(text, file=self.stream, flush=True)
            else:
                self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _start(self) -> None:
        if not self.stream.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        console = Console(file=self.stream)
        if console.is_dumb_terminal:
            return
        said = [TextColumn(f"{{task.{field}}}", markup=False) for field in ("description", "fields[text]")]
        self._bar = Bar(said[0], BarColumn(bar_width=20), MofNCompleteColumn(), said[1], console=console, refresh_per_second=4)
        self._task = self._bar.add_task(self.title, total=self.total, text="")
        self._bar.start()

    def _text(self, ret: float | None, losses: Mapping[str, float]) -> str:
        (began, first, first_updates), (now, steps, updates) = self._seen[0], self._seen[-1]
        past = max(now - began, 1e-9)
        names = [k for k in SHOWN if k in losses] or list(losses)[: len(SHOWN)]
        acting = self.unit != "updates"
        parts = [f"{updates:,} updates", f"return {'-' if ret is None else f'{ret:.1f}'}"] if acting else []
        parts += [f"{k} {losses[k]:.3g}" for k in names]
        if steps > first:
            speed = (steps - first) / past
            parts += [f"{speed:.3g} steps/s"] if acting else []
            parts += [f"{(updates - first_updates) / past:.3g} updates/s"]
            parts += [f"{_duration(max(self.total - steps, 0) / speed)} left"]
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
