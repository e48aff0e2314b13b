"""The arm of `robot_parts` for another process, which writes down what it is told, and may hang."""

from __future__ import annotations

import json
import time
from pathlib import Path

from robot_parts import Arm


class WrittenArm(Arm):
    """Writes each command and stop as a line into `path`, whichever process it is in."""

    def __init__(self, path: str, observe_hangs: bool = False) -> None:
        super().__init__()
        self._path, self._hangs = Path(path), observe_hangs
        self._reads = 0

    def get_observation(self):
        self._reads += 1
        if self._hangs and self._reads > 3:
            time.sleep(60.0)
        return super().get_observation()

    def send_action(self, action):
        self._write(["send", action])
        return super().send_action(action)

    def stop(self) -> None:
        self._write(["stop", {}])

    def _write(self, line) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
