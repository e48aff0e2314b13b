"""ReplayBuffer: rows of several environments go in, sequences come out; it can be stopped and goes
on as if it had not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from agents.replay.errors import ReplayError
from agents.replay.folder import Folder
from agents.replay.fresh import Fresh
from agents.replay.priorities import PRIORITY
from agents.replay.ring import Rings, read_index
from agents.replay.rows import Array, RowSpec, Spec
from agents.replay.samplers import Floats, Held, Sampler, Uniform
from agents.replay.saved import read_state
from agents.replay.store import Ints, Store


class ReplayBuffer:
    """Rows of ``streams`` environments, each in a ring of its own.

    A sequence is ``length`` consecutive rows of one stream; it may go over the end of an episode
    and never over the ring's write head. A sampler draws them; with ``online``, rows that no fresh
    sequence has shown yet come first, each once, as sequences that do not overlap (DreamerV3).

    Args:
        spec: key -> (shape, numpy type), or an example row; see :class:`agents.replay.RowSpec`.
        capacity: rows of all streams together; each stream gets ``capacity // streams``.
        streams: environments.
        directory: a folder for the rows, in memory if None. Its space is taken at once. A folder
            that holds rows is opened as it was when :meth:`state`, :meth:`flush` or :meth:`close`
            was last called; rows that the disk has damaged are left out, with a warning.
        seed: of the sampler's draws.
        online: fresh sequences first.
        sampler: draws sequences, of this buffer alone; uniformly if None. One that reads priorities
            adds the key ``priority`` to rows, which :meth:`update` writes and no sample holds.
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
        sampler: Sampler | None = None,
    ) -> None:
        if streams < 1 or capacity < streams:
            raise ReplayError(
                f"expected at least one row a stream, got {capacity} rows for {streams} streams"
            )
        self.sampler = Uniform() if sampler is None else sampler
        if self.prioritizes:
            if PRIORITY in spec:
                raise ReplayError(f"expected no key {PRIORITY!r}, which the sampler keeps itself")
            spec, stored = {**spec, PRIORITY: ((), np.float32)}, [*stored, PRIORITY]
        self.spec, self.streams = RowSpec(spec), streams
        self.rows, self.online = capacity // streams, online
        self._given = [k for k in self.spec.keys if not (self.prioritizes and k == PRIORITY)]
        unknown = [key for key in stored if key not in self.spec.keys]
        if unknown:
            known = list(self.spec.keys)
            raise ReplayError(f"expected stored keys among {known}, got {unknown}; add them")
        self.stored = tuple(stored)
        self._store = (
            Store(self.spec, streams, self.rows)
            if directory is None
            else Folder(self.spec, streams, self.rows, Path(directory), stored=stored)
        )
        self._open: Rings | None = Rings(self._store)
        self._fresh, self._rng = Fresh(streams), np.random.default_rng(seed)
        self.sampler.follow(self._rings)

    @property
    def prioritizes(self) -> bool:
        """Whether rows have a priority."""
        return self.sampler.keeps_priorities

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
        values = self.spec.check(
            rows, (len(which),), lambda at: f"stream {which[at[0]]}", self._given
        )
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
        ranked = {PRIORITY: self.sampler.initial(len(which))} if self.prioritizes else {}
        rings.append(which, {**values, **ranked})
        self.sampler.changed(which, number)

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
        """``batch`` sequences, time first: each key ``[T, B, ...]``, fresh ones before drawn
        ones.

        Args:
            batch, length: B and T.
            mark_start: set ``is_first`` at the first step, for a learner that starts there from
                nothing.

        Returns:
            The keys, in fresh memory, and ``index`` int64 ``[T, B, 2]``: stream and number of each
                row, for :meth:`update` and :meth:`chances`.

        Raises:
            ReplayError: no stream holds ``length`` rows.
        """
        if batch < 1 or length < 1:
            raise ReplayError(f"expected at least one sequence of one row, got {batch} of {length}")
        rings = self._rings
        held = Held(rings.oldest, rings.written)
        if not held.starts(length).any():
            stored = (held.written - held.oldest).tolist()
            raise ReplayError(
                f"expected a stream with {length} rows, got streams of {stored}; "
                f"ask can_sample({length}) first"
                + (
                    f", and give a capacity of {length * self.streams} or more"
                    if length > self.rows
                    else ""
                )
            )
        nothing = np.zeros(0, np.int64)
        stream, first = self._fresh.take(batch, length, held) if self.online else (nothing, nothing)
        if len(stream) < batch:
            more = self.sampler.draw(batch - len(stream), length, held, self._rng)
            stream, first = np.concatenate([stream, more[0]]), np.concatenate([first, more[1]])
        number = first + np.arange(length)[:, None]
        found = self.spec.decode(rings.read(stream, number, self._given))
        if mark_start:
            found["is_first"][0] = True
        found["index"] = np.stack([np.broadcast_to(stream, number.shape), number], -1)
        return found

    def chances(self, index: Array) -> Floats:
        """How likely each of these sequences was in one draw, ``[B]``; fresh ones were certain.

        Args:
            index: ``[T, B, 2]``, as :meth:`sample` gave it.
        """
        stream, number = read_index(index, self.streams)
        held = Held(self._rings.oldest, self._rings.written)
        return self.sampler.chances(stream[0], number[0], len(number), held)

    def update(self, index: Array, values: Mapping[str, Any]) -> int:
        """Write values ``[T, B, ...]`` back to rows that were sampled; rows that are gone are left
        out.

        Args:
            index: ``[T, B, 2]``, as :meth:`sample` gave it (or a part of it).
            values: some of the keys; ``priority``, where rows have one.

        Returns:
            How many rows were written.

        Raises:
            ReplayError: no such index, or values that do not fit; nothing is written.
        """
        stream, number = read_index(index, self.streams)

        def where(at: tuple[int, ...]) -> str:
            return f"stream {stream[at]}, row {number[at]}"

        checked = self.spec.check(values, stream.shape, where, keys=values.keys())
        ranked = self.prioritizes and PRIORITY in checked
        if ranked and (checked[PRIORITY] < 0).any():
            low = checked[PRIORITY].min()
            raise ReplayError(f"expected priorities of at least 0, got {low}; give absolute values")
        count = self._rings.write(stream, number, checked)
        if ranked:
            self.sampler.changed(stream.reshape(-1), number.reshape(-1))
        return count

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

    def __exit__(self, *error: object) -> None:
        self.close()

    def state(self) -> dict[str, Any]:
        """Counters, the place in the online queue, random numbers and what the sampler knows
        beside the rows, as data for JSON.

        The rows lie in the folder, which is flushed and keeps what it needs to go back to this
        state, while it is one of the last three; or in :meth:`state_arrays`.

        Raises:
            ReplayError: as :meth:`flush`.
        """
        mark = self._store.commit() if self._open is not None else None
        return {
            **self._about(),
            "mark": mark,
            "counts": self._rings.written.tolist(),
            "shown": self._fresh.shown.tolist(),
            "rng": self._rng.bit_generator.state,
            "sampler": self.sampler.state(),
        }

    def _about(self) -> dict[str, Any]:
        return {"spec": self.spec.fingerprint(), "streams": self.streams, "rows": self.rows}

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
        saved = read_state(state, self._about(), self.sampler.state())
        if not self._store.go_back(state.get("mark"), saved.counts):
            self._rings.truncate(saved.counts)
        self._fresh.shown, self._rng = saved.shown, saved.rng
        self.sampler.load_state(saved.sampler)
        self.sampler.follow(self._rings)

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
        self._fresh.shown = np.minimum(self._fresh.shown, self._rings.written)
        self.sampler.follow(self._rings)

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
