"""Episodes: recordings of dict observations, actions, rewards and flags, ragged, in memory or
memory-mapped.

The convention of all data: row ``t`` holds the observation, the reward and the flags that arrived
with it, and the action that was taken after it.  The action of a last row was never taken and is
zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from worldmodels.data.errors import DataError
from worldmodels.data.names import FLAGS as FLAGS
from worldmodels.data.names import NOT_OBSERVED as NOT_OBSERVED
from worldmodels.data.names import chosen
from worldmodels.words import counted

Array = NDArray[Any]
HIDDEN = ("reward", *FLAGS)
"""What every data set has, whether the log had it or not."""


@dataclass(frozen=True)
class Episode:
    """One recording.

    Args:
        name: where it came from, for messages.
        series: key -> ``[T, ...]``: the observations, ``reward`` (float32), the flags (bool), and
            ``action`` (float32, one-hot for discrete ones) where actions were recorded.

    :func:`~worldmodels.data.make_episode` builds one from what a log holds.

    >>> from worldmodels.data import make_episode
    >>> episode = make_episode("run", {"position": np.zeros((5, 2))})
    >>> len(episode), episode.series["position"].dtype
    (5, dtype('float32'))
    """

    name: str
    series: Mapping[str, Array] = field(repr=False)

    def __len__(self) -> int:
        return len(self.series["is_first"])

    def __getitem__(self, key: str) -> Array:
        return self.series[key]

    def part(self, start: int, stop: int) -> Episode:
        """Rows ``start`` to ``stop``, as views; a part has its own first row, but a last row only
        where one was recorded.
        """
        found = {k: v[start:stop] for k, v in self.series.items()}
        first = np.array(found["is_first"])
        first[:1] = True
        return Episode(self.name, {**found, "is_first": first})

    @property
    def observations(self) -> list[str]:
        """The observed keys."""
        return [k for k in self.series if k not in NOT_OBSERVED]


class Episodes(Sequence[Episode]):
    """A data set: episodes of the same keys, shapes and types.

    Args:
        episodes: at least one.
        rate: rows a second, where known.
        source: where it came from, for messages.
        named: vector or ``action`` -> the names of its features, where the log has some; a vector
            with another number of them is left out.

    Raises:
        DataError: there is no episode, or two of them differ in keys, shapes or types.

    >>> from worldmodels.data import make_episode
    >>> walk = make_episode("walk", {"x": np.zeros((5, 2))}, action=np.ones((5, 1)))
    >>> data = Episodes([walk, walk.part(0, 3)])
    >>> len(data), data.steps, data.observations
    (2, 8, ['x'])
    """

    def __init__(
        self,
        episodes: Iterable[Episode],
        rate: float | None = None,
        source: str = "data",
        named: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._episodes, self.rate, self.source = list(episodes), rate, source
        if not self._episodes:
            raise DataError(f"{source}: expected at least one episode, got none")
        first = self._episodes[0]
        self.schema = {k: (v.shape[1:], v.dtype) for k, v in first.series.items()}
        for episode in self._episodes:
            found = {k: (v.shape[1:], v.dtype) for k, v in episode.series.items()}
            if found != self.schema:
                raise DataError(
                    f"{source}: episode {episode.name} {_difference(found, self.schema)}; "
                    f"expected what episode {first.name} has"
                )

        sizes = {k: s[0] for k, (s, _) in self.schema.items() if len(s) == 1}
        self.named = {k: tuple(v) for k, v in (named or {}).items() if sizes.get(k) == len(v)}

    def with_(self, episodes: Iterable[Episode]) -> Episodes:
        """Other episodes of this data set."""
        return Episodes(episodes, self.rate, self.source, self.named)

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> Episodes: ...
    def __getitem__(self, index: int | slice) -> Episode | Episodes:
        if isinstance(index, slice):
            return self.with_(self._episodes[index])
        return self._episodes[index]

    def __len__(self) -> int:
        return len(self._episodes)

    def __iter__(self) -> Iterator[Episode]:
        return iter(self._episodes)

    def __repr__(self) -> str:
        keys = ", ".join(f"{k} {list(s)}" for k, (s, _) in self.schema.items() if k not in HIDDEN)
        count = counted(len(self), "episode")
        return f"Episodes({self.source}: {count}, {self.steps:,} rows; {keys})"

    @property
    def steps(self) -> int:
        """Rows of all episodes."""
        return sum(map(len, self._episodes))

    @property
    def observations(self) -> list[str]:
        """The observed keys."""
        return self._episodes[0].observations

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Observed key -> shape of one row."""
        return {k: self.schema[k][0] for k in self.observations}

    @property
    def action_size(self) -> int:
        """The size of an action; 0 where none were recorded."""
        return self.schema["action"][0][0] if "action" in self.schema else 0

    def select(self, keys: Sequence[str]) -> Episodes:
        """The same with these observations only.

        Raises:
            DataError: an unknown key.
        """
        keys = chosen(keys, self.observations, self.source) or []
        kept = [k for k in self.schema if k in keys or k in NOT_OBSERVED]
        return self.with_(replace(e, series={k: e[k] for k in kept}) for e in self)


def _difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    for key in expected:
        if key not in found:
            return f"lacks the key {key}"
        if found[key] != expected[key]:
            return (
                f"has {key} of shape {list(found[key][0])} and type {found[key][1]}, not "
                f"{list(expected[key][0])} and "
                f"{expected[key][1]}"
            )
    return f"has the further keys {[k for k in found if k not in expected]}"
