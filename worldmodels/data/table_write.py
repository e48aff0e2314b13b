"""Writes a data set as CSV files, one an episode, and the ``columns.json`` that says what their
columns mean.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from worldmodels.data.episodes import Array, Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.folders import fresh_folder


def write_csv(data: Episodes, folder: str | Path) -> Path:
    """``00000.csv`` and so on, and ``columns.json``, into an empty or new folder; vectors only.

    A feature ``i`` of a key is the column ``KEY_i``; numbers keep all digits of float32.

    Raises:
        DataError: an observation is an image, two columns have one name, the folder is not empty or
            cannot be written.
    """
    folder = Path(folder)
    images = [k for k, s in data.shapes.items() if len(s) != 1]
    if images:
        raise DataError(
            f"CSV files hold vectors; {images} are images: write another format, "
            f"or choose keys with select()"
        )
    named = {k: [f"{k}_{i}" for i in range(s[0])] for k, s in data.shapes.items()}
    action = [f"action_{i}" for i in range(data.action_size)]
    header = [c for names in named.values() for c in names] + action + ["reward", "terminal"]
    if len(set(header)) != len(header):
        raise DataError(f"two columns would have one name among {header}; rename an observation")
    with fresh_folder(folder) as writing:
        for number, episode in enumerate(data):
            rows: list[list[str]] = [[] for _ in range(len(episode))]
            for key in [*named, *(["action"] if action else []), "reward", "is_terminal"]:
                for row, value in zip(rows, episode[key], strict=True):
                    row.extend(_numbers(value))
            with (writing / f"{number:05d}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([header, *rows])
        meaning = {
            "observations": named,
            "action": action,
            "reward": "reward",
            "terminal": "terminal",
            "rate": data.rate,
        }
        (writing / "columns.json").write_text(json.dumps(meaning), encoding="utf-8")
    return folder


def _numbers(value: Array) -> list[str]:
    return [format(float(v), ".9g") for v in value.reshape(-1)]
