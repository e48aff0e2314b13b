"""Sizes, weights and rates of TD-MPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldmodels.ranges import check_ranges


@dataclass(frozen=True)
class TDMPCConfig:
    """A planner on a latent model without a decoder, as published for one task (TD-MPC2: Hansen et
    al. 2024), but for dropout, which the critics have none of, and the weight of the continuation's
    term, which is 1 there.

    Args:
        latent, group: the latent state, groups of ``group`` numbers that are positive and add up to
            1.
        units, layers: of dynamics, reward, critics and policy.
        encoder_units, encoder_layers: of the encoder.
        depth, strided: of the image encoder, see :class:`worldmodels.images.ConvEncoder`.
        standardize: observed vectors in standard units, estimated from the batches that are learned
            from (:mod:`agents.standard`), in the place of their symlog.
        critics: how many.
        pessimism: of a critic's target: 1 takes the smallest of two critics, as published; 0 the
            mean of all, which does not hold good news back (Nauman et al. 2024); else between them.
        bins, limit: of rewards and values: ``bins`` equal steps of the symlog in [-limit, limit].
        batch: sequences of an update, ``horizon + 1`` rows each.
        horizon: steps that the model is trained on, and that a plan has.
        discount: per action.
        n_step: recorded rewards in a critic's target before the value at its end (Sutton 1988); 1
            as published.
        rho: the weight of a step ahead, as a share of the weight of the one before.
        consistency, reward, value, cont: weights of the model's terms.
        entropy: weight of the policy's entropy.
        min_log_std, max_log_std: of the policy.
        scale_rate: share of the newest range of values in its running estimate.
        lr, encoder_lr: of Adam; ``encoder_lr`` is a share of ``lr``.
        clip: the largest norm of the gradient.
        slow_rate: share of the critics in their moving average, each update.
        candidates, proposals, rounds, elites, temperature, min_std, max_std: of the plan
            (:class:`agents.planning.MPPI`); ``proposals`` of the candidates come from the policy.
        margin: of the best action: how much more than the policy's path a plan must promise to
            count in full, as a share of the range of values; what promises less lies between
            policy and plan, see :meth:`agents.tdmpc.TDMPC.choose`. 0: the plan alone, as
            published.
        explore_std: the smallest deviation of an action that explores; 0: the plan's own.
        explore_margin: how much the returns of a plan's candidates must differ for an exploring
            action to follow it in full, as a share of the range of values. Where they differ less,
            as before any reward was met, the action is drawn nearer to any one. 0: it always
            follows, as published.
        explore_correlation: of the noise of such an action with that of the one before: what is
            drawn anew at each step swings no pendulum up.
        around_elite: an action that explores is drawn around one of the elites, as published; else
            around their mean, which may lie between two good ones.
        seconds: the time that a plan may take; 0: all rounds are made.
        compile_from: the update from which on updates and plans that explore are compiled, in a
            process beside training, which begins at half of it and is waited for; 0: none is. The
            same one in each run: equal seeds give equal numbers, resumed or not.
        kind: the agent's name in the table of :mod:`agents.build`, or ``module:Class``.

    Raises:
        ValueError: the sizes make no sense.

    >>> TDMPCConfig(latent=64, critics=2).groups
    8
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "latent group units encoder_units depth batch candidates elites",
        "[1, 64]": "layers encoder_layers critics",
        "[3, 65535]": "bins",
        "[1, 10000]": "horizon n_step rounds",
        "(0, 1e3]": "limit encoder_lr min_std max_std",
        "[0, 1]": "pessimism",
        "(0, 1]": "discount rho scale_rate lr slow_rate",
        "[0, 1e6]": "consistency reward value cont entropy margin seconds",
        "[0, 1e3]": "explore_margin explore_std",
        "[0, 1)": "explore_correlation",
        "[-100, 100]": "min_log_std max_log_std",
        "(0, 1e9]": "clip temperature",
        "[0, 65536]": "proposals",
        "[0, 1e9]": "compile_from",
    }

    latent: int = 512
    group: int = 8
    units: int = 512
    layers: int = 2
    encoder_units: int = 256
    encoder_layers: int = 1
    depth: int = 8
    strided: bool = False
    standardize: bool = False
    critics: int = 5
    pessimism: float = 1.0
    bins: int = 101
    limit: float = 10.0
    batch: int = 256
    horizon: int = 3
    discount: float = 0.99
    n_step: int = 1
    rho: float = 0.5
    consistency: float = 20.0
    reward: float = 0.1
    value: float = 0.1
    cont: float = 0.1
    entropy: float = 1e-4
    min_log_std: float = -10.0
    max_log_std: float = 2.0
    scale_rate: float = 0.01
    lr: float = 3e-4
    encoder_lr: float = 0.3
    clip: float = 20.0
    slow_rate: float = 0.01
    candidates: int = 512
    proposals: int = 24
    rounds: int = 6
    elites: int = 64
    temperature: float = 0.5
    min_std: float = 0.05
    max_std: float = 2.0
    margin: float = 0.0
    explore_std: float = 0.0
    explore_correlation: float = 0.0
    explore_margin: float = 0.0
    around_elite: bool = True
    seconds: float = 0.0
    compile_from: int = 0
    kind: str = "tdmpc"

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.latent % self.group:
            raise ValueError(
                f"latent must be a multiple of group, got {self.latent} and {self.group}"
            )
        if self.bins % 2 == 0:
            raise ValueError(f"bins must be odd (a bin at 0), got {self.bins}")
        if self.proposals >= self.candidates:
            raise ValueError(
                f"proposals must be 0 to {self.candidates - 1}, below candidates, "
                f"got {self.proposals}"
            )
        if self.elites > self.candidates:
            raise ValueError(
                f"elites must be at most {self.candidates}, the candidates, got {self.elites}"
            )
        if self.compile_from and self.seconds:
            raise ValueError(
                f"seconds must be 0 with compile_from, compiled plans make all rounds; "
                f"got {self.seconds} and {self.compile_from}"
            )
        for low, high in (("min_std", "max_std"), ("min_log_std", "max_log_std")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low} must be at most {high}, "
                    f"got {getattr(self, low)} and {getattr(self, high)}"
                )

    @property
    def groups(self) -> int:
        """How many groups of numbers that add up to 1."""
        return self.latent // self.group
