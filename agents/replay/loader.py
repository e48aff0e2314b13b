"""Numpy batches to tensors, and tensors back to numpy in one copy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from agents.replay.rows import Array


def to_tensors(
    batch: Mapping[str, Array], device: torch.device | str = "cpu", pin_memory: bool = False
) -> dict[str, Tensor]:
    """The same batch ``[T, B, ...]`` on ``device``: floats become float32, bools, bytes and
    integers stay what they are.

    Args:
        batch: what :meth:`agents.replay.ReplayBuffer.sample` gives. On a CPU tensors share its
            memory.
        device: where to.
        pin_memory: copy to a CUDA device from page-locked memory, so that the copy does not wait;
            for other devices it changes nothing.

    Example:
        >>> to_tensors({"reward": np.zeros((2, 1)), "is_first": np.ones((2, 1), np.bool_)})[
        ...     "reward"
        ... ].dtype
        torch.float32
    """
    target = torch.device(device)
    found = {
        k: torch.from_numpy(v.astype(np.float32, copy=False) if v.dtype.kind == "f" else v)
        for k, v in batch.items()
    }
    if pin_memory and target.type == "cuda":
        found = {k: v.pin_memory() for k, v in found.items()}
    return {k: v.to(target, non_blocking=True) for k, v in found.items()}


def to_arrays(values: Mapping[str, Tensor], lead: int) -> dict[str, Array]:
    """Tensors ``[*lead, ...]`` of one device as float32 arrays; a device that is not the CPU is
    waited for once.

    Args:
        values: with the same first ``lead`` dimensions.
        lead: how many they are.

    Example:
        >>> to_arrays({"deter": torch.ones(2, 3), "stoch": torch.zeros(2, 4, 5)}, lead=1)[
        ...     "stoch"
        ... ].shape
        (2, 4, 5)
    """
    if not values or next(iter(values.values())).device.type == "cpu":
        return {k: v.detach().float().numpy() for k, v in values.items()}
    flat = [v.detach().float().unsqueeze(-1).flatten(lead) for v in values.values()]
    joined = torch.cat(flat, -1).cpu().numpy()
    cuts = np.cumsum([v.shape[-1] for v in flat])[:-1]
    parts = np.split(joined, cuts, -1)
    return {
        k: part.reshape(tuple(v.shape)) for (k, v), part in zip(values.items(), parts, strict=True)
    }
