"""Rows that no sequence has shown yet, each once, in sequences that do not overlap (DreamerV3's
online queue).
"""

from __future__ import annotations

import numpy as np

from agents.replay.samplers import Held
from agents.replay.store import Ints


class Fresh:
    """Hands out new rows; ``shown [streams]`` are the numbers up to which it did.

    >>> fresh = Fresh(1)
    >>> stream, first = fresh.take(9, 2, Held(np.array([0]), np.array([5])))
    >>> first.tolist(), fresh.shown.tolist()
    ([0, 2], [4])
    """

    def __init__(self, streams: int) -> None:
        self.shown: Ints = np.zeros(streams, np.int64)

    def take(self, batch: int, length: int, held: Held) -> tuple[Ints, Ints]:
        """Streams and first rows of at most ``batch`` sequences never handed out, those that waited
        longest first.
        """
        streams = len(self.shown)
        begin = np.maximum(self.shown, held.oldest)
        ready = np.minimum((held.written - begin) // length, batch)
        stream = np.repeat(np.arange(streams), ready)
        turn = np.arange(len(stream)) - np.repeat(ready.cumsum() - ready, ready)
        first = begin[stream] + turn * length
        chosen = np.argsort(first - held.written[stream], kind="stable")[:batch]
        self.shown = begin + np.bincount(stream[chosen], minlength=streams) * length
        return stream[chosen], first[chosen]
