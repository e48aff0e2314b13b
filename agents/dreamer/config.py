"""Sizes, weights and rates of DreamerV3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.dreamer.latent_agent import LatentConfig
from worldmodels.ranges import check_ranges


@dataclass(frozen=True)
class DreamerV3Config(LatentConfig):
    """DreamerV3 as published in 2024 (Hafner et al., Nature 2025), size1m.

    More in :class:`LatentConfig`.

    Args:
        units, actor_layers, critic_layers: of policy and value.
        bins: of the value's two-hot.
        unimix: the share of the uniform distribution in the policy over choices.
        horizon: imagined steps.
        discount_horizon: steps; the discount is ``1 - 1 / discount_horizon`` and lives in the
            continuation target.
        lam: lambda of returns.
        entropy: weight of the policy's entropy.
        slow_rate: share of the critic in its moving average, each update.
        slow_regularizer: weight of the critic's distance to its moving average.
        replay_value: weight of the critic's loss on recorded sequences.
        return_rate, return_limit: see :class:`agents.dreamer.normalize.ReturnRange`.
        curiosity: how much of the reward of imagined steps is the world model's own uncertainty
            (Plan2Explore: 1); ``members`` of the ensemble that tells it
            (:mod:`worldmodels.disagreement`). Recorded rewards are the task's, so it needs
            ``replay_value`` 0.
        candidates: of a plan on the model, whose paths end with the value
            (:class:`agents.planning.MPPI`); 0: the policy acts.
        plan_horizon, rounds, elites, proposals: of it; ``proposals`` of the candidates come from
            the policy.
        lr, beta1, beta2, eps, clip, warmup, halving: see :class:`agents.dreamer.optimizer.LaProp`.

    >>> config = DreamerV3Config(horizon=10)
    >>> 1 - 1 / config.discount_horizon, config.model.deter
    (0.996996996996997, 512)
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "units elites",
        "[1, 64]": "actor_layers critic_layers",
        "[2, 65536]": "bins",
        "[1, 10000]": "horizon plan_horizon rounds",
        "[0, 65536]": "candidates proposals",
        "(1, 1e9]": "discount_horizon",
        "[0, 1]": "lam curiosity",
        "[2, 1024]": "members",
        "[0, 1)": "unimix beta1 beta2",
        "(0, 1]": "slow_rate return_rate lr eps",
        "[0, 1e6]": "entropy slow_regularizer replay_value clip",
        "(0, 1e9]": "return_limit",
        "[0, 1e9]": "warmup halving",
    }

    units: int = 64
    actor_layers: int = 3
    critic_layers: int = 3
    bins: int = 255
    horizon: int = 15
    discount_horizon: float = 333.0
    lam: float = 0.95
    entropy: float = 3e-4
    unimix: float = 0.01
    slow_rate: float = 0.02
    slow_regularizer: float = 1.0
    replay_value: float = 0.3
    return_rate: float = 0.01
    return_limit: float = 1.0
    curiosity: float = 0.0
    members: int = 5
    candidates: int = 0
    plan_horizon: int = 5
    rounds: int = 4
    elites: int = 24
    proposals: int = 16
    lr: float = 4e-5
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-20
    clip: float = 0.3
    warmup: int = 1000
    halving: int = 0
    stored_latents: bool = True
    kind: str = "dreamer_v3"

    def __post_init__(self) -> None:
        check_ranges(self)
        self.check_options()
        if self.curiosity and self.replay_value:
            raise ValueError(
                f"curiosity needs replay_value 0, since recorded rewards are the task's, "
                f"got {self.replay_value}"
            )
        if self.candidates and max(self.elites, self.proposals + 1) > self.candidates:
            raise ValueError(
                f"candidates must be at least elites, and more than proposals, or 0, got "
                f"{self.candidates}, {self.elites} and "
                f"{self.proposals}"
            )

    @property
    def discount(self) -> float:
        """Per step."""
        return 1.0 - 1.0 / self.discount_horizon
