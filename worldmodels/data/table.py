"""CSV files with a column map: which columns make an observation, which the action."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from worldmodels.data.episodes import Array, Episode, Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.log import make_episode


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
        delimiter: what stands between two values.

    >>> Columns({"position": ["x", "y"]}, action=["u"], rate=20.0).observations
    {'position': ['x', 'y']}
    """

    observations: Mapping[str, Sequence[str]]
    action: Sequence[str] = ()
    choices: Sequence[str] = ()
    reward: str | None = None
    episode: str | None = None
    terminal: str | None = None
    header: Sequence[str] = field(default_factory=tuple)
    rate: float | None = None
    delimiter: str = ","

    def __post_init__(self) -> None:
        lists = {**self.observations, "action": self.action, "choices": self.choices, "header": self.header}
        wrong = [k for k, v in lists.items() if isinstance(v, str)]
        if wrong or not self.observations:
            raise DataError(f"a column map needs observations, and lists of names; got {wrong or 'no observation'}")
        if self.choices and len(self.action) != 1:
            raise DataError(f"choices are the names in one column of actions, got the columns {list(self.action)}")

    @classmethod
    def read(cls, file: str | Path) -> Columns:
        """A column map from a JSON file with these names.

        Raises:
            DataError: no such file, or no such map.
        """
        try:
            return cls(**json.loads(Path(file).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{file}: expected a column map {list(cls.__dataclass_fields__)}: {error}") from None

    def used(self) -> list[str]:
        """The names of all columns that are read."""
        more = [c for c in (self.reward, self.episode, self.terminal) if c is not None]
        return [*(c for names in self.observations.values() for c in names), *self.action, *more]


def read_csv(source: str | Path, columns: Columns) -> Episodes:
    """A CSV file, or all ``.csv`` files of a folder by name.

    Raises:
        DataError: no file, an unknown column or one that is there twice, a row that is too short, a value that is no number
            (names file and line).
    """
    source = Path(source)
    files = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    if not files or not files[0].is_file():
        raise DataError(f"{source}: expected a CSV file, or a folder with .csv files")
    tables = [_table(file, columns) for file in files]
    choices = list(columns.choices)
    if len(columns.action) == 1 and not choices:
        names = sorted({value for t in tables for value in t.values[columns.action[0]]})
        choices = [] if all(map(_is_number, names)) else names
    episodes = [e for table in tables for e in _episodes(table, columns, choices)]
    return Episodes(episodes, columns.rate, str(source))


@dataclass(frozen=True)
class _Table:
    """The columns of a file that are read, as text, and the line of each row."""

    file: Path
    lines: list[int]
    values: dict[str, list[str]]

    def numbers(self, names: Sequence[str]) -> Array:
        found = np.empty((len(self.lines), len(names)), np.float64)
        for j, name in enumerate(names):
            try:
                found[:, j] = [float(v) for v in self.values[name]]
            except ValueError:
                i = next(i for i, v in enumerate(self.values[name]) if not _is_number(v))
                raise DataError(f"{self.file}, line {self.lines[i]}, column {name}: expected a number, "
                                f"got {self.values[name][i]!r}") from None
        return found

    def choices(self, name: str, choices: Sequence[str]) -> Array:
        index = {choice: i for i, choice in enumerate(choices)}
        for line, value in zip(self.lines, self.values[name]):
            if value not in index:
                raise DataError(f"{self.file}, line {line}, column {name}: expected an action of {list(choices)}, got {value!r}")
        return np.eye(len(choices), dtype=np.float32)[[index[v] for v in self.values[name]]]


def _table(file: Path, columns: Columns) -> _Table:
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.reader(opened, delimiter=columns.delimiter)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: expected a CSV file: {error}") from None
    if len(rows) < (1 if columns.header else 2):
        raise DataError(f"{file}: expected a header line and rows, got {len(rows)} lines")
    names = list(columns.header) or [c.strip() for c in rows.pop(0)[1]]
    twice = sorted({n for n in names if names.count(n) > 1 and n in columns.used()})
    if twice:
        raise DataError(f"{file}: the header names {twice} more than once; it has {names}")
    for wanted in columns.used():
        if wanted not in names:
            near = get_close_matches(wanted, names, n=1)
            raise DataError(f"{file}: no column {wanted!r}{f' (nearest: {near[0]!r})' if near else ''}; it has {names}")
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(f"{file}, line {line}: expected {len(names)} values, got {len(row)}")
    used = {n: [row[i].strip() for _, row in rows] for i, n in enumerate(names) if n in columns.used()}
    return _Table(file, [line for line, _ in rows], used)


def _episodes(table: _Table, columns: Columns, choices: Sequence[str]) -> list[Episode]:
    observations = {k: table.numbers(names) for k, names in columns.observations.items()}
    action: Array | None = None
    if choices:
        action = table.choices(columns.action[0], choices)
    elif columns.action:
        action = table.numbers(columns.action)
    reward = table.numbers([columns.reward])[:, 0] if columns.reward else None
    terminal = table.numbers([columns.terminal])[:, 0] if columns.terminal else None
    marks = table.values[columns.episode] if columns.episode else []
    cuts = [i for i in range(1, len(marks)) if marks[i] != marks[i - 1]]
    found = []
    for start, stop in zip([0, *cuts], [*cuts, len(table.lines)]):
        name = f"{table.file.name}:{marks[start]}" if marks else table.file.name
        found.append(make_episode(
            name, {k: v[start:stop] for k, v in observations.items()}, None if action is None else action[start:stop],
            None if reward is None else reward[start:stop], bool(terminal is not None and terminal[stop - 1]),
        ))
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
