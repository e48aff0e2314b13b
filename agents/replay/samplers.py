"""Which sequences a replay hands out: all alike, or new ones more often.

    Uniform        each sequence is equally likely
    Recent         newer ones are more likely
    Prioritized    those whose rows surprised more (agents.replay.priorities)
    Mixed          some of each

A sampler draws from what the replay holds now and from the replay's random numbers, so that it goes
on exactly where it
was: what it knows of rows lies beside them, what it knows besides is in its ``state``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.replay.errors import ReplayError
from agents.replay.ring import Rings
from agents.replay.store import Ints

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """What is there to draw from: rows ``oldest <= n < written`` of each stream, ``[streams]``.

    >>> Held(np.array([0, 3]), np.array([10, 5])).starts(4).tolist()
    [7, 0]
    """

    oldest: Ints
    written: Ints

    def starts(self, length: int) -> Ints:
        """How many sequences of ``length`` rows each stream holds."""
        found: Ints = np.maximum(self.written - self.oldest - length + 1, 0)
        return found


class Sampler:
    """Abstract: a final class says how sequences are drawn, and how likely each of them was.

    >>> Uniform().keeps_priorities, Uniform().state(), Uniform().initial(2).tolist()
    (False, {}, [1.0, 1.0])
    """

    keeps_priorities = False
    """Whether it reads a priority of each row, which the replay then stores."""

    def draw(
        self, count: int, length: int, held: Held, rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        """Streams and first rows of ``count`` sequences; some stream holds one."""
        raise NotImplementedError

    def chances(self, stream: Ints, first: Ints, length: int, held: Held) -> Floats:
        """The probability of each of these sequences in one draw, for importance weights."""
        raise NotImplementedError

    def follow(self, rings: Rings) -> None:
        """These are the rows from now on; they may be others than before."""

    def changed(self, stream: Ints, number: Ints) -> None:
        """These rows were written, or their priorities were."""

    def initial(self, count: int) -> NDArray[np.float32]:
        """The priorities of ``count`` new rows."""
        return np.ones(count, np.float32)

    def state(self) -> dict[str, Any]:
        """What it knows beside the rows, as data for JSON."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Be as it was."""


class Uniform(Sampler):
    """Each sequence is equally likely.

    >>> held = Held(np.array([0]), np.array([10]))
    >>> Uniform().chances(np.array([0]), np.array([3]), 4, held).tolist()
    [0.14285714285714285]
    """

    def draw(
        self, count: int, length: int, held: Held, rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        starts = held.starts(length)
        ends = starts.cumsum()
        pick = rng.integers(ends[-1], size=count)
        stream = np.searchsorted(ends, pick, side="right")
        return stream, held.oldest[stream] + pick - (ends - starts)[stream]

    def chances(self, stream: Ints, first: Ints, length: int, held: Held) -> Floats:
        return np.full(len(stream), 1.0 / held.starts(length).sum())


class Recent(Sampler):
    r"""Newer sequences are more likely: one that ends ``k`` rows before the newest of its stream in
    proportion to

    .. math:: (k + 1)^{-a}

    (DreamerV3's recency sampler, 2024, with ``a = 1``.)

    Args:
        exponent: a; 0 is uniform.

    Raises:
        ReplayError: it is negative or not finite.

    >>> held = Held(np.array([0]), np.array([5]))
    >>> Recent().chances(np.array([0, 0]), np.array([1, 0]), 4, held).round(3).tolist()
    [0.667, 0.333]
    """

    def __init__(self, exponent: float = 1.0) -> None:
        if not 0.0 <= exponent < np.inf:
            raise ReplayError(f"expected an exponent of at least 0, got {exponent}")
        self.exponent = exponent
        self._below = np.zeros(1)  # [k]: the weight of all ages below k

    def _weights(self, most: int) -> Floats:
        if most >= len(self._below):  # twice as many as asked for: the replay grows row by row
            ages = np.arange(1, 2 * most + 1, dtype=np.float64)
            self._below = np.concatenate([[0.0], np.cumsum(ages**-self.exponent)])
        return self._below

    def draw(
        self, count: int, length: int, held: Held, rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        starts = held.starts(length)
        below = self._weights(int(starts.max()))
        ends = below[starts].cumsum()
        at = rng.random(count) * ends[-1]
        stream = np.minimum(np.searchsorted(ends, at, side="right"), np.flatnonzero(starts)[-1])
        within = at - (ends - below[starts])[stream]
        age = np.searchsorted(below, within, side="right") - 1
        age = np.clip(age, 0, starts[stream] - 1)  # rounding may lead over an end
        return stream, held.written[stream] - length - age

    def chances(self, stream: Ints, first: Ints, length: int, held: Held) -> Floats:
        starts = held.starts(length)
        below = self._weights(int(starts.max()))
        age = held.written[stream] - length - first
        found: Floats = (age + 1.0) ** -self.exponent / below[starts].sum()
        return found


class Mixed(Sampler):
    """Some sequences from each of several samplers, by their shares.

    Args:
        parts: sampler and share each; the shares add up to 1.

    Raises:
        ReplayError: they do not, or one is negative.

    >>> held = Held(np.array([0]), np.array([5]))
    >>> mixed = Mixed([(Uniform(), 0.5), (Recent(), 0.5)])
    >>> mixed.chances(np.array([0]), np.array([1]), 4, held).round(3).tolist()
    [0.583]
    """

    def __init__(self, parts: Sequence[tuple[Sampler, float]]) -> None:
        self.parts = [sampler for sampler, _ in parts]
        self.shares = np.array([share for _, share in parts], np.float64)
        if not len(parts) or (self.shares < 0).any() or abs(self.shares.sum() - 1.0) > 1e-9:
            raise ReplayError(
                f"expected shares of at least 0 that add up to 1, got {self.shares.tolist()}"
            )
        self.keeps_priorities = any(part.keeps_priorities for part in self.parts)

    def draw(
        self, count: int, length: int, held: Held, rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        counts = rng.multinomial(count, self.shares)
        found = [
            part.draw(int(n), length, held, rng)
            for part, n in zip(self.parts, counts, strict=True)
            if n
        ]
        stream, first = (np.concatenate(each) for each in zip(*found, strict=True))
        return stream, first

    def chances(self, stream: Ints, first: Ints, length: int, held: Held) -> Floats:
        each = [part.chances(stream, first, length, held) for part in self.parts]
        found: Floats = self.shares @ np.stack(each)
        return found

    def follow(self, rings: Rings) -> None:
        for part in self.parts:
            part.follow(rings)

    def changed(self, stream: Ints, number: Ints) -> None:
        for part in self.parts:
            part.changed(stream, number)

    def initial(self, count: int) -> NDArray[np.float32]:
        each = [part.initial(count) for part in self.parts if part.keeps_priorities]
        return each[0] if each else super().initial(count)

    def state(self) -> dict[str, Any]:
        return {"parts": [part.state() for part in self.parts]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        for part, own in zip(self.parts, state["parts"], strict=True):
            part.load_state(own)
