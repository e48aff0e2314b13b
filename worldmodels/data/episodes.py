"""Episodes: recordings of dict observations, actions, rewards and flags, ragged, in memory or memory-mapped.

The convention of all data: row ``t`` holds the observation, the reward and the flags that arrived with it, and the action
that was taken after it.  The action of a last row was never taken and is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from worldmodels.data.errors import DataError

Array = NDArray[Any]
FLAGS = ("is_first", "is_last", "is_terminal")
NOT_OBSERVED = ("action", "reward", *FLAGS)
"""The keys that are no observations."""


@dataclass(frozen=True)
class Episode:
    """One recording.

    Args:
        name: where it came from, for messages.
        series: key -> ``[T, ...]``: the observations, ``reward`` (float32), the flags (bool), and ``action`` (float32,
            one-hot for discrete ones) where actions were recorded.

    :func:`make_episode` builds one from what a log holds.
    """

    name: str
    series: Mapping[str, Array] = field(repr=False)

    def __len__(self) -> int:
        return len(self.series["is_first"])

    def __getitem__(self, key: str) -> Array:
        return self.series[key]

    def part(self, start: int, stop: int) -> Episode:
        """Rows ``start`` to ``stop``, as views; a part has its own first row, but a last row only where one was recorded."""
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

    Raises:
        DataError: there is no episode, or two of them differ in keys, shapes or types.

    >>> walk = make_episode("walk", {"x": np.zeros((5, 2))}, action=np.ones((5, 1)))
    >>> data = Episodes([walk, walk.part(0, 3)])
    >>> len(data), data.steps, data.observations
    (2, 8, ['x'])
    """

    def __init__(self, episodes: Iterable[Episode], rate: float | None = None, source: str = "data") -> None:
        self._episodes, self.rate, self.source = list(episodes), rate, source
        if not self._episodes:
            raise DataError(f"{source}: expected at least one episode, got none")
        first = self._episodes[0]
        self.schema = {k: (v.shape[1:], v.dtype) for k, v in first.series.items()}
        for episode in self._episodes:
            found = {k: (v.shape[1:], v.dtype) for k, v in episode.series.items()}
            if found != self.schema:
                raise DataError(f"{source}: episode {episode.name} {_difference(found, self.schema)}; "
                                f"expected what episode {first.name} has")

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> Episodes: ...
    def __getitem__(self, index: int | slice) -> Episode | Episodes:
        if isinstance(index, slice):
            return Episodes(self._episodes[index], self.rate, self.source)
        return self._episodes[index]

    def __len__(self) -> int:
        return len(self._episodes)

    def __iter__(self) -> Iterator[Episode]:
        return iter(self._episodes)

    def __repr__(self) -> str:
        keys = ", ".join(f"{k} {list(s)}" for k, (s, _) in self.schema.items() if k not in FLAGS)
        return f"Episodes({self.source}: {len(self)} episodes, {self.steps:,} rows; {keys})"

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
        unknown = [k for k in keys if k not in self.observations]
        if unknown or not keys:
            raise DataError(f"{self.source}: expected some of the observations {self.observations}, got {list(keys)}")
        kept = [k for k in self.schema if k in keys or k in NOT_OBSERVED]
        return Episodes([replace(e, series={k: e[k] for k in kept}) for e in self], self.rate, self.source)


def make_episode(
    name: str, observations: Mapping[str, Any], action: Any = None, reward: Any = None, terminal: bool = False,
    actions: int | None = None, last: bool = True,
) -> Episode:
    """An episode from a log.

    Args:
        name: for messages.
        observations: key -> ``[T, ...]``; numbers become float32 ``[T, D]`` (a number a row ``[T, 1]``), uint8 images
            ``[T, H, W, C]`` stay.
        action: ``[T, A]``, after each observation; ``T - 1`` of them, where none followed the last observation, are
            filled up with zeros; whole numbers ``[T]`` are discrete and become one-hot.
        reward: ``[T]``, arrived with each observation, or ``[T - 1]``, from the second on; zeros if None.
        terminal: whether the last row is a terminal state.
        actions: how many discrete actions there are; one more than the largest if None.
        last: whether the episode ended with the last row (and is no part of a longer one).

    Raises:
        DataError: lengths or shapes that do not fit together.
    """
    if not observations:
        raise DataError(f"episode {name}: expected observations, got none")
    clash = [k for k in observations if k in NOT_OBSERVED or k.endswith("_prev")]
    if clash:
        raise DataError(f"episode {name}: observations may not be called {clash}; rename them")
    series = {k: _observation(name, k, v) for k, v in observations.items()}
    lengths = {k: len(v) for k, v in series.items()}
    steps = next(iter(lengths.values()))
    if set(lengths.values()) != {steps} or steps == 0:
        raise DataError(f"episode {name}: expected one length above 0 for all observations, got {lengths}")
    if action is not None:
        series["action"] = _fill(name, "action", _action(name, action, actions), steps, at_end=True)
    given = np.zeros(steps, np.float32) if reward is None else _numbers(name, "reward", reward)
    if given.size != len(given):
        raise DataError(f"episode {name}, key reward: expected [T], got {list(given.shape)}")
    series["reward"] = _fill(name, "reward", given.reshape(-1), steps, at_end=False)
    for flag in FLAGS:
        series[flag] = np.zeros(steps, bool)
    series["is_first"][0] = True
    series["is_last"][-1] = last or terminal
    series["is_terminal"][-1] = terminal
    return Episode(name, series)


def _array(name: str, key: str, value: Any) -> Array:
    """Any array of numbers with a first axis."""
    try:
        found = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"episode {name}, key {key}: expected an array of numbers, {error}") from None
    if found.dtype.kind not in "fiub" or found.ndim == 0:
        what = "one number" if found.dtype.kind in "fiub" else f"the type {found.dtype}"
        raise DataError(f"episode {name}, key {key}: expected an array of numbers, one a row, got {what}")
    return found


def _numbers(name: str, key: str, value: Any) -> Array:
    with np.errstate(over="ignore"):  # what is too large becomes inf, which the checker names
        return _array(name, key, value).astype(np.float32, copy=False)


def _observation(name: str, key: str, value: Any) -> Array:
    found = _array(name, key, value)
    if found.ndim == 4 and found.dtype == np.uint8:
        return found
    found = _numbers(name, key, found)
    if found.ndim == 1:
        return found[:, None]
    if found.ndim not in (2, 4):
        raise DataError(f"episode {name}, key {key}: expected [T], [T, D] or images [T, H, W, C], got {list(found.shape)}")
    return found


def _action(name: str, value: Any, actions: int | None) -> Array:
    found = _array(name, "action", value)
    if found.ndim == 1 and found.dtype.kind in "iu":
        size = actions or int(found.max(initial=0)) + 1
        if len(found) and (found.min() < 0 or found.max() >= size):
            step = int(np.flatnonzero((found < 0) | (found >= size))[0])
            raise DataError(f"episode {name}, step {step}, key action: expected 0 to {size - 1}, got {found[step]}")
        return np.eye(size, dtype=np.float32)[found]
    found = _numbers(name, "action", found)
    if found.ndim == 1:
        return found[:, None]
    if found.ndim != 2:
        raise DataError(f"episode {name}, key action: expected [T] or [T, A], got {list(found.shape)}")
    return found


def _fill(name: str, key: str, value: Array, steps: int, at_end: bool) -> Array:
    """``[T]`` rows, from ``T - 1`` with a row of zeros at the end or in front."""
    if len(value) == steps:
        return value
    if len(value) != steps - 1:
        raise DataError(f"episode {name}, key {key}: expected {steps} or {steps - 1} rows beside {steps} observations, "
                        f"got {len(value)}")
    zero = np.zeros((1, *value.shape[1:]), value.dtype)
    return np.concatenate([value, zero] if at_end else [zero, value])


def _difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    for key in expected:
        if key not in found:
            return f"lacks the key {key}"
        if found[key] != expected[key]:
            return f"has {key} of shape {list(found[key][0])} and type {found[key][1]}, not {list(expected[key][0])} and " \
                   f"{expected[key][1]}"
    return f"has the further keys {[k for k in found if k not in expected]}"
