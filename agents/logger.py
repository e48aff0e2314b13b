"""The log of a run: JSON lines always, a tracker when asked for. A full disk or a failing tracker
never stops the run.

log(step, numbers)  ->  a line of metrics.jsonl  +  the tracker
state               ->  how far the log was; load_state(state) drops the lines after it,
                        so that none comes twice
"""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from agents.disk import sync_file
from agents.errors import RunError

RESERVED = ("step", "time", "kind", "nonfinite")


class Tracker(Protocol):
    """A further place for numbers. It may raise: the logger then warns, and uses it no more."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the numbers of environment step ``step``."""
        ...

    def close(self) -> None:
        """No more numbers come."""
        ...


class Logger:
    """Appends to ``metrics.jsonl`` and forwards to a tracker.

    A line is ``{"step", "time", "kind", ...numbers}``, ``time`` in seconds since 1970; numbers that
    are not finite are written as null and named under ``nonfinite``. A line that cannot be written
    is dropped, with one warning for the whole run, and the next is tried again; a tracker that
    raises is warned of and switched off.

    Args:
        directory: the run's folder.
        tracker: a further log.
    """

    def __init__(self, directory: Path, *, tracker: Tracker | None = None) -> None:
        self.path = Path(directory) / "metrics.jsonl"
        self._tracker = tracker
        self._warned = False
        self._end: tuple[int, int] | None = (
            None  # lines and bytes; found out when they are first needed
        )

    def log(self, step: int, metrics: Mapping[str, float], kind: str = "train") -> None:
        """Write numbers of environment step ``step``. Raises ValueError for a name that the line
        itself needs.
        """
        values = {name: _number(name, value) for name, value in metrics.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        row: dict[str, Any] = {"step": int(step), "time": round(time.time(), 3), "kind": kind}
        row |= {name: None if name in bad else value for name, value in values.items()}
        if bad:
            row["nonfinite"] = bad
        try:
            self._append(_line(row))
        except OSError as error:
            self._warn(f"cannot write {self.path}: {error}; training goes on without these lines")
        if self._tracker is not None:
            try:
                self._tracker.log(
                    int(step), {f"{kind}/{name}": value for name, value in values.items()}
                )
            except Exception as error:
                warnings.warn(
                    f"the tracker failed ({error}) and is switched off; training goes on",
                    stacklevel=2,
                )
                self._tracker = None

    def truncate_after(self, step: int) -> None:
        """Drop the lines after ``step``, before a run goes on from there.

        Raises:
            RunError: a line in the middle of the file is broken.
        """
        rows = read_metrics(self.path)
        try:
            if self.path.exists():
                _rewrite(self.path, (row for row in rows if row["step"] <= step))
            self._end = None
        except OSError as error:
            self._warn(
                f"cannot shorten {self.path}: {error}; steps after {step} will be in it twice"
            )

    def state(self) -> dict[str, int]:
        """How many lines and bytes the log has, for a checkpoint; they lie on the disk then."""
        lines, size = 0, 0
        try:
            lines, size = self._find_end()
            if size:
                with self.path.open("rb+") as file:
                    sync_file(file)
        except OSError as error:
            self._warn(f"cannot sync {self.path}: {error}; after a power loss lines may be missing")
        return {"lines": lines, "bytes": size}

    def load_state(self, state: Mapping[str, int]) -> None:
        """Drop the lines that were written after a state; those before it stay byte for byte.

        A log that is missing or shorter, as a power loss or a person may leave it, gives a warning
        and goes on as it is.
        """
        self._end = None
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
            lines = data.splitlines(keepends=True)
            end = sum(map(len, lines[: state["lines"]]))
            if end != state["bytes"] or not data[:end].endswith(b"\n" if end else b""):
                self._warn(
                    f"{self.path}: expected {state['lines']} lines of {state['bytes']} bytes, "
                    f"as at the checkpoint, got "
                    f"{min(len(lines), state['lines'])} of {end}; it was shortened or changed, "
                    f"the run goes on"
                )
            if self.path.exists():
                os.truncate(self.path, end)
        except OSError as error:
            self._warn(
                f"cannot shorten {self.path}: {error}; "
                f"lines after the checkpoint will be in it twice"
            )

    def close(self) -> None:
        """Close the tracker."""
        if self._tracker is not None:
            try:
                self._tracker.close()
            except Exception as error:
                warnings.warn(f"the tracker did not close: {error}", stacklevel=2)
            self._tracker = None

    def _append(self, line: str) -> None:
        """Add a line whole or not at all, so that a line cut by a full disk is not in the middle of
        later ones.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines, _ = self._find_end()
        with self.path.open("ab") as file:
            end = file.tell()
            try:
                file.write(line.encode())
                file.flush()
                self._end = lines + 1, file.tell()
            except OSError:
                with suppress(OSError):
                    os.ftruncate(file.fileno(), end)
                raise

    def _find_end(self) -> tuple[int, int]:
        """Lines and bytes; a torn last line, which a crash has left, is taken away."""
        if self._end is None:
            data = self.path.read_bytes() if self.path.exists() else b""
            end = data.rfind(b"\n") + 1
            if end < len(data):
                os.truncate(self.path, end)
            self._end = data.count(b"\n"), end
        return self._end

    def _warn(self, text: str) -> None:
        if not self._warned:
            warnings.warn(text, stacklevel=3)
            self._warned = True


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, none if there is no file. A torn last line, as a crash leaves it, is left
    out.

    Raises:
        RunError: a line before the last is no row.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            row["step"] += 0  # a row, not a bare number
        except (ValueError, KeyError, TypeError):
            if number == len(lines) or not any(lines[number:]):
                break
            raise RunError(
                f"{path}, line {number}: expected a JSON row, got {line[:60]!r}; remove the line"
            ) from None
        rows.append(row)
    return rows


def _number(name: str, value: float) -> float:
    if name in RESERVED:
        raise ValueError(
            f"metric {name!r}: expected a name other than {', '.join(RESERVED)}; rename it"
        )
    return value if isinstance(value, int) else float(value)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _rewrite(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(_line(row) for row in rows)
        sync_file(file)
    os.replace(temporary, path)
