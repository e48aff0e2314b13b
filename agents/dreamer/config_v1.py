"""Sizes, weights and rates of Dreamer."""

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
    units=400,
    depth=16,
    strided=True,
    prior_layers=2,
    posterior_layers=2,
    reward_layers=2,
    continue_layers=3,
    free_nats=3.0,
)
"""The published sizes (networks are those of the library: RMS norm and SiLU in place of ELU,
vectors through symlog).
"""


@dataclass(frozen=True)
class DreamerV1Config(LatentConfig):
    """Dreamer as published (Hafner et al. 2020).

    More in :class:`LatentConfig`.

    Args:
        units, actor_layers, critic_layers: of policy and value.
        horizon: imagined steps.
        discount: per step.
        lam: lambda of returns.
        kl: weight of the divergence, whose mean costs at least ``model.free_nats``.
        noise: deviation of what is added to an action when exploring; for choices the share of
            random ones.
        lr, actor_lr, critic_lr: of the world model, the policy and the value.
        clip: the largest norm of the gradient of each of the three.

    >>> DreamerV1Config().model.features
    230
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "units",
        "[1, 64]": "actor_layers critic_layers",
        "[1, 10000]": "horizon",
        "(0, 1]": "discount lr actor_lr critic_lr",
        "[0, 1]": "lam noise",
        "[0, 1e6]": "kl",
        "(0, 1e9]": "clip",
    }

    model: RSSMConfig = field(default_factory=lambda: MODEL)
    batch: int = 50
    length: int = 50
    units: int = 400
    actor_layers: int = 4
    critic_layers: int = 3
    horizon: int = 15
    discount: float = 0.99  # type: ignore[assignment]
    lam: float = 0.95
    kl: float = 1.0
    noise: float = 0.3
    lr: float = 6e-4
    actor_lr: float = 8e-5
    critic_lr: float = 8e-5
    clip: float = 100.0
    kind: str = "dreamer_v1"

    def __post_init__(self) -> None:
        check_ranges(self)
        self.check_options()
