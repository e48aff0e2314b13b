"""iCEM: the cross-entropy method made fit for few candidates (Pinneri et al. 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agents.agent import State
from agents.planning.cem import CEM
from agents.planning.plan import Guess, Tried, draw
from agents.spaces import most_probable


@dataclass(frozen=True)
class ICEM(CEM):
    r"""CEM with noise that is coloured in time, elites that are kept, fewer candidates in later
    rounds.

    Noise has the power spectrum :math:`1 / f^\beta`. A share of the elites is among the next
    round's candidates, and, shifted by a step, among the next plan's. The last round also tries the
    mean. A round draws at least twice as many candidates as elites, beside what is kept.

    Args:
        beta: colour; 0 is white, 2 is red: steps that belong together.
        kept: share of the elites that are kept.
        decay: each round has so many times fewer candidates.

    >>> import torch
    >>> from agents.spaces import ActionSpec
    >>> solver = ICEM(ActionSpec(1), horizon=4, candidates=128, elites=16)
    >>> plan, state = solver.solve(
    ...     lambda a: -(a - 0.5).square().sum((0, 2)),
    ...     solver.init(1),
    ...     generator=torch.manual_seed(0),
    ... )
    >>> bool((plan.mean - 0.5).abs().max() < 0.1), state["elites"].shape
    (True, torch.Size([1, 4, 4, 1]))
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[0, 10]": "beta",
        "[0, 1]": "kept",
        "[1, 1e3]": "decay",
    }

    momentum: float = 0.1
    beta: float = 2.0
    kept: float = 0.3
    decay: float = 1.25

    @property
    def count(self) -> int:
        """How many elites are kept."""
        return int(self.kept * self.elites)

    def draw(self, guess: Guess, count: int, at: int, generator: torch.Generator | None) -> Tensor:
        count = max(2 * self.elites, int(count / self.decay**at))
        steps, rows, size = guess.mean.shape
        noise = None
        if not self.action.discrete:
            noise = coloured(steps, (count, rows, size), self.beta, generator, guess.mean)
        found = draw(guess, count, self.action.discrete, generator, noise)
        if at == self.rounds - 1 and not self.action.discrete:
            found[:, 0] = guess.mean
        return found

    def keep(self, own: Tried, kept: Tried | None) -> Tried | None:
        return own.joined(kept).best(self.count) if self.count else None

    def init(self, rows: int, like: Tensor | None = None) -> State:
        state = super().init(rows, like)
        plan = state["plan"]
        return {**state, "elites": plan.unsqueeze(1).repeat(1, self.count, 1, 1)}

    def remember(self, guess: Guess, tried: Tried | None) -> State:
        state = super().remember(guess, tried)
        if tried is None:
            return {**state, "elites": state["plan"].unsqueeze(1).repeat(1, self.count, 1, 1)}
        return {**state, "elites": tried.best(self.count).actions.permute(2, 1, 0, 3).contiguous()}

    def recall(self, state: State) -> Tensor | None:
        if not self.count:
            return None
        moved = self.shifted(state["elites"].permute(2, 1, 0, 3))  # [H, K, B, A]
        return most_probable(moved) if self.action.discrete else moved


def coloured(
    steps: int, shape: tuple[int, ...], beta: float, generator: torch.Generator | None, like: Tensor
) -> Tensor:
    r"""Noise ``[steps, *shape]`` of variance 1 with the power spectrum :math:`1 / f^\beta` (Timmer
    and Koenig 1995).
    """
    if beta == 0.0 or steps < 2:
        return torch.randn(steps, *shape, generator=generator, dtype=like.dtype, device=like.device)
    frequency = torch.fft.rfftfreq(steps, dtype=like.dtype, device=like.device)
    frequency[0] = frequency[1]  # the mean over the path varies as much as the slowest wave
    size = frequency ** (-beta / 2.0)
    parts = torch.randn(
        2, *shape, len(size), generator=generator, dtype=like.dtype, device=like.device
    )
    parts[1, ..., 0] = 0.0
    parts[0, ..., 0] *= math.sqrt(2.0)
    if steps % 2 == 0:
        parts[1, ..., -1] = 0.0
        parts[0, ..., -1] *= math.sqrt(2.0)
    share = torch.full_like(size, 2.0)
    share[0] = 1.0
    if steps % 2 == 0:
        share[-1] = 1.0
    # of each wave the power is 2 size^2, counted twice where a wave has a conjugate
    scale = (2.0 * share * size * size).sum().sqrt() / steps
    return (
        torch.fft.irfft(torch.complex(parts[0] * size, parts[1] * size), steps)
        .div(scale)
        .movedim(-1, 0)
    )
