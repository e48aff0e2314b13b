"""Sizes, weights and rates of DreamerV2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from agents.dreamer.latent_agent import LatentConfig
from worldmodels.ranges import check_ranges
from worldmodels.rssm_config import RSSMConfig

MODEL = RSSMConfig(
    latent="categorical",
    core="gru",
    rewards="normal",
    deter=600,
    hidden=600,
    groups=32,
    classes=32,
    units=400,
    depth=24,
    strided=True,
    prior_layers=2,
    posterior_layers=2,
    reward_layers=4,
    continue_layers=4,
    free_nats=1.0,
    dyn_scale=0.8,
    rep_scale=0.2,
    unimix=0.0,
)
"""The published sizes (networks are those of the library: RMS norm and SiLU in place of ELU,
vectors through symlog). ``dyn_scale`` and ``rep_scale`` are the balanced KL's ``alpha`` and ``1 -
alpha``.
"""


@dataclass(frozen=True)
class DreamerV2Config(LatentConfig):
    """DreamerV2 as published (Hafner et al. 2021).

    More in :class:`LatentConfig`.

    Args:
        units, actor_layers, critic_layers: of policy and value.
        horizon: imagined steps.
        discount: per step.
        lam: lambda of returns.
        reinforce: the share of REINFORCE in the policy's gradient, the rest goes through the
            dynamics; None: all of it for choices, nothing for numbers.
        entropy: weight of the policy's entropy.
        slow_every: updates after which the target critic becomes the critic.
        lr, actor_lr, critic_lr: of the world model, the policy and the value.
        eps, weight_decay: of Adam.
        clip: the largest norm of the gradient of each of the three.

    >>> DreamerV2Config().model.features
    1624
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "units",
        "[1, 64]": "actor_layers critic_layers",
        "[1, 10000]": "horizon",
        "(0, 1]": "discount lr actor_lr critic_lr eps",
        "[0, 1]": "lam reinforce weight_decay",
        "[0, 1e6]": "entropy",
        "[1, 1e9]": "slow_every",
        "(0, 1e9]": "clip",
    }

    model: RSSMConfig = field(default_factory=lambda: MODEL)
    batch: int = 16
    length: int = 50
    units: int = 400
    actor_layers: int = 4
    critic_layers: int = 4
    horizon: int = 15
    discount: float = 0.99  # type: ignore[assignment]
    lam: float = 0.95
    reinforce: float | None = None
    entropy: float = 1e-4
    slow_every: int = 100
    lr: float = 3e-4
    actor_lr: float = 8e-5
    critic_lr: float = 8e-5
    eps: float = 1e-5
    weight_decay: float = 1e-6
    clip: float = 100.0
    kind: str = "dreamer_v2"

    def __post_init__(self) -> None:
        check_ranges(self)
        self.check_options()
