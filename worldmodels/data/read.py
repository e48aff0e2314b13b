"""Reads a data set of any form and checks it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from worldmodels.data.check import checked
from worldmodels.data.episodes import Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.frames import Size
from worldmodels.data.lerobot import INFO, read_lerobot
from worldmodels.data.minari import minari_folder, read_minari
from worldmodels.data.npz import read_npz
from worldmodels.data.store import INDEX, read_store
from worldmodels.data.table import Columns, read_csv

Format = Literal["auto", "store", "npz", "minari", "lerobot", "csv"]
MAP = "columns.json"
EXAMPLE = '{"observations": {"position": ["q1", "q2"]}, "action": ["u"], "rate": 50}'


def read_episodes(
    path: str | Path, format: Format = "auto", columns: Columns | None = None, on_bad: Literal["refuse", "drop"] = "refuse",
    keys: Sequence[str] | None = None, image_size: Size = None, largest: float = 1e6,
) -> Episodes:
    """The episodes of a folder or file, without bad values.

    Args:
        path: a folder that :func:`~worldmodels.data.write_store` wrote (``episodes.json``), of LeRobot (``meta/info.json``), of
            Minari (``data/main_data.hdf5``), with ``.npz`` files, or with ``.csv`` files; or a ``.csv`` file.
        format: its form; ``"auto"`` looks for these in this order.
        columns: what the columns of CSV files mean; if None, ``columns.json`` beside them says it
            (:meth:`Columns.read <worldmodels.data.Columns.read>`).
        on_bad, largest: what is done with episodes that have a problem, and which numbers are one
            (:func:`~worldmodels.data.checked`).
        keys: the observations to read; all if None.
        image_size: (height, width) that the images of a LeRobot data set are scaled to while they are read.

    Raises:
        DataError: nothing that can be read, damage, or a bad value; names path, episode, step and key.
    """
    path = Path(path).expanduser()
    if format not in get_args(Format):
        raise DataError(f"format must be one of {get_args(Format)}, got {format!r}")
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    kind = _kind(path, columns) if format == "auto" else format
    if kind == "lerobot":
        return checked(read_lerobot(path, keys, image_size), on_bad, largest=largest)
    if image_size is not None:
        raise DataError(f"{path}: image_size is for LeRobot's data sets, this is one of the form {kind!r}")
    if kind == "minari":
        return checked(read_minari(path, keys), on_bad, largest=largest)
    if kind == "csv":
        folder = path if path.is_dir() else path.parent
        if columns is None and not (folder / MAP).exists():
            raise DataError(f"{path}: CSV files need a column map: give columns=Columns(...), or write {folder / MAP}, "
                            f"for example {EXAMPLE}")
        data = read_csv(path, columns or Columns.read(folder / MAP))
    else:
        data = read_store(path) if kind == "store" else read_npz(path)
    return checked(data.select(keys) if keys else data, on_bad, largest=largest)


def _kind(path: Path, columns: Columns | None) -> str:
    if path.is_file():
        if path.suffix.lower() == ".csv" or columns is not None:
            return "csv"
        raise DataError(f"{path}: expected a folder or a .csv file; give the folder that it is in")
    if (path / INDEX).exists():
        return "store"
    if (path / INFO).exists():
        return "lerobot"
    if minari_folder(path) is not None:
        return "minari"
    for ending in ("npz", "csv"):
        if any(path.glob(f"*.{ending}")):
            return ending
    there = sorted(p.name for p in path.iterdir())[:8]
    raise DataError(f"{path}: found no data; looked for {INDEX} (a store), {INFO} (LeRobot), data/main_data.hdf5 (Minari), "
                    f"*.npz and *.csv; there {'is nothing' if not there else f'are {there}'}")
