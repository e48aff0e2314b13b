"""Sizes of an ensemble of one-step predictors, and what its members read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pixyz.types import PixyzError
from worldmodels.ranges import check_ranges


@dataclass(frozen=True)
class OneStepConfig:
    """Sizes of :class:`worldmodels.one_step.OneStep`.

    Args:
        members, units, layers: of the ensemble.
        linear: whether the members learn what least squares leaves.
        lately: members also read means of what least squares left lately, which remember so many
            ticks, each at least 1; none if empty. Needs ``linear``.
        prior: how far members differ in what they answer to these means and never learn, in
            deviations of what least squares leaves; 0: not at all.

    Raises:
        PixyzError: a number makes no sense, or one of them needs another.

    >>> OneStepConfig().members
    5
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[2, 1024]": "members",
        "[1, 65536]": "units",
        "[1, 64]": "layers",
        "[0, 1e3]": "prior",
    }

    members: int = 5
    units: int = 128
    layers: int = 2
    linear: bool = False
    lately: tuple[float, ...] = ()
    prior: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self)
        if not all(1.0 <= ticks < math.inf for ticks in self.lately):
            raise PixyzError(f"lately: expected ticks, each at least 1, got {self.lately}")
        if self.lately and not self.linear:
            raise PixyzError("lately is of what least squares leaves; give linear=true, too")
        if self.prior and not self.lately:
            raise PixyzError("prior is an answer to what is read by lately; give lately, too")
