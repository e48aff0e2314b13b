"""What a person sees while a run goes on: a live bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TextIO

SHOWN = ("rec", "rew", "dyn", "policy", "value")


class Progress:
    """Steps, updates, return, losses, speed and time left.

    Args:
        total: environment steps of the run.
        title: what runs.
        stream: where text goes; a bar is drawn if it is a terminal.
        every: seconds between lines.
    """

    def __init__(self, total: int, title: str, stream: TextIO | None = None, every: float = 10.0) -> None:
        self.total, self.title, self.every = total, title, every
        self.stream = stream or sys.stderr
        self._began: float | None = None
        self._first = 0
        self._shown = 0.0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self.stream.isatty():
            try:
                from rich.console import Console
                from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
                from rich.progress import Progress as Bar
            except ImportError:
                return self
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
            self._bar = Bar(*columns, console=Console(file=self.stream), refresh_per_second=4)
            self._task = self._bar.add_task(self.title, total=self.total, text="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, steps: int, updates: int, ret: float | None, losses: Mapping[str, float]) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if self._began is None:
            self._began, self._first = now, steps
        wait = 0.25 if self._bar is not None else self.every
        if now - self._shown < wait and steps < self.total:
            return
        self._shown = now
        speed = (steps - self._first) / max(now - self._began, 1e-9)
        left = (self.total - steps) / speed if speed > 0 else float("inf")
        parts = [f"{steps}/{self.total} steps", f"{updates} updates", f"return {'-' if ret is None else f'{ret:.1f}'}"]
        parts += [f"{k} {losses[k]:.2f}" for k in SHOWN if k in losses]
        parts += [f"{speed:.0f} steps/s", "-" if left == float("inf") else f"{left / 60:.1f} min left"]
        if self._bar is not None:
            self._bar.update(self._task, completed=steps, text="  ".join(parts))
        else:
            print(f"{self.title}: " + ", ".join(parts), file=self.stream, flush=True)

    def message(self, text: str) -> None:
        """Say something."""
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            print(text, file=self.stream, flush=True)
