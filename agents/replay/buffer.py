"""ReplayBuffer: rows of several environments go in, sequences come out; it can be stopped and goes
on as if it had not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from agents.replay.errors import ReplayError
from agents.replay.folder import Folder
from agents.replay.ring import Rings
from agents.replay.rows import Array, RowSpec, Spec, differences
from agents.replay.store import Ints, Store


class ReplayBuffer:
    """Rows of ``streams`` environments, each in a ring of its own.

    A sequence is ``length`` consecutive rows of one stream; it may go over the end of an episode
    and never over the ring's write head. Sequences are drawn uniformly; with ``online``, rows that
    no fresh sequence has shown yet come first, each once, as sequences that do not overlap
    (DreamerV3).

    Args:
        spec: key -> (shape, numpy type), or an example row; see :class:`agents.replay.RowSpec`.
        capacity: rows of all streams together; each stream gets ``capacity // streams``.
        streams: environments.
        directory: a folder for the rows, in memory if None. Its space is taken at once. A folder
            that holds rows is opened as it was when :meth:`state`, :meth:`flush` or :meth:`close`
            was last called; rows that the disk has damaged are left out, with a warning.
        seed: of the sampler.
        online: fresh sequences first.
        stored: keys that are the agent's own state, such as its latents, and no observations.

    Raises:
        ReplayError: the folder holds another replay or a damaged one, the disk has no room, or the
            sizes make no sense.

    Example:
        >>> flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
        >>> spec = {
        ...     "observation": ((3,), "f4"),
        ...     "action": ((1,), "f4"),
        ...     "reward": ((), "f4"),
        ...     **flags,
        ... }
        >>> buffer = ReplayBuffer(spec, capacity=100, streams=2)
        >>> row = {key: np.zeros((2, *shape), dtype) for key, (shape, dtype) in spec.items()}
        >>> for _ in range(10):
        ...     buffer.add(row)
        >>> buffer.sample(4, 5)["observation"].shape
        (5, 4, 3)
    """

    def __init__(
        self,
        spec: Spec,
        capacity: int,
        streams: int = 1,
        *,
        directory: str | Path | None = None,
        seed: int = 0,
        online: bool = True,
        stored: Sequence[str] = (),
    ) -> None:
        if streams < 1 or capacity < streams:
            raise ReplayError(
                f"expected at least one row a stream, "
                f"got a capacity of {capacity} for {streams} streams"
            )
        self.spec, self.streams, self.rows, self.online = (
            RowSpec(spec),
            streams,
            capacity // streams,
            online,
        )
        unknown = [key for key in stored if key not in self.spec.keys]
        if unknown:
            raise ReplayError(
                f"expected stored keys among {list(self.spec.keys)}, got {unknown}; "
                f"add them to the spec"
            )
        self.stored = tuple(stored)
        self._store = (
            Store(self.spec, streams, self.rows)
            if directory is None
            else Folder(self.spec, streams, self.rows, Path(directory), stored=stored)
        )
        self._open: Rings | None = Rings(self._store)
        # the number up to which fresh sequences were handed out
        self._shown = np.zeros(streams, np.int64)
        self._rng = np.random.default_rng(seed)

    # ---------------------------------------------------------------- writing

    def __len__(self) -> int:
        """Rows stored."""
        return int((self._rings.written - self._rings.oldest).sum())

    @property
    def written(self) -> int:
        """Rows ever written, of all streams together."""
        return int(self._rings.written.sum())

    @property
    def counters(self) -> Ints:
        """Rows ever written, ``[streams]``: the number that each stream's next row gets."""
        return self._rings.written

    def add(self, rows: Mapping[str, Any], streams: Sequence[int] | None = None) -> None:
        """One row of each stream (or of the named ones), key -> ``[N, ...]``; all or nothing is
        written.

        Raises:
            ReplayError: unknown or missing keys, a wrong shape or type, numbers that are not
                finite, a row that goes on after ``is_last``, or a disk that is full (now and then
                rows go to the disk).
        """
        rings, which = self._rings, self._which(streams)
        values = self.spec.check(rows, (len(which),), lambda at: f"stream {which[at[0]]}")
        number = rings.written[which]
        ended = rings.read(which, np.maximum(number - 1, 0), ["is_last"])["is_last"] & (
            number > rings.oldest[which]
        )
        wrong = ended & ~values["is_first"]
        if wrong.any():
            raise ReplayError(
                f"stream {which[wrong][0]}, key 'is_first': "
                f"expected True after a row with is_last, got False; "
                "reset the environment, its row begins the next episode"
            )
        rings.append(which, values)

    def mark_abandoned(self, streams: Sequence[int] | None = None) -> None:
        """Say that the last row of each stream (or of the named ones) ended its episode: the run
        was stopped there.

        The next row of these streams must be a first one.
        """
        rings, which = self._rings, self._which(streams)
        which = which[rings.written[which] > 0]
        rings.write(which, rings.written[which] - 1, {"is_last": np.ones(len(which), np.bool_)})

    # ---------------------------------------------------------------- reading

    def can_sample(self, length: int) -> bool:
        """Whether some stream holds ``length`` rows."""
        return bool((self._rings.written - self._rings.oldest >= length).any())

    def sample(self, batch: int, length: int, *, mark_start: bool = False) -> dict[str, Array]:
        """``batch`` sequences, time first: each key ``[T, B, ...]``, fresh ones before uniform
        ones.

        Args:
            batch, length: B and T.
            mark_start: set ``is_first`` at the first step, for a learner that starts there from
                nothing.

        Returns:
            The keys, in fresh memory, and ``index`` int64 ``[T, B, 2]``: stream and number of each
                row, for
            :meth:`update`.

        Raises:
            ReplayError: no stream holds ``length`` rows.
        """
        if batch < 1 or length < 1:
            raise ReplayError(f"expected at least one sequence of one row, got {batch} of {length}")
        rings = self._rings
        oldest, written = rings.oldest, rings.written
        if not (written - oldest >= length).any():
            stored = (written - oldest).tolist()
            raise ReplayError(
                f"expected a stream with {length} rows, got streams of {stored}; "
                f"ask can_sample({length}) first"
                + (
                    f", and give a capacity of {length * self.streams} or more"
                    if length > self.rows
                    else ""
                )
            )
        stream, first = (
            self._fresh(batch, length, oldest, written)
            if self.online
            else (np.zeros(0, np.int64),) * 2
        )
        if len(stream) < batch:
            more = self._uniform(batch - len(stream), length, oldest, written)
            stream, first = np.concatenate([stream, more[0]]), np.concatenate([first, more[1]])
        number = first + np.arange(length)[:, None]
        found = rings.read(stream, number)
        if mark_start:
            found["is_first"][0] = True
        found["index"] = np.stack([np.broadcast_to(stream, number.shape), number], -1)
        return found

    def update(self, index: Array, values: Mapping[str, Any]) -> int:
        """Write values ``[T, B, ...]`` back to rows that were sampled; rows that are gone are left
        out.

        Args:
            index: ``[T, B, 2]``, as :meth:`sample` gave it (or a part of it).
            values: some of the keys.

        Returns:
            How many rows were written.

        Raises:
            ReplayError: no such index, or values that do not fit; nothing is written.
        """
        index = np.asarray(index)
        if index.ndim != 3 or index.shape[-1] != 2 or index.dtype.kind not in "iu":
            raise ReplayError(
                f"expected an index [T, B, 2] of integers, got {index.shape} of {index.dtype}; "
                f"take sample's"
            )
        stream, number = index[..., 0].astype(np.int64), index[..., 1].astype(np.int64)
        if ((stream < 0) | (stream >= self.streams)).any():
            raise ReplayError(
                f"expected streams in 0..{self.streams - 1}, "
                f"got {stream.min()}..{stream.max()} in the index"
            )

        def where(at: tuple[int, ...]) -> str:
            return f"stream {stream[at]}, row {number[at]}"

        return self._rings.write(
            stream, number, self.spec.check(values, stream.shape, where, keys=values.keys())
        )

    def _fresh(self, batch: int, length: int, oldest: Ints, written: Ints) -> tuple[Ints, Ints]:
        """Streams and first rows of at most ``batch`` sequences never handed out, those that waited
        longest first.
        """
        begin = np.maximum(self._shown, oldest)
        ready = np.minimum((written - begin) // length, batch)
        stream = np.repeat(np.arange(self.streams), ready)
        turn = np.arange(len(stream)) - np.repeat(ready.cumsum() - ready, ready)
        first = begin[stream] + turn * length
        chosen = np.argsort(first - written[stream], kind="stable")[:batch]
        self._shown = begin + np.bincount(stream[chosen], minlength=self.streams) * length
        return stream[chosen], first[chosen]

    def _uniform(self, batch: int, length: int, oldest: Ints, written: Ints) -> tuple[Ints, Ints]:
        """Streams and first rows of sequences, each possible one equally likely."""
        windows = np.maximum(written - oldest - length + 1, 0)
        ends = windows.cumsum()
        pick = self._rng.integers(ends[-1], size=batch)
        stream = np.searchsorted(ends, pick, side="right")
        return stream, oldest[stream] + pick - (ends - windows)[stream]

    # ---------------------------------------------------------------- saving

    def flush(self) -> None:
        """Bring all rows to the disk, so that the folder opens with them; counts as a state that
        can be gone back to.

        Raises:
            ReplayError: the disk is full or cannot be written; nothing is lost, and it can be tried
                again.
        """
        if self._open is not None:
            self._store.commit()

    def close(self) -> None:
        """Flush and let go of the files; the buffer cannot be used any more."""
        if self._open is not None:
            self._open = None
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def state(self) -> dict[str, Any]:
        """Counters, the place in the online queue and random numbers, as data for JSON.

        The rows lie in the folder, which is flushed and keeps what it needs to go back to this
        state, while it is one of the last three; or in :meth:`state_arrays`.

        Raises:
            ReplayError: as :meth:`flush`.
        """
        mark = self._store.commit() if self._open is not None else None
        return {
            "spec": self.spec.fingerprint(),
            "streams": self.streams,
            "rows": self.rows,
            "mark": mark,
            "counts": self._rings.written.tolist(),
            "shown": self._shown.tolist(),
            "rng": self._rng.bit_generator.state,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a state: what was added, updated or marked after it is undone, bit for bit,
        also after a kill.

        Rows that the disk has damaged are left out with all older ones of their stream, with a
        warning. In memory :meth:`load_arrays` comes first; without it later rows are forgotten, and
        so are those that they had overwritten.

        Raises:
            ReplayError: the state is of another replay, is not kept any more, or is of later rows
                than are there; the buffer is as before.
        """
        expected: dict[str, Any] = {
            "spec": self.spec.fingerprint(),
            "streams": self.streams,
            "rows": self.rows,
        }
        for key, value in expected.items():
            if key not in state:
                raise ReplayError(
                    f"expected a state with {key!r}, got the keys {sorted(state)}; "
                    f"give what state() returned"
                )
            if state[key] != value:
                what = (
                    differences(state[key], value)
                    if key == "spec"
                    else f"expected {value} as {key}, got {state[key]}"
                )
                raise ReplayError(
                    f"the state is of another replay: {what}; "
                    f"make the buffer as it was when it was saved"
                )
        try:
            counts, shown = np.array(state["counts"], np.int64), np.array(state["shown"], np.int64)
            rng = np.random.default_rng()
            rng.bit_generator.state = state["rng"]
        except (KeyError, TypeError, ValueError) as error:
            raise ReplayError(
                f"expected counts, shown and rng in a state, got {error!r}; "
                f"give what state() returned"
            ) from error
        if (
            counts.shape != (self.streams,)
            or shown.shape != (self.streams,)
            or ((shown < 0) | (shown > counts)).any()
        ):
            raise ReplayError(
                f"expected 0 <= shown <= counts for {self.streams} streams, "
                f"got shown {shown.tolist()} and counts "
                f"{counts.tolist()}; the state is damaged, take an older one"
            )
        if not self._store.go_back(state.get("mark"), counts):
            self._rings.truncate(counts)
        self._shown, self._rng = shown, rng

    def state_arrays(self) -> dict[str, Array]:
        """Copies of the rows, ``[streams, filled, ...]`` a key, and ``counters``; for a buffer that
        has no folder.
        """
        return self._rings.arrays()

    def load_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Put back what :meth:`state_arrays` gave; call :meth:`load_state` after it.

        Raises:
            ReplayError: arrays of another replay; nothing is changed.
        """
        self._rings.load_arrays(arrays)
        self._shown = np.minimum(self._shown, self._rings.written)

    # ---------------------------------------------------------------- helpers

    @property
    def _rings(self) -> Rings:
        if self._open is None:
            raise ReplayError(
                "expected an open buffer, got a closed one; make a new one for the same folder"
            )
        return self._open

    def _which(self, streams: Sequence[int] | None) -> Ints:
        if streams is None:
            return np.arange(self.streams)
        which = np.array(list(streams), np.int64)
        if len(set(which.tolist())) != len(which) or ((which < 0) | (which >= self.streams)).any():
            raise ReplayError(
                f"expected different streams in 0..{self.streams - 1}, got {which.tolist()}"
            )
        return which
