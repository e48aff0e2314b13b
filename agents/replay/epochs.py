"""What a replay's folder was at each saved state: checksums of all blocks, and what later writes
overwrote.

    epoch-000000007.sums   counters and the CRC-32 of every block at the seventh state; written
                           whole, then renamed
    epoch-000000007.undo   blocks as they were at that state, appended before they are overwritten
                           for the first time

Going back to a state puts the blocks of all journals from its own on back, the newest first. A
block counts only if its checksum is the one of that state, so that the order of writes and torn or
missing parts of a journal cannot matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.disk import sync_folder

Ints = NDArray[np.int64]
Sums = NDArray[np.uint32]
Blocks = NDArray[np.uint8]  # [blocks, bytes]

NAME = re.compile(r"epoch-(\d{9})\.(sums|undo)")
# mark, number of the key, blocks, CRC-32 of their numbers, CRC-32 of the head before it
HEAD = Struct("<4sIQII")
MARK = b"undo"
CHUNK = 1 << 24  # bytes of a journal that are held in memory at once


@dataclass(frozen=True)
class Epoch:
    """A saved state of a folder.

    Args:
        number: 0 for a new folder.
        counters: int64 ``[3, streams]``, see agents.replay.ring.
        top: slots of each stream's ring that were ever written, int64 ``[streams]``.
        sums: key -> CRC-32 of its blocks, uint32 ``[blocks]``; meaningless for blocks that were
            never written.
        digest: of all this; tells epochs of one number apart.
    """

    number: int
    counters: Ints
    top: Ints
    sums: Mapping[str, Sums]
    digest: str = ""


def epoch_path(folder: Path, number: int, kind: str = "sums") -> Path:
    """Where an epoch's checksums (or its journal, ``undo``) lie."""
    return folder / f"epoch-{number:09d}.{kind}"


def list_epochs(folder: Path, kind: str = "sums") -> list[int]:
    """The numbers of the epochs (or journals) of a folder, ascending."""
    found = (NAME.fullmatch(p.name) for p in folder.iterdir())
    return sorted(int(m[1]) for m in found if m and m[2] == kind)


def checksums(blocks: Blocks) -> Sums:
    """The CRC-32 of each block ``[blocks, bytes]``."""
    return np.fromiter(map(zlib.crc32, blocks), np.uint32, len(blocks))


def write_epoch(folder: Path, epoch: Epoch) -> str:
    """Write an epoch whole or not at all, synced to the disk; returns its digest."""
    head = {
        "number": epoch.number,
        "counters": epoch.counters.tolist(),
        "top": epoch.top.tolist(),
        "blocks": [len(s) for s in epoch.sums.values()],
    }
    content = b"\n".join(
        [
            json.dumps(head).encode(),
            b"".join(s.astype("<u4").tobytes() for s in epoch.sums.values()),
        ]
    )
    digest = hashlib.sha256(content).hexdigest()
    path, temporary = epoch_path(folder, epoch.number), folder / ".epoch"
    with temporary.open("wb") as file:
        file.write(digest.encode() + b"\n" + content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(folder)
    return digest


def read_epoch(folder: Path, number: int, blocks: Mapping[str, int], streams: int) -> Epoch:
    """An epoch of a store of so many blocks a key and so many streams.

    Raises:
        OSError, ValueError: there is none, or it is damaged.
    """
    digest, _, content = epoch_path(folder, number).read_bytes().partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError("it is not what was written")
    line, _, table = content.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    counters, top = np.array(head["counters"], np.int64), np.array(head["top"], np.int64)
    if (
        head["number"] != number
        or head["blocks"] != list(blocks.values())
        or counters.shape != (3, streams)
    ):
        raise ValueError("it is of another replay")
    parts = np.split(
        np.frombuffer(table, "<u4").astype(np.uint32), np.cumsum(list(blocks.values()))
    )
    return Epoch(number, counters, top, dict(zip(blocks, parts)), digest.decode())


class Journal:
    """Appends blocks to an ``undo`` file. What a failed write has left there is overwritten by the
    next one.

    Args:
        path: of the file, which is made anew.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._end = path, 0
        path.write_bytes(b"")
        sync_folder(path.parent)

    def append(self, key: int, numbers: Ints, blocks: Blocks) -> None:
        """Add blocks ``[N, bytes]`` of a key by their numbers ``[N]``."""
        table = numbers.astype("<i8").tobytes()
        start = HEAD.pack(MARK, key, len(numbers), zlib.crc32(table), 0)
        head = HEAD.pack(MARK, key, len(numbers), zlib.crc32(table), zlib.crc32(start))
        with open_raw(self.path) as file:
            file.seek(self._end)
            write_all(file, head + table)
            write_all(file, blocks.data)
            self._end = file.tell()


def open_raw(path: Path) -> FileIO:
    """A file that is there, to read and write at once and without a buffer."""
    return FileIO(path, "r+")


def sync_path(path: Path) -> None:
    """Wait until a file lies on the disk."""
    with open_raw(path) as file:
        os.fsync(file.fileno())


def read_journal(path: Path, sizes: list[int]) -> Iterator[tuple[int, Ints, Blocks]]:
    """Keys, numbers and blocks of an ``undo`` file, in pieces; ends where the file is torn. Blocks
    may be torn themselves.

    Args:
        sizes: bytes of a block of each key.
    """
    with path.open("rb") as file:
        while len(head := file.read(HEAD.size)) == HEAD.size:
            mark, key, count, table_sum, head_sum = HEAD.unpack(head)
            if (
                mark != MARK
                or zlib.crc32(HEAD.pack(mark, key, count, table_sum, 0)) != head_sum
                or key >= len(sizes)
            ):
                return
            table = file.read(8 * count)
            if zlib.crc32(table) != table_sum or len(table) != 8 * count:
                return
            numbers, size = np.frombuffer(table, "<i8").astype(np.int64), sizes[key]
            step = max(1, CHUNK // size)
            for first in range(0, count, step):
                part = numbers[first : first + step]
                data = np.frombuffer(file.read(len(part) * size), np.uint8)
                whole = len(data) // size
                yield key, part[:whole], data[: whole * size].reshape(whole, size)


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write to an unbuffered file, which may take less at a time."""
    view = memoryview(data).cast("B")
    while view:
        view = view[file.write(view) :]


def read_all(file: FileIO, into: memoryview) -> None:
    """Fill an array from an unbuffered file, which may give less at a time."""
    view = into.cast("B")
    while view:
        count = file.readinto(view)
        if not count:
            raise OSError("the file is shorter than it was made")
        view = view[count:]
