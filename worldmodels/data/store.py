"""The memory-mapped form of a data set: one ``.npy`` file a key, all episodes behind each other, and their lengths.

    write_store(data, folder)   converts any data set once
    read_store(folder)          opens it without reading it
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from worldmodels.data.episodes import FLAGS, Episode, Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.folders import fresh_folder, reading

INDEX, FORMAT = "episodes.json", 1


def write_store(data: Episodes, folder: str | Path) -> Path:
    """Write ``data`` into an empty or new folder, an episode at a time.

    Raises:
        DataError: the folder is not empty, or cannot be written.
    """
    with fresh_folder(Path(folder)) as writing:
        for key, (shape, dtype) in data.schema.items():
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (data.steps, *shape)}
            with (writing / _file(key)).open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for episode in data:
                    file.write(np.ascontiguousarray(episode[key]).tobytes())
        index = {"format": FORMAT, "rate": data.rate, "source": data.source, "keys": list(data.schema),
                 "episodes": [[e.name, len(e)] for e in data]}
        (writing / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return Path(folder)


def read_store(folder: str | Path) -> Episodes:
    """Open a folder that :func:`write_store` wrote; its arrays are read from the disk as they are used.

    Raises:
        DataError: the folder is damaged.
    """
    folder = Path(folder)
    with reading(f"{folder / INDEX}: expected a data set in this folder"):
        index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise ValueError(f"its format is {index['format']}, this version reads {FORMAT}")
        missing = [k for k in (*FLAGS, "reward") if k not in index["keys"]]
        if missing:
            raise ValueError(f"it lacks the keys {missing}")
        arrays = {k: np.load(folder / _file(k), mmap_mode="r", allow_pickle=False) for k in index["keys"]}
        lengths = [int(n) for _, n in index["episodes"]]
    short = [f"{_file(k)} has {len(v)}" for k, v in arrays.items() if len(v) != sum(lengths)]
    if short or min(lengths, default=0) < 1:
        raise DataError(f"{folder} is damaged: expected {sum(lengths)} rows in each file and none of 0 in an episode; {short}")
    found, start = [], 0
    for (name, _), length in zip(index["episodes"], lengths):
        found.append(Episode(name, {k: v[start : start + length] for k, v in arrays.items()}))
        start += length
    return Episodes(found, index.get("rate"), str(folder))


def _file(key: str) -> str:
    return f"{quote(key, safe='')}.npy"
