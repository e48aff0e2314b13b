"""What a claim is: words of a page, and the lines that they are computed from; see
:mod:`claims`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
Line = dict[str, Any]
Lines = list[Line]


@dataclass(frozen=True)
class Claim:
    """Something that a page says.

    Args:
        page: where.
        script: that measures it.
        lines: the file of its lines, in ``benchmarks/results``.
        says: the words of the page, from these lines.
        where: what the lines are chosen by.
    """

    page: str
    script: str
    lines: str
    says: Callable[[Lines], str]
    where: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> Lines:
        """The lines that it rests on; one of no line is an error."""
        path = HERE / "results" / f"{self.lines}.jsonl"
        lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
        found = [x for x in lines if all(_of(x, key) == v for key, v in self.where.items())]
        if not found:
            raise LookupError(f"no line of {path.name} has {dict(self.where)}")
        return found

    def words(self) -> str:
        """What the page has to say."""
        return self.says(self.read())


def _of(line: Line, key: str) -> Any:
    return line.get(key) or None  # nothing changed is not in a line, or empty


def series(values: Sequence[float], digits: int = 0, last: str = ", ") -> str:
    """Numbers as a page lists them."""
    words = [f"{value:.{digits}f}" for value in values]
    before = ", ".join(words[:-1])
    return before + last + words[-1] if before else words[-1]


def last(lines: Lines, *keys: str) -> dict[tuple[Any, ...], Line]:
    """The last line of each value of ``keys``."""
    return {tuple(line[key] for key in keys): line for line in lines}
