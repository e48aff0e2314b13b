"""CSV files with a column map: which columns make an observation, which the action."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from worldmodels.data.episodes import Array, Episode, Episodes, make_episode
from worldmodels.data.errors import DataError


@dataclass(frozen=True)
class Columns:
    """What the columns of a CSV file mean.

    Args:
        observations: key -> its columns, in order.
        action: the columns of an action, or one column of names, which become one-hot in the order of ``choices``.
        choices: the names of discrete actions; in alphabetical order if none are given.
        reward: a column.
        episode: a column whose value changes where an episode ends; each file is one episode if None.
        terminal: a column that is 1 in the last row of an episode that ended in a terminal state.
        header: names of the columns, for files without a header line.
        rate: rows a second.
    """

    observations: Mapping[str, Sequence[str]]
    action: Sequence[str] = ()
    choices: Sequence[str] = ()
    reward: str | None = None
    episode: str | None = None
    terminal: str | None = None
    header: Sequence[str] = field(default_factory=tuple)
    rate: float | None = None

    def used(self) -> list[str]:
        """The names of all columns that are read."""
        more = [c for c in (self.reward, self.episode, self.terminal) if c is not None]
        return [*(c for names in self.observations.values() for c in names), *self.action, *more]


def read_csv(source: Path, columns: Columns) -> Episodes:
    """A CSV file, or all ``.csv`` files of a folder by name.

    Raises:
        DataError: no file, an unknown column, a row that is too short, a value that is no number (names file and line).
    """
    source = Path(source)
    files = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    if not files or not files[0].is_file():
        raise DataError(f"{source}: expected a CSV file, or a folder with .csv files")
    tables = [_table(file, columns) for file in files]
    choices = list(columns.choices)
    if len(columns.action) == 1 and not choices:
        names = sorted({row for _, t in tables for row in t[columns.action[0]]})
        choices = [] if all(map(_is_number, names)) else names
    episodes = [e for file, table in tables for e in _episodes(file, table, columns, choices)]
    return Episodes(episodes, columns.rate, str(source))


def _table(file: Path, columns: Columns) -> tuple[Path, dict[str, list[str]]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            rows = [row for row in csv.reader(opened) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: expected a CSV file: {error}") from None
    if not rows or (len(rows) < 2 and not columns.header):
        raise DataError(f"{file}: expected a header line and rows, got {len(rows)} lines")
    names = list(columns.header) or [c.strip() for c in rows.pop(0)]
    for wanted in columns.used():
        if wanted not in names:
            near = get_close_matches(wanted, names, n=1)
            raise DataError(f"{file}: no column {wanted!r}{f' (nearest: {near[0]!r})' if near else ''}; it has {names}")
    first = 1 if columns.header else 2
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise DataError(f"{file}, line {i + first}: expected {len(names)} values, got {len(row)}")
    return file, {n: [row[i].strip() for row in rows] for i, n in enumerate(names) if n in columns.used()}


def _episodes(file: Path, table: Mapping[str, list[str]], columns: Columns, choices: Sequence[str]) -> list[Episode]:
    first = 1 if columns.header else 2
    observations = {k: _numbers(file, table, names, first) for k, names in columns.observations.items()}
    action: Array | None = None
    if choices:
        action = _choices(file, table[columns.action[0]], choices, first)
    elif columns.action:
        action = _numbers(file, table, columns.action, first)
    reward = _numbers(file, table, [columns.reward], first)[:, 0] if columns.reward else None
    terminal = _numbers(file, table, [columns.terminal], first)[:, 0] if columns.terminal else None
    rows = len(next(iter(table.values())))
    marks = table[columns.episode] if columns.episode else []
    cuts = [i for i in range(1, len(marks)) if marks[i] != marks[i - 1]]
    found = []
    for start, stop in zip([0, *cuts], [*cuts, rows]):
        name = f"{file.name}:{marks[start]}" if marks else file.name
        found.append(make_episode(
            name, {k: v[start:stop] for k, v in observations.items()}, None if action is None else action[start:stop],
            None if reward is None else reward[start:stop], bool(terminal is not None and terminal[stop - 1]),
        ))
    return found


def _numbers(file: Path, table: Mapping[str, list[str]], names: Sequence[str], first: int) -> Array:
    found = np.empty((len(next(iter(table.values()))), len(names)), np.float32)
    for j, name in enumerate(names):
        try:
            found[:, j] = np.array(table[name], np.float64)
        except ValueError:
            line = next(i for i, v in enumerate(table[name]) if not _is_number(v))
            raise DataError(f"{file}, line {line + first}, column {name}: expected a number, got {table[name][line]!r}") from None
    return found


def _choices(file: Path, names: Sequence[str], choices: Sequence[str], first: int) -> Array:
    index = {name: i for i, name in enumerate(choices)}
    for i, name in enumerate(names):
        if name not in index:
            raise DataError(f"{file}, line {i + first}: expected an action of {list(choices)}, got {name!r}")
    return np.eye(len(choices), dtype=np.float32)[[index[n] for n in names]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
