"""Rows in a folder: files that change only when a state is saved, and can be what they were at the
last few states.

A folder holds ``meta.json`` (format, streams, rows, spec, stored keys), one ``<key>.bin`` a key and
two files a saved state (``epochs``). The files are mapped privately: what is written stays in
memory until :meth:`Folder.commit`, or until there is much of it. Then the blocks to be overwritten
are copied to the journal of the last state and synced, and only then the files change. So a process
that is killed, or a machine whose power goes, leaves what the last state was.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.disk import sync_folder
from agents.replay.epochs import (
    Blocks,
    Epoch,
    Ints,
    Journal,
    Sums,
    checksums,
    epoch_path,
    list_epochs,
    open_raw,
    read_all,
    read_epoch,
    read_journal,
    sync_path,
    write_all,
    write_epoch,
)
from agents.replay.errors import ReplayError
from agents.replay.layout import layouts, make_folder, open_meta
from agents.replay.rows import RowSpec
from agents.replay.space import map_privately
from agents.replay.store import Store

RETAINED = 4  # epochs: three states, and what closing adds
CHUNK = 1 << 24  # bytes that are copied to a journal at once


@dataclass
class _Changes:
    """Rows that differ from the files: of all keys, of single ones, and at most how many bytes."""

    everywhere: NDArray[np.bool_]
    of: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    size: int = 0

    def rows(self, key: str) -> NDArray[np.bool_]:
        """The rows of a key."""
        return self.everywhere | self.of[key] if key in self.of else self.everywhere


class Folder(Store):
    """Rows in a folder; one that holds the same store is opened as it was at its last state.

    Args:
        spec, streams, rows: as of :class:`Store`.
        directory: the folder.
        stored: keys that are the agent's own state, for readers of the folder.
        unsaved: bytes that may be held in memory before the files change.
        read_only: change nothing on the disk.

    Raises:
        ReplayError: the folder holds another store or a damaged one, or there is no space for it.
    """

    def __init__(
        self,
        spec: RowSpec,
        streams: int,
        rows: int,
        directory: Path,
        *,
        stored: Iterable[str] = (),
        unsaved: int = 1 << 28,
        read_only: bool = False,
    ) -> None:
        self.directory, self._limit, self._read_only = directory, unsaved, read_only
        self._layouts = layouts(spec, streams * rows, directory)
        self._row = sum(x.row for x in self._layouts.values())
        if not open_meta(directory, spec, streams, rows, self._layouts):
            make_folder(directory, spec, streams, rows, self._layouts, list(stored))
        self._memory: dict[str, Blocks] = {}
        self._epoch: Epoch
        self._top: Ints  # slots that were ever written, [streams]
        self._changes = _Changes(np.zeros(streams * rows, np.bool_))
        # what the files hold, and where that has to be found out anew
        self._sums: dict[str, Sums] = {
            k: np.zeros(x.count, np.uint32) for k, x in self._layouts.items()
        }
        self._stale = {k: np.ones(x.count, np.bool_) for k, x in self._layouts.items()}
        self._unsynced: set[str] = set()
        self._journal: Journal | None = None
        self._journaled: dict[
            str, NDArray[np.bool_]
        ] = {}  # blocks of this epoch that need no copy any more
        with self._failing_in_one_line("opened"):
            super().__init__(spec, streams, rows)
        epoch, note = self._newest()
        self._put_back(epoch, note)

    def _map(self) -> None:
        files = self._layouts.items()
        self._memory = {
            k: map_privately(x.path, x.count * x.size).reshape(x.count, x.size) for k, x in files
        }
        total = self.streams * self.rows
        for key, (shape, dtype) in self.spec.keys.items():
            if key in self._layouts:
                raw = self._memory[key].reshape(-1)[: total * self._layouts[key].row]
                self.flat[key] = raw.view(dtype).reshape(total, *shape)
            else:
                self.flat[key] = np.zeros((total, *shape), dtype)

    # ---------------------------------------------------------------- writing

    def touch(self, at: Ints, keys: Iterable[str] | None = None) -> None:
        """Rows ``at`` will now be overwritten, of all keys or of some."""
        if self._changes.size > self._limit:
            self._changes.size = sum(
                x.row * int(self._changes.rows(k).sum()) for k, x in self._layouts.items()
            )
            if self._changes.size > self._limit // 2:  # else much was written twice
                self._write_files()
        changes = self._changes
        if keys is None:
            changes.everywhere[at] = True
            changes.size += at.size * self._row
            return
        for key in keys:
            if key in self._layouts:
                if key not in changes.of:
                    changes.of[key] = np.zeros(len(changes.everywhere), np.bool_)
                changes.of[key][at] = True
                changes.size += at.size * self._layouts[key].row

    def commit(self) -> dict[str, Any]:
        """Make all that was written a new epoch, synced to the disk; the one that is there if
        nothing was.

        Raises:
            ReplayError: the disk is full, or cannot be written; nothing is lost, and it can be
                tried again.
        """
        old = self._epoch
        if self._changes.size or self._unsynced or (self.counters != old.counters).any():
            self._write_files()
            with self._failing_in_one_line():
                for key in self._unsynced:
                    sync_path(self._layouts[key].path)
                self._find_sums(self._top)
                sums = {k: v.copy() for k, v in self._sums.items()}
                new = Epoch(old.number + 1, self.counters.copy(), self._top.copy(), sums)
                self._epoch = replace(new, digest=write_epoch(self.directory, new))
                self._journal, self._journaled = None, {}
                self._unsynced.clear()
                first = list_epochs(self.directory)[-RETAINED:][0]
                _remove(self.directory, lambda number: number < first)
        return {"epoch": self._epoch.number, "digest": self._epoch.digest}

    def close(self) -> None:
        """Commit, and let go of the files."""
        try:
            if not self._read_only:
                self.commit()
        finally:
            self._journal, self._journaled = None, {}
            self.flat, self._memory = {}, {}

    def _write_files(self) -> None:
        """Bring what is in memory into the files, behind copies of what they held at the last
        epoch.
        """
        changes = self._changes
        blocks = {k: x.blocks_of(changes.rows(k)) for k, x in self._layouts.items()}
        with self._failing_in_one_line():
            for key, numbers in blocks.items():
                self._copy_to_journal(key, numbers)
            if self._journal is not None:
                sync_path(self._journal.path)
            for key, numbers in blocks.items():
                if len(numbers):
                    self._unsynced.add(key)
                    self._write_blocks(key, numbers)
        slots = np.flatnonzero(changes.everywhere)
        np.maximum.at(self._top, slots // self.rows, slots % self.rows + 1)
        self._changes = _Changes(np.zeros_like(changes.everywhere))
        self._map()  # lets go of the memory

    def _write_blocks(self, key: str, numbers: Ints) -> None:
        layout, memory = self._layouts[key], self._memory[key]
        self._stale[key][numbers] = True
        with open_raw(layout.path) as file:
            for first, end in _runs(numbers):
                file.seek(first * layout.size)
                write_all(file, memory[first:end].data)

    def _copy_to_journal(self, key: str, numbers: Ints) -> None:
        """Copy what the file held at the last epoch, once a block; one that no row ever lay in
        needs no copy.
        """
        layout = self._layouts[key]
        if key not in self._journaled:
            self._journaled[key] = ~layout.holds(self._epoch.top, self.rows)
        missing = numbers[~self._journaled[key][numbers]]
        if len(missing) and self._journal is None:
            self._journal = Journal(epoch_path(self.directory, self._epoch.number, "undo"))
        step = max(1, CHUNK // layout.size)
        for start in range(0, len(missing), step):
            part = missing[start : start + step]
            old, filled = np.empty((len(part), layout.size), np.uint8), 0
            with open_raw(layout.path) as file:
                for first, end in _runs(part):
                    file.seek(first * layout.size)
                    read_all(file, old[filled : filled + end - first].data)
                    filled += end - first
            assert self._journal is not None
            self._journal.append(list(self._layouts).index(key), part, old)
            self._journaled[key][part] = True

    def _find_sums(self, top: Ints) -> None:
        """Find out the checksums of stale blocks, where a row ever lay."""
        for key, layout in self._layouts.items():
            stale = self._stale[key] & layout.holds(top, self.rows)
            numbers = np.flatnonzero(stale)
            for part in np.array_split(numbers, 1 + len(numbers) * layout.size // CHUNK):
                self._sums[key][part] = checksums(self._memory[key][part])
            self._stale[key][stale] = False

    # ---------------------------------------------------------------- going back

    def go_back(self, mark: Any, written: Ints) -> bool:
        """Be again what :meth:`commit` named; damaged rows are left out, with one warning.

        Raises:
            ReplayError: the epoch is not there any more; nothing is changed.
        """
        if mark is None:
            return False
        try:
            epoch = self._read(int(mark["epoch"]))
            if epoch.digest != mark["digest"]:
                raise ValueError("it is of another run")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReplayError(
                f"{self.directory}: expected epoch {mark!r} of the state, got "
                f"{list_epochs(self.directory)} ({error}); "
                "open the folder that was saved together with this state, or take another state"
            ) from None
        differ = np.flatnonzero(epoch.counters[2] != written)
        if len(differ):
            i = int(differ[0])
            expected, got = int(epoch.counters[2][i]), int(written[i])
            raise ReplayError(
                f"stream {i}: expected {expected} rows in the state, got {got}; take an older state"
            )
        self._put_back(epoch)
        return True

    def _put_back(self, epoch: Epoch, note: str = "") -> None:
        """Undo everything after an epoch, and look at what it left."""
        self._journal, self._journaled = None, {}
        self._changes = _Changes(np.zeros_like(self._changes.everywhere))
        self._map()
        journals = [n for n in list_epochs(self.directory, "undo") if n >= epoch.number]
        with self._failing_in_one_line():
            if not self._read_only:
                # later epochs go before a file is touched: killed in between, they would be
                # taken for the newest, and all rows for damaged
                _remove(self.directory, lambda number: number > epoch.number, ("sums",))
                sync_folder(self.directory)
            for number in reversed(journals):
                self._undo(number, epoch)
            if not self._read_only:
                for key in self._unsynced:
                    sync_path(self._layouts[key].path)
                self._unsynced.clear()
                _remove(self.directory, lambda number: number >= epoch.number, ("undo",))
                self._map()
        self._epoch, self._top = epoch, epoch.top.copy()
        self.counters[:] = epoch.counters
        self._leave_out_damage(note)

    def _undo(self, number: int, epoch: Epoch) -> None:
        keys = list(self._layouts)
        path = epoch_path(self.directory, number, "undo")
        for at, numbers, blocks in read_journal(path, [x.size for x in self._layouts.values()]):
            key, sums = keys[at], checksums(blocks)
            wanted = numbers < self._layouts[key].count
            wanted[wanted] = sums[wanted] == epoch.sums[key][numbers[wanted]]
            chosen = numbers[wanted]
            if self._read_only:
                self._memory[key][chosen] = blocks[wanted]
            elif len(chosen):
                self._unsynced.add(key)
                with open_raw(self._layouts[key].path) as file:
                    for block, data in zip(chosen.tolist(), blocks[wanted]):
                        file.seek(block * self._layouts[key].size)
                        write_all(file, data.data)
            self._sums[key][chosen], self._stale[key][chosen] = sums[wanted], False

    def _leave_out_damage(self, note: str) -> None:
        """Raise the floor of each stream above its newest row that is not what was written."""
        self._find_sums(self._epoch.top)
        bad, files = np.zeros(self.streams * self.rows, np.bool_), []
        for key, layout in self._layouts.items():
            wrong = layout.holds(self._epoch.top, self.rows) & (
                self._sums[key] != self._epoch.sums[key]
            )
            if wrong.any():
                files.append(layout.path.name)
                bad |= layout.rows_of(wrong)
        floor, claimed, written = self.counters
        oldest = np.minimum(np.maximum(floor, claimed - self.rows), written)
        lost = 0
        for stream, rows in enumerate(bad.reshape(self.streams, self.rows)):
            numbers = np.arange(oldest[stream], written[stream])
            damaged = numbers[rows[numbers % self.rows]]
            if len(damaged):
                floor[stream] = damaged[-1] + 1
                lost += int(floor[stream] - oldest[stream])
        if lost:
            total = int((written - oldest).sum())
            text = (
                f"{lost} of {total} rows are left out, "
                f"since they are damaged or older than damage ({', '.join(files)})"
            )
            note = f"{note}; {text}" if note else text
        if note:
            warnings.warn(f"{self.directory}: {note}", stacklevel=2)

    def _newest(self) -> tuple[Epoch, str]:
        """The newest epoch that is sound, and what is wrong with those after it."""
        failed = []
        for number in reversed(list_epochs(self.directory)):
            try:
                epoch = self._read(number)
            except (OSError, ValueError, KeyError, TypeError) as error:
                failed.append(f"{epoch_path(self.directory, number).name} is damaged ({error})")
                continue
            return epoch, f"{', '.join(failed)}, the one before is taken" if failed else ""
        raise ReplayError(
            f"{self.directory} is damaged: expected a sound epoch-*.sums, got "
            f"{', '.join(failed) or 'none'}; "
            "restore it, or start in another folder"
        )

    def _read(self, number: int) -> Epoch:
        return read_epoch(
            self.directory, number, {k: x.count for k, x in self._layouts.items()}, self.streams
        )

    @contextmanager
    def _failing_in_one_line(self, what: str = "written") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ReplayError(
                f"{self.directory}: the replay cannot be {what}: {error.strerror or error}; "
                "what was saved before is as it was, see to the disk and go on from there"
            ) from error


def _runs(numbers: Ints) -> Iterator[tuple[int, int]]:
    """Ascending numbers as first and end of runs without a gap."""
    if len(numbers):
        cuts = np.flatnonzero(np.diff(numbers) > 1)
        firsts = numbers[np.concatenate([[0], cuts + 1])]
        ends = numbers[np.concatenate([cuts, [-1]])] + 1
        yield from zip(firsts.tolist(), ends.tolist())


def _remove(
    folder: Path, chosen: Callable[[int], bool], kinds: Sequence[str] = ("sums", "undo")
) -> None:
    """Remove epochs by their number, the newest first, and then their journals."""
    for kind in kinds:
        for number in reversed(list_epochs(folder, kind)):
            if chosen(number):
                epoch_path(folder, number, kind).unlink(missing_ok=True)
