"""A replay's folder from outside: which files there are, how rows lie in blocks, and making one in
one piece.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from agents.replay.epochs import Epoch, Ints, epoch_path, write_epoch
from agents.replay.errors import ReplayError
from agents.replay.rows import RowSpec, differences
from agents.replay.space import check_space, reserve
from agents.replay.store import COUNTERS

FORMAT = 3
BLOCK = 4096  # bytes, at most; a row that is larger is a block of its own
# the first name while a folder is made: with meta.json it is whole
META = "meta.json"
MAKING = ".meta.json"


@dataclass(frozen=True)
class Layout:
    """A key's file: ``count`` blocks of ``per`` rows of ``row`` bytes; the last block may hold
    fewer.
    """

    path: Path
    row: int
    per: int
    total: int

    @property
    def count(self) -> int:
        """Blocks."""
        return -(-self.total // self.per)

    @property
    def size(self) -> int:
        """Bytes of a block."""
        return self.per * self.row

    def blocks_of(self, rows: NDArray[np.bool_]) -> Ints:
        """Numbers of the blocks that some of the rows ``[total]`` lie in."""
        return np.unique(np.flatnonzero(rows) // self.per).astype(np.int64)

    def rows_of(self, blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The rows ``[total]`` of blocks ``[count]``."""
        return np.repeat(blocks, self.per)[: self.total]

    def holds(self, top: Ints, rows: int) -> NDArray[np.bool_]:
        """Whether any slot below ``top [streams]`` of the rings lies in a block, ``[count]``."""
        used = (np.arange(rows) < top[:, None]).reshape(-1)
        return np.logical_or.reduceat(used, np.arange(0, self.total, self.per))


def layouts(spec: RowSpec, total: int, directory: Path) -> dict[str, Layout]:
    """The files of a store; a key without numbers has none."""
    found = {}
    for key, (shape, dtype) in spec.keys.items():
        row = int(np.prod(shape)) * dtype.itemsize
        if row:
            path = directory / f"{quote(key, safe='')}.bin"
            found[key] = Layout(path, row, max(1, min(BLOCK // row, total)), total)
    return found


def read_meta(directory: Path) -> dict[str, Any]:
    """``meta.json`` of a folder.

    Raises:
        FileNotFoundError: there is none.
        ReplayError: it is damaged.
    """
    path = directory / META
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReplayError(f"{path} is damaged: {error}; start in another folder") from error
    if not isinstance(found, dict):
        raise ReplayError(
            f"{path} is damaged: expected an object, got {found!r}; start in another folder"
        )
    return found


def open_meta(
    directory: Path, spec: RowSpec, streams: int, rows: int, files: Mapping[str, Layout]
) -> bool:
    """Whether a folder holds this store; False if nothing is there, or only what an interrupted
    making left.

    Raises:
        ReplayError: it holds another store, a damaged one, or files that are none.
    """
    try:
        found = read_meta(directory)
    except (FileNotFoundError, NotADirectoryError):
        there = [p.name for p in directory.iterdir()] if directory.is_dir() else []
        if there and MAKING not in there:
            raise ReplayError(
                f"{directory}: expected {META} of a replay, got {len(there)} files without it, "
                f"such as {min(there)}; "
                "nothing was changed, restore it, or start in another folder"
            ) from None
        return False
    for key, value in _meta(spec, streams, rows).items():
        if found.get(key) == value:
            continue
        if key == "spec" and isinstance(found.get(key), dict):
            what = f"the spec differs: {differences(found[key], value)}"
        else:
            what = f"expected {value} as {key}, got {found.get(key)}"
        raise ReplayError(
            f"{directory} holds another replay: {what}; open it as it was made, "
            f"or choose another folder"
        )
    for layout in files.values():
        file, size = layout.path, layout.count * layout.size
        got = f"{file.stat().st_size} bytes" if file.exists() else "no file"
        if got != f"{size} bytes":
            raise ReplayError(
                f"{file} is damaged: expected {size} bytes, got {got}; restore it, "
                f"or start in another folder"
            )
    return True


def make_folder(
    directory: Path,
    spec: RowSpec,
    streams: int,
    rows: int,
    files: Mapping[str, Layout],
    stored: Sequence[str],
) -> None:
    """Make the folder of an empty store, with all of its space; ``meta.json`` comes last.

    Raises:
        ReplayError: there is no space, or it cannot be written; nothing is left behind.
    """
    wholly = sum(x.count * x.size for x in files.values())
    check_space(directory, wholly + 8 * sum(x.count for x in files.values()))
    above = [p for p in (directory, *directory.parents) if not p.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MAKING).write_text(
            json.dumps({**_meta(spec, streams, rows), "stored": list(stored)}), encoding="utf-8"
        )
        for layout in files.values():
            layout.path.unlink(missing_ok=True)
            reserve(layout.path, layout.count * layout.size)
        sums = {k: np.zeros(x.count, np.uint32) for k, x in files.items()}
        write_epoch(
            directory,
            Epoch(
                0, np.zeros((len(COUNTERS), streams), np.int64), np.zeros(streams, np.int64), sums
            ),
        )
        os.replace(directory / MAKING, directory / META)
    except BaseException as error:
        with suppress(OSError):
            for path in (
                *(x.path for x in files.values()),
                epoch_path(directory, 0),
                directory / MAKING,
            ):
                path.unlink(missing_ok=True)
            for path in above:
                path.rmdir()
        if not isinstance(error, OSError):
            raise
        raise ReplayError(
            f"{directory}: a replay of {wholly:,} bytes cannot be made: {error.strerror or error}; "
            "give a smaller capacity, or another folder"
        ) from None


def _meta(spec: RowSpec, streams: int, rows: int) -> dict[str, Any]:
    return {"format": FORMAT, "streams": streams, "rows": rows, "spec": spec.fingerprint()}
