"""What the tests of all agents share: an interface, recorded windows, who was moved by a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.spaces import ActionSpec, Interface

SHAPES = {"orient": (3,), "velocity": (2,)}
KINDS = {
    "vectors": SHAPES,
    "images": {"camera": (16, 16, 3)},
    "both": {"camera": (16, 16, 3), "orient": (3,)},
}


def interface_of(
    shapes: Mapping[str, Sequence[int]], discrete: bool, actions: int = 2
) -> Interface:
    """What an agent sees and does."""
    kinds = {k: np.dtype(np.uint8 if len(s) == 3 else np.float32) for k, s in shapes.items()}
    return Interface({k: tuple(s) for k, s in shapes.items()}, kinds, ActionSpec(actions, discrete))


def nowhere_zero(agent: nn.Module, dtype: torch.dtype = torch.float64, size: float = 0.2) -> Any:
    """The agent with noise on every weight, in another type."""
    agent.to(dtype)
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in agent.parameters():
            p.add_(size * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return agent


def recorded(
    steps: int,
    batch: int,
    discrete: bool = False,
    dtype: torch.dtype = torch.float64,
    actions: int = 2,
    ends: bool = True,
    stored: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Tensor]:
    """A window ``[T, B, ...]`` of vectors.

    The first sequence ends for good at its next to last row, the second is cut short there, the
    third begins anew in between.

    Args:
        stored: what the actor stores beside a row.
    """
    g = torch.Generator().manual_seed(3)
    action = torch.tanh(torch.randn(steps, batch, actions, generator=g, dtype=dtype))
    if discrete:
        action = nn.functional.one_hot(action.argmax(-1), actions).to(dtype)
    found = {
        "orient": torch.randn(steps, batch, 3, generator=g, dtype=dtype),
        "action": action,
        "velocity": 3 * torch.randn(steps, batch, 2, generator=g, dtype=dtype),
        "reward": 2 * torch.randn(steps, batch, generator=g, dtype=dtype),
        **{
            k: torch.randn(steps, batch, *s, generator=g, dtype=dtype)
            for k, s in (stored or {}).items()
        },
    }
    found |= {
        k: torch.zeros(steps, batch, dtype=torch.bool)
        for k in ("is_first", "is_last", "is_terminal")
    }
    if ends:
        at = max(steps - 2, 1)
        found["is_last"][at, :2] = True
        found["is_terminal"][at, 0] = True
        found["is_first"][at + 1 :, :2][:1] = True
        found["is_first"][0, 2] = found["is_first"][steps // 2, 2] = True
    return found


def evaluated(agent: Any, batch: Mapping[str, Tensor], seed: int = 7) -> Any:
    """The objective and its parts."""
    torch.manual_seed(seed)
    agent.zero_grad(set_to_none=True)
    return agent.objective.eval(agent.prepare(batch), return_dict=True, return_all=False)


def gradients(agent: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    """What a loss does to each weight that it reaches."""
    agent.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    return {n: p.grad.clone() for n, p in agent.named_parameters() if p.grad is not None}


def moved(agent: nn.Module, loss: Tensor) -> set[str]:
    """The parts of an agent whose weights a loss moves."""
    return {n.split(".")[0] for n, g in gradients(agent, loss).items() if g.abs().max() > 0}


def assert_same(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], tolerance: float = 1e-10
) -> None:
    """Gradients are equal, up to a share of the largest one."""
    assert found.keys() == wanted.keys() and found
    largest = max(g.abs().max() for g in wanted.values())
    for name, gradient in found.items():
        assert (gradient - wanted[name]).abs().max() <= tolerance * largest, name
