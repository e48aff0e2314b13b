"""The actor's own log of what happened: written before anything else is done with it, and kept
until the learner has it safely.

    log.json                   what this log is: a name that no other log has
    rows-000000000001.bin      records from number 1 on;   rows-000000004711.bin, ...
        "row1" | length | number | CRC-32 | bytes

A record is one ``write``, so that a process which is killed leaves whole records and at most one
torn one, the last, which is cut off when the log is opened again. A machine that loses its power
loses what :meth:`RowLog.sync` had not brought to the disk.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import uuid
import warnings
import zlib
from array import array
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from agents.disk import sync_folder
from agents.errors import RunError, UsageError
from agents.rundir import lock

FORMAT = 1
HEAD = struct.Struct("<4sIQI")
MAGIC = b"row1"
SEGMENT = 16 << 20
WAITING = 64 << 20
ABOUT = "log.json"


class LogFullError(UsageError):
    """The disk has been full for so long that rows would have to be thrown away."""


@dataclass
class Segment:
    """A file of records: the first one's number, and where each begins."""

    path: Path
    first: int
    starts: array[int] = field(default_factory=lambda: array("Q"))
    size: int = 0

    @property
    def next(self) -> int:
        """The number of the record that would come next."""
        return self.first + len(self.starts)


class RowLog:
    """Numbered records on a disk; the first has number 1.

    One process has it; its methods may be called from several threads.

    Args:
        folder: made if it is not there.
        segment: bytes of a file, about.
        waiting: bytes of records that are held in memory while the disk is full.
        keep: keep what :meth:`drop` says is not needed.

    Raises:
        RunError: another process has the log, the folder holds something else, or a record in its
            middle is damaged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, RowLog(Path(folder)) as log:
    ...     log.append(b"a"), log.append(b"b"), log.read(1, 9)
    (1, 2, [b'a', b'b'])
    """

    def __init__(
        self, folder: Path, segment: int = SEGMENT, waiting: int = WAITING, keep: bool = False
    ) -> None:
        self.folder, self.segment, self.waiting, self.keep = folder, segment, waiting, keep
        self._lock, self._closing = threading.RLock(), ExitStack()
        self._pending: list[
            bytes
        ] = []  # records that the disk had no room for, behind those in files
        self._held = 0
        self._handle: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._closing.enter_context(lock(folder))
            self.name = self._about()
            self._segments = self._found()
            self.cut = self._mend()
        except BaseException as error:
            if self._handle is not None:
                os.close(self._handle)
            self._closing.close()
            if not isinstance(error, OSError):
                raise
            raise RunError(
                f"{folder}: the log cannot be opened: {error.strerror or error}"
            ) from None

    # ---------------------------------------------------------------- opening

    def _about(self) -> str:
        path = self.folder / ABOUT
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise RunError(f"{path}: expected format {FORMAT}, got {found['format']}")
            return str(found["log"])
        except FileNotFoundError:
            if any(self.folder.glob("rows-*.bin")):
                raise RunError(
                    f"{self.folder}: expected {ABOUT} beside rows; restore it, "
                    f"or take another folder"
                ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path} is damaged: {error}; restore it, or take another folder"
            ) from None
        name, new = uuid.uuid4().hex, self.folder / f".{ABOUT}"
        with new.open("w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, "log": name}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_folder(self.folder)
        return name

    def _found(self) -> list[Segment]:
        paths = sorted(self.folder.glob("rows-*.bin"))
        found = [Segment(path, int(path.stem.removeprefix("rows-"))) for path in paths]
        for segment in found:
            _scan(segment)
        for one, two in pairwise(found):
            if one.next != two.first or one.size != one.path.stat().st_size:
                raise _damaged(one)
        return found or [Segment(self._path(1), 1)]

    def _mend(self) -> int:
        """Cut a torn record off the end; returns the bytes."""
        last = self._segments[-1]
        there = last.path.stat().st_size if last.path.exists() else 0
        self._handle = os.open(last.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        if there > last.size:
            if _more(last.path.read_bytes()[last.size + 1 :]):
                raise _damaged(last)
            os.ftruncate(self._handle, last.size)
        return there - last.size

    def _path(self, first: int) -> Path:
        return self.folder / f"rows-{first:012d}.bin"

    # ---------------------------------------------------------------- writing

    @property
    def first(self) -> int:
        """The number of the oldest record that is there."""
        return self._segments[0].first

    @property
    def next(self) -> int:
        """The number that the next record gets."""
        with self._lock:
            return self._segments[-1].next + len(self._pending)

    @property
    def unwritten(self) -> int:
        """Records that are in memory only, since the disk is full."""
        return len(self._pending)

    def append(self, data: bytes) -> int:
        """Write a record; returns its number.

        A disk that is full does not lose it: it is held in memory, and written with a later one.

        Raises:
            LogFullError: too many are held already; this one was not taken.
        """
        with self._lock:
            if self._pending and self._held + len(data) > self.waiting:
                self._flush()
                if self._pending:
                    raise LogFullError(
                        f"{self.folder}: the disk has been full for {len(self._pending)} rows; "
                        f"make space, and start again"
                    )
            number = self.next
            self._pending.append(bytes(data))
            self._held += len(data)
            self._flush()
            return number

    def _flush(self) -> None:
        """Write what is pending, as far as the disk takes it."""
        while self._pending:
            data = self._pending[0]
            try:
                self._write(data)
            except OSError as error:
                if len(self._pending) == 1:
                    warnings.warn(
                        f"{self.folder}: {error.strerror or error}; rows are held in memory",
                        stacklevel=4,
                    )
                return
            del self._pending[0]
            self._held -= len(data)

    def _write(self, data: bytes) -> None:
        last = self._segments[-1]
        if last.size >= self.segment:
            last = self._roll(last)
        assert self._handle is not None, "expected an open log"
        number = last.next
        record = HEAD.pack(MAGIC, len(data), number, _checksum(number, data)) + data
        try:
            written = os.write(self._handle, record)
            if written != len(record):
                raise OSError(28, "the disk is full")
        except OSError:
            os.ftruncate(self._handle, last.size)
            raise
        last.starts.append(last.size)
        last.size += len(record)

    def _roll(self, last: Segment) -> Segment:
        """Begin another file."""
        assert self._handle is not None
        segment = Segment(self._path(last.next), last.next)
        os.fsync(self._handle)
        handle = os.open(segment.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.close(self._handle)
        self._handle = handle
        self._segments.append(segment)
        return segment

    def sync(self) -> None:
        """Wait until what was written lies on the disk; others may write meanwhile."""
        with self._lock:
            if self._handle is None:
                return
            handle = os.dup(self._handle)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    # ---------------------------------------------------------------- reading

    def read(self, number: int, count: int, most: int = 1 << 20) -> list[bytes]:
        """Records from a number on: at most ``count``, and no more once they are ``most`` bytes
        together.

        Raises:
            RunError: the first one is not there any more, or is damaged.
        """
        found: list[bytes] = []
        with self._lock:
            if number < self.first:
                raise RunError(
                    f"{self.folder}: expected record {number}, "
                    f"the oldest that is there is {self.first}"
                )
            taken = 0
            for segment in self._segments:
                while (
                    segment.first <= number < segment.next and len(found) < count and taken < most
                ):
                    found.append(_read(segment, number))
                    number, taken = number + 1, taken + len(found[-1])
            at = number - self._segments[-1].next
            while 0 <= at < len(self._pending) and len(found) < count and taken < most:
                found.append(self._pending[at])
                at, taken = at + 1, taken + len(found[-1])
        return found

    def skip(self, number: int) -> None:
        """Give numbers up to this one away to empty records: somebody has such rows, and this log
        lost them with its machine.
        """
        with self._lock:
            while self.next <= number:
                self.append(b"")

    def drop(self, number: int) -> None:
        """Records up to this number are not needed any more; whole files of them are removed."""
        if self.keep:
            return
        with self._lock:
            while len(self._segments) > 1 and self._segments[0].next - 1 <= number:
                self._segments.pop(0).path.unlink(missing_ok=True)

    def close(self) -> None:
        """Bring all to the disk, and let go of the folder."""
        with self._lock:
            if self._handle is not None:
                self._flush()
                os.fsync(self._handle)
                os.close(self._handle)
                self._handle = None
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


def _scan(segment: Segment) -> None:
    """Find the records of a file, up to one that is torn or damaged."""
    data = segment.path.read_bytes()
    at = 0
    while at + HEAD.size <= len(data):
        magic, length, number, checksum = HEAD.unpack_from(data, at)
        end = at + HEAD.size + length
        if magic != MAGIC or number != segment.next or end > len(data):
            break
        if _checksum(number, data[at + HEAD.size : end]) != checksum:
            break
        segment.starts.append(at)
        segment.size = at = end


def _more(data: bytes) -> bool:
    """Whether a whole record lies somewhere in ``data``: then what is before it was not torn, but
    damaged.
    """
    at = -1
    while (at := data.find(MAGIC, at + 1)) >= 0:
        if at + HEAD.size > len(data):
            return False
        _, length, number, checksum = HEAD.unpack_from(data, at)
        body = data[at + HEAD.size : at + HEAD.size + length]
        if len(body) == length and _checksum(number, body) == checksum:
            return True
    return False


def _damaged(segment: Segment) -> RunError:
    return RunError(
        f"{segment.path} is damaged after record {segment.next - 1}; restore it, "
        f"or move the log away and begin another"
    )


def _read(segment: Segment, number: int) -> bytes:
    index = number - segment.first
    begin = segment.starts[index]
    end = segment.starts[index + 1] if index + 1 < len(segment.starts) else segment.size
    with segment.path.open("rb") as file:
        file.seek(begin)
        record = file.read(end - begin)
    magic, length, found, checksum = HEAD.unpack_from(record)
    data = record[HEAD.size :]
    if (
        magic != MAGIC
        or found != number
        or length != len(data)
        or _checksum(number, data) != checksum
    ):
        raise RunError(
            f"{segment.path}: record {number} is damaged; restore it, "
            f"or move the log away and begin another"
        )
    return data


def _checksum(number: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(number.to_bytes(8, "little")))
