"""Writes LeRobot data sets of version 3.0; :mod:`worldmodels.data.lerobot` reads them and describes
the format.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.data.episodes import Array, Episode, Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.folders import fresh_folder, need
from worldmodels.data.frames import VIDEOS as FILMED
from worldmodels.data.frames import write_video
from worldmodels.data.lerobot import INDICES, INFO, META

CHUNK = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA, VIDEOS = f"data/{CHUNK}.parquet", f"videos/{{video_key}}/{CHUNK}.mp4"
FILES, MEGABYTES = 1000, 100  # files in a chunk; size of a data file
Feature = dict[str, Any]


def write_lerobot(
    data: Episodes, folder: str | Path, fps: float | None = None, task: str = "none"
) -> Path:
    """Write ``data`` as a LeRobot data set into an empty or new folder.

    Images ``[T, H, W, C]`` uint8 become ``observation.images.KEY``, one H.264 video an episode
    (lossy); other observations ``observation.KEY``, with the
    names of their features where they are known; rewards ``next.reward``; ends ``next.done`` and
    ``next.truncated``, neither where an episode goes on behind its last row.

    Args:
        fps: rows a second; the data's rate if None.
        task: what the robot was to do, in words.

    Raises:
        DataError: the folder is not empty; no rate; images of floats or of 2 or more than 3
            channels; an episode has a reward in its first row, for which this format has no place.
    """
    pa = need("pyarrow", "writing LeRobot's data sets")
    parquet = need("pyarrow.parquet", "writing LeRobot's data sets")
    rate = float(fps or data.rate or 0)
    if not rate:
        raise DataError(
            f"{data.source}: LeRobot's format needs the rate of its rows; give fps= to "
            f"write_lerobot, or --rate HZ to pixyz data convert"
        )
    lost = [e.name for e in data if e["reward"][0] != 0]
    if lost:
        raise DataError(
            f"{data.source}, episode {lost[0]}, step 0, key reward: "
            f"this format has no place for it; write_store (pixyz data convert --to store) has"
        )
    names, features = _features(data, rate)
    films = [k for k in names if features[names[k]]["dtype"] == "video"]
    columns = [f for f, about in features.items() if about["dtype"] != "video"]
    schema = pa.schema([(f, _type(pa, features[f])) for f in columns])
    with fresh_folder(Path(folder)) as writing, ExitStack() as open_files:
        rows, start, number, size = [], 0, -1, np.inf
        writer: Any = None
        for i, e in enumerate(data):
            if size > MEGABYTES * 1e6:
                if writer is not None:
                    writer.close()
                number, size = number + 1, 0
                file = _new(writing, DATA, number)
                writer = open_files.enter_context(
                    parquet.ParquetWriter(file, schema, write_page_checksum=True)
                )
            values = _values(e, i, start, rate, {k: f for k, f in names.items() if k not in films})
            table = pa.table([_array(pa, values[f], schema.field(f).type) for f in columns], schema)
            writer.write_table(table)
            size += table.nbytes
            row = {
                "episode_index": i,
                "tasks": [task],
                "length": len(e),
                **_place("data", number),
                "dataset_from_index": start,
                "dataset_to_index": start + len(e),
                **_place(META, 0),
            }
            for key in films:
                write_video(_new(writing, VIDEOS, i, video_key=names[key]), e[key], rate)
                row |= {
                    **_place(f"videos/{names[key]}", i),
                    f"videos/{names[key]}/from_timestamp": 0.0,
                    f"videos/{names[key]}/to_timestamp": len(e) / rate,
                }
            rows.append(row)
            start += len(e)
        writer.close()
        parquet.write_table(
            pa.Table.from_pylist(rows),
            _new(writing, f"{META}/{CHUNK}.parquet", 0),
            write_page_checksum=True,
        )
        parquet.write_table(_tasks(pa, task), writing / "meta/tasks.parquet")
        known = {**names, "action": "action", "reward": "next.reward"}
        _write_json(
            writing / "meta/stats.json",
            {f: _stats(data, k) for k, f in known.items() if k in data.schema},
        )
        _write_json(
            writing / INFO,
            {
                "codebase_version": "v3.0",
                "robot_type": None,
                "total_episodes": len(data),
                "total_frames": data.steps,
                "total_tasks": 1,
                "chunks_size": FILES,
                "data_files_size_in_mb": MEGABYTES,
                "video_files_size_in_mb": 200,
                "fps": int(rate) if rate.is_integer() else rate,
                "splits": {"train": f"0:{len(data)}"},
                "data_path": DATA,
                "video_path": VIDEOS if films else None,
                "features": features,
            },
        )
    return Path(folder)


def _features(data: Episodes, rate: float) -> tuple[dict[str, str], dict[str, Feature]]:
    """Key -> name of the feature; name -> what ``info.json`` says of it."""
    names, found = {}, {}
    for key in data.observations:
        shape, dtype = data.schema[key]
        if len(shape) == 3:
            if dtype != np.uint8 or shape[-1] not in FILMED:
                raise DataError(
                    f"{data.source}, key {key}: a video needs images [T, H, W, "
                    f"1 or 3] of type uint8, "
                    f"got {['T', *shape]} of {dtype}"
                )
            names[key] = f"observation.images.{key}"
            about = {
                "video.height": shape[0],
                "video.width": shape[1],
                "video.channels": shape[2],
                "video.fps": rate,
                "video.codec": "h264",
                "video.pix_fmt": "gray" if shape[2] == 1 else "yuv444p",
                "video.is_depth_map": False,
                "has_audio": False,
            }
            found[names[key]] = {
                "dtype": "video",
                "shape": list(shape),
                "names": ["height", "width", "channels"],
                "info": about,
            }
        else:
            names[key] = f"observation.{key}"
            found[names[key]] = _vector("float32", shape[0], data.named.get(key))
    if data.action_size:
        found["action"] = _vector("float32", data.action_size, data.named.get("action"))
    found |= {
        "next.reward": _vector("float32"),
        "next.done": _vector("bool"),
        "next.truncated": _vector("bool"),
    }
    return names, found | {k: _vector("float32" if k == "timestamp" else "int64") for k in INDICES}


def _vector(dtype: str, size: int = 1, names: Sequence[str] | None = None) -> Feature:
    return {"dtype": dtype, "shape": [size], "names": names and list(names)}


def _values(
    e: Episode, number: int, start: int, rate: float, names: dict[str, str]
) -> dict[str, Array]:
    """The columns of an episode."""
    steps = np.arange(len(e))
    found = {f: e[k] for k, f in names.items()}
    if "action" in e.series:
        found["action"] = e["action"]
    return found | {
        "next.reward": np.append(e["reward"][1:], np.float32(0)),
        "next.done": e["is_last"],
        "next.truncated": e["is_last"] & ~e["is_terminal"],
        "timestamp": (steps / rate).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(len(e), number),
        "index": start + steps,
        "task_index": np.zeros(len(e), np.int64),
    }


def _type(pa: Any, feature: Feature) -> Any:
    kind = {"float32": pa.float32, "int64": pa.int64, "bool": pa.bool_}[feature["dtype"]]()
    return kind if feature["shape"] == [1] else pa.list_(kind, feature["shape"][0])


def _array(pa: Any, values: Array, kind: Any) -> Any:
    flat = np.ascontiguousarray(values).reshape(-1)
    if not hasattr(kind, "list_size"):
        return pa.array(flat, kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, kind.value_type), kind.list_size)


def _place(name: str, number: int) -> dict[str, int]:
    return {f"{name}/chunk_index": number // FILES, f"{name}/file_index": number % FILES}


def _new(folder: Path, template: str, number: int, **names: str) -> Path:
    file = folder / template.format(chunk_index=number // FILES, file_index=number % FILES, **names)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _tasks(pa: Any, task: str) -> Any:
    """The table of tasks, which pandas reads with the task as its index."""
    kinds = {"task_index": "int64", "task": "unicode"}
    about = {
        "index_columns": ["task"],
        "column_indexes": [],
        "pandas_version": "2.2.0",
        "columns": [
            {
                "name": k,
                "field_name": k,
                "pandas_type": v,
                "numpy_type": "int64" if v == "int64" else "object",
                "metadata": None,
            }
            for k, v in kinds.items()
        ],
    }
    table = pa.table({"task_index": pa.array([0], pa.int64()), "task": pa.array([task])})
    return table.replace_schema_metadata({"pandas": json.dumps(about)})


def _stats(data: Episodes, key: str) -> dict[str, Any]:
    """Smallest, largest, mean and deviation of each element of a vector, or of each channel of
    images in [0, 1].
    """
    shape, dtype = data.schema[key]
    size, scale = (shape[-1] if shape else 1), (255.0 if dtype == np.uint8 else 1.0)
    low = np.full(size, np.inf)
    high = np.full(size, -np.inf)
    total = np.zeros(size)
    squares = np.zeros(size)
    count = data.steps * int(np.prod(shape)) // size if shape else data.steps
    for e in data:
        values = np.asarray(e[key], np.float64).reshape(-1, size) / scale
        low, high, total = (
            np.minimum(low, values.min(0)),
            np.maximum(high, values.max(0)),
            total + values.sum(0),
        )
    mean = total / count
    for e in data:  # a second pass: E[x^2] - E[x]^2 loses all digits where the mean is large
        squares += np.square(np.asarray(e[key], np.float64).reshape(-1, size) / scale - mean).sum(0)
    deviation = np.sqrt(squares / count)
    form = (size, 1, 1) if len(shape) == 3 else (size,)
    found = {
        k: v.reshape(form).tolist()
        for k, v in (("min", low), ("max", high), ("mean", mean), ("std", deviation))
    }
    return found | {"count": [data.steps]}


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=4), encoding="utf-8")
