"""Numbers that are not finite move nothing: the loss and its gradient are looked at before the optimizer's step.

    loss  ->  backward  ->  one read of loss, metrics and the gradient's norm  ->  step, or everything as it was
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class NotFinite(FloatingPointError):
    """A loss, a gradient or an observation is not finite; nothing has moved."""


class Gradient(NamedTuple):
    """Metrics with ``loss`` and ``grad_norm``; the norm of each gradient, and of all together.

    >>> Gradient({"loss": 1.0}, [], torch.zeros(())).metrics
    {'loss': 1.0}
    """

    metrics: dict[str, float]
    norms: list[Tensor]
    norm: Tensor


def backward(
    loss: Tensor, metrics: Mapping[str, Tensor], parameters: Iterable[Tensor], undo: Sequence[tuple[Tensor, Tensor]] = (),
) -> Gradient:
    """Gradients of a loss, or an error that leaves everything as it was before the update.

    Args:
        loss: a number.
        metrics: for the log; each is averaged to a number.
        parameters: what gets a gradient; old gradients are dropped.
        undo: buffers that the loss has moved, and copies of what they were.

    Returns:
        The metrics, read from the device at once, and the norms, in the order of the parameters that have a gradient.

    Raises:
        NotFinite: naming what is not finite.
    """
    trained = [p for p in parameters if p.requires_grad]
    for p in trained:
        p.grad = None
    loss.backward()
    norms = [*torch._foreach_norm([p.grad for p in trained if p.grad is not None])]
    total = torch.stack([n.float() for n in norms]).norm() if norms else loss.detach().new_zeros(())
    values = [loss.detach().float(), total, *[m.detach().float().mean() for m in metrics.values()]]
    found = dict(zip(("loss", "grad_norm", *metrics), torch.stack(values).tolist(), strict=True))
    if not (math.isfinite(found["loss"]) and math.isfinite(found["grad_norm"])):
        for buffer, copy in undo:
            buffer.copy_(copy)
        for p in trained:
            p.grad = None
        what = "the loss" if not math.isfinite(found["loss"]) else "the gradient"
        bad = [k for k, v in found.items() if not math.isfinite(v) and k not in ("loss", "grad_norm")]
        raise NotFinite(f"{what} is not finite (loss {found['loss']:g}, gradient {found['grad_norm']:g}"
                        f"{', ' + ', '.join(bad) if bad else ''}); nothing was updated")
    return Gradient(found, norms, total)


def bad_keys(batch: Mapping[str, Tensor]) -> list[str]:
    """The keys of a batch that hold numbers that are not finite."""
    return [k for k, v in batch.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
