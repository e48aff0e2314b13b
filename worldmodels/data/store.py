"""The memory-mapped form of a data set: one ``.npy`` file a key, all episodes behind each other,
and their lengths.

write_store(data, folder)   converts any data set once
read_store(folder)          opens it; every byte is compared with its checksum, none is kept in
                            memory
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from worldmodels.data.episodes import FLAGS, NOT_OBSERVED, Array, Episode, Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.folders import fresh_folder, inside, reading
from worldmodels.data.names import chosen, variables

INDEX, FORMAT, WITHOUT_SUMS = "episodes.json", 2, 1


def write_store(data: Episodes, folder: str | Path) -> Path:
    """Write ``data`` into an empty or new folder, an episode at a time.

    Raises:
        DataError: the folder is not empty, or cannot be written.
    """
    with fresh_folder(Path(folder)) as writing:
        sums: dict[str, list[int]] = {}
        for key, (shape, dtype) in data.schema.items():
            header = {
                "descr": np.lib.format.dtype_to_descr(dtype),
                "fortran_order": False,
                "shape": (data.steps, *shape),
            }
            with (writing / _file(key)).open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                sums[key] = []
                for episode in data:
                    rows = np.ascontiguousarray(episode[key])
                    file.write(rows.tobytes())
                    sums[key].append(_sum(rows))
        index = {
            "format": FORMAT,
            "rate": data.rate,
            "source": data.source,
            "named": data.named,
            "keys": list(data.schema),
            "kinds": {
                k: [list(s), np.lib.format.dtype_to_descr(d)] for k, (s, d) in data.schema.items()
            },
            "episodes": [[e.name, len(e)] for e in data],
            "crc32": sums,
        }
        content = {**index, "index_crc32": zlib.crc32(json.dumps(index).encode())}
        (writing / INDEX).write_text(json.dumps(content), encoding="utf-8")
    return Path(folder)


def read_store(
    folder: str | Path, keys: Sequence[str] | None = None, verify: bool = True
) -> Episodes:
    """Open a folder that :func:`write_store` wrote; its arrays are read from the disk as they are
    used.

    Args:
        keys: the observations to read; all if None.
        verify: compare what is there with the checksums that were written, which reads every byte
            once; False opens large data sets at once.  Folders of earlier versions have none.

    Raises:
        DataError: the folder is damaged.
    """
    folder = Path(folder)
    with reading(f"{folder / INDEX}: expected a data set in this folder"):
        index: dict[str, Any] = json.loads(
            inside(folder / INDEX, folder).read_text(encoding="utf-8")
        )
        if index["format"] not in (FORMAT, WITHOUT_SUMS):
            raise ValueError(f"its format is {index['format']}, this version reads {FORMAT}")
        summed = index["format"] != WITHOUT_SUMS
        if summed and index.pop("index_crc32") != zlib.crc32(json.dumps(index).encode()):
            raise ValueError("its checksum is another one: the file is damaged")
        missing = [k for k in (*FLAGS, "reward") if k not in index["keys"]]
        if missing:
            raise ValueError(f"it lacks the keys {missing}")
        names = variables((k for k in index["keys"] if k not in NOT_OBSERVED), str(folder / INDEX))
        wanted = chosen(keys, names.values(), str(folder))
        read = {
            k: names.get(k, k)
            for k in index["keys"]
            if k not in names or wanted is None or names[k] in wanted
        }
        arrays = {
            k: np.load(inside(folder / _file(k), folder), mmap_mode="r", allow_pickle=False)
            for k in read
        }
        if odd := [k for k in FLAGS if arrays[k].dtype != bool or arrays[k].ndim != 1]:
            raise ValueError(f"{_file(odd[0])} holds {arrays[odd[0]].dtype}, not one bool a row")
        lengths = [int(n) for _, n in index["episodes"]]
        told = {names.get(k, k): list(map(str, v)) for k, v in (index.get("named") or {}).items()}
        kinds = {
            k: [list(v.shape[1:]), np.lib.format.dtype_to_descr(v.dtype)] for k, v in arrays.items()
        }
        if summed and (wrong := [k for k in read if kinds[k] != index["kinds"][k]]):
            raise ValueError(
                f"{_file(wrong[0])} holds {kinds[wrong[0]]} a row, not {index['kinds'][wrong[0]]}: "
                f"it is damaged"
            )
    short = [f"{_file(k)} has {len(v)}" for k, v in arrays.items() if len(v) != sum(lengths)]
    if short or min(lengths, default=0) < 1:
        raise DataError(
            f"{folder} is damaged: "
            f"expected {sum(lengths)} rows in each file and none of 0 in an episode; {short}"
        )
    found, start = [], 0
    for i, ((name, _), length) in enumerate(zip(index["episodes"], lengths)):
        series = {k: v[start : start + length] for k, v in arrays.items()}
        damaged = [
            k for k in series if summed and verify and _sum(series[k]) != index["crc32"][k][i]
        ]
        if damaged:
            raise DataError(
                f"{folder / _file(damaged[0])}, episode {name}: its checksum is another one, "
                f"the file is damaged"
            )
        found.append(Episode(str(name), {read[k]: v for k, v in series.items()}))
        start += length
    return Episodes(found, index.get("rate"), str(folder), told)


def _file(key: str) -> str:
    return f"{quote(key, safe='')}.npy"


def _sum(rows: Array) -> int:
    """CRC-32, some megabytes at a time."""
    found, step = 0, max(1, (1 << 24) // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        found = zlib.crc32(
            np.ascontiguousarray(rows[start : start + step]).reshape(-1).view(np.uint8).data, found
        )
    return found
