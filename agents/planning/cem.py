"""The cross-entropy method (Rubinstein 1997; as a planner on a learned model: Chua et al. 2018,
Hafner et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agents.planning.plan import Guess, Solver, Tried


@dataclass(frozen=True)
class CEM(Solver):
    r"""The mean and the deviation of the elites, each as much as another.

    .. math::
        \mu \leftarrow \alpha \mu + (1 - \alpha) \bar a, \quad
            \sigma \leftarrow \alpha \sigma + (1 - \alpha) s_a

    Args:
        elites: the best candidates of a round.
        momentum: alpha.
        std, min_std: the deviation of the first round, and the smallest one.

    >>> import torch
    >>> from agents.spaces import ActionSpec
    >>> solver = CEM(ActionSpec(1), horizon=2, candidates=256, elites=16)
    >>> plan, _ = solver.solve(
    ...     lambda a: -(a - 0.5).square().sum((0, 2)),
    ...     solver.init(1),
    ...     generator=torch.manual_seed(0),
    ... )
    >>> bool((plan.mean - 0.5).abs().max() < 0.1)
    True
    """

    RANGES: ClassVar[dict[str, str]] = {"[0, 1)": "momentum", "[0, 1e3]": "std min_std"}

    elites: int = 64
    momentum: float = 0.0
    std: float = 1.0
    min_std: float = 0.01

    def begin(self, mean: Tensor) -> Guess:
        return Guess(self._mixed(mean), torch.full_like(mean, self.std))

    def fit(self, guess: Guess, tried: Tried) -> Guess:
        best = tried.best(min(self.elites, len(tried.returns)))
        mean = torch.lerp(best.told(best.actions.mean(1)), guess.mean, self.momentum)
        if self.action.discrete:
            return Guess(self._mixed(mean), guess.std)
        std = torch.lerp(best.actions.std(1, correction=0), guess.std, self.momentum)
        return Guess(mean, std.clamp(min=self.min_std))
