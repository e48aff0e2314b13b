"""Numbers that are not finite move nothing: the loss and its gradient are looked at before the
optimizer's step.

loss  ->  backward  ->  one read of loss, metrics and the gradient's norm  ->  step, or everything
as it was
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from worldmodels import ranks


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
    loss: Tensor,
    metrics: Mapping[str, Tensor],
    parameters: Iterable[Tensor],
    undo: Sequence[tuple[Tensor, Tensor]] = (),
    given: Mapping[str, Tensor] | None = None,
) -> Gradient:
    """Gradients of a loss, or an error that leaves everything as it was before the update.

    Args:
        loss: a number; one without a graph has given its gradients already (:mod:`agents.capture`).
        metrics: for the log; each is averaged to a number.
        parameters: what gets a gradient; old gradients are dropped.
        undo: buffers that the loss has moved, and copies of what they were.
        given: what the loss was computed from; looked at too, since a loss may be finite where they
            are not.

    Returns:
        The metrics, read from the device at once, and the norms, in the order of the parameters
            that have a gradient. Of several processes (:mod:`worldmodels.ranks`) all are means.

    Raises:
        NotFinite: naming what is not finite.
    """
    trained = [p for p in parameters if p.requires_grad]
    if loss.requires_grad:
        for p in trained:
            p.grad = None
        loss.backward()
    ranks.average([p.grad for p in trained if p.grad is not None])
    norms = [*torch._foreach_norm([p.grad for p in trained if p.grad is not None])]
    total = torch.stack([n.float() for n in norms]).norm() if norms else loss.detach().new_zeros(())
    floats = {k: v for k, v in (given or {}).items() if v.is_floating_point()}
    largest = [torch.linalg.vector_norm(v.detach(), math.inf).float() for v in floats.values()]
    values = [
        loss.detach().float(),
        total,
        *[m.detach().float().mean() for m in metrics.values()],
        *largest,
    ]
    numbers = torch.stack(values)
    ranks.average([numbers])
    read = numbers.tolist()
    found = dict(zip(("loss", "grad_norm", *metrics), read, strict=False))
    bad = [k for k, v in zip(floats, read[len(found) :], strict=True) if not math.isfinite(v)]
    if bad or not (math.isfinite(found["loss"]) and math.isfinite(found["grad_norm"])):
        for buffer, copy in undo:
            buffer.copy_(copy)
        for p in trained:
            p.grad = None
        terms = [
            k for k, v in found.items() if not math.isfinite(v) and k not in ("loss", "grad_norm")
        ]
        what = (
            "the loss"
            if not math.isfinite(found["loss"])
            else "a number that it was given"
            if bad
            else "the gradient"
        )
        raise NotFinite(
            f"{what} is not finite (loss {found['loss']:g}, gradient {found['grad_norm']:g}"
            f"{', in ' + ', '.join(terms) if terms else ''}); nothing was updated; "
            f"not finite in the batch: {', '.join(bad) or 'nothing'}"
        )
    return Gradient(found, norms, total)


def check_acting(seen: Mapping[str, Tensor], action: Tensor) -> None:
    """Look at observations and the action that was found for them, with one read of the device.

    Raises:
        NotFinite: naming what is not finite.

    >>> check_acting({"x": torch.zeros(2, 3)}, torch.zeros(2, 1))
    """
    floats = [x.flatten(1) for x in (*seen.values(), action) if x.is_floating_point()]
    if math.isfinite(float(torch.cat(floats, -1).sum())):
        return
    bad = [
        k for k, v in {**seen, "the action": action}.items() if not bool(torch.isfinite(v).all())
    ]
    if bad:  # else large numbers, whose sum is none
        raise NotFinite(
            f"act: expected finite numbers, got others in {', '.join(bad)}; nothing was done"
        )
