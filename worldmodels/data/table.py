"""CSV files, read with a column map (:mod:`worldmodels.data.columns`).

Files are UTF-8, UTF-16 with its mark, or else Latin-1 (with a warning).  Numbers may be ``True``
and ``False``.  An episode ends where the map's ``episode`` changes, after a row whose ``terminal``
or ``last`` is 1, and where the ``time`` jumps.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import numpy as np

from worldmodels.data.actions import FEW, one_hot
from worldmodels.data.check import OnBad, gathered
from worldmodels.data.columns import Columns
from worldmodels.data.episodes import Array, Episode, Episodes
from worldmodels.data.errors import DataError, EmptyEpisode, say
from worldmodels.data.flags import flags_of
from worldmodels.data.folders import files_of, reading
from worldmodels.data.log import make_episode
from worldmodels.words import counted

TIMES = ("timestamp", "time", "stamp")
UNITS = (1.0, 1e3, 1e6, 1e9)
"""Of times: seconds to nanoseconds."""


def read_csv(
    source: str | Path,
    columns: Columns,
    keys: Sequence[str] | None = None,
    on_bad: OnBad = "refuse",
) -> Episodes:
    """A CSV file, or all ``.csv`` files of a folder by name.

    Args:
        source: the file or folder.
        columns: what the columns mean.
        keys: the observations to read; all if None. The columns of the others are not looked at.
        on_bad: ``"drop"`` leaves out files without a row.

    Raises:
        DataError: no file, an unknown column or one that is there twice, a row that is too short, a
            value that is no number (names file and line).
    """
    source = Path(source)
    files = csv_files(source)
    columns = columns.select(keys, str(source))
    tables = gathered((partial(_table, file, columns) for file in files), on_bad)
    choices = list(columns.choices) or _choices(tables, columns, str(source))
    episodes = [e for table in tables for e in _episodes(table, columns, choices)]
    rate = _rate(tables, columns) if columns.rate is None else columns.rate
    named = {**columns.observations, "action": choices or columns.action}
    return Episodes(episodes, rate, str(source), named)


def csv_files(source: Path) -> list[Path]:
    """The CSV file, or all ``.csv`` files of the folder by name.

    Raises:
        DataError: there is none.
    """
    files = files_of(source, ".csv") if source.is_dir() else [source]
    if not files or not files[0].is_file():
        raise DataError(f"{source}: expected a CSV file, or a folder with .csv files")
    return files


def _choices(tables: Sequence[_Table], columns: Columns, where: str) -> list[str]:
    """The names in one column of actions that has no number; none where it has, and a word where
    its numbers could be classes.
    """
    if len(columns.action) != 1:
        return []
    names = {value for t in tables for value in t.values[columns.action[0]]}
    if any(_number(v) is not None for v in names) or "" in names:
        whole = all(v.isascii() and v.isdigit() and len(v) < 4 and int(v) < FEW for v in names)
        if whole and len(names) > 1:
            high = max(map(int, names))
            say(
                f"{where}, column {columns.action[0]}: the whole numbers {min(map(int, names))} to "
                f"{high} are taken as one number a row; if they are classes, declare them by "
                f'choices, "0" to "{high}"; if not, write them as floats'
            )
        return []
    if len(names) > FEW:
        raise DataError(
            f"{where}, column {columns.action[0]}: expected numbers, "
            f"or names of at most {FEW} actions, got "
            f"{len(names)} texts such as {min(names)!r}; more have to be declared by choices"
        )
    say(
        f"{where}, column {columns.action[0]}: taken as {len(names)} actions {sorted(names)} "
        f"(one-hot); declare them by choices"
    )
    return sorted(names)


@dataclass(frozen=True)
class _Table:
    """The columns of a file that are read, as text, and the line of each row."""

    file: Path
    lines: list[int]
    values: dict[str, list[str]]

    def numbers(self, names: Sequence[str]) -> Array:
        found = np.empty((len(self.lines), len(names)), np.float64)
        for j, name in enumerate(names):
            numbers = [_number(v) for v in self.values[name]]
            if None in numbers:
                i = numbers.index(None)
                raise DataError(
                    f"{self.file}, line {self.lines[i]}, column {name}: expected a number, "
                    f"got {self.values[name][i]!r}; write the number, or nan where nothing was "
                    f'measured, and leave such rows out with on_bad="cut"'
                )
            found[:, j] = numbers
        return found

    def flags(self, name: str) -> Array:
        """``[T]`` bool."""
        return flags_of(self.numbers([name]), str(self.file), name, self.lines)

    def choices(self, name: str, choices: Sequence[str]) -> Array:
        index = {choice: i for i, choice in enumerate(choices)}
        for line, value in zip(self.lines, self.values[name]):
            if value not in index:
                raise DataError(
                    f"{self.file}, line {line}, column {name}: expected an action of "
                    f"{list(choices)}, got {value!r}"
                )
        return one_hot(np.array([index[v] for v in self.values[name]]), len(choices))


def _table(file: Path, columns: Columns) -> _Table:
    with reading(f"{file}: expected a CSV file"):
        reader = csv.reader(io.StringIO(_text(file), newline=""), delimiter=columns.delimiter)
        rows = [(reader.line_num, row) for row in reader if row]
    if len(rows) < (1 if columns.header else 2):
        raise EmptyEpisode(f"{file}: expected a header line and rows, got {len(rows)} lines")
    names = list(columns.header) or [c.strip() for c in rows.pop(0)[1]]
    twice = sorted({n for n in names if names.count(n) > 1 and n in columns.used()})
    if twice:
        raise DataError(f"{file}: the header names {twice} more than once; it has {names}")
    for wanted in columns.used():
        if wanted not in names:
            near = get_close_matches(wanted, names, n=1)
            hint = f" (nearest: {near[0]!r})" if near else _delimited(names, wanted)
            raise DataError(f"{file}: no column {wanted!r}{hint}; it has {names}")
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(f"{file}, line {line}: expected {len(names)} values, got {len(row)}")
    read = [*columns.used(), *(n for n in names if columns.time is None and n.lower() in TIMES)]
    used = {n: [row[i].strip() for _, row in rows] for i, n in enumerate(names) if n in read}
    return _Table(file, [line for line, _ in rows], used)


def _delimited(names: Sequence[str], wanted: str) -> str:
    """What to say where a header is one name, of names with other characters between them."""
    for mark in ";\t|" if len(names) == 1 else "":
        if wanted in [part.strip() for part in names[0].split(mark)]:
            return f' (in columns.json say "delimiter": {json.dumps(mark)})'
    return ""


def _episodes(table: _Table, columns: Columns, choices: Sequence[str]) -> list[Episode]:
    observations = {k: table.numbers(names) for k, names in columns.observations.items()}
    action: Array | None = None
    if choices:
        action = table.choices(columns.action[0], choices)
    elif columns.action:
        action = table.numbers(columns.action)
    reward = table.numbers([columns.reward])[:, 0] if columns.reward else None
    terminal = table.flags(columns.terminal) if columns.terminal else None
    last = table.flags(columns.last) if columns.last else None
    marks = table.values[columns.episode] if columns.episode else []
    named = {i for i in range(1, len(marks)) if marks[i] != marks[i - 1]}
    ends = [v[:-1] for v in (terminal, last) if v is not None]
    ended = {int(i) + 1 for v in ends for i in np.flatnonzero(v)}
    jumps = _jumps(table, columns, named)
    if more := ended - named:
        told = " and ".join(c for c in (columns.terminal, columns.last) if c)
        say(
            f"{table.file}: {told} ends {counted(len(more), 'episode')} inside, "
            f"the first in line {table.lines[min(more) - 1]}; cut there"
        )
    cuts = sorted(named | ended | jumps)
    found = []
    for i, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(table.lines)])):
        name = f"{table.file.name}:{marks[start]}" if marks else table.file.name
        found.append(
            make_episode(
                f"{name}#{i}" if cuts and len(cuts) != len(named) else name,
                {k: v[start:stop] for k, v in observations.items()},
                None if action is None else action[start:stop],
                None if reward is None else reward[start:stop],
                bool(terminal is not None and terminal[stop - 1]),
                last=bool(last is None or last[stop - 1]),
            )
        )
    return found


def _steps(table: _Table, columns: Columns) -> tuple[str, Array] | None:
    """The column of times, and what it moves by from row to row; None where there is none."""
    there = [
        n
        for n in table.values
        if n == columns.time or (columns.time is None and n.lower() in TIMES)
    ]
    if not there or len(table.lines) < 3:
        return None
    if columns.time is None and not all(_number(v) is not None for v in table.values[there[0]]):
        return None  # a date, or what else is called so; nobody said that it counts
    return there[0], np.diff(table.numbers(there[:1])[:, 0])


def _rate(tables: Sequence[_Table], columns: Columns) -> float | None:
    """Rows a second, by the times of all files, to three digits; jumps are left out.

    Times that move by 1 and more a row may count rows, or milliseconds: None.
    """
    found = [timed[1] for table in tables if (timed := _steps(table, columns))]
    if not found or not 0 < (usual := float(np.median(steps := np.concatenate(found)))) < 1:
        return None
    return float(f"{1 / steps[(steps > 0) & (steps <= columns.gap * usual)].mean():.3g}")


def _jumps(table: _Table, columns: Columns, known: set[int]) -> set[int]:
    """The rows before which the time jumps."""
    if (timed := _steps(table, columns)) is None:
        return set()
    name, steps = timed
    forward = steps[steps > 0]
    usual = (
        float(np.median(steps))
        if np.median(steps) > 0
        else float(np.median(forward))
        if len(forward)
        else 0.0
    )
    if columns.rate is not None and usual not in (0.0, 1.0):  # 1: a counter of rows
        rates = [unit / usual for unit in UNITS]
        if not any(0.8 < rate / columns.rate < 1.25 for rate in rates):
            say(
                f"{table.file}: {name} moves by {usual:g} a row, which is {rates[0]:g} rows a "
                f"second if it is in seconds; the rate that was given is {columns.rate:g}"
            )
    jumps = {
        int(i) + 1 for i in np.flatnonzero((steps < 0) | ~(steps <= columns.gap * usual))
    } - known
    if jumps:
        i = min(jumps)
        say(
            f"{table.file}: {name} jumps {len(jumps)} times, the first in line "
            f"{table.lines[i]} by {steps[i - 1]:g} where "
            f"{usual:g} is usual; cut there (Columns(time=, gap=))"
        )
    return jumps


def _number(text: str) -> float | None:
    """A number; True and False are 1 and 0."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return {"true": 1.0, "false": 0.0}.get(text.lower())


def _text(file: Path) -> str:
    """What a file says, in whichever encoding."""
    content = file.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    if b"\0" in content:
        raise ValueError(
            "it holds zero bytes: it is no text, or UTF-16 without its mark; save it as UTF-8"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        say(f"{file}: is not UTF-8, and read as Latin-1")
        return content.decode("latin-1")
