"""Time, handed in: the same loop runs in real time on a robot and as fast as it can in a test.

All times are seconds that only go forward (`time.monotonic`): the date may be set while a robot
moves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """Seconds since some moment, and how to wait.

    >>> SteppedClock().now()
    0.0
    """

    def now(self) -> float: ...
    def sleep_until(self, when: float) -> None: ...


class RealClock:
    """The machine's monotonic clock.

    >>> clock = RealClock()
    >>> before = clock.now()
    >>> clock.sleep_until(before + 0.001)
    >>> clock.now() - before >= 0.001
    True
    """

    def now(self) -> float:
        """Seconds of `time.monotonic`, which all processes of a machine share."""
        return time.monotonic()

    def sleep_until(self, when: float) -> None:
        """Return at `when`, or at once if that has passed."""
        while (left := when - time.monotonic()) > 0.0:
            time.sleep(left)


class SteppedClock:
    """Time that stands still until somebody waits. What moves by itself registers with `follow`.

    >>> clock = SteppedClock()
    >>> clock.follow(lambda now: print(f"moved on to {now:g}"))
    >>> clock.sleep_until(0.05)
    moved on to 0.05
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._followers: list[Callable[[float], None]] = []

    def now(self) -> float:
        """Seconds since the start."""
        return self._now

    def sleep_until(self, when: float) -> None:
        """Be at `when`; all that follows moves on to it."""
        if when > self._now:
            self._now = when
            for follower in self._followers:
                follower(when)

    def set(self, now: float) -> None:
        """Be at another time, with nobody told: what follows is put there too."""
        self._now = now

    def follow(self, follower: Callable[[float], None]) -> None:
        """Call `follower(now)` whenever time has moved."""
        self._followers.append(follower)


class Tick(NamedTuple):
    """One wait: how late the tick began, in seconds, and how many ticks were passed over.

    >>> Tick(late=0.001, missed=0).missed
    0
    """

    late: float
    missed: int


class Ticker:
    """Ticks at a fixed rate. One that is late does not push the later ones; what passed meanwhile
    is left out.

    >>> clock = SteppedClock()
    >>> ticker = Ticker(20.0, clock)
    >>> ticker.wait(), round(clock.now(), 3)
    (Tick(late=0.0, missed=0), 0.05)
    >>> clock.sleep_until(0.17)
    >>> ticker.wait().missed, ticker.wait().missed, round(clock.now(), 3)
    (1, 0, 0.2)
    """

    def __init__(self, hz: float, clock: Clock) -> None:
        self.period = 1.0 / hz
        self._clock = clock
        self.start()

    def start(self) -> None:
        """The next tick is one period from now."""
        self._zero, self._count = self._clock.now(), 0

    def state(self) -> list[float]:
        """When it began, and how many ticks have been."""
        return [self._zero, float(self._count)]

    def load_state(self, state: list[float]) -> None:
        """Go on from `state()`."""
        self._zero, self._count = float(state[0]), int(state[1])

    def wait(self) -> Tick:
        """Return at the next tick, or at once where its time has passed."""
        passed = math.floor((self._clock.now() - self._zero) / self.period + 1e-9)
        missed = max(0, passed - self._count - 1)
        self._count += 1 + missed
        when = self._zero + self._count * self.period
        self._clock.sleep_until(when)
        return Tick(max(0.0, self._clock.now() - when), missed)
