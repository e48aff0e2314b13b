"""Numpy batches to tensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from agents.replay.rows import Array


def to_tensors(batch: Mapping[str, Array], device: torch.device | str = "cpu", pin_memory: bool = False) -> dict[str, Tensor]:
    """The same batch ``[T, B, ...]`` on ``device``: floats become float32, bools, bytes and integers stay what they are.

    Args:
        batch: what :meth:`agents.replay.ReplayBuffer.sample` gives. On a CPU tensors share its memory.
        device: where to.
        pin_memory: copy to a CUDA device from page-locked memory, so that the copy does not wait; for other devices it
            changes nothing.

    Example:
        >>> to_tensors({"reward": np.zeros((2, 1)), "is_first": np.ones((2, 1), np.bool_)})["reward"].dtype
        torch.float32
    """
    target = torch.device(device)
    found = {k: torch.from_numpy(v.astype(np.float32, copy=False) if v.dtype.kind == "f" else v) for k, v in batch.items()}
    if pin_memory and target.type == "cuda":
        found = {k: v.pin_memory() for k, v in found.items()}
    return {k: v.to(target, non_blocking=True) for k, v in found.items()}
