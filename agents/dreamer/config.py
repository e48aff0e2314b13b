"""Sizes, weights and rates of DreamerV3."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pixyz.plan import Options
from worldmodels.ranges import check_ranges
from worldmodels.rssm import RSSMConfig


@dataclass(frozen=True)
class DreamerV3Config:
    """DreamerV3 as published in 2024 (Hafner et al., Nature 2025), size1m.

    Args:
        model: the world model.
        batch, length: sequences of ``length`` steps in an update.
        horizon: imagined steps.
        discount_horizon: steps; the discount is ``1 - 1 / discount_horizon`` and lives in the continuation target.
        lam: lambda of returns.
        entropy: weight of the policy's entropy.
        slow_rate: share of the critic in its moving average, each update.
        slow_regularizer: weight of the critic's distance to its moving average.
        replay_value: weight of the critic's loss on recorded sequences.
        return_rate, return_limit: see :class:`agents.dreamer.normalize.ReturnRange`.
        lr, beta1, beta2, eps, clip, warmup, halving: see :class:`agents.dreamer.optimizer.LaProp`.
        stored_latents: start sequences from the states that were stored with them; else from zeros.
        chunk: compile time loops, this many steps at a time (minutes at the first update, faster ones after it); 0: do not.
        whole: with ``chunk``: compile the rest of an update, too (another one to two minutes). The first update of a process is
            not compiled, so a resumed run equals a straight one up to rounding only.
        max_rows: of a call of encoder, decoder and heads, for less memory at an update (a longer one: their activations are
            computed again in the backward pass); 0: all rows of a sequence, or of an imagined path, together.
        precision: of matrix products; ``bfloat16`` runs under autocast.
        kind: the agent's name in the table of :mod:`agents.build`, or ``module:Class``.

    >>> config = DreamerV3Config(horizon=10)
    >>> 1 - 1 / config.discount_horizon, config.model.deter
    (0.996996996996997, 512)
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "units batch",
        "[1, 64]": "actor_layers critic_layers",
        "[2, 65536]": "bins length",
        "[1, 10000]": "horizon",
        "(1, 1e9]": "discount_horizon",
        "[0, 1]": "lam",
        "[0, 1)": "unimix beta1 beta2",
        "(0, 1]": "slow_rate return_rate lr eps",
        "[0, 1e6]": "entropy slow_regularizer replay_value clip",
        "(0, 1e9]": "return_limit",
        "[0, 1e9]": "warmup halving max_rows",
        "[0, 65536]": "chunk",
    }

    model: RSSMConfig = field(default_factory=RSSMConfig)
    units: int = 64
    actor_layers: int = 3
    critic_layers: int = 3
    bins: int = 255
    batch: int = 16
    length: int = 64
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
    lr: float = 4e-5
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-20
    clip: float = 0.3
    warmup: int = 1000
    halving: int = 0
    stored_latents: bool = True
    chunk: int = 0
    whole: bool = False
    max_rows: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    kind: str = "dreamer_v3"

    def __post_init__(self) -> None:
        check_ranges(self)
        Options(chunk=self.chunk, max_rows=self.max_rows)  # raises where they are wrong
        if self.whole and not self.chunk:
            raise ValueError("whole compiles what is around compiled loops, so it needs a chunk, such as 8")

    @property
    def discount(self) -> float:
        """Per step."""
        return 1.0 - 1.0 / self.discount_horizon
