"""A replay's folder as a data set, for pretraining: what is stored of each episode, without the
agent's own state.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from agents.replay.codecs import named_codec
from agents.replay.epochs import list_epochs
from agents.replay.errors import ReplayError
from agents.replay.folder import Folder
from agents.replay.layout import FORMAT, META, read_meta
from agents.replay.ring import Rings
from agents.replay.rows import RowSpec
from worldmodels.data import Episode, Episodes


def is_replay(folder: Path) -> bool:
    """Whether a folder looks like a replay's."""
    return (folder / META).is_file() and bool(list_epochs(folder))


def read_replay(folder: Path) -> Episodes:
    """The episodes of a replay's folder (``RUN/replay``), oldest first; nothing in it is changed.

    An episode whose beginning was overwritten starts where it is still there; the one that was
    running has no last row. What the replay was made with as ``stored`` is left out.

    Args:
        folder: of the replay.

    Raises:
        ReplayError: it is no replay, or a damaged or empty one.
    """
    try:
        meta = read_meta(folder)
        if meta["format"] != FORMAT:
            raise ValueError(f"its format is {meta['format']}, this version reads {FORMAT}")
        spec = RowSpec(
            {
                k: named_codec(name[0], tuple(shape)) if name else (tuple(shape), dtype)
                for k, (shape, dtype, *name) in meta["spec"].items()
            }
        )
        rings = Rings(Folder(spec, int(meta["streams"]), int(meta["rows"]), folder, read_only=True))
        keys = [k for k in spec.keys if k not in meta["stored"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReplayError(f"{folder}: expected the folder of a replay: {error}") from None
    found = []
    for stream, (first, end) in enumerate(zip(rings.oldest, rings.written)):
        number = np.arange(first, end)
        if not len(number):
            continue
        rows = rings.read(np.full(len(number), stream), number, keys)
        cuts = [0, *(int(i) for i in np.flatnonzero(rows["is_first"]) if i > 0), len(number)]
        for start, stop in pairwise(cuts):
            whole = Episode(
                f"stream {stream}, row {int(first) + start}",
                {k: v[start:stop] for k, v in rows.items()},
            )
            found.append(whole.part(0, stop - start))
    if not found:
        raise ReplayError(f"{folder}: expected stored rows, found none")
    return Episodes(found, source=str(folder))
