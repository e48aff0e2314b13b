"""Where rows lie: one array a key, ``[streams, rows, ...]``, in memory or memory-mapped in a folder.

A folder holds ``meta.json`` (format, streams, rows, spec), one ``<key>.bin`` a key and ``counters.bin``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from agents.replay.errors import ReplayError
from agents.replay.rows import Array, RowSpec, differences

FORMAT = 2
COUNTERS = ("floor", "claimed", "written")  # int64 [streams] each; see agents.replay.ring


def open_store(spec: RowSpec, streams: int, rows: int, directory: Path | None) -> dict[str, Array]:
    """The arrays of all keys, and ``counters [3, streams]``; a folder that holds the same store is opened as it is.

    Raises:
        ReplayError: the folder holds another store, or a damaged one.
    """
    shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
        k: ((streams, rows, *shape), dtype) for k, (shape, dtype) in spec.keys.items()
    }
    shapes["counters"] = (len(COUNTERS), streams), np.dtype(np.int64)
    if directory is None:
        return {k: np.zeros(shape, dtype) for k, (shape, dtype) in shapes.items()}
    meta: dict[str, Any] = {"format": FORMAT, "streams": streams, "rows": rows, "spec": spec.fingerprint()}
    path = directory / "meta.json"
    exists = path.exists()
    if exists:
        _compare(_read(path), meta, directory)
    else:
        directory.mkdir(parents=True, exist_ok=True)
    arrays = {k: _open(directory / f"{quote(k, safe='')}.bin", *shapes[k], exists) for k in shapes}
    if not exists:  # last, and renamed: a folder with meta.json is whole
        temporary = directory / ".meta.json"
        temporary.write_text(json.dumps(meta), encoding="utf-8")
        os.replace(temporary, path)
    return arrays


def _open(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any], exists: bool) -> Array:
    size = int(np.prod(shape)) * dtype.itemsize
    if size == 0:  # a key without numbers has nothing to map
        return np.zeros(shape, dtype)
    if exists and (not file.exists() or file.stat().st_size != size):
        got = f"{file.stat().st_size} bytes" if file.exists() else "no file"
        raise ReplayError(f"{file} is damaged: expected {size} bytes, got {got}; restore it, or start in another folder")
    return np.memmap(file, dtype, "r+" if exists else "w+", shape=shape)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReplayError(f"{path} is damaged: {error}; start in another folder") from error
    if not isinstance(found, dict):
        raise ReplayError(f"{path} is damaged: expected an object, got {found!r}; start in another folder")
    return found


def _compare(found: dict[str, Any], meta: dict[str, Any], directory: Path) -> None:
    for key, value in meta.items():
        if found.get(key) == value:
            continue
        if key == "spec" and isinstance(found.get(key), dict):
            what = f"the spec differs: {differences(found[key], value)}"
        else:
            what = f"expected {value} as {key}, got {found.get(key)}"
        raise ReplayError(f"{directory} holds another replay: {what}; open it as it was made, or choose another folder")
