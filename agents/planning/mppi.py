r"""Model predictive path integrals, with elites, as in TD-MPC (Williams et al. 2015; Hansen et al.
2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agents.planning.plan import Guess, Solver, Tried


@dataclass(frozen=True)
class MPPI(Solver):
    r"""The elites' mean and deviation, weighted by their returns.

    .. math::
        w_i \propto \exp(\tau R_i), \quad \mu = \sum_i w_i a_i, \quad
            \sigma^2 = \sum_i w_i (a_i - \mu)^2

    Args:
        elites: the best candidates of a round.
        temperature: tau: how much a higher return counts.
        min_std, max_std: bounds of the deviation; the first round draws with the larger one.

    >>> import torch
    >>> from agents.spaces import ActionSpec
    >>> solver = MPPI(ActionSpec(1), horizon=2, candidates=256, elites=16, temperature=5.0)
    >>> plan, _ = solver.solve(
    ...     lambda a: -(a - 0.5).square().sum((0, 2)),
    ...     solver.init(1),
    ...     generator=torch.manual_seed(0),
    ... )
    >>> bool((plan.mean - 0.5).abs().max() < 0.1)
    True
    """

    RANGES: ClassVar[dict[str, str]] = {"(0, 1e9]": "temperature", "[0, 1e3]": "min_std max_std"}

    elites: int = 64
    temperature: float = 0.5
    min_std: float = 0.05
    max_std: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_std > self.max_std:
            raise ValueError(
                f"min_std must be at most max_std, got {self.min_std} and {self.max_std}"
            )

    def begin(self, mean: Tensor) -> Guess:
        return Guess(self._mixed(mean), torch.full_like(mean, self.max_std))

    def fit(self, guess: Guess, tried: Tried) -> Guess:
        best, weight = tried.elites(self.elites, self.temperature)
        weight = weight[None, :, :, None]
        mean = (weight * best.actions).sum(1)
        if self.action.discrete:
            return Guess(self._mixed(mean), guess.std)
        gap = best.actions - mean.unsqueeze(1)
        return Guess(mean, (weight * gap * gap).sum(1).sqrt().clamp(self.min_std, self.max_std))
