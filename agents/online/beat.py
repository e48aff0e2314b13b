"""How regular the ticks of an actor are."""

from __future__ import annotations

from collections import deque

import numpy as np

KEPT = 4096


class Beat:
    """Rate, lateness and missed ticks, of the last ticks.

    >>> beat = Beat()
    >>> for i in range(21):
    ...     beat.tick(i * 0.05, late=0.001, missed=0)
    >>> round(beat.rate), beat.late(50), beat.missed
    (20, 0.001, 0)
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._times: deque[float] = deque(maxlen=kept)
        self._late: deque[float] = deque(maxlen=kept)
        self.ticks = self.missed = 0

    def tick(self, now: float, late: float, missed: int) -> None:
        """Count a tick: the clock's seconds, how late it began, and how many were passed over
        before it.
        """
        self._times.append(now)
        self._late.append(late)
        self.ticks += 1
        self.missed += missed

    @property
    def rate(self) -> float:
        """Ticks a second; 0 before the second one."""
        past = self._times[-1] - self._times[0] if len(self._times) > 1 else 0.0
        return (len(self._times) - 1) / past if past > 0 else 0.0

    def late(self, percent: float) -> float:
        """Seconds that so many of a hundred ticks are not later than; 0 before the first."""
        return float(np.percentile(self._late, percent)) if self._late else 0.0
