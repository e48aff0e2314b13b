"""A network that loses, doubles, delays, reorders and damages messages, and ends that die and come
back.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from agents.online import DamagedError, Pace, Receiving, RowLog, Sending


class Network:
    """Messages between two ends, by a seed: each is lost, doubled or damaged by chance, and late by
    up to ``late``.
    """

    def __init__(
        self,
        seed: int,
        lost: float = 0.0,
        twice: float = 0.0,
        damaged: float = 0.0,
        late: float = 0.0,
    ) -> None:
        self.rng = random.Random(seed)
        self.lost, self.twice, self.damaged, self.late = lost, twice, damaged, late
        self.under_way: list[tuple[float, int, str, bytes]] = []
        self.cut = False
        self._count = 0

    def send(self, to: str, frame: bytes, now: float) -> None:
        """A message begins its way."""
        copies = 1 + (self.rng.random() < self.twice)
        for _ in range(copies):
            if self.cut or self.rng.random() < self.lost:
                continue
            if self.rng.random() < self.damaged:
                frame = damage(frame, self.rng)
            self._count += 1
            self.under_way.append((now + self.rng.random() * self.late, self._count, to, frame))

    def arrived(self, now: float) -> list[tuple[str, bytes]]:
        """What is there by now."""
        there = sorted(m for m in self.under_way if m[0] <= now)
        self.under_way = [m for m in self.under_way if m[0] > now]
        return [(to, frame) for _, _, to, frame in there]


def damage(frame: bytes, rng: random.Random) -> bytes:
    """Other bytes, fewer, or more."""
    kind, at = rng.randrange(4), rng.randrange(len(frame))
    if kind == 0:
        return frame[:at]
    if kind == 1:
        return frame + bytes([rng.randrange(256)])
    if kind == 2:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(200)))
    return frame[:at] + bytes([frame[at] ^ (1 << rng.randrange(8))]) + frame[at + 1 :]


class Both:
    """An actor and a learner without an environment: rows are numbers, and the replay is a list
    that a checkpoint keeps.
    """

    def __init__(
        self, folder: Path, network: Network, check: Callable[..., None] | None = None
    ) -> None:
        self.folder, self.network, self.now = folder, network, 0.0
        self.pace = Pace(window=8, most=64, again=0.5, ask=0.3)
        self.check = check or (lambda arrays: None)
        self.made = 0
        self.kept: tuple[list[bytes], dict[int, tuple[str, int]]] = ([], {})
        self.log: RowLog | None = None
        self.policies: list[int] = []
        self.start_actor()
        self.start_learner()

    def start_actor(self) -> None:
        """Begin, or begin again after a death."""
        self.log = RowLog(self.folder, segment=400)
        self.sending = Sending(self.log, 0, {"spec": "x"}, self.check, self.pace)

    def kill_actor(self) -> None:
        """The process is gone: nothing is flushed or closed in order."""
        assert self.log is not None
        self.log.close()  # the same bytes are in the file before it: a record is one write
        self.log = None

    def start_learner(self) -> None:
        """Begin from the last checkpoint."""
        self.receiving: Receiving | None = Receiving(1, self.fits, most=300)
        self.rows, self.numbers = list(self.kept[0]), dict(self.kept[1])
        self.receiving.begin(self.numbers)
        self.version = 0

    def fits(self, about: object) -> None:
        """What the learner asks of an actor."""
        if about != {"spec": "x"}:
            raise DamagedError("another spec")

    def kill_learner(self) -> None:
        """What came after the checkpoint is gone with it."""
        self.receiving = None

    def checkpoint(self) -> None:
        """Keep what is in the replay."""
        if self.receiving is not None:
            self.kept = list(self.rows), dict(self.numbers)
            self.receiving.kept(self.numbers)

    def act(self) -> None:
        """One row."""
        if self.log is not None:
            self.made += 1
            self.log.append(b"row %d" % self.made)

    def learn(self, most: int = 3) -> None:
        """Rows into the replay, and a policy."""
        if self.receiving is not None:
            for row in self.receiving.take(most):
                self.rows.append(row.data)
                self.numbers[row.actor] = row.log, row.number
            self.version += 1
            self.receiving.publish(self.version, {})

    def talk(self, seconds: float = 0.05) -> None:
        """Time passes, and messages move."""
        self.now += seconds
        if self.log is not None:
            for frame in self.sending.due(self.now):
                self.network.send("learner", frame, self.now)
        for to, frame in self.network.arrived(self.now):
            if to == "learner" and self.receiving is not None:
                for answer in self.receiving.received(frame, self.now):
                    self.network.send("actor", answer, self.now)
            elif to == "actor" and self.log is not None:
                self.sending.received(frame, self.now)
        if self.log is not None and (newest := self.sending.take()) is not None:
            self.policies.append(newest[0])

    def settle(self, seconds: float = 60.0) -> None:
        """Until all rows are in the replay, on a network that is sound now."""
        n = self.network
        n.lost = n.twice = n.damaged = n.late = 0.0
        n.cut = False
        if self.log is None:
            self.start_actor()
        if self.receiving is None:
            self.start_learner()
        end = self.now + seconds
        while self.now < end and len(self.rows) < self.made:
            self.talk()
            self.learn(99)
