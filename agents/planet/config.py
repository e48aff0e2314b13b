"""Sizes, weights and rates of PlaNet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from agents.dreamer.latent_agent import LatentConfig
from worldmodels.ranges import check_ranges
from worldmodels.rssm_config import RSSMConfig

MODEL = RSSMConfig(
    latent="gaussian",
    core="gru",
    rewards="normal",
    deter=200,
    hidden=200,
    groups=30,
    units=200,
    depth=16,
    strided=True,
    prior_layers=2,
    posterior_layers=2,
    reward_layers=2,
    continue_layers=2,
    free_nats=3.0,
)
"""The published sizes (networks are those of the library: RMS norm and SiLU in place of ReLU,
vectors through symlog).
"""


@dataclass(frozen=True)
class PlaNetConfig(LatentConfig):
    """PlaNet as published (Hafner et al. 2019), without latent overshooting.

    More in :class:`LatentConfig`.

    Args:
        reward: weight of the reward's term.
        kl: weight of the divergence, which costs at least ``model.free_nats`` a frame.
        horizon, candidates, elites, rounds: of a plan (:class:`agents.planning.CEM`); it begins
            with the last one, shifted.
        discount: per step of a plan.
        noise: deviation of what is added to an action when exploring; for choices the share of
            random ones.
        lr, eps, clip: of Adam, and the largest norm of the gradient.

    >>> PlaNetConfig().model.features
    230
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 10000]": "horizon rounds",
        "[1, 65536]": "candidates elites",
        "(0, 1]": "discount lr eps",
        "[0, 1]": "noise",
        "[0, 1e6]": "reward kl",
        "(0, 1e9]": "clip",
    }

    model: RSSMConfig = field(default_factory=lambda: MODEL)
    batch: int = 50
    length: int = 50
    reward: float = 10.0
    kl: float = 1.0
    horizon: int = 12
    candidates: int = 1000
    elites: int = 100
    rounds: int = 10
    discount: float = 1.0  # type: ignore[assignment]
    noise: float = 0.3
    lr: float = 1e-3
    eps: float = 1e-4
    clip: float = 1000.0
    kind: str = "planet"

    def __post_init__(self) -> None:
        check_ranges(self)
        self.check_options()
        if self.elites > self.candidates:
            raise ValueError(
                f"elites must be at most candidates, {self.candidates}, got {self.elites}"
            )
