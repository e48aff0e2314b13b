"""Sizes and rates of SAC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from worldmodels.ranges import check_ranges


@dataclass(frozen=True)
class SACConfig:
    """SAC as published (Haarnoja et al. 2018, the version with a learned temperature).

    Args:
        units, layers: of policy and critics.
        critics: how many; a target takes the smallest.
        norm: of the critics. ``"batch"`` is CrossQ (Bhatt et al. 2024, without their
            renormalisation): one call on the recorded and on the next actions together, and no slow
            critics.
        depth, strided: of the image encoder, see :class:`worldmodels.images.ConvEncoder`; the
            critics train it.
        standardize: observed vectors in standard units, estimated from the batches that are learned
            from (:mod:`agents.standard`).
        batch: transitions of an update.
        discount: per action.
        target_entropy: nats a number of an action that the temperature is learned for.
        target_share: the same for choices, as a share of the uniform choice's entropy
            (Christodoulou 2019).
        temperature: the first one.
        min_log_std, max_log_std: of the policy.
        slow_rate: share of the critics in their moving average, each update.
        lr, beta1: of Adam, for everything.
        kind: the agent's name in the table of :mod:`agents.build`, or ``module:Class``.

    Raises:
        ValueError: a number makes no sense.

    >>> SACConfig().slow, SACConfig(norm="batch").slow
    (True, False)
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "units depth batch",
        "[1, 64]": "layers critics",
        "(0, 1]": "discount slow_rate lr",
        "[0, 1)": "beta1",
        "[0, 1]": "target_share",
        "(0, 1e6]": "temperature",
        "[-100, 100]": "min_log_std max_log_std target_entropy",
    }

    units: int = 256
    layers: int = 2
    critics: int = 2
    norm: Literal["none", "layer", "batch"] = "none"
    depth: int = 4
    strided: bool = False
    standardize: bool = False
    batch: int = 256
    discount: float = 0.99
    target_entropy: float = -1.0
    target_share: float = 0.98
    temperature: float = 1.0
    min_log_std: float = -5.0
    max_log_std: float = 2.0
    slow_rate: float = 0.005
    lr: float = 3e-4
    beta1: float = 0.9
    kind: str = "sac"

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.min_log_std >= self.max_log_std:
            raise ValueError(
                f"min_log_std must be below max_log_std, "
                f"got {self.min_log_std} and {self.max_log_std}"
            )

    @property
    def slow(self) -> bool:
        """Whether targets are of slow critics."""
        return self.norm != "batch"
