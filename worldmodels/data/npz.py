"""Folders of ``.npz`` files, one an episode: the forms that Dreamer's programs write, and D4RL's.

Keys: the observations, and ``action``, ``reward``, ``is_first``, ``is_last``, ``is_terminal`` (or
``terminated`` and ``truncated``, or ``discount``), which may be missing.  Rows are as in
:mod:`worldmodels.data.episodes`; ``action``, ``reward``, ``terminated``, ``truncated`` and
``discount`` may have one row less than the observations: they are then those of the steps between
them.  A file that holds a ``discount`` and an ``action`` for each observation is of the form of
DreamerV1 and V2 (and of dm_control's recorders): its ``action[t]`` led to row ``t``, that of row 0
is zero, and each is moved to the row that it was taken in, with a warning.  DreamerV3's files have
no ``discount``, and their actions follow their row.  D4RL's names (:mod:`worldmodels.data.d4rl`)
are understood.  Nothing is unpickled.  The rows a second, for which these files have no place, lie
beside them: ``rate.json``, ``{"rate": 50.0}``.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.data import d4rl
from worldmodels.data.actions import classes_of
from worldmodels.data.check import OnBad, gathered
from worldmodels.data.episodes import FLAGS, Array, Episode, Episodes
from worldmodels.data.errors import DataError, say
from worldmodels.data.flags import flags_of
from worldmodels.data.folders import files_of, fresh_folder, inside, reading
from worldmodels.data.log import make_episode
from worldmodels.data.names import chosen, variables
from worldmodels.words import counted

ENDS = ("terminated", "truncated", "discount")
OTHERS = ("action", "reward", *FLAGS, *ENDS)
RATE = "rate.json"


def write_npz(data: Episodes, folder: str | Path) -> Path:
    """One file an episode, ``00000.npz`` and so on, into an empty or new folder; and ``rate.json``
    where the rows a second are known.

    Raises:
        DataError: an observation has a name that this form reads as an end (``terminated``,
            ``truncated``, ``discount``); the folder is not empty, or cannot be written.
    """
    if ends := [k for k in data.observations if k in ENDS]:
        raise DataError(
            f"{data.source}: .npz files would be read with {ends} as ends of episodes; "
            f"call these observations otherwise, or write_store (pixyz data convert --to store)"
        )
    with fresh_folder(Path(folder)) as writing:
        for i, episode in enumerate(data):
            with zipfile.ZipFile(writing / f"{i:05d}.npz", "w", zipfile.ZIP_DEFLATED) as file:
                for key, series in episode.series.items():
                    with file.open(f"{key}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(
                            entry, np.ascontiguousarray(series), allow_pickle=False
                        )
        if data.rate is not None:
            (writing / RATE).write_text(json.dumps({"rate": data.rate}), encoding="utf-8")
    return Path(folder)


def read_npz(
    folder: str | Path,
    rate: float | None = None,
    keys: Sequence[str] | None = None,
    on_bad: OnBad = "refuse",
    actions: int | None = None,
) -> Episodes:
    """All ``.npz`` files of a folder, by name, as episodes; one that ends or starts again inside is
    cut there.

    Args:
        rate: rows a second; if None, those of ``rate.json``, where there is one.
        keys: the observations to read; all if None. What else is in the files may be anything.
        on_bad: ``"drop"`` leaves out episodes without a row.
        actions: how many classes whole numbers ``[T]`` are, 0 if they are numbers; as in
            :func:`~worldmodels.data.make_episode` if None, over all files.

    Raises:
        DataError: there is no such file, or one cannot be read.
    """
    files = files_of(Path(folder), ".npz")
    if not files:
        raise DataError(f"{folder}: expected .npz files, one an episode, found none")
    if rate is None:
        rate = _rate(Path(folder))
    found = [(file, _arrays(file, keys)) for file in files]
    _say_led(found)
    if actions is None:
        actions = classes_of([v["action"] for _, v in found if "action" in v], str(folder)) or 0
    episodes = gathered(
        (partial(_episodes, file, values, actions) for file, values in found), on_bad
    )
    return Episodes([e for pieces in episodes for e in pieces], rate, str(folder))


def _rate(folder: Path) -> float | None:
    file = inside(folder / RATE, folder)
    if not file.exists():
        return None
    with reading(f'{file}: expected {{"rate": rows a second, above 0}}'):
        found = json.loads(file.read_text(encoding="utf-8"))["rate"]
        if type(found) not in (int, float) or not 0 < found < math.inf:
            raise ValueError(f"got {found!r}")
    return float(found)


def _arrays(file: Path, keys: Sequence[str] | None) -> dict[str, Array]:
    """The series of a file, by our names."""
    with (
        reading(f"{file}: expected arrays of one episode"),
        np.load(file, allow_pickle=False) as found,
    ):
        steps = d4rl.is_d4rl(found.files)
        others = d4rl.OTHERS if steps else OTHERS
        names = variables(
            (d4rl.observation(k) if steps else k for k in found.files if not _left(k, others)),
            str(file),
        )
        there = {
            names[d4rl.observation(k) if steps else k]: k
            for k in found.files
            if not _left(k, others)
        }
        wanted = chosen(keys, there, str(file))
        values = {k: found[name] for k, name in there.items() if wanted is None or k in wanted}
        values |= {k: found[k] for k in others if k in found.files}
    if not there:
        raise DataError(f"{file}: expected observations beside {sorted(values)}, found none")
    return d4rl.rows(file, values) if steps else values


def _left(name: str, others: Sequence[str]) -> bool:
    """Whether it is no observation."""
    return name in others or (others is d4rl.OTHERS and name.startswith(d4rl.ABOUT))


def _led(values: Mapping[str, Array]) -> bool:
    """Whether actions led to their rows, as DreamerV1 and V2 write them: a discount and an action a
    row, and no action in row 0.
    """
    if not {"action", "discount"} <= values.keys():
        return False
    action, discount = values["action"], values["discount"]
    rows = {len(v) if v.ndim else 0 for k, v in values.items() if k not in OTHERS}
    numbers = action.ndim > 0 and action.dtype.kind in "fiub"
    return numbers and rows == {len(action)} == {discount.size} and not np.any(action[:1])


def _say_led(found: Sequence[tuple[Path, Mapping[str, Array]]]) -> None:
    """Say which of the two readings of actions beside a discount was taken."""
    both = [(f, _led(v)) for f, v in found if {"action", "discount"} <= v.keys()]
    for led, what in (
        (True, "as in files of DreamerV1 and V2 an action is taken as what led to its row"),
        (
            False,
            "as row 0 has an action, or rows are missing, actions are taken as after their row",
        ),
    ):
        if files := [file for file, is_led in both if is_led == led]:
            more = f" (and {counted(len(files) - 1, 'file')} more)" if len(files) > 1 else ""
            say(f"{files[0]}, key discount{more}: {what}")


def _episodes(file: Path, values: Mapping[str, Array], actions: int | None) -> list[Episode]:
    keys = [k for k in values if k not in OTHERS]
    whole = make_episode(
        file.name,
        {k: values[k] for k in keys},
        values.get("action"),
        values.get("reward"),
        actions=actions,
    )
    flags = {k: _flag(file, k, values[k], len(whole)) for k in (*FLAGS, *ENDS) if k in values}
    none = np.zeros(len(whole), bool)
    terminal = (
        flags.get("is_terminal", none) | flags.get("terminated", none) | flags.get("discount", none)
    )
    ends = terminal | flags.get("is_last", none) | flags.get("truncated", none)
    if not {"is_last", "truncated"} & set(flags):
        ends[-1] = True
    starts = flags.get("is_first", none)
    cuts = [i for i in range(1, len(whole)) if starts[i] or ends[i - 1]]
    found = []
    for i, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(whole)])):
        part = whole.part(start, stop)
        moved = {}
        if _led(values):  # the last action was never taken
            action = part["action"]
            moved["action"] = np.concatenate([action[1:], np.zeros_like(action[:1])])
        series = {
            **part.series,
            **moved,
            "is_last": ends[start:stop] | np.isin(np.arange(start + 1, stop + 1), cuts),
            "is_terminal": terminal[start:stop],
        }
        found.append(Episode(f"{file.name}#{i}" if cuts else file.name, series))
    return found


def _flag(file: Path, key: str, value: Any, rows: int) -> Array:
    """``[T]`` bool; a discount of 0 is an end."""
    found = np.asarray(value).reshape(-1)
    if key == "discount" and found.dtype.kind in "biuf":
        wrong = np.flatnonzero(~((found >= 0) & (found <= 1)))
        if len(wrong):
            raise DataError(
                f"{file}, step {wrong[0]}, key {key}: expected 0 to 1, got {found[wrong[0]]}; "
                f"0 says that the row is terminal"
            )
        found = found == 0
    else:
        found = flags_of(found, str(file), key)
    if key in ENDS and len(found) == rows - 1:
        found = np.concatenate([[False], found])
    if len(found) != rows:
        raise DataError(
            f"{file}, key {key}: expected {rows} rows beside {rows} observations, got {len(found)}"
        )
    return found
