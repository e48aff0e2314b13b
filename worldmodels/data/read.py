"""Reads a data set of any form and checks it.  A form is a row of :data:`READERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, get_args

from worldmodels.data.check import OnBad, checked
from worldmodels.data.columns import Columns
from worldmodels.data.episodes import Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.folders import files_of, inside
from worldmodels.data.frames import Size
from worldmodels.data.lerobot import INFO, read_lerobot
from worldmodels.data.minari import minari_folder, read_minari
from worldmodels.data.npz import read_npz
from worldmodels.data.store import INDEX, read_store
from worldmodels.data.table import csv_files, read_csv

MAP = "columns.json"
EXAMPLE = '{"observations": {"position": ["q1", "q2"]}, "action": ["u"], "rate": 50}'


@dataclass(frozen=True)
class Reader:
    """A form of recordings.

    Args:
        name: what it is called in ``format``.
        looks_for: what tells it, in words.
        recognises: whether a path is of this form.
        read: the path and the options of ``takes`` -> episodes.
        takes: the options that ``read`` has: ``keys``, ``on_bad``, ``columns``, ``image_size``.

    >>> from worldmodels.data import READERS
    >>> [reader.name for reader in READERS]
    ['store', 'lerobot', 'minari', 'npz', 'csv']
    """

    name: str
    looks_for: str
    recognises: Callable[[Path], bool]
    read: Callable[..., Episodes]
    takes: tuple[str, ...] = ("keys", "on_bad")


def _first_line(path: Path) -> str:
    """What a CSV file begins with: the names of its columns."""
    with suppress(OSError, ValueError), path.open(encoding="utf-8-sig") as file:
        line = file.readline(501).strip()
        return f"; {path.name} begins with {line[:500]}{'...' if len(line) > 500 else ''}"
    return ""


def _read_mapped(path: Path, columns: Columns | None, **options: Any) -> Episodes:
    """CSV files with the map given, or the one beside them."""
    folder, first = path if path.is_dir() else path.parent, csv_files(path)[0]
    if columns is None and not (folder / MAP).exists():
        raise DataError(
            f"{path}: CSV files need a column map: give columns=Columns(...), "
            f"or write {folder / MAP}, "
            f"for example {EXAMPLE}{_first_line(first)}"
        )
    return read_csv(path, columns or Columns.read(inside(folder / MAP, folder)), **options)


READERS = (
    Reader("store", f"{INDEX} (a store)", lambda p: (p / INDEX).exists(), read_store, ("keys",)),
    Reader(
        "lerobot",
        f"{INFO} (LeRobot)",
        lambda p: (p / INFO).exists(),
        read_lerobot,
        ("keys", "on_bad", "image_size"),
    ),
    Reader(
        "minari",
        "data/main_data.hdf5 (Minari)",
        lambda p: minari_folder(p) is not None,
        read_minari,
    ),
    Reader("npz", "*.npz", lambda p: bool(files_of(p, ".npz")), read_npz),
    Reader(
        "csv",
        "*.csv",
        lambda p: p.suffix.lower() == ".csv" if p.is_file() else bool(files_of(p, ".csv")),
        _read_mapped,
        ("keys", "on_bad", "columns"),
    ),
)
"""The forms, in the order in which a path is tried for them."""


def read_episodes(
    path: str | Path,
    format: str = "auto",
    columns: Columns | None = None,
    on_bad: OnBad = "refuse",
    keys: Sequence[str] | None = None,
    image_size: Size = None,
    largest: float = 1e6,
) -> Episodes:
    """The episodes of a folder or file, without bad values.  Nothing is unpickled, and nothing
    outside of the folder is read.

    Args:
        path: a folder that :func:`~worldmodels.data.write_store` wrote (``episodes.json``), of
            LeRobot (``meta/info.json``), of Minari (``data/main_data.hdf5``), with ``.npz`` files,
            or with ``.csv`` files; or a ``.csv`` file.
        format: its form; ``"auto"`` looks for these in this order.
        columns: what the columns of CSV files mean; if None, ``columns.json`` beside them says it
            (:meth:`Columns.read <worldmodels.data.Columns.read>`).
        on_bad, largest: what is done with episodes that have a problem or no row, and which numbers
            are a problem (:func:`~worldmodels.data.checked`).
        keys: the observations to read, by the names of the file or those of
            :mod:`worldmodels.data.names`; all if None.
        image_size: (height, width) that the images of a LeRobot data set are scaled to while they
            are read.

    Raises:
        DataError: nothing that can be read, damage, or a bad value; names path, episode, step and
            key.
    """
    return checked(
        read_unchecked(path, format, columns, on_bad, keys, image_size), on_bad, largest=largest
    )


def read_unchecked(
    path: str | Path,
    format: str = "auto",
    columns: Columns | None = None,
    on_bad: OnBad = "refuse",
    keys: Sequence[str] | None = None,
    image_size: Size = None,
) -> Episodes:
    """:func:`read_episodes` with whatever values are there, to be looked at; ``on_bad`` is for
    episodes without a row.
    """
    if not isinstance(path, (str, PathLike)):
        raise DataError(
            f"expected the path of a file or folder as text, "
            f"got {path!r} of type {type(path).__name__}"
        )
    path = Path(path).expanduser()
    names = ("auto", *(r.name for r in READERS))
    if format not in names:
        raise DataError(f"format must be one of {names}, got {format!r}")
    if on_bad not in get_args(OnBad):
        raise DataError(f"on_bad must be one of {get_args(OnBad)}, got {on_bad!r}")
    if "\0" in str(path) or not path.exists():
        raise DataError(f"{path}: no such file or folder{_instead(path)}")
    reader = (
        _reader(path, columns) if format == "auto" else next(r for r in READERS if r.name == format)
    )
    if image_size is not None and "image_size" not in reader.takes:
        raise DataError(
            f"{path}: image_size is for LeRobot's data sets, "
            f"this is one of the form {reader.name!r}"
        )
    given = {"keys": keys or None, "on_bad": on_bad, "columns": columns, "image_size": image_size}
    return reader.read(path, **{k: given[k] for k in reader.takes})


def _instead(path: Path) -> str:
    """What to give in the place of a path that is not there."""
    there: list[str] = []
    with suppress(OSError, ValueError):
        there = [p.name for p in path.parent.iterdir()]
    near = get_close_matches(path.name, there, n=1)
    if near:
        return f" (nearest: {near[0]}); give the path of a log"
    return "; give the path of a log, in full or from the folder where this was started"


def _reader(path: Path, columns: Columns | None) -> Reader:
    found = next((r for r in READERS if r.recognises(path)), None)
    if path.is_file() and columns is not None:  # whatever its ending is
        found = READERS[-1]
    if found is not None:
        return found
    if path.is_file():
        raise DataError(f"{path}: expected a folder or a .csv file; give the folder that it is in")
    there = sorted(p.name for p in path.iterdir())[:8]
    raise DataError(
        f"{path}: found no data; looked for {', '.join(r.looks_for for r in READERS)}; "
        f"there {'is nothing' if not there else f'are {there}'}"
    )
