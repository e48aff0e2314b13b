r"""Particle filters: the likelihood of sequences from particles that are resampled on the way
(FIVO, Maddison et al. 2017).

.. math::
    \log \hat p(x_{1:T}) = \sum_{t \in R} \log \frac{1}{K} \sum_{k=1}^{K} \prod_{s \in (t', t]}
        w_s^{(k)}

where :math:`R` are the frames after which particles are resampled (and the last one) and :math:`t'`
the one before. :math:`\hat p` is unbiased, so its log is a bound of :math:`\log p` on average; its
variance grows with :math:`T`, where that of importance samples of whole sequences grows
exponentially.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixyz.types import PixyzError
from worldmodels.pieces import Progress, last_action, repeated, size_of, times
from worldmodels.state_space import StateSpaceModel


@dataclass(frozen=True)
class Filtered:
    """What a particle filter finds.

    Args:
        log_likelihood: the estimate for each sequence, ``[B]``.
        effective: the effective number of particles before resampling, ``[T, B]``.
        resampled: whether particles were resampled after each frame, ``[T, B]``.

    >>> found = Filtered(
    ...     torch.zeros(2), torch.full((5, 2), 8.0), torch.zeros(5, 2, dtype=torch.bool)
    ... )
    >>> found.effective.shape
    torch.Size([5, 2])
    """

    log_likelihood: Tensor
    effective: Tensor
    resampled: Tensor


def systematic(weights: Tensor) -> Tensor:
    """Ancestors ``[B, K]`` by systematic resampling, from normalised weights ``[B, K]``: one
    uniform draw a sequence.

    >>> systematic(torch.tensor([[0.0, 1.0, 0.0]]))
    tensor([[1, 1, 1]])
    """
    rows, count = weights.shape
    places = (
        torch.arange(count, device=weights.device) + torch.rand(rows, 1, device=weights.device)
    ) / count
    return torch.searchsorted(weights.cumsum(1), places.to(weights.dtype)).clamp(max=count - 1)


def particle_filter(
    model: StateSpaceModel,
    batch: Mapping[str, Tensor],
    particles: int,
    threshold: float = 0.5,
    progress: Progress | None = None,
) -> Filtered:
    """Run a particle filter with the model's posterior as the proposal.

    With a proposal that reads the whole sequence (a smoother's) it looks ahead.  The estimate is
    differentiable; the choice of ancestors is taken as constant, as in FIVO.

    Args:
        model: a model with :attr:`StateSpaceModel.step_weight`.
        batch: the sequences, ``[T, B, ...]``.
        particles: how many for each sequence.
        threshold: resample where the effective number falls below this share of them; 0 never does
            (importance sampling of whole sequences), 1 after each frame.
        progress: called with the frames that are done, and all of them.

    Raises:
        PixyzError: fewer than 1 particle, or a threshold outside [0, 1].
    """
    if particles < 1 or not 0.0 <= threshold <= 1.0:
        raise PixyzError(
            f"a particle filter needs particles >= 1 and a threshold in [0, 1], got {particles}, "
            f"{threshold}"
        )
    batch = model.door(batch)
    whole = {**batch, **model.read_context(batch)}
    steps, rows = size_of(whole)
    carried: dict[str, Tensor] = {}
    logs: Tensor | None = None
    total: Tensor | None = None
    effective, resampled = [], []
    for t in range(steps):
        # one at a time, for memory
        frame = repeated(times(whole, t, t + 1), particles)
        value, found = model.step_weight.eval({**frame, **carried}, return_dict=True)
        gained = value[0].unflatten(0, (rows, particles))
        logs = gained if logs is None else logs + gained
        state = {name: found[name] for name in model.carried}
        shares = torch.softmax(logs.detach(), 1)
        effective.append(1.0 / shares.square().sum(1))
        again = (
            effective[-1] < threshold * particles
            if threshold < 1.0
            else torch.ones_like(effective[-1], dtype=torch.bool)
        )
        resampled.append(again & (torch.tensor(t) < steps - 1))
        if bool(resampled[-1].any()):
            chosen = resampled[-1].unsqueeze(1)
            own = torch.arange(particles, device=shares.device).expand(rows, -1)
            ancestors = torch.where(chosen, systematic(shares), own)
            flat = (
                ancestors + torch.arange(rows, device=shares.device).unsqueeze(1) * particles
            ).flatten()
            state = {name: v[flat] for name, v in state.items()}
            mean = torch.logsumexp(logs, 1) - math.log(particles)
            total = torch.where(chosen[:, 0], mean, 0.0) + (0.0 if total is None else total)
            logs = torch.where(chosen, 0.0, logs)
        carried = state
        if model.acts:
            carried = {**state, "action_prev": last_action(frame)}
        if progress is not None:
            progress(t + 1, steps)
    assert logs is not None
    last = torch.logsumexp(logs, 1) - math.log(particles)
    return Filtered(
        last if total is None else total + last, torch.stack(effective), torch.stack(resampled)
    )
