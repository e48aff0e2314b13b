"""What goes wrong between a program and a robot, each switchable: a link that delays, loses and
garbles; a body that sticks and rattles; sensors that are noisy, late or broken.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from envs.robot.errors import RobotError


@dataclass(frozen=True)
class Faults:
    """All off by default; `dataclasses.replace` switches.

    Of the link, in both directions: `latency_ms`, `jitter_ms` (the scale of an exponential delay on
    top), and the shares of messages that are lost (`loss`), come twice (`duplicate`), come late by
    up to five times the latency and 20 ms, so that others pass them (`reorder`), or have a flipped
    bit (`corrupt`); `cut`: nothing passes. Of the sensors: `noise` (standard deviation, in each
    number's own unit), `dropped` (the share of frames that only repeat the one before), `frozen`
    (all of them do), and `broken` values in their place. Of the body: `stuck`, the action whose
    drive no longer follows, `backlash`, the play between drive and joint, in the action's unit, and
    `payload` (kg) that it carries unannounced.

    >>> Faults(latency_ms=20.0, loss=0.1).cut
    False
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    cut: bool = False
    noise: float = 0.0
    dropped: float = 0.0
    frozen: bool = False
    broken: Literal["nan", "inf", "huge"] | None = None
    stuck: str | None = None
    backlash: float = 0.0
    payload: float = 0.0

    def __post_init__(self) -> None:
        for name in ("latency_ms", "jitter_ms", "noise", "backlash", "payload"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0.0 <= value < math.inf):
                raise RobotError(
                    f"faults: {name}: expected a finite number, 0 or more, got {value!r}"
                )
        for name in ("loss", "duplicate", "reorder", "corrupt", "dropped"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0.0 <= value <= 1.0):
                raise RobotError(f"faults: {name}: expected a share in [0, 1], got {value!r}")
        if self.broken not in (None, *BROKEN):
            raise RobotError(
                f"faults: broken: expected one of {', '.join(BROKEN)}, got {self.broken!r}"
            )

    @staticmethod
    def read(values: Any) -> Faults:
        """From plain data. Raises RobotError for what is none of the faults."""
        known = {f.name for f in fields(Faults)}
        if not isinstance(values, dict) or not values.keys() <= known:
            raise RobotError(
                f"faults: expected some of {', '.join(sorted(known))}, got {values!r:.100}"
            )
        return replace(Faults(), **values)


BROKEN = {"nan": math.nan, "inf": math.inf, "huge": 1e300}


class Channel:
    """One direction of a link. What is put in comes out when its time has come, if it does.

    >>> channel = Channel(np.random.default_rng(0))
    >>> channel.put(b"on", 0.0, Faults(latency_ms=20.0))
    >>> channel.due(0.01), channel.due(0.02)
    ([], [b'on'])
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._waiting: list[tuple[float, int, bytes]] = []
        self._count = 0

    def put(self, message: bytes, now: float, faults: Faults) -> None:
        """A message sets out."""
        if faults.cut or self._happens(faults.loss):
            return
        for _ in range(2 if self._happens(faults.duplicate) else 1):
            delay = faults.latency_ms
            if faults.jitter_ms:
                delay += float(self._rng.exponential(faults.jitter_ms))
            if self._happens(faults.reorder):
                delay += float(self._rng.uniform(0.0, 5.0 * faults.latency_ms + 20.0))
            body = self._garbled(message) if self._happens(faults.corrupt) else message
            self._count += 1
            heapq.heappush(self._waiting, (now + delay / 1000.0, self._count, body))

    def due(self, now: float) -> list[bytes]:
        """The messages that have arrived."""
        found = []
        while self._waiting and self._waiting[0][0] <= now + 1e-9:
            found.append(heapq.heappop(self._waiting)[2])
        return found

    def state(self) -> dict[str, Any]:
        """What is on its way, as plain data."""
        waiting = [
            [when, count, np.frombuffer(body, np.uint8)]
            for when, count, body in sorted(self._waiting)
        ]
        return {"waiting": waiting, "count": self._count}

    def load_state(self, state: Any) -> None:
        """Go on from `state()`."""
        waiting = [
            (float(when), int(count), np.asarray(body, np.uint8).tobytes())
            for when, count, body in state["waiting"]
        ]
        self._waiting = waiting
        self._count = int(state["count"])

    def _happens(self, share: float) -> bool:
        return share > 0.0 and float(self._rng.random()) < share

    def _garbled(self, message: bytes) -> bytes:
        bit = int(self._rng.integers(8 * len(message)))
        found = bytearray(message)
        found[bit // 8] ^= 1 << bit % 8
        return bytes(found)
