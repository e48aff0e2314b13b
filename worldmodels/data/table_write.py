"""Writes a data set as CSV files, one an episode, and the ``columns.json`` that says what their
columns mean.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from worldmodels.data.episodes import Array, Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.folders import fresh_folder


def write_csv(data: Episodes, folder: str | Path) -> Path:
    """``00000.csv`` and so on, and ``columns.json``, into an empty or new folder; vectors only.

    A feature of a key is the column of its name, where the log has one that no other column has,
    else ``KEY_i``; numbers keep all digits of float32.  Where an episode goes on behind its last
    row, a column ``last`` says so.

    Raises:
        DataError: an observation is an image, two columns have one name, the folder is not empty or
            cannot be written.
    """
    folder = Path(folder)
    images = [k for k, s in data.shapes.items() if len(s) != 1]
    if images:
        raise DataError(
            f"CSV files hold vectors; {images} are images: write another format, or choose keys "
            f"with select(), in pixyz data convert with --keys"
        )
    goes_on = not all(e["is_last"][-1] for e in data)
    more = ["reward", "terminal", *(["last"] if goes_on else [])]
    named = _columns(data, more)
    header = [c for names in named.values() for c in names] + more
    if len(set(header)) != len(header):
        raise DataError(f"two columns would have one name among {header}; rename an observation")
    with fresh_folder(folder) as writing:
        for number, episode in enumerate(data):
            rows: list[list[str]] = [[] for _ in range(len(episode))]
            for key in [*named, "reward", "is_terminal", *(["is_last"] if goes_on else [])]:
                for row, value in zip(rows, episode[key], strict=True):
                    row.extend(_numbers(value))
            with (writing / f"{number:05d}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([header, *rows])
        meaning = {
            "observations": {k: named[k] for k in data.observations},
            "action": named.get("action", []),
            "reward": "reward",
            "terminal": "terminal",
            "last": "last" if goes_on else None,
            "rate": data.rate,
            "time": "",  # whatever a column is called, episodes are cut by files
        }
        (writing / "columns.json").write_text(json.dumps(meaning), encoding="utf-8")
    return folder


def _columns(data: Episodes, others: Sequence[str]) -> dict[str, list[str]]:
    """The columns of each observation and of the action."""
    sizes = {**{k: s[0] for k, s in data.shapes.items()}, "action": data.action_size}
    found = {k: [f"{k}_{i}" for i in range(size)] for k, size in sizes.items() if size}
    known = {k: list(names) for k, names in data.named.items() if k in found}
    names = Counter([*others, *(c for v in {**found, **known}.values() for c in v)])
    for key, columns in known.items():
        plain = all(c == c.strip() != "" and names[c] == 1 for c in columns)
        found[key] = columns if plain else found[key]
    return found


def _numbers(value: Array) -> list[str]:
    return [format(float(v), ".9g") for v in value.reshape(-1)]
