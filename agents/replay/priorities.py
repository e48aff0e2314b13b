"""Sequences around rows that surprised: proportional prioritisation, exact when a run is stopped
and goes on.

Priorities are a column of the replay, so that they come back with the rows, bit for bit. The tree
of their sums is made
from them: a node is the sum of its two children and nothing else, however often they have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.replay.errors import ReplayError
from agents.replay.ring import Rings
from agents.replay.samplers import Floats, Held, Sampler
from agents.replay.store import Ints

PRIORITY = "priority"
"""The column's key."""
LEAST = 1e-6
"""Of a priority, so that every row has a chance."""
Ranked = Literal["", "rows", "sequences"]
"""What an agent gives priorities of: nothing, each row, or a sequence, at its first row."""


class SumTrees:
    """A tree of sums for each stream: weights of ``rows`` slots change, and are drawn from, in a
    logarithm of their number.

    Args:
        streams, rows: how many.

    >>> trees = SumTrees(1, 5)
    >>> trees.put(np.array([0, 0]), np.array([1, 4]), np.array([2.0, 6.0]))
    >>> trees.totals.tolist(), trees.find(np.array([0, 0]), np.array([1.9, 2.0])).tolist()
    ([8.0], [1, 4])
    """

    def __init__(self, streams: int, rows: int) -> None:
        self.depth = max(1, (rows - 1).bit_length())
        self._size = 1 << self.depth
        self._nodes = np.zeros(
            (streams, 2 * self._size)
        )  # node 1 is the root, children 2n and 2n + 1

    @property
    def totals(self) -> Floats:
        """The sum of all weights of each stream, ``[streams]``."""
        return self._nodes[:, 1]

    def read(self, stream: Ints, slot: Ints) -> Floats:
        """Weights of slots."""
        found: Floats = self._nodes[stream, self._size + slot]
        return found

    def put(self, stream: Ints, slot: Ints, weight: Floats) -> None:
        """New weights of slots, all ``[N]``; of a slot that comes twice the last one counts."""
        nodes, at = self._nodes, self._size + slot
        nodes[stream, at] = weight
        flat = np.unique(stream * 2 * self._size + at)
        for _ in range(self.depth):
            flat = np.unique(
                flat // (2 * self._size) * (2 * self._size) + flat % (2 * self._size) // 2
            )
            s, n = flat // (2 * self._size), flat % (2 * self._size)
            nodes[s, n] = nodes[s, 2 * n] + nodes[s, 2 * n + 1]

    def find(self, stream: Ints, below: Floats) -> Ints:
        """The slots in which the running sums pass ``below``, in [0, total), ``[N]``; never one of
        weight 0.
        """
        node, left_over = np.ones(len(stream), np.int64), np.array(below)
        for _ in range(self.depth):
            left = self._nodes[stream, 2 * node]
            right = (left_over >= left) & (self._nodes[stream, 2 * node + 1] > 0.0)
            left_over -= np.where(right, left, 0.0)
            node = 2 * node + right
        return node - self._size


class Prioritized(Sampler):
    r"""A row is drawn in proportion to its priority, then one of the sequences that hold it.

    .. math:: P(i) = p_i^a / \sum_k p_k^a, \quad
        P(\mathrm{sequence}) = \sum_{i \in \mathrm{sequence}} P(i) / n_i

    with ``n_i`` sequences that hold the row. Rows that no update has seen have the largest priority
    so far. (Schaul et al. 2016, eq. 1, for single rows; no importance weights are applied:
    :meth:`chances` gives what they are made of.)

    Args:
        exponent: a.
        ranked: ``"sequences"``: a priority is that of the sequence which begins with its row, and
            that one is drawn; any one for the newest rows, which begin none.

    Raises:
        ReplayError: the exponent is negative or not finite, or there is no such ``ranked``.

    >>> from agents.replay import ReplayBuffer
    >>> flags = {k: ((), "?") for k in ("is_first", "is_last", "is_terminal")}
    >>> spec = {"x": ((1,), "f4"), "action": ((1,), "f4"), "reward": ((), "f4"), **flags}
    >>> buffer = ReplayBuffer(spec, capacity=20, sampler=Prioritized(exponent=1.0))
    >>> buffer.sampler.initial(2).tolist(), buffer.sampler.state()
    ([1.0, 1.0], {'largest': 1.0})
    """

    keeps_priorities = True

    def __init__(self, exponent: float = 0.8, ranked: Ranked = "rows") -> None:
        if not 0.0 <= exponent < np.inf:
            raise ReplayError(f"expected an exponent of at least 0, got {exponent}")
        if ranked not in ("rows", "sequences"):
            raise ReplayError(f"expected ranked as rows or sequences, got {ranked!r}")
        self.exponent, self.largest, self.ranked = exponent, 1.0, ranked
        self._rings: Rings | None = None
        self._trees = SumTrees(1, 1)

    # ---------------------------------------------------------------- rows

    def follow(self, rings: Rings) -> None:
        self._rings, self._trees = rings, SumTrees(rings.streams, rings.rows)
        oldest, written = rings.oldest, rings.written
        for stream, (low, high) in enumerate(zip(oldest, written, strict=True)):
            number = np.arange(low, high)
            self._take(np.full(len(number), stream), number)

    def changed(self, stream: Ints, number: Ints) -> None:
        rings = self._followed
        kept = (number >= rings.oldest[stream]) & (number < rings.written[stream])
        read = self._take(stream[kept], number[kept])
        self.largest = max(self.largest, float(read.max(initial=0.0)))

    def initial(self, count: int) -> NDArray[np.float32]:
        return np.full(count, self.largest, np.float32)

    def _take(self, stream: Ints, number: Ints) -> NDArray[np.float32]:
        """Read the priorities of rows from the replay into the trees."""
        rings = self._followed
        read: NDArray[np.float32] = rings.read(stream, number, [PRIORITY])[PRIORITY]
        weight = np.maximum(read.astype(np.float64), LEAST) ** self.exponent
        self._trees.put(stream, number % rings.rows, weight)
        return read

    @property
    def _followed(self) -> Rings:
        assert self._rings is not None, "call follow(rings) first"
        return self._rings

    # ---------------------------------------------------------------- drawing

    def draw(
        self, count: int, length: int, held: Held, rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        rows = self._followed.rows
        masses = np.where(held.starts(length) > 0, self._trees.totals, 0.0)
        ends = masses.cumsum()
        at = rng.random(count) * ends[-1]
        stream = np.minimum(np.searchsorted(ends, at, side="right"), np.flatnonzero(masses)[-1])
        slot = self._trees.find(stream, at - (ends - masses)[stream])
        newest = held.written[stream] - 1
        number = newest - (newest - slot) % rows
        low, high = self._starts(stream, number, length, held)
        return stream, low + (rng.random(count) * (high - low + 1)).astype(np.int64)

    def chances(self, stream: Ints, first: Ints, length: int, held: Held) -> Floats:
        rows = self._followed.rows
        total = self._trees.totals[held.starts(length) > 0].sum()
        number = first + np.arange(length)[:, None]
        if self.ranked == "sequences":
            number[1:] = held.written[stream] - np.arange(1, length)[:, None]
        low, high = self._starts(np.broadcast_to(stream, number.shape), number, length, held)
        weight = self._trees.read(np.broadcast_to(stream, number.shape), number % rows)
        found: Floats = (weight / (high - low + 1)).sum(0) / total
        return found

    def _starts(self, stream: Ints, number: Ints, length: int, held: Held) -> tuple[Ints, Ints]:
        """The first and the last start of the sequences that are drawn for a row, all alike."""
        oldest, newest = held.oldest[stream], held.written[stream] - length
        before = number - length + 1
        if self.ranked == "sequences":
            before = np.where(number <= newest, number, oldest)
        return np.maximum(oldest, before), np.minimum(number, newest)

    # ---------------------------------------------------------------- saving

    def state(self) -> dict[str, Any]:
        return {"largest": self.largest}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.largest = float(state["largest"])
