"""What the columns of a CSV file mean: which make an observation, which the action."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any

from worldmodels.data.errors import DataError
from worldmodels.data.names import chosen, variables


@dataclass(frozen=True)
class Columns:
    """What the columns of a CSV file mean.

    Args:
        observations: key -> its columns, in order.
        action: the columns of an action, or one column of names, which become one-hot in the order
            of ``choices``.
        choices: the names of discrete actions; if none are given, and no value of the column is a
            number, they are taken from the files in alphabetical order (at most 32; with a
            warning).
        reward: a column.
        episode: a column whose value changes where an episode ends; each file is one episode if
            None.
        terminal: a column that is 1 in the last row of an episode that ended in a terminal state.
        header: names of the columns, for files without a header line.
        rate: rows a second; if None, what a column of times says that moves by less than 1 a row,
            and so is in seconds.
        delimiter: what stands between two values.
        time: a column of times, in any unit; if None, one called ``timestamp``, ``time`` or
            ``stamp`` where it holds numbers; ``""`` reads none.
        gap: an episode ends where the time goes back, or on by more than ``gap`` of its usual steps
            (with a warning).
        last: a column that is 1 in the last row of an episode that ended, in a terminal state or
            not; where its last row has 0 it went on. All have ended if None.

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
    time: str | None = None
    gap: float = 5.0
    last: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.observations, Mapping):
            raise DataError(
                f"a column map's observations are names with their columns, such as "
                f'{{"joint": ["q1", "q2"]}}; got {self.observations!r}'
            )
        lists = {
            **self.observations,
            "action": self.action,
            "choices": self.choices,
            "header": self.header,
        }
        wrong = [k for k, v in lists.items() if isinstance(v, str)]
        if wrong or not self.observations:
            raise DataError(
                f"a column map needs observations, and lists of names; "
                f"got {wrong or 'no observation'}"
            )
        single = self._single()
        names = [*(c for v in lists.values() for c in v), *single]
        if odd := [c for c in names if not isinstance(c, str)]:
            raise DataError(
                f"a column map's names are texts, got {odd[0]!r} of type {type(odd[0]).__name__}"
            )
        for key, columns in self.observations.items():
            if twice := sorted({c for c in columns if list(columns).count(c) > 1}):
                raise DataError(f"a column map's {key!r} names {twice} more than once")
        if self.rate is not None and not (
            isinstance(self.rate, (int, float)) and 0 < self.rate < inf
        ):
            raise DataError(
                f"a column map's rate is a number of rows a second above 0, got {self.rate!r}"
            )
        if not isinstance(self.delimiter, str) or len(self.delimiter) != 1:
            raise DataError(f"a column map's delimiter is one character, got {self.delimiter!r}")
        if not (isinstance(self.gap, (int, float)) and self.gap > 1):
            raise DataError(f"a column map's gap is a number of steps above 1, got {self.gap!r}")
        if self.choices and len(self.action) != 1:
            raise DataError(
                f"choices are the names in one column of actions, "
                f"got the columns {list(self.action)}"
            )

    @classmethod
    def read(cls, file: str | Path) -> Columns:
        """A column map from a JSON file with these names.

        Raises:
            DataError: no such file, or no such map.
        """
        try:
            return cls(**_known(json.loads(Path(file).read_text(encoding="utf-8-sig"))))
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, DataError) as error:
            raise DataError(
                f"{file}: expected a column map {list(cls.__dataclass_fields__)}: {error}"
            ) from None

    def used(self) -> list[str]:
        """The names of all columns that have to be there."""
        seen = (c for names in self.observations.values() for c in names)
        return [*seen, *self.action, *self._single()]

    def _single(self) -> list[str]:
        return [c for c in (self.reward, self.episode, self.terminal, self.last, self.time) if c]

    def select(self, keys: Sequence[str] | None, where: str) -> Columns:
        """The same with these observations only, by names of variables.

        Raises:
            DataError: an unknown key, or two that would have one name.
        """
        names = variables(self.observations, where)
        wanted = chosen(keys, names.values(), where)
        kept = {
            names[k]: v
            for k, v in self.observations.items()
            if wanted is None or names[k] in wanted
        }
        return replace(self, observations=kept)


def _known(found: Any) -> dict[str, Any]:
    """A map of names that a column map has.

    Raises:
        DataError: it is none, or has another name, or no observations.
    """
    if not isinstance(found, dict):
        raise DataError(f'write {{"observations": {{...}}, ...}}; got {type(found).__name__}')
    names = list(Columns.__dataclass_fields__)
    for key in found:
        if key not in names:
            near = get_close_matches(key, names, n=1)
            raise DataError(f"unknown name {key!r}{f' (nearest: {near[0]!r})' if near else ''}")
    if "observations" not in found:
        raise DataError('it needs observations, such as {"joint": ["q1", "q2"]}')
    return found
