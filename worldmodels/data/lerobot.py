"""LeRobot data sets, version 3.0: parquet and videos, read and written by pyarrow and PyAV.

    meta/info.json                          version, fps, features, templates of the paths below
    meta/episodes/chunk-000/file-000.parquet   an episode a row: its length, its files, its place in the videos
    meta/tasks.parquet, meta/stats.json     names of tasks; statistics (written, not read)
    data/chunk-000/file-000.parquet         a frame a row: features, timestamp, frame_index, episode_index, index, task_index
    videos/KEY/chunk-000/file-000.mp4       images

Names: ``observation.state`` is ``"state"``, ``observation.images.front`` is ``"front"``; dots inside become ``_``.
``next.reward`` of frame ``t`` becomes the reward of row ``t + 1``; that of a last frame, whose next row was not recorded, is
added to the last row.  The last row is terminal where ``next.terminated`` says so, else where ``next.done`` does without
``next.truncated``, else where ``next.success`` does.  Videos are lossy: images come back near what was written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.data.episodes import Array, Episode, Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.folders import need, reading, variables
from worldmodels.data.frames import FORMATS, Size, decode_images, read_video
from worldmodels.data.log import make_episode

INFO, META = "meta/info.json", "meta/episodes"
INDICES = ("timestamp", "frame_index", "episode_index", "index", "task_index")
Feature = dict[str, Any]


def read_lerobot(folder: str | Path, keys: Sequence[str] | None = None, image_size: Size = None) -> Episodes:
    """A LeRobot data set of version 3.

    Args:
        folder: with ``meta``, ``data`` and ``videos``.
        keys: the observations to read, by the names above; all ``observation.*`` if None.
        image_size: (height, width) that images are scaled to; all are held in memory.

    Raises:
        DataError: the folder is damaged or of an older version; names file, episode, step and key.
    """
    folder = Path(folder)
    with reading(f"{folder}: expected LeRobot's format"):
        return _read(folder, _info(folder), keys, image_size)


def _read(folder: Path, info: dict[str, Any], keys: Sequence[str] | None, image_size: Size) -> Episodes:
    features: dict[str, Feature] = info["features"]
    names = _names(features, str(folder / INFO))
    if unknown := [k for k in keys or () if k not in names]:
        raise DataError(f"{folder / INFO}: no observations {unknown}; it has {sorted(names)}")
    wanted = {k: feature for k, feature in names.items() if keys is None or k in keys}
    if not wanted:
        raise DataError(f"{folder / INFO}: expected features observation.*, got {sorted(features)}")
    reader = _Reader(folder, info, wanted, image_size)
    rows = _rows(folder)
    if len(rows) != info.get("total_episodes", len(rows)):
        raise DataError(f"{folder / META}: expected {info['total_episodes']} episodes as {INFO} says, found {len(rows)}")
    return Episodes([reader.episode(row) for row in rows], float(info["fps"]), str(folder))


def _info(folder: Path) -> dict[str, Any]:
    with reading(f"{folder / INFO}: expected LeRobot's description of data"):
        info: dict[str, Any] = json.loads((folder / INFO).read_text(encoding="utf-8"))
        version = str(info["codebase_version"])
        missing = [k for k in ("fps", "features", "data_path") if k not in info]
    if not version.startswith("v3."):
        raise DataError(f"{folder / INFO}: expected LeRobot's format v3.0, got {version}; convert it by lerobot's own script: "
                        "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=NAME")
    if missing:
        raise DataError(f"{folder / INFO}: lacks {missing}")
    return info


def _names(features: dict[str, Feature], where: str) -> dict[str, str]:
    """Name of an observation -> its feature."""
    seen = [f for f in features if f.startswith("observation.")]
    short = [f.removeprefix("observation.").removeprefix("images.") for f in seen]
    return dict(zip(variables(short, where).values(), seen))


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The descriptions of the episodes, in order."""
    parquet = need("pyarrow.parquet", "reading LeRobot's data sets")
    files = sorted((folder / META).glob("*/*.parquet"))
    if not files:
        raise DataError(f"{folder / META}: expected parquet files that describe the episodes, found none")
    rows: list[dict[str, Any]] = []
    for file in files:
        with reading(f"{file}: expected a parquet file"):
            columns = [c for c in parquet.read_schema(file).names if not c.startswith("stats/")]
            rows += parquet.read_table(file, columns=columns, page_checksum_verification=True).to_pylist()
        needed = {"episode_index", "length", "data/chunk_index", "data/file_index"}
        if not needed <= set(columns):
            raise DataError(f"{file}: lacks the columns {sorted(needed - set(columns))}")
    return sorted(rows, key=lambda row: int(row["episode_index"]))


class _Reader:
    """Reads episodes, each data file once."""

    def __init__(self, folder: Path, info: dict[str, Any], wanted: dict[str, str], size: Size) -> None:
        self.folder, self.info, self.wanted, self.size = folder, info, wanted, size
        self.features: dict[str, Feature] = info["features"]
        self.table = lru_cache(maxsize=1)(self._table)
        self.actions = self._actions()

    def _table(self, file: Path) -> Any:
        parquet = need("pyarrow.parquet", "reading LeRobot's data sets")
        nexts = [f"next.{k}" for k in ("reward", "done", "success", "terminated", "truncated")]
        wanted = ["frame_index", "episode_index", "action", *nexts, *self.wanted.values()]
        with reading(f"{file}: expected a parquet file"):
            there = parquet.read_schema(file).names
            return parquet.read_table(file, columns=[c for c in wanted if c in there], page_checksum_verification=True)

    def episode(self, row: dict[str, Any]) -> Episode:
        number, steps = int(row["episode_index"]), int(row["length"])
        file = self.folder / self.info["data_path"].format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
        where = f"{file}, episode {number}"
        table = self.table(file)
        if "episode_index" not in table.column_names:
            raise DataError(f"{file}: lacks the column episode_index; it has {table.column_names}")
        rows = np.flatnonzero(table["episode_index"].to_numpy() == number)
        if len(rows) != steps or not steps:
            raise DataError(f"{where}: expected {steps} frames as {META} says, found {len(rows)}")
        table = table.slice(int(rows[0]), steps)
        order = table["frame_index"].to_numpy() if "frame_index" in table.column_names else np.arange(steps)
        wrong = np.flatnonzero((order != np.arange(steps)) | (np.diff(rows, prepend=rows[0] - 1) != 1))
        if len(wrong):
            raise DataError(f"{where}, step {wrong[0]}: expected its frames in order, got frame_index {order[wrong[0]]}")
        seen = {k: self._series(table, row, f, f"{where}, key {k}") for k, f in self.wanted.items()}
        columns = {k: self._column(table, k, f"{where}, key {k}") for k in table.column_names if k.startswith("next.")}
        action = self._column(table, "action", f"{where}, key action") if "action" in table.column_names else None
        reward = np.roll(columns["next.reward"].reshape(-1).astype(np.float32), 1) if "next.reward" in columns else None
        if reward is not None and steps > 1:
            reward[-1] += reward[0]
            reward[0] = 0
        return make_episode(f"episode_{number}", seen, action, reward, _terminal(columns), self.actions)

    def _actions(self) -> int | None:
        """How many discrete actions there are, where they are."""
        feature = self.features.get("action")
        if feature is None or "int" not in feature["dtype"] or tuple(feature["shape"]) != (1,):
            return None
        files = sorted((self.folder / "data").glob("*/*.parquet"))
        return 1 + max((int(np.max(self._table(f)["action"].to_numpy(), initial=0)) for f in files), default=0)

    def _series(self, table: Any, row: dict[str, Any], feature: str, where: str) -> Array:
        about = self.features[feature]
        more = {**(about.get("video_info") or {}), **(about.get("info") or {})}
        if more.get("is_depth_map") or more.get("video.is_depth_map"):
            raise DataError(f"{where}: depth maps are not read; leave {feature} out by keys=")
        shape = tuple(about["shape"])
        channels = shape[-1] if shape[-1] in FORMATS else shape[0]  # some name them first; videos have them last
        if about["dtype"] == "video":
            place: dict[str, Any] = {k: row.get(f"videos/{feature}/{k}") for k in ("chunk_index", "file_index", "from_timestamp")}
            if None in place.values():
                raise DataError(f"{where}: {META} does not say where its video is")
            path = self.folder / self.info["video_path"].format(video_key=feature, **place)
            start, rate, steps = place["from_timestamp"], self.info["fps"], int(row["length"])
            return read_video(path, start, rate, steps, channels, where, self.size)
        if feature not in table.column_names:
            raise DataError(f"{where}: the file has no column {feature}")
        if about["dtype"] == "image":
            return decode_images([v["bytes"] or b"" for v in table[feature].to_pylist()], channels, where, self.size)
        return self._column(table, feature, where)

    def _column(self, table: Any, name: str, where: str) -> Array:
        """``[T]`` or ``[T, D]`` numbers."""
        steps, values = len(table), table[name].combine_chunks()
        empty = np.flatnonzero(np.asarray(values.is_null()))
        if len(empty):
            raise DataError(f"{where}, step {empty[0]}: expected a value, got none")
        shape = tuple(self.features.get(name, {}).get("shape", ()))
        while hasattr(values, "flatten") and hasattr(values.type, "value_type"):
            values = values.flatten()
        with reading(f"{where}: expected numbers, got the type {values.type}"):
            found: Array = values.to_numpy(zero_copy_only=False)
        if found.dtype.kind not in "fiub" or len(found) != steps * int(np.prod(shape or (1,))):
            raise DataError(f"{where}: expected {list(shape)} numbers a frame, got {len(found) / steps:g} of type {found.dtype}")
        return found.reshape(steps, -1) if len(shape) and np.prod(shape) > 1 else found


def _terminal(columns: dict[str, Array]) -> bool:
    last = {k.removeprefix("next."): bool(v.reshape(-1)[-1]) for k, v in columns.items()}
    if "terminated" in last:
        return last["terminated"]
    if "done" in last:
        return last["done"] and not last.get("truncated", False)
    return last.get("success", False)
