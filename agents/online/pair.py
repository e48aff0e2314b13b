"""An actor's learner, in a process beside it: started, started again if it dies, and waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from agents.errors import RunError

AGAIN = 5
"""Deaths of the learner within :data:`WITHIN` seconds that end the run."""
WITHIN = 600.0


class Pair:
    """A learner in a process of its own, and the address that it is at.

    Args:
        arguments: of ``pixyz robot learner``.
        run: the learner's folder; what it says is written beside it.

    Raises:
        RunError: by :meth:`look`: it died too often, or it cannot begin.
    """

    def __init__(self, arguments: Sequence[str], run: Path) -> None:
        self._closing = ExitStack()
        folder = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="pixyz-"))
        self.address = f"ipc://{folder}/talk"
        self.said = run.parent / f"{run.name}-learner.txt"
        run.parent.mkdir(parents=True, exist_ok=True)
        self._command = [
            sys.executable,
            "-m",
            "agents.cli",
            "robot",
            "learner",
            *arguments,
            "--bind",
            self.address,
            "--parent",
            str(os.getpid()),
        ]
        self._deaths: list[float] = []
        self._start()

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([p for p in sys.path if p])}
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
            )

    def look(self) -> None:
        """Start the learner again if it died; what it had not saved comes again from the actor's
        log.
        """
        code = self.process.poll()
        if code is None or code == 0:
            return
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < WITHIN] + [now]
        if code > 0 or len(self._deaths) >= AGAIN:  # it says why
            raise RunError(
                f"the learner ended with code {code}: {self._tail()}; "
                f"the actor's rows are in its log"
            )
        self._start()

    def wait(self) -> int:
        """Wait until the learner is done; its exit code, 130 after a second Ctrl+C."""
        while True:
            try:
                code = self.process.wait()
            except KeyboardInterrupt:  # it has heard the signal, too
                continue
            if code >= 0 or len(self._deaths) >= AGAIN:
                return code if code >= 0 else 128 - code
            self.look()

    def _tail(self) -> str:
        lines = self.said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it wrote nothing to {self.said}"

    def close(self) -> None:
        """End the learner: as Ctrl+C does, which saves; after a minute at once."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()
