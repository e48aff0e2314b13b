"""A replay's folder as a data set, for pretraining: what is stored of each episode, without the agent's latents."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import numpy as np

from agents.replay.errors import ReplayError
from agents.replay.ring import Rings
from agents.replay.rows import RowSpec
from agents.replay.store import FORMAT
from worldmodels.data import Episode, Episodes

LATENTS = ("deter", "stoch")


def is_replay(folder: Path) -> bool:
    """Whether a folder looks like a replay's."""
    return (folder / "meta.json").is_file() and (folder / f"{quote('counters')}.bin").is_file()


def read_replay(folder: Path, latents: tuple[str, ...] = LATENTS) -> Episodes:
    """The episodes of a replay's folder (``RUN/replay``), oldest first; nothing in it is changed.

    An episode whose beginning was overwritten starts where it is still there; the one that was running has no last row.

    Args:
        folder: of the replay.
        latents: keys that are no observations and are left out.

    Raises:
        ReplayError: it is no replay, or a damaged or empty one.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta["format"] != FORMAT:
            raise ValueError(f"its format is {meta['format']}, this version reads {FORMAT}")
        spec = RowSpec({k: (tuple(shape), dtype) for k, (shape, dtype) in meta["spec"].items()})
        rings = Rings(spec, int(meta["streams"]), int(meta["rows"]), folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReplayError(f"{folder}: expected the folder of a replay: {error}") from None
    keys = [k for k in spec.keys if k not in latents]
    found = []
    for stream, (first, end) in enumerate(zip(rings.oldest, rings.written)):
        number = np.arange(first, end)
        if not len(number):
            continue
        rows = rings.read(np.full(len(number), stream), number, keys)
        cuts = [0, *(int(i) for i in np.flatnonzero(rows["is_first"]) if i > 0), len(number)]
        for start, stop in pairwise(cuts):
            whole = Episode(f"stream {stream}, row {int(first) + start}", {k: v[start:stop] for k, v in rows.items()})
            found.append(whole.part(0, stop - start))
    if not found:
        raise ReplayError(f"{folder}: expected stored rows, found none")
    return Episodes(found, source=str(folder))
