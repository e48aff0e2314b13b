r"""What was unexpected lately: a disturbance that nobody announced, as an input.

.. math:: c_{t+1,n} = c_{t,n} + \frac{r_t - c_{t,n}}{n}, \qquad c_{0,n} = 0

``r`` are the residuals of a model with their signs, ``n`` times in ticks. A robot that carries
something goes through states and actions that its log knows; ``c``, of some seconds, is unlike the
log's. That of a tick or two is the noise of a sensor that has just been read, which the next change
takes back: who reads it forecasts better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

LEAST = 1e-4
"""The smallest unit, in those of residuals: what is rounded is not made large."""


class Lately(nn.Module):
    """Means of residuals ``[..., D]`` that forget.

    Args:
        size: ``D``.
        times: how long they remember, in ticks, each at least 1; none: there is nothing to read.

    >>> lately = Lately(1, [1, 4])
    >>> state = lately.follow(lately.initial(), torch.tensor([8.0]))
    >>> state
    tensor([[8.],
            [2.]])
    >>> lately(state)
    tensor([8., 2.])
    """

    times: Tensor
    """``[N, 1]``"""
    unit: Tensor
    """What they are on a log, the root of their mean square, ``[N, D]``."""

    def __init__(self, size: int, times: Sequence[float]) -> None:
        super().__init__()
        count = len(times)
        # only where they are asked for: weights that were saved before it are read
        ticks = torch.tensor([float(n) for n in times])
        self.register_buffer("times", ticks.reshape(count, 1), bool(count))
        self.register_buffer("unit", torch.ones(count, size), bool(count))

    def initial(self, *lead: int) -> Tensor:
        """Where an episode begins: nothing, ``[*lead, N, D]``."""
        return self.unit.new_zeros(*lead, *self.unit.shape)

    def follow(self, state: Tensor, residual: Tensor) -> Tensor:
        """What is known after one more residual ``[..., D]``; a number that is not finite is left
        out.
        """
        gap = (residual.unsqueeze(-2) - state) / self.times
        return torch.where(gap.isfinite(), state + gap, state)

    def series(self, residuals: Tensor, first: Tensor) -> Tensor:
        """What is known at each row of series, before its step, ``[T, ..., N, D]``.

        Args:
            residuals: of the steps between the rows, ``[T - 1, ..., D]``.
            first: where an episode begins, ``[T, ...]``.
        """
        state = self.initial(*first.shape[1:])
        found = [state]
        for residual, begins in zip(residuals, first[1:], strict=True):
            state = self.follow(state, residual).masked_fill(begins[..., None, None], 0.0)
            found.append(state)
        return torch.stack(found)

    def fit(self, states: Iterable[Tensor]) -> None:
        """Take the units from states ``[..., N, D]`` of a log."""
        rows = torch.cat([s.flatten(0, -3) for s in states]).double()
        self.unit.copy_(rows.square().mean(0).sqrt().clamp(min=LEAST))

    def forward(self, state: Tensor) -> Tensor:
        """A state in these units, ``[..., N D]``."""
        return (state / self.unit).flatten(-2)
