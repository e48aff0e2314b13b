"""Where rows lie: one array a key, all streams behind each other, in memory or in a folder
(``folder``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.replay.rows import Array, RowSpec

Ints = NDArray[np.int64]
COUNTERS = ("floor", "claimed", "written")  # int64 [streams] each; see agents.replay.ring


class Store:
    """Rows in memory.

    Args:
        spec: keys, shapes and types.
        streams, rows: how many.

    Attributes:
        flat: key -> ``[streams * rows, *shape]``; another array after :meth:`touch`, :meth:`commit`
            and :meth:`go_back`.
        counters: int64 ``[3, streams]``, always the same array.
    """

    def __init__(self, spec: RowSpec, streams: int, rows: int) -> None:
        self.spec, self.streams, self.rows = spec, streams, rows
        self.counters: Ints = np.zeros((len(COUNTERS), streams), np.int64)
        self.flat: dict[str, Array] = {}
        self._map()

    def _map(self) -> None:
        total = self.streams * self.rows
        self.flat = {
            k: np.zeros((total, *shape), dtype) for k, (shape, dtype) in self.spec.keys.items()
        }

    def touch(self, at: Ints, keys: Iterable[str] | None = None) -> None:
        """Rows ``at`` will now be overwritten, of all keys or of some; called before it is done."""

    def commit(self) -> dict[str, Any] | None:
        """Make all that was written lasting; what names this state for :meth:`go_back`, None in
        memory.
        """
        return None

    def go_back(self, mark: Any, written: Ints) -> bool:
        """Be again what :meth:`commit` named, with all rows; False if nothing was kept, as in
        memory.

        Args:
            mark: what commit gave.
            written: the counts that the state must have, ``[streams]``.
        """
        return False

    def close(self) -> None:
        """Commit, and let go of the files."""
