r"""Estimates of the likelihood of ragged sequences, per frame and per sequence.

A model's ``log_weight`` is one draw of :math:`\log w = \log p(x, z) - \log q(z|x)` for each sequence, ``[B]``.  Its mean
is the evidence bound; with ``S`` draws, :math:`\log \frac{1}{S} \sum_s w_s` is the importance-sampled bound (Burda et al.
2016), which grows to :math:`\log p(x)` with ``S``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixyz.expression import Loss
from pixyz.types import PixyzError

Batch = Mapping[str, Tensor]
"""Named series ``[T, B, ...]``; ``mask [T, B]`` where they are ragged."""


def frames(batch: Batch, mask_var: str = "mask") -> Tensor:
    """The number of valid frames of each sequence, ``[B]``."""
    if mask_var in batch:
        return (batch[mask_var] != 0).sum(0)
    series = next(iter(batch.values()))
    return torch.full((series.shape[1],), series.shape[0], device=series.device)


def rows(batch: Batch, start: int, stop: int) -> dict[str, Tensor]:
    """Some sequences of a batch, without the padding that only the others need."""
    part = {k: v[:, start:stop] for k, v in batch.items()}
    if "mask" in part:
        steps = int((part["mask"] != 0).any(1).nonzero().max()) + 1 if bool((part["mask"] != 0).any()) else 1
        part = {k: v[:steps] for k, v in part.items()}
    return part


@dataclass(frozen=True)
class Estimate:
    """Nats of sequences, all below zero for discrete data.

    Args:
        log_weights: ``[S, B]``, draws of the log-weight.
        frames: valid frames, ``[B]``.

    >>> found = Estimate(log_weights=torch.tensor([[-2.0], [-4.0]]), frames=torch.tensor([2]))
    >>> found.bound, found.importance
    (tensor([-3.]), tensor([-2.5662]))
    >>> found.per_frame(found.bound)
    1.5
    """

    log_weights: Tensor
    frames: Tensor

    @property
    def bound(self) -> Tensor:
        """The evidence bound of each sequence, ``[B]``: the mean over draws."""
        return self.log_weights.mean(0)

    @property
    def importance(self) -> Tensor:
        """The importance-sampled bound of each sequence, ``[B]``."""
        return torch.logsumexp(self.log_weights, 0) - math.log(self.log_weights.shape[0])

    @property
    def effective(self) -> Tensor:
        r"""The effective number of draws, :math:`(\sum w)^2 / \sum w^2`, ``[B]``."""
        return torch.exp(2 * torch.logsumexp(self.log_weights, 0) - torch.logsumexp(2 * self.log_weights, 0))

    def per_frame(self, nats: Tensor) -> float:
        """All nats divided by all frames, with the sign of a cost."""
        return -(nats.double().sum() / self.frames.sum()).item()

    def per_sequence(self, nats: Tensor) -> float:
        """The mean over sequences of each one's nats a frame, with the sign of a cost."""
        return -(nats.double() / self.frames).mean().item()


@torch.no_grad()
def estimate(log_weight: Loss, batch: Batch, samples: int, width: int = 2000) -> Estimate:
    """Draw ``samples`` log-weights of every sequence of ``batch``.

    Args:
        log_weight: an expression that is ``[B]``, one draw of the log-weight a sequence.
        batch: the sequences.
        samples: how many draws (2000 in Krishnan et al. 2017).
        width: how many rows are evaluated at once; sequences are repeated to fill them.

    Raises:
        PixyzError: no samples asked for, or the expression is no number for each sequence.
    """
    if samples < 1 or width < 1:
        raise PixyzError(f"an estimate needs samples >= 1 and width >= 1, got {samples} and {width}")
    count = next(iter(batch.values())).shape[1]
    parts = []
    for start, stop in _chunks(count, max(1, width // samples)):
        part, drawn, left = rows(batch, start, stop), [], samples
        while left:
            many = min(left, max(1, width // (stop - start)))
            repeated = {k: v.repeat_interleave(many, 1) for k, v in part.items()}
            found = log_weight.eval(repeated)
            if found.shape != (many * (stop - start),):
                raise PixyzError(f"a log-weight is one number a sequence, [B], got the shape {list(found.shape)}")
            drawn.append(found.unflatten(0, (stop - start, many)).t())
            left -= many
        parts.append(torch.cat(drawn))
    return Estimate(torch.cat(parts, 1), frames(batch))


def _chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, size):
        yield start, min(start + size, count)
