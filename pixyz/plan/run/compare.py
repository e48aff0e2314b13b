"""Do two ways of running an objective agree, on data?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from pixyz.plan.random import random_states, restore_random_states
from pixyz.types import PixyzError


def compare(
    first: Callable[[], Tensor],
    second: Callable[[], Tensor],
    parameters: Iterable[tuple[str, Tensor]],
    rtol: float,
    what: str,
) -> None:
    """Run both on the same random numbers; compare values and gradients.

    Raises:
        PixyzError: they differ by more than ``rtol`` of the largest entry; the parameter with the
            largest difference is named.
    """
    named = [(name, p) for name, p in parameters if p.requires_grad]
    states = random_states()
    found: list[dict[str, Tensor]] = []
    for run in (first, second):
        restore_random_states(states)
        value = run()
        grads: Iterable[Tensor | None] = ()
        if value.requires_grad and named:
            grads = torch.autograd.grad(value.sum(), [p for _, p in named], allow_unused=True)
        shown = {"the value": value.detach()}
        shown |= {
            f"the gradient of {n}": g
            for (n, _), g in zip(named, grads, strict=False)
            if g is not None
        }
        found.append(shown)
    restore_random_states(states)
    worst, said = 0.0, ""
    for name in dict.fromkeys([*found[0], *found[1]]):
        a, b = (f.get(name, torch.zeros(())) for f in found)
        gap, size = (a - b).abs().max(), torch.maximum(a.abs().max(), b.abs().max())
        part = float(gap / size.clamp(min=1e-6))
        if not (part <= rtol or part <= worst):
            worst, said = part, f"{name} differs by {gap:.3g} where the largest entry is {size:.3g}"
    if said:
        raise PixyzError(f"{what}: {said}")
