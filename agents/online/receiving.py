"""The learner's end: rows come in, each once and in order; policies go out to who asks. No socket
and no clock is in here.

received(frame, now)  the answers to what came
take(most)            rows for the replay
publish(version, ..)  a newer policy
kept(numbers)         rows up to these would be there after a crash
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from agents.online.message import DamagedError, as_bytes, pack, unpack
from agents.online.sending import Arrays

AWAY = 10.0
"""Seconds of silence after which another log may take an actor's place."""
AGAIN = 5.0
"""Seconds after which a policy is sent again to who still asks for it."""


class NotYetError(DamagedError):
    """An actor that does not fit now, and may fit later."""


class Arrived(NamedTuple):
    """A row: whose, of which log, its number there, and the record.

    >>> Arrived(0, "a", 1, b"").number
    1
    """

    actor: int
    log: str
    number: int
    data: bytes


@dataclass
class Peer:
    """What is known of an actor: its log, the last row taken in, the last row that would survive a
    crash; its process, when it was heard, and which policy it was sent when.
    """

    log: str = ""
    have: int = 0
    safe: int = 0
    life: str = ""
    heard: float = float("-inf")
    sent: tuple[int, float] = (-1, float("-inf"))


class Receiving:
    """What a learner hears from its actors, and what it tells them.

    Its methods may be called from two threads: one that has the socket, and one that learns.

    Args:
        actors: how many there are.
        check: raises DamagedError where an actor does not fit, given what it says about itself.
        most: bytes of rows that wait to be taken; what comes beyond is not acknowledged, and comes
            again.

    Attributes:
        session: of this learner; another one after every start.
        counts: damaged messages, rows that came twice, and so on.
    """

    def __init__(
        self, actors: int, check: Callable[[Mapping[str, Any]], None], most: int = 64 << 20
    ) -> None:
        self.actors, self.most, self._check = actors, most, check
        self.session = uuid.uuid4().hex
        self.peers = [Peer() for _ in range(actors)]
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._waiting: deque[Arrived] = deque()
        self._bytes = 0
        self._newest: tuple[int, Arrays] | None = None
        self._packed: tuple[int, bytes] | None = None

    # ---------------------------------------------------------------- the thread that has the
    # socket

    def received(self, frame: bytes, now: float) -> list[bytes]:
        """Take in a message; returns what to answer to its sender."""
        try:
            message = unpack(frame)
            kind = message["kind"]
            if kind not in ("hello", "rows", "want") or not 0 <= message["actor"] < self.actors:
                raise DamagedError(f"expected a message of one of {self.actors} actors, got {kind}")
            with self._lock:
                if kind == "hello":
                    return self._hello(message, now)
                peer = self.peers[message["actor"]]
                if message["log"] != peer.log or message["life"] != peer.life:
                    self.counts["others"] += 1
                    return []
                peer.heard = now
                if message["session"] != self.session:  # of the learner before this one
                    return [self._state(peer)]
                return (
                    self._rows(message, peer) if kind == "rows" else self._want(message, peer, now)
                )
        except DamagedError:
            self.counts["damaged"] += 1
            return []

    def _hello(self, message: Mapping[str, Any], now: float) -> list[bytes]:
        peer, log = self.peers[message["actor"]], message["log"]

        def refused(why: str, again: bool = False) -> list[bytes]:
            return [pack("refused", log=log, why=why, again=again)]

        if log != peer.log and now - peer.heard < AWAY:
            return refused(
                f"actor {message['actor']} is another process, heard {now - peer.heard:.0f} s ago; "
                f"give --actor",
                True,
            )
        try:
            self._check(message["about"])
        except DamagedError as error:
            self.counts["not yet" if isinstance(error, NotYetError) else "unfit actors"] += 1
            return refused(str(error), isinstance(error, NotYetError))
        if log != peer.log:
            peer.log, peer.have, peer.safe = log, message["first"] - 1, message["first"] - 1
        if peer.have < message["first"] - 1:
            return refused(
                f"row {peer.have + 1} is needed, and the log begins with {message['first']}; "
                f"begin another log"
            )
        peer.life, peer.heard, peer.sent = message["life"], now, Peer.sent
        return [self._state(peer)]

    def _rows(self, message: Mapping[str, Any], peer: Peer) -> list[bytes]:
        rows = [as_bytes(row) for row in message["rows"]]
        for number, data in enumerate(rows, message["first"]):
            if number <= peer.have:
                self.counts["twice"] += 1
            elif number > peer.have + 1:
                self.counts["too early"] += 1
            elif self._bytes + len(data) > self.most and self._waiting:
                self.counts["no room"] += 1
                break
            else:
                self._waiting.append(Arrived(message["actor"], peer.log, number, data))
                self._bytes += len(data)
                peer.have = number
        return [self._state(peer)]

    def _want(self, message: Mapping[str, Any], peer: Peer, now: float) -> list[bytes]:
        found = [self._state(peer)]
        if self._newest is None or self._newest[0] < message["version"]:
            return found
        if peer.sent[0] >= message["version"] and now - peer.sent[1] < AGAIN:  # under way
            return found
        version, arrays = self._newest
        if self._packed is None or self._packed[0] != version:
            self._packed = (
                version,
                pack("weights", session=self.session, version=version, arrays=dict(arrays)),
            )
        peer.sent = version, now
        return [*found, self._packed[1]]

    def _state(self, peer: Peer) -> bytes:
        return pack("state", log=peer.log, session=self.session, have=peer.have, safe=peer.safe)

    # ---------------------------------------------------------------- the thread that learns

    @property
    def waiting(self) -> int:
        """Rows that wait to be taken."""
        return len(self._waiting)

    def take(self, most: int) -> list[Arrived]:
        """At most so many rows, in their order."""
        with self._lock:
            found = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._bytes -= sum(len(row.data) for row in found)
            return found

    def publish(self, version: int, arrays: Arrays) -> None:
        """A newer policy; the arrays are not copied."""
        with self._lock:
            self._newest = version, arrays

    def kept(self, logs: Mapping[int, tuple[str, int]]) -> None:
        """Rows of actors' logs up to these numbers would be there after a crash: actors need not
        keep them.
        """
        with self._lock:
            for actor, (log, number) in logs.items():
                if self.peers[actor].log == log:
                    self.peers[actor].safe = max(self.peers[actor].safe, number)

    def begin(self, logs: Mapping[int, tuple[str, int]]) -> None:
        """Go on with actors' logs, each after the number of its last row that is there."""
        with self._lock:
            for actor, (log, number) in logs.items():
                self.peers[actor] = Peer(log, number)
