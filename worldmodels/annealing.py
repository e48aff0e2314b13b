"""Schedules of a weight, for an objective's ``Parameter`` (KL annealing: Bowman et al. 2016;
Krishnan et al. 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pixyz.types import PixyzError


@dataclass(frozen=True)
class Annealing:
    """A weight that goes from ``start`` to ``end`` in ``steps`` updates and stays there.

    Args:
        start, end: the first and the last value.
        steps: how many updates between them; 0 is ``end`` from the beginning.
        shape: ``"linear"`` or ``"cosine"`` (slow at both ends).
        cycles: how often it starts again within ``steps`` (Fu et al. 2019, half of each cycle
            rises, half stays).

    Raises:
        PixyzError: a number of steps or cycles that has no meaning.

    >>> beta = Annealing(start=0.2, steps=4)
    >>> [round(beta(step), 2) for step in range(6)]
    [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    """

    start: float = 0.0
    end: float = 1.0
    steps: int = 1000
    shape: Literal["linear", "cosine"] = "linear"
    cycles: int = 1

    def __post_init__(self) -> None:
        if self.steps < 0 or self.cycles < 1:
            raise PixyzError(
                f"annealing needs steps >= 0 and cycles >= 1, got {self.steps} and {self.cycles}"
            )

    def __call__(self, step: int) -> float:
        """The weight at an update."""
        if step >= self.steps:
            return self.end
        done = step / self.steps
        if self.cycles > 1:
            done = min(1.0, 2.0 * (done * self.cycles % 1.0))
        if self.shape == "cosine":
            done = 0.5 - 0.5 * math.cos(math.pi * done)
        return self.start + (self.end - self.start) * done
