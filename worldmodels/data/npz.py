"""Folders of ``.npz`` files, one an episode: the form that Dreamer's programs write.

Keys: the observations, and ``action``, ``reward``, ``is_first``, ``is_last``, ``is_terminal`` (or ``terminated`` and
``truncated``, or ``discount``), which may be missing.  Rows are as in :mod:`worldmodels.data.episodes`; ``action`` and
``reward`` may have one row less than the observations.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.data.episodes import FLAGS, Array, Episode, Episodes, make_episode
from worldmodels.data.errors import DataError
from worldmodels.data.folders import fresh_folder

ENDS = ("terminated", "truncated", "discount")


def write_npz(data: Episodes, folder: Path) -> Path:
    """One file an episode, ``00000.npz`` and so on, into an empty or new folder.

    Raises:
        DataError: the folder is not empty, or cannot be written.
    """
    with fresh_folder(Path(folder)) as writing:
        for i, episode in enumerate(data):
            np.savez_compressed(writing / f"{i:05d}.npz", **dict(episode.series))  # type: ignore[arg-type]
    return Path(folder)


def read_npz(folder: Path, rate: float | None = None) -> Episodes:
    """All ``.npz`` files of a folder, by name, as episodes; an episode that resets inside is cut there.

    Raises:
        DataError: there is no such file, or one cannot be read.
    """
    files = sorted(Path(folder).glob("*.npz"))
    if not files:
        raise DataError(f"{folder}: expected .npz files, one an episode, found none")
    return Episodes([e for file in files for e in _episodes(file)], rate, str(folder))


def _episodes(file: Path) -> list[Episode]:
    try:
        with np.load(file, allow_pickle=False) as found:
            values: dict[str, Array] = {k: found[k] for k in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{file}: expected arrays of one episode: {type(error).__name__}: {error}") from None
    keys = [k for k in values if k not in ("action", "reward", *FLAGS, *ENDS)]
    if not keys:
        raise DataError(f"{file}: expected observations beside {sorted(values)}, found none")
    flags = {k: _flag(file, k, values) for k in (*FLAGS, *ENDS) if k in values}
    terminal = any(bool(flags[k][-1]) for k in ("is_terminal", "terminated") if k in flags and len(flags[k]))
    terminal |= "discount" in flags and bool(values["discount"][-1] == 0)
    whole = make_episode(
        str(file.name), {k: values[k] for k in keys}, values.get("action"), values.get("reward"), terminal
    )
    firsts = flags.get("is_first", np.zeros(0, bool))
    cuts = [int(i) for i in np.flatnonzero(firsts) if 0 < i < len(whole)]
    if not cuts:
        return [whole]
    return [_cut(whole, a, b, flags, i) for i, (a, b) in enumerate(zip([0, *cuts], [*cuts, len(whole)]))]


def _cut(whole: Episode, start: int, stop: int, flags: dict[str, Array], number: int) -> Episode:
    part = whole.part(start, stop)
    series = {**part.series, "is_last": np.array(part["is_last"]), "is_terminal": np.array(part["is_terminal"])}
    series["is_last"][-1] = True
    series["is_terminal"][-1] = "is_terminal" in flags and bool(flags["is_terminal"][stop - 1])
    return Episode(f"{whole.name}#{number}", series)


def _flag(file: Path, key: str, values: dict[str, Any]) -> Array:
    found = np.asarray(values[key]).reshape(-1)
    if found.dtype.kind not in "biuf":
        raise DataError(f"{file}, key {key}: expected one flag a row, got {found.dtype}")
    return found.astype(bool)
