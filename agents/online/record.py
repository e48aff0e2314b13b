"""A row as an actor's log holds it: what goes into the replay, and what the loop counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.wire import WireError, decode, encode


class RecordError(ValueError):
    """A record that is none."""


@dataclass(frozen=True)
class Record:
    """One row of one environment, and what the step after it did.

    Args:
        row: key -> ``[...]``, of one environment.
        frames, actions: of the step.
        steps: environment steps of this log up to here.
        episodes: return, actions and environment steps of each episode that ended.
        version: of the policy that acted; -1: random actions.
        notes: what else was seen of the step: lateness, what safety did, whether a person moved the
            robot.

    >>> Record.read(Record({"x": np.zeros(2)}, 1, 1, 5).data()).steps
    5
    """

    row: Mapping[str, NDArray[Any]]
    frames: int
    actions: int
    steps: int
    episodes: list[tuple[float, int, int]] = field(default_factory=list)
    version: int = -1
    notes: dict[str, Any] = field(default_factory=dict)

    def data(self) -> bytes:
        """As bytes."""
        return encode(
            {**vars(self), "row": dict(self.row), "episodes": [list(e) for e in self.episodes]}
        )

    @staticmethod
    def read(data: bytes) -> Record:
        """From bytes.

        Raises:
            RecordError: they are not those of a record.
        """
        try:
            found = decode(data)
            record = Record(
                **{
                    **found,
                    "episodes": [(float(r), int(n), int(f)) for r, n, f in found["episodes"]],
                }
            )
            numbers = [record.frames, record.actions, record.steps]
            if (
                min(numbers) < 0
                or any(type(n) is not int for n in numbers)
                or type(record.version) is not int
            ):
                raise ValueError(f"frames, actions, steps and version {[*numbers, record.version]}")
            if not all(isinstance(v, (np.ndarray, np.generic)) for v in record.row.values()):
                raise ValueError("values that are no arrays")
        except (WireError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise RecordError(f"expected the record of a row, got {error!r:.200}") from None
        return record
