"""Random shooting: the best of many random plans (Nagabandi et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agents.planning.plan import Guess, Solver, Tried
from agents.spaces import most_probable


@dataclass(frozen=True)
class RandomShooting(Solver):
    r"""The candidate of the highest return, :math:`\arg\max_i R(a^i)`, of uniform ones in [-1, 1]
    and the last plan.

    >>> import torch
    >>> from agents.spaces import ActionSpec
    >>> solver = RandomShooting(ActionSpec(1), horizon=1, candidates=4000)
    >>> plan, _ = solver.solve(
    ...     lambda a: -(a - 0.5).square().sum((0, 2)),
    ...     solver.init(1),
    ...     generator=torch.manual_seed(0),
    ... )
    >>> bool((plan.mean - 0.5).abs().max() < 0.1)
    True
    """

    rounds: int = 1

    def begin(self, mean: Tensor) -> Guess:
        return Guess(mean, torch.zeros_like(mean))

    def draw(self, guess: Guess, count: int, at: int, generator: torch.Generator | None) -> Tensor:
        steps, rows, size = guess.mean.shape
        if self.action.discrete:
            uniform = torch.full_like(guess.mean, self._nothing)
            found = super().draw(Guess(uniform, guess.std), count, at, generator)
            known = (guess.mean != uniform).any(-1, keepdim=True)
            found[:, 0] = torch.where(known, most_probable(guess.mean), found[:, 0])
            return found
        found = (
            torch.rand(
                steps,
                count,
                rows,
                size,
                generator=generator,
                dtype=guess.mean.dtype,
                device=guess.mean.device,
            )
            .mul_(2.0)
            .sub_(1.0)
        )
        found[:, 0] = guess.mean
        return found

    def fit(self, guess: Guess, tried: Tried) -> Guess:
        best = tried.best(1)
        return Guess(best.told(best.actions[:, 0]), guess.std)

    def keep(self, own: Tried, kept: Tried | None) -> Tried | None:
        return own.joined(kept).best(1)
