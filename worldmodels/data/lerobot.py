"""LeRobot data sets, version 3.0: parquet and videos, read and written by pyarrow and PyAV.

    meta/info.json                          version, fps, features, templates of the paths below
    meta/episodes/chunk-000/file-000.parquet   an episode a row: its length, its files, its place in
                                               the videos
    meta/tasks.parquet, meta/stats.json     names of tasks; statistics (written, not read)
    data/chunk-000/file-000.parquet         a frame a row: features, timestamp, frame_index,
                                            episode_index, index, task_index
    videos/KEY/chunk-000/file-000.mp4       images

Names: ``observation.state`` is ``"state"``, ``observation.images.front`` is ``"front"``; dots
inside become ``_``. ``next.reward`` of frame ``t`` becomes the reward of row ``t + 1``; that of a
last frame, whose next row was not recorded, is added to the last row.  The last row is terminal
where ``next.terminated`` says so, else where ``next.done`` does without ``next.truncated``, else
where ``next.success`` does.  It is no last row of its episode (``is_last``) where ``next.done`` is
there and no end is set.  An episode is cut (with a warning) where ``next.done`` or
``next.truncated`` comes before its last frame, and where its timestamps jump by half a frame or
more.  Videos are lossy: images come back near what was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.data.actions import classes_of
from worldmodels.data.check import OnBad, gathered
from worldmodels.data.episodes import Array, Episode, Episodes
from worldmodels.data.errors import DataError, EmptyEpisode, say
from worldmodels.data.flags import flags_of
from worldmodels.data.folders import inside, reading
from worldmodels.data.frames import FORMATS, Size, decode_images, read_video
from worldmodels.data.log import make_episode
from worldmodels.data.names import chosen, variables
from worldmodels.data.parquet import numbers, read_table

INFO, META = "meta/info.json", "meta/episodes"
INDICES = ("timestamp", "frame_index", "episode_index", "index", "task_index")
ENDS = ("next.done", "next.terminated", "next.truncated")
PLACE = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
Feature = dict[str, Any]


def read_lerobot(
    folder: str | Path,
    keys: Sequence[str] | None = None,
    image_size: Size = None,
    on_bad: OnBad = "refuse",
) -> Episodes:
    """A LeRobot data set of version 3.

    Args:
        folder: with ``meta``, ``data`` and ``videos``.
        keys: the observations to read, by the names above; all ``observation.*`` if None.
        image_size: (height, width) that images are scaled to; all are held in memory.
        on_bad: ``"drop"`` leaves out episodes without a frame.

    Raises:
        DataError: the folder is damaged, of an older version, or points out of itself; names file,
            episode, step and key.
    """
    folder = Path(folder)
    with reading(f"{folder}: expected LeRobot's format"):
        return _read(folder, _info(folder), keys, image_size, on_bad)


def _read(
    folder: Path, info: dict[str, Any], keys: Sequence[str] | None, image_size: Size, on_bad: OnBad
) -> Episodes:
    features: dict[str, Feature] = info["features"]
    names = _names(features, str(folder / INFO))
    if not names:
        raise DataError(f"{folder / INFO}: expected features observation.*, got {sorted(features)}")
    if keys is not None:  # the features' own names do too
        keys = [next((k for k, f in names.items() if key == f), key) for key in keys]
    asked = chosen(keys, names, str(folder / INFO))
    reader = _Reader(
        folder, info, {k: f for k, f in names.items() if asked is None or k in asked}, image_size
    )
    rows = _rows(folder)
    if len(rows) != info.get("total_episodes", len(rows)):
        raise DataError(
            f"{folder / META}: expected {info['total_episodes']} episodes as {INFO} says, "
            f"found {len(rows)}"
        )
    reader.check_videos(rows)
    found = gathered((partial(reader.episodes, row) for row in rows), on_bad)
    told = {
        k: _named(features[f])
        for k, f in [*reader.wanted.items(), ("action", "action")]
        if f in features
    }
    return Episodes([e for p in found for e in p], reader.rate, str(folder), told)


def _info(folder: Path) -> dict[str, Any]:
    with reading(f"{folder / INFO}: expected LeRobot's description of data"):
        info: dict[str, Any] = json.loads(inside(folder / INFO, folder).read_text(encoding="utf-8"))
        version = str(info["codebase_version"])
        missing = [k for k in ("fps", "features", "data_path") if k not in info]
    if not version.startswith("v3."):
        raise DataError(
            f"{folder / INFO}: expected LeRobot's format v3.0, got {version}; "
            f"convert it by lerobot's own script: "
            "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=NAME"
        )
    if missing:
        raise DataError(f"{folder / INFO}: lacks {missing}")
    if not float(info["fps"]) > 0:
        raise DataError(f"{folder / INFO}: expected fps above 0, got {info['fps']}")
    return info


def _names(features: dict[str, Feature], where: str) -> dict[str, str]:
    """Name of an observation -> its feature."""
    seen = [f for f in features if f.startswith("observation.")]
    short = [f.removeprefix("observation.").removeprefix("images.") for f in seen]
    return dict(zip(variables(short, where).values(), seen))


def _named(feature: Feature) -> list[str]:
    """The names of a vector's features: a list, or the one list of a dict (``{"motors": [...]}``);
    none where the format has others.
    """
    names = feature.get("names")
    if isinstance(names, dict) and len(names) == 1:
        (names,) = names.values()
    if not isinstance(names, list) or feature["dtype"] in ("video", "image"):
        return []
    return names if all(isinstance(n, str) for n in names) else []


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The descriptions of the episodes, in order."""
    files = sorted((folder / META).glob("*/*.parquet"))
    if not files:
        raise DataError(
            f"{folder / META}: expected parquet files that describe the episodes, found none"
        )
    rows: list[dict[str, Any]] = []
    for file in files:
        table = read_table(inside(file, folder), leave="stats/")
        needed = {"episode_index", "length", "data/chunk_index", "data/file_index"}
        if not needed <= set(table.column_names):
            raise DataError(f"{file}: lacks the columns {sorted(needed - set(table.column_names))}")
        rows += table.to_pylist()
    return sorted(rows, key=lambda row: int(row["episode_index"]))


def _path(folder: Path, template: str, names: dict[str, Any]) -> Path:
    """A file by one of LeRobot's templates, in the folder; numbers and names are all that is put
    in.
    """

    def fill(match: re.Match[str]) -> str:
        name, width = match[1], match[2]
        return (
            f"{int(names[name]):0{min(int(width or 0), 20)}d}"
            if name.endswith("_index")
            else str(names[name])
        )

    return inside(
        folder
        / re.sub(r"\{(chunk_index|file_index|video_key)(?::0?(\d+)d?)?\}", fill, str(template)),
        folder,
    )


class _Reader:
    """Reads episodes, each data file once."""

    def __init__(
        self, folder: Path, info: dict[str, Any], wanted: dict[str, str], size: Size
    ) -> None:
        self.folder, self.info, self.wanted, self.size = folder, info, wanted, size
        self.features: dict[str, Feature] = info["features"]
        self.rate = float(info["fps"])
        self.table = lru_cache(maxsize=1)(self._table)
        self.actions = self._actions()

    def _table(self, file: Path) -> Any:
        nexts = [f"next.{k}" for k in ("reward", "done", "success", "terminated", "truncated")]
        return read_table(
            file,
            ["timestamp", "frame_index", "episode_index", "action", *nexts, *self.wanted.values()],
        )

    def episodes(self, row: dict[str, Any]) -> list[Episode]:
        """An episode, or its pieces."""
        number, steps = int(row["episode_index"]), int(row["length"])
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        file = _path(self.folder, self.info["data_path"], place)
        where = f"{file}, episode {number}"
        table = self.table(file)
        if "episode_index" not in table.column_names:
            raise DataError(f"{file}: lacks the column episode_index; it has {table.column_names}")
        rows = np.flatnonzero(self._column(table, "episode_index", file) == number)
        if len(rows) == steps == 0:
            raise EmptyEpisode(f"{where}: expected frames, got none")
        if len(rows) != steps:
            raise DataError(f"{where}: expected {steps} frames as {META} says, found {len(rows)}")
        table = table.slice(int(rows[0]), steps)
        order = (
            self._column(table, "frame_index", where)
            if "frame_index" in table.column_names
            else np.arange(steps)
        )
        wrong = np.flatnonzero(
            (order != np.arange(steps)) | (np.diff(rows, prepend=rows[0] - 1) != 1)
        )
        if len(wrong):
            raise DataError(
                f"{where}, step {wrong[0]}: expected its frames in order, "
                f"got frame_index {order[wrong[0]]}"
            )
        times = np.arange(steps) / self.rate
        if "timestamp" in table.column_names:
            times = self._column(table, "timestamp", where).astype(np.float64)
        seen = {
            k: self._series(table, times, row, f, f"{where}, key {k}")
            for k, f in self.wanted.items()
        }
        columns = {
            k: self._column(table, k, where) for k in table.column_names if k.startswith("next.")
        }
        columns = _flags(columns, where)
        action = self._column(table, "action", where) if "action" in table.column_names else None
        cuts = self._cuts(columns, times, where)
        return [
            self._piece(
                f"episode_{number}{f'#{i}' if cuts else ''}",
                slice(start, stop),
                seen,
                action,
                columns,
            )
            for i, (start, stop) in enumerate(zip([0, *cuts], [*cuts, steps]))
        ]

    def _piece(
        self,
        name: str,
        rows: slice,
        seen: dict[str, Array],
        action: Array | None,
        columns: dict[str, Array],
    ) -> Episode:
        columns = {k: v[rows] for k, v in columns.items()}
        reward = (
            np.roll(columns["next.reward"].reshape(-1).astype(np.float32), 1)
            if "next.reward" in columns
            else None
        )
        if reward is not None and len(reward) > 1:
            reward[-1] += reward[0]
            reward[0] = 0
        seen = {k: v[rows] for k, v in seen.items()}
        return make_episode(
            name,
            seen,
            action if action is None else action[rows],
            reward,
            _terminal(columns),
            self.actions,
            _last(columns),
        )

    def _cuts(self, columns: dict[str, Array], times: Array, where: str) -> list[int]:
        """The frames before which another recording begins; each is said."""
        found = set()
        for name in ("done", "terminated", "truncated"):
            ends = columns.get(f"next.{name}", np.zeros(len(times), bool))
            inside_ = np.flatnonzero(ends[:-1] & ~ends[1:]) + 1  # the last of a run of them
            if len(inside_):
                say(
                    f"{where}, step {inside_[0] - 1}: next.{name} before the last frame "
                    f"({len(inside_)} times); cut there"
                )
            found |= set(inside_.tolist())
        jumps = np.flatnonzero(~(np.abs(np.diff(times) * self.rate - 1) < 0.5)) + 1
        if len(jumps):
            i = int(jumps[0])
            say(
                f"{where}, step {i}: "
                f"the timestamp jumps from {times[i - 1]:g} to {times[i]:g} s at "
                f"{self.rate:g} frames a second ({len(jumps)} times); cut there"
            )
        return sorted(found | set(jumps.tolist()))

    def _actions(self) -> int | None:
        """How many discrete actions there are, where they are;
        0 where whole numbers are numbers.
        """
        feature = self.features.get("action")
        if feature is None or "int" not in feature["dtype"] or tuple(feature["shape"]) != (1,):
            return 0
        files = [inside(f, self.folder) for f in sorted((self.folder / "data").glob("*/*.parquet"))]
        tables = [(f, self._table(f)) for f in files]
        given = [
            self._column(t, "action", f).reshape(-1)
            for f, t in tables
            if "action" in t.column_names
        ]
        return classes_of(given, str(self.folder)) or 0

    def check_videos(self, rows: Sequence[dict[str, Any]]) -> None:
        """Refuse places in videos that differ from an episode's length by half a frame, or lie
        within another's.
        """
        where = self.folder / META
        for key, feature in self.wanted.items():
            if self.features[feature]["dtype"] != "video":
                continue
            seen: dict[tuple[Any, Any], list[tuple[float, float, int]]] = {}
            for row in rows:
                place = {k: row.get(f"videos/{feature}/{k}") for k in PLACE}
                start = place["from_timestamp"]
                stop = place["to_timestamp"]
                length = int(row["length"]) / self.rate
                number = int(row["episode_index"])
                if start is None:
                    continue
                if stop is not None and abs(stop - start - length) * self.rate >= 0.5:
                    raise DataError(
                        f"{where}, episode {number}, key {key}: its video lies from {start:g} to "
                        f"{stop:g} s, but its {row['length']} frames last {length:g} s"
                    )
                seen.setdefault((place["chunk_index"], place["file_index"]), []).append(
                    (start, start + length, number)
                )
            for parts in seen.values():
                parts.sort()
                for (_, stop, one), (start, _, two) in pairwise(parts):
                    if (stop - start) * self.rate >= 0.5:
                        raise DataError(
                            f"{where}, key {key}: "
                            f"the frames of episode {two} begin at {start:g} s, "
                            f"within those of episode {one}, which end at {stop:g} s"
                        )

    def _series(
        self, table: Any, times: Array, row: dict[str, Any], feature: str, where: str
    ) -> Array:
        about = self.features[feature]
        more = {**(about.get("video_info") or {}), **(about.get("info") or {})}
        if more.get("is_depth_map") or more.get("video.is_depth_map"):
            raise DataError(f"{where}: depth maps are not read; leave {feature} out by keys=")
        if about["dtype"] == "video":
            place: dict[str, Any] = {k: row.get(f"videos/{feature}/{k}") for k in PLACE[:3]}
            if None in place.values():
                raise DataError(f"{where}: {META} does not say where its video is")
            path = _path(self.folder, self.info["video_path"], {"video_key": feature, **place})
            return read_video(
                path,
                float(place["from_timestamp"]) + times,
                self.rate,
                _channels(about, where),
                where,
                self.size,
            )
        if feature not in table.column_names:
            raise DataError(f"{where}: the file has no column {feature}")
        if about["dtype"] == "image":
            cells = table[feature].to_pylist()
            return decode_images(
                [v["bytes"] or b"" for v in cells], _channels(about, where), where, self.size
            )
        return numbers(table, feature, about["shape"], where)

    def _column(self, table: Any, name: str, where: str | Path) -> Array:
        """``[T]`` or ``[T, D]`` numbers."""
        return numbers(
            table, name, self.features.get(name, {}).get("shape", ()), f"{where}, key {name}"
        )


def _channels(about: Feature, where: str) -> int:
    """Of images ``[H, W, C]``, or ``[C, H, W]`` where their axes are so named or only that fits;
    ``[H, W]`` is grey.
    """
    shape = tuple(int(n) for n in about["shape"])
    names = about.get("names") or ()
    names = [str(n).lower() for n in names] if isinstance(names, (list, tuple)) else []
    if len(shape) == 2:
        return 1
    place = next(
        (i for i, n in enumerate(names) if n.startswith("channel")),
        -1 if shape[-1] in FORMATS else 0,
    )
    if len(shape) != 3 or shape[place] not in FORMATS:
        raise DataError(
            f"{where}: expected images [H, W, C] of 1, 3 or 4 channels, got {list(shape)}"
        )
    return shape[place]


def _flags(columns: dict[str, Array], where: str) -> dict[str, Array]:
    """The columns with flags as ``[T]`` bool; without ``next.success`` where others say the end."""
    told = {"next.done", "next.terminated"} & columns.keys()
    found = {k: v for k, v in columns.items() if k != "next.success" or not told}
    return {k: v if k == "next.reward" else flags_of(v, where, k) for k, v in found.items()}


def _last(columns: dict[str, Array]) -> bool:
    """Whether the last row ended the episode; it did where nothing is said of that."""
    ends = [bool(v[-1]) for k, v in columns.items() if k in ENDS]
    return "next.done" not in columns or any(ends)


def _terminal(columns: dict[str, Array]) -> bool:
    last = {k.removeprefix("next."): bool(v.reshape(-1)[-1]) for k, v in columns.items()}
    if "terminated" in last:
        return last["terminated"]
    if "done" in last:
        return last["done"] and not last.get("truncated", False)
    return last.get("success", False)
