"""One batch from several sources: what an agent did, what a person showed it, what a model
imagined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from agents.replay.errors import ReplayError
from agents.replay.priorities import PRIORITY


class Part(Protocol):
    """A source of sequences, such as a :class:`agents.replay.ReplayBuffer`."""

    def can_sample(self, length: int) -> bool: ...
    def sample(self, batch: int, length: int) -> dict[str, Any]: ...
    def update(self, index: Any, values: Mapping[str, Any]) -> int: ...


class Blended:
    """Sequences of several sources side by side, a fixed share of each batch from each
    (:class:`agents.run.learner.Source`).

    A source that has nothing yet gives nothing, and the others share its rows. Half of a batch from
    demonstrations is what RLPD does (Ball et al. 2023).

    Args:
        parts: source and share, above 0.

    Raises:
        ReplayError: no part, or shares that make no sense.

    >>> class Ones:
    ...     def __init__(self, value):
    ...         self.value = value
    ...
    ...     def can_sample(self, length):
    ...         return True
    ...
    ...     def sample(self, batch, length):
    ...         return {"x": np.full((length, batch), self.value)}
    >>> Blended([(Ones(1), 0.75), (Ones(2), 0.25)]).sample(4, 1)["x"].tolist()
    [[1, 1, 1, 2]]
    """

    def __init__(self, parts: Sequence[tuple[Part, float]]) -> None:
        if not parts or not all(0.0 < share <= 1.0 for _, share in parts):
            raise ReplayError(f"expected parts with shares in (0, 1], got {[s for _, s in parts]}")
        self.parts = list(parts)
        self._drawn: list[tuple[Part, int]] = []

    def can_sample(self, length: int) -> bool:
        """Whether the first part can: it is what the agent does."""
        return self.parts[0][0].can_sample(length)

    def sample(self, batch: int, length: int) -> dict[str, Any]:
        """``batch`` sequences ``[T, B, ...]``, in the order of the parts; keys that only some have
        are left out, but for ``index``, which is -1 where a part has none.
        """
        ready = [(part, share) for part, share in self.parts if part.can_sample(length)]
        self._drawn = list(zip((p for p, _ in ready), counts(batch, [s for _, s in ready])))
        found = [part.sample(count, length) for part, count in self._drawn if count]
        for each, (_, count) in zip(found, [d for d in self._drawn if d[1]]):
            each.setdefault("index", np.full((length, count, 2), -1, np.int64))
        keys = [k for k in found[0] if all(k in each for each in found)]
        return {k: np.concatenate([each[k] for each in found], 1) for k in keys}

    @property
    def prioritizes(self) -> bool:
        """Whether rows of a part have a priority."""
        return any(getattr(part, "prioritizes", False) for part, _ in self.parts)

    def update(self, index: Any, values: Mapping[str, Any]) -> int:
        """Write values back to the parts that the last batch came from."""
        first = total = 0
        for part, count in self._drawn:
            own = slice(first, first + count)
            first += count
            keeps = getattr(part, "prioritizes", False)
            theirs = {k: v[:, own] for k, v in values.items() if k != PRIORITY or keeps}
            if count and theirs and (np.asarray(index)[:, own] >= 0).all():
                total += part.update(index[:, own], theirs)
        return total


def counts(batch: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to ``batch``, by the largest remainders.

    >>> counts(16, [0.5, 0.25, 0.25]), counts(3, [0.5, 0.5])
    ([8, 4, 4], [2, 1])
    """
    wanted = np.asarray(shares, np.float64) / sum(shares) * batch
    found = np.floor(wanted).astype(int)
    left = np.argsort(found - wanted, kind="stable")[: batch - int(found.sum())]
    found[left] += 1
    return [int(n) for n in found]
