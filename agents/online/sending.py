"""The actor's end: rows go out in order until they are acknowledged, policies come in. No socket
and no clock is in here.

    due(now)              what to send now
    received(frame, now)  what came

Rows are sent ahead of their acknowledgement, ``window`` of them at most; what is not acknowledged
in time is sent again, from the last acknowledged one on. A learner that begins anew says how far it
is, and gets the rest from the log.
"""

from __future__ import annotations

import math
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from agents.online.log import RowLog
from agents.online.message import DamagedError, as_array, pack, unpack

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Pace:
    """How much is sent ahead, and how long is waited.

    Args:
        window: rows that are sent ahead of their acknowledgement.
        most: bytes of rows in a message, about.
        again: seconds without an acknowledgement after which rows are sent again.
        ask: seconds between questions for a newer policy.

    >>> Pace().window
    512
    """

    window: int = 512
    most: int = 256 << 10
    again: float = 1.0
    ask: float = 0.5


class Sending:
    """What an actor has to say to its learner, and what it heard.

    Args:
        log: holds the rows.
        actor: the number of this actor, from 0 on.
        about: what the learner checks before it takes rows.
        check: raises DamagedError for weights that are not those of the actor's agent.

    Attributes:
        have: the last row that the learner has taken in; ``safe``: the last one that it would still
            have after a crash.
        version: of the newest policy, None before the first; ``heard``: when the learner was heard
            last.
        refused: why the learner takes nothing from this actor; None: it does. ``hopeless``: and
            will not later, either.
        counts: damaged messages, rows sent again, and so on.
    """

    def __init__(
        self,
        log: RowLog,
        actor: int,
        about: Mapping[str, Any],
        check: Callable[[Arrays], None],
        pace: Pace | None = None,
    ) -> None:
        self.log, self.actor, self.about, self.pace = log, actor, dict(about), pace or Pace()
        self._check = check
        self._lock = threading.Lock()
        # an earlier process with the same log may have messages under way
        self._life = uuid.uuid4().hex
        self.session: str | None = None
        self.have = self.safe = self._sent = log.first - 1
        self.version: int | None = None
        self.heard = -math.inf
        self.refused: str | None = None
        self.hopeless = False
        self.counts: Counter[str] = Counter()
        self._arrays: Arrays | None = None
        self._progress = self._asked = self._greeted = -math.inf

    @property
    def behind(self) -> int:
        """Rows that the learner has not taken in."""
        return self.log.next - 1 - self.have

    def due(self, now: float) -> list[bytes]:
        """The messages to send now."""
        p, found = self.pace, []
        if now - self._greeted >= p.again and (
            self.session is None or now - self.heard > 4 * p.again
        ):
            self._greeted = now
            found.append(pack("hello", first=self.log.first, about=self.about, **self._head))
        if self.session is None:
            return found
        if self._sent > self.have and now - self._progress >= p.again:
            self.counts["sent again"] += self._sent - self.have
            self._sent, self._progress = self.have, now
        while self._sent < min(self.log.next - 1, self.have + p.window):
            first = self._sent + 1
            rows = self.log.read(first, self.have + p.window - self._sent, p.most)
            if self._sent == self.have:
                self._progress = now
            self._sent += len(rows)
            rest = {"first": first, "rows": [as_array(row) for row in rows]}
            found.append(pack("rows", session=self.session, **rest, **self._head))
        if now - self._asked >= p.ask:
            self._asked, version = now, -1 if self.version is None else self.version
            found.append(pack("want", session=self.session, version=version + 1, **self._head))
        return found

    @property
    def _head(self) -> dict[str, Any]:
        return {"actor": self.actor, "log": self.log.name, "life": self._life}

    def received(self, frame: bytes, now: float) -> None:
        """Take in a message; what is damaged, or is not for this actor, is counted and ignored."""
        try:
            message = unpack(frame)
            {"state": self._state, "weights": self._weights, "refused": self._refused}[
                message["kind"]
            ](message, now)
        except (DamagedError, KeyError):
            self.counts["damaged"] += 1

    def _state(self, message: Mapping[str, Any], now: float) -> None:
        if message["log"] != self.log.name:
            self.counts["others"] += 1
            return
        have, safe = message["have"], message["safe"]
        if self.session is None:
            self.log.skip(have)
        if not safe <= have < self.log.next or have < self.log.first - 1:
            raise DamagedError(f"expected at most {self.log.next - 1} rows, got {have}")
        self.heard, self.refused = now, None
        if message["session"] != self.session:  # a learner that has begun
            self.session, self.version, self._asked = message["session"], None, -math.inf
            self.have = self._sent = have
            self._progress = now
        elif have > self.have:
            self.have, self._progress = have, now
            self._sent = max(self._sent, have)
        if safe > self.safe:
            self.safe = safe
            self.log.drop(safe)

    def _weights(self, message: Mapping[str, Any], now: float) -> None:
        if message["session"] != self.session:
            self.counts["others"] += 1
            return
        self.heard = now
        if self.version is not None and message["version"] <= self.version:
            self.counts["old policies"] += 1
            return
        try:
            self._check(message["arrays"])
        except DamagedError:
            self.counts["unfit policies"] += 1
            return
        with self._lock:
            self.version, self._arrays = message["version"], message["arrays"]

    def _refused(self, message: Mapping[str, Any], now: float) -> None:
        if message["log"] == self.log.name:
            self.refused = message["why"][:500]
            self.hopeless = not message["again"]
            if message["again"]:
                self.heard = now

    def take(self) -> tuple[int, Arrays] | None:
        """The newest policy, once."""
        with self._lock:
            if self._arrays is None or self.version is None:
                return None
            found, self._arrays = (self.version, self._arrays), None
            return found
