r"""Estimates of the likelihood of ragged sequences, per frame and per sequence.

A model's ``log_weight`` is one draw of :math:`\log w = \log p(x, z) - \log q(z|x)` for each
sequence, ``[B]``.  Its mean is the evidence bound; with ``S`` draws, :math:`\log \frac{1}{S} \sum_s
w_s` is the importance-sampled bound (Burda et al. 2016), which grows to :math:`\log p(x)` with
``S``.  Both work through a batch in pieces (:mod:`worldmodels.pieces`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pixyz.expression import Loss
from pixyz.types import PixyzError, ShapeError
from worldmodels.pieces import (
    MEMORY,
    Batch,
    Progress,
    bytes_a_frame,
    check_memory,
    chunks,
    is_series,
    last_action,
    looked_at,
    repeated,
    rows,
    size_of,
    times,
)
from worldmodels.state_space import StateSpaceModel


def frames(batch: Batch, mask_var: str = "mask") -> Tensor:
    """The number of valid frames of each sequence, ``[B]``; a mask is ``[T, B]`` or ``[T, B, 1]``.

    Raises:
        ShapeError: the mask has another shape.
    """
    steps, count = size_of(batch)
    if mask_var in batch:
        mask = batch[mask_var]
        if mask.shape not in ((steps, count), (steps, count, 1)):
            raise ShapeError(
                f"expected {mask_var!r} of the shape [T, B] = [{steps}, {count}], as other series "
                f"are, got {list(mask.shape)}; give one row for each frame and sequence, time first"
            )
        return (mask != 0).reshape(steps, count).sum(0)
    lead = next(v for k, v in batch.items() if is_series(k, v))
    return torch.full((count,), steps, device=lead.device)


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
        return torch.exp(
            2 * torch.logsumexp(self.log_weights, 0) - torch.logsumexp(2 * self.log_weights, 0)
        )

    def per_frame(self, nats: Tensor) -> float:
        """All nats divided by all frames, with the sign of a cost."""
        return -(nats.double().sum() / self.frames.sum()).item()

    def per_sequence(self, nats: Tensor) -> float:
        """The mean over sequences of each one's nats a frame, with the sign of a cost."""
        return -(nats.double() / self.frames).mean().item()


@torch.no_grad()
def estimate(
    log_weight: Loss | StateSpaceModel,
    batch: Batch,
    samples: int,
    width: int = 2000,
    memory: float = MEMORY,
    progress: Progress | None = None,
) -> Estimate:
    """Draw ``samples`` log-weights of every sequence of ``batch``, in pieces of sequences, samples
    and time.

    How it is cut changes which noise a seed gives to which sequence, and no more.

    Args:
        log_weight: an expression that is ``[B]``, one draw of the log-weight a sequence; or a
            model. Long sequences of a model with :attr:`StateSpaceModel.step_weight` are cut in
            time, with the state carried on, which is faster than few samples at a time.
        batch: the sequences.
        samples: how many draws (2000 in Krishnan et al. 2017).
        width: how many rows are evaluated at once, at most; sequences are repeated to fill them.
        memory: bytes, about, that are taken at once.
        progress: called with the frames that are done, and all of them, times samples.

    Raises:
        PixyzError: no samples or memory asked for, or the expression is no number for each
            sequence.
    """
    if samples < 1 or width < 1:
        raise PixyzError(
            f"an estimate needs samples >= 1 and width >= 1, got {samples} and {width}"
        )
    check_memory(memory)
    batch = looked_at(log_weight, batch)
    cut = isinstance(log_weight, StateSpaceModel) and log_weight.has_step_weight
    weight = log_weight.log_weight if isinstance(log_weight, StateSpaceModel) else log_weight
    run: Callable[..., Tensor]
    run = (
        partial(_cut, log_weight)
        if isinstance(log_weight, StateSpaceModel) and cut
        else partial(_whole, weight)
    )
    need, (steps, count) = bytes_a_frame(run, batch), size_of(batch)
    most = width if cut else max(1, min(width, int(memory / (need * steps))))  # rows at once
    todo = 0 if progress is None else int(frames(batch).sum()) * samples
    parts, done = [], 0
    for start, stop in chunks(count, max(1, most // samples)):
        part, drawn, left = rows(batch, start, stop), [], samples
        while left:
            many = min(left, max(1, most // (stop - start)))
            found = run(part, many, max(1, int(memory / (need * many * (stop - start)))))
            if found.shape != (many * (stop - start),):
                raise PixyzError(
                    f"a log-weight is one number a sequence, [B], got the shape {list(found.shape)}"
                )
            drawn.append(found.unflatten(0, (stop - start, many)).t())
            left -= many
            if progress is not None:
                done += many * int(frames(part).sum())
                progress(done, todo)
        parts.append(torch.cat(drawn))
    return Estimate(torch.cat(parts, 1), frames(batch))


def _whole(log_weight: Loss, batch: Batch, many: int = 1, length: int | None = None) -> Tensor:
    """``many`` draws of the log-weight of each sequence, ``[B many]``, whatever the ``length``."""
    found: Tensor = log_weight.eval(repeated(batch, many))
    return found


def _cut(model: StateSpaceModel, batch: Batch, many: int = 1, length: int | None = None) -> Tensor:
    """``many`` draws of the log-weight of each sequence, ``[B many]``, from pieces of ``length``
    frames.
    """
    whole = {**batch, **model.read_context(batch)}  # in one piece: it reads what is to come
    steps, _ = size_of(batch)
    total: Tensor | None = None
    carried: dict[str, Tensor] = {}
    for start, stop in chunks(steps, length or steps):
        part = repeated(times(whole, start, stop), many)
        gained, found = model.step_weight.eval({**part, **carried}, return_dict=True)
        total = gained.sum(0) if total is None else total + gained.sum(0)
        carried = {name: found[name] for name in model.carried}
        if model.acts:
            carried["action_prev"] = last_action(part)
    assert total is not None
    return total


@torch.no_grad()
def bounds(
    bound: Loss, batch: Batch, memory: float = MEMORY, progress: Progress | None = None
) -> Tensor:
    """A bound of each sequence, ``[B]``, some sequences at a time.

    Args:
        bound: an expression that is ``[B]``, such as :attr:`StateSpaceModel.bound`.
        batch: the sequences; those of one length are best side by side.
        memory: bytes, about, that are taken at once; one sequence is not cut.
        progress: called with the sequences that are done, and all of them.

    Raises:
        PixyzError: no memory asked for, or the expression is no number for each sequence.
    """
    check_memory(memory)
    batch = looked_at(bound, batch)
    need, (_, count) = bytes_a_frame(bound.eval, batch), size_of(batch)
    lengths = frames(batch).tolist()
    parts, start = [], 0
    while start < count:
        stop, longest = start + 1, lengths[start]
        while stop < count and need * max(longest, lengths[stop]) * (stop + 1 - start) <= memory:
            longest, stop = max(longest, lengths[stop]), stop + 1
        found = bound.eval(rows(batch, start, stop))
        if found.shape != (stop - start,):
            raise PixyzError(
                f"a bound is one number a sequence, [B], got the shape {list(found.shape)}"
            )
        parts.append(found)
        start = stop
        if progress is not None:
            progress(start, count)
    return torch.cat(parts)
