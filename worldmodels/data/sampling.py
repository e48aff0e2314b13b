"""From episodes to batches ``[T, B, ...]``: windows of one length, or whole ragged episodes with a
mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodels.data.episodes import Array, Episode, Episodes
from worldmodels.data.errors import DataError

Batch = dict[str, Tensor]


def pad(episodes: Sequence[Episode], length: int | None = None) -> Batch:
    """A batch of ragged episodes, ``[T, B, ...]``; behind the end of an episode are zeros, and
    ``mask [T, B]`` is 0.

    >>> from worldmodels.data import make_episode
    >>> long = make_episode("long", {"x": np.ones((3, 2))})
    >>> pad([long, long.part(0, 2)])["mask"].tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]
    """
    length = length or max(map(len, episodes))
    found: dict[str, Array] = {}
    for key, example in episodes[0].series.items():
        rows = found[key] = np.zeros((length, len(episodes), *example.shape[1:]), example.dtype)
        for i, e in enumerate(episodes):
            rows[: len(e), i] = e[key][:length]
    mask = np.zeros((length, len(episodes)), np.float32)
    for i, e in enumerate(episodes):
        mask[: len(e), i] = 1.0
    return {k: torch.from_numpy(v) for k, v in {**found, "mask": mask}.items()}


class Windows:
    """Random windows of ``length`` rows, each with equal probability; shorter episodes are padded.

    Args:
        data: episodes.
        batch, length: the size of a batch.
        seed: of the draws.

    :meth:`state` and :meth:`load_state` let a run that was stopped draw what it would have drawn.

    >>> from worldmodels.data import make_episode
    >>> data = Episodes([make_episode("run", {"x": np.zeros((20, 3))})])
    >>> windows = Windows(data, batch=4, length=8)
    >>> len(windows), windows.draw()["x"].shape
    (13, torch.Size([8, 4, 3]))
    """

    def __init__(self, data: Episodes, batch: int, length: int, seed: int = 0) -> None:
        if batch < 1 or length < 2:
            raise DataError(
                f"expected batch >= 1 and length >= 2, got batch={batch} and length={length}"
            )
        self.data, self.batch, self.length = data, batch, length
        self._starts = np.cumsum([0, *(max(1, len(e) - length + 1) for e in data)])
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        """How many windows there are."""
        return int(self._starts[-1])

    def draw(self) -> Batch:
        """A batch ``[T, B, ...]`` with ``mask``."""
        return self._read(self._rng.integers(len(self), size=self.batch))

    def _read(self, numbers: Array) -> Batch:
        which = np.searchsorted(self._starts, numbers, side="right") - 1
        first = numbers - self._starts[which]
        return pad(
            [self.data[int(e)].part(int(s), int(s) + self.length) for e, s in zip(which, first)],
            self.length,
        )

    def state(self) -> dict[str, Any]:
        """Where the draws are, as plain data."""
        return dict(self._rng.bit_generator.state)

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._rng.bit_generator.state = state


def windows(data: Episodes, length: int, stride: int = 1) -> list[Episode]:
    """All windows of ``length`` rows, their starts ``stride`` apart; episodes that are shorter have
    none.

    Raises:
        DataError: there is none.
    """
    found = [e.part(s, s + length) for e in data for s in range(0, len(e) - length + 1, stride)]
    if not found:
        raise DataError(
            f"{data.source}: no episode has {length} rows, the longest has {max(map(len, data))}"
        )
    return found
