"""Rings: the rows of all streams, one ring of equal size a stream, side by side so that one index
reaches them all.

Rows of a stream are numbered 0, 1, 2, ... for ever; row ``n`` lies in slot ``n % rows``. Three
counters a stream say which are there, and lie next to the data, so that a folder knows itself what
it holds:

    written   rows committed; the next row gets this number
    claimed   number after the newest slot that was touched; raised before a row is written, so that
              a row that was
              interrupted half-way counts neither as the new one nor as the old one that lay there
    floor     rows below were lost when the store was truncated

    stored = [oldest, written),  oldest = max(floor, claimed - rows)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from agents.replay.errors import ReplayError
from agents.replay.rows import Array
from agents.replay.store import Ints, Store


def read_index(index: Array, streams: int) -> tuple[Ints, Ints]:
    """Streams and numbers ``[T, B]`` of an index ``[T, B, 2]``.

    Raises:
        ReplayError: it is none.
    """
    index = np.asarray(index)
    if index.ndim != 3 or index.shape[-1] != 2 or index.dtype.kind not in "iu":
        raise ReplayError(
            f"expected an index [T, B, 2] of integers, got {index.shape} of {index.dtype}; "
            f"take sample's"
        )
    stream, number = index[..., 0].astype(np.int64), index[..., 1].astype(np.int64)
    if ((stream < 0) | (stream >= streams)).any():
        raise ReplayError(
            f"expected streams in 0..{streams - 1}, got {stream.min()}..{stream.max()} in the index"
        )
    return stream, number


class Rings:
    """One ring of ``rows`` rows for each of ``streams`` streams.

    Args:
        store: where the rows lie.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.spec, self.streams, self.rows = store.spec, store.streams, store.rows
        self._floor, self._claimed, self._written = store.counters

    @property
    def written(self) -> Ints:
        """Rows ever committed, ``[streams]``."""
        return np.array(self._written, np.int64)

    @property
    def oldest(self) -> Ints:
        """Number of the oldest row that is there, ``[streams]``; equals ``written`` in an empty
        ring.
        """
        oldest: Ints = np.minimum(np.maximum(self._floor, self._claimed - self.rows), self._written)
        return oldest

    def append(self, streams: Ints, values: Mapping[str, Array]) -> None:
        """One checked row ``[N, ...]`` for each of N different streams."""
        number = self._written[streams]
        self._claimed[streams] = number + 1
        at = streams * self.rows + number % self.rows
        self._store.touch(at)
        flat = self._store.flat
        for key, value in values.items():
            flat[key][at] = value
        self._written[streams] = number + 1

    def read(
        self, stream: Ints, number: Ints, keys: Iterable[str] | None = None
    ) -> dict[str, Array]:
        """Rows by stream and number, both of one shape ``[...]``: fresh arrays ``[...,
        *shape]``.
        """
        at = stream * self.rows + number % self.rows
        flat = self._store.flat
        return {k: flat[k].take(at, axis=0) for k in (flat if keys is None else keys)}

    def write(self, stream: Ints, number: Ints, values: Mapping[str, Array]) -> int:
        """Overwrite checked values ``[..., *shape]`` of rows that are still there; returns how many
        were.
        """
        kept = (number >= self.oldest[stream]) & (number < self._written[stream])
        at = (stream * self.rows + number % self.rows)[kept]
        self._store.touch(at, values)
        for key, value in values.items():
            self._store.flat[key][at] = value[kept]
        return len(at)

    def truncate(self, written: Ints) -> None:
        """Forget the rows from the numbers ``written [streams]`` on.

        In a full ring the forgotten rows lie where the oldest ones were: those are lost too. A
        folder has kept them, and :meth:`Store.go_back` gives them back.

        Raises:
            ReplayError: a stream never got so far.
        """
        bad = np.flatnonzero((written > self._written) | (written < 0))
        if len(bad):
            i = int(bad[0])
            raise ReplayError(
                f"stream {i}: expected at least {int(written[i])} rows, got "
                f"{int(self._written[i])}; open the folder that was "
                "saved together with this state, or call load_arrays first"
            )
        self._floor[:] = np.minimum(self.oldest, written)
        self._claimed[:] = written
        self._written[:] = written

    def arrays(self) -> dict[str, Array]:
        """Copies ``[streams, filled, ...]`` of all keys, and ``counters [3, streams]``."""
        filled = int(min(self._claimed.max(initial=0), self.rows))
        found = {
            k: np.array(v.reshape(self.streams, self.rows, *v.shape[1:])[:, :filled])
            for k, v in self._store.flat.items()
        }
        return {**found, "counters": self._store.counters.copy()}

    def load_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Put back what ``arrays`` gave; all or nothing.

        Raises:
            ReplayError: keys, shapes or types of another store.
        """
        if arrays.keys() != {*self.spec.keys, "counters"}:
            raise ReplayError(
                f"expected arrays of the keys {sorted([*self.spec.keys, 'counters'])}, "
                f"got {sorted(arrays)}"
            )
        counters = np.asarray(arrays["counters"])
        mine = self._store.counters
        if counters.shape != mine.shape or counters.dtype != mine.dtype:
            raise ReplayError(
                f"'counters': expected {mine.shape} of {mine.dtype}, "
                f"got {counters.shape} of {counters.dtype}"
            )
        filled = int(min(counters[1].max(initial=0), self.rows))
        for key, (shape, dtype) in self.spec.keys.items():
            expected = (self.streams, filled, *shape)
            if arrays[key].shape != expected or arrays[key].dtype != dtype:
                raise ReplayError(
                    f"{key!r}: expected an array {expected} of {dtype}, "
                    f"got {arrays[key].shape} of {arrays[key].dtype}; "
                    "make the buffer with the capacity, streams and spec it was saved with"
                )
        at = (np.arange(self.streams)[:, None] * self.rows + np.arange(filled)).reshape(-1)
        self._store.touch(at)
        for key, value in arrays.items():
            if key != "counters":
                self._store.flat[key][at] = value.reshape(len(at), *value.shape[2:])
        mine[...] = counters
