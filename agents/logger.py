"""The log of a run: JSON lines always, further trackers when asked for; it never stops the run."""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """A further place for numbers."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take some numbers."""
        ...

    def close(self) -> None:
        """No more numbers come."""
        ...


class Logger:
    """Appends to ``metrics.jsonl`` and forwards to a tracker.

    A line is ``{"step", "time", "kind", ...numbers}``; numbers that are not finite are written as null and named under
    ``nonfinite``.  A full disk or a tracker that raises gives one warning.

    Args:
        directory: the run's folder.
        tracker: a further log.
    """

    def __init__(self, directory: Path, *, tracker: Tracker | None = None) -> None:
        self.path = Path(directory) / "metrics.jsonl"
        self._tracker = tracker
        self._warned = False

    def log(self, step: int, metrics: Mapping[str, float], kind: str = "train") -> None:
        """Write numbers of environment step ``step``."""
        bad = [k for k, v in metrics.items() if not math.isfinite(v)]
        line: dict[str, Any] = {"step": int(step), "time": round(time.time(), 3), "kind": kind}
        line |= {k: None if k in bad else v for k, v in metrics.items()}
        if bad:
            line["nonfinite"] = bad
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            if not self._warned:
                warnings.warn(f"cannot write {self.path}: {error}; training goes on without these lines", stacklevel=2)
                self._warned = True
        if self._tracker is not None:
            try:
                self._tracker.log(step, {f"{kind}/{k}": v for k, v in metrics.items()})
            except Exception as error:
                warnings.warn(f"the tracker failed ({error}) and is switched off; training goes on", stacklevel=2)
                self._tracker = None

    def truncate_after(self, step: int) -> None:
        """Drop the lines after ``step``, before a run goes on from there."""
        lines = [x for x in read_metrics(self.path) if x["step"] <= step]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(x) + "\n" for x in lines), encoding="utf-8")
        os.replace(temporary, self.path)

    def close(self) -> None:
        """Close the tracker."""
        if self._tracker is not None:
            try:
                self._tracker.close()
            except Exception as error:
                warnings.warn(f"the tracker did not close: {error}", stacklevel=2)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a torn last line, as a crash leaves it, is left out."""
    if not path.exists():
        return []
    found = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(lines):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            if i + 1 < len(lines):
                raise ValueError(f"{path}, line {i + 1}: not JSON: {line[:60]!r}") from None
    return found
