"""Numpy batches to tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from agents.replay.rows import Array


def to_tensors(batch: Mapping[str, Array], device: torch.device | str = "cpu", pin_memory: bool = False) -> dict[str, Tensor]:
    """The same batch on ``device``; with ``pin_memory`` the copy to a GPU does not wait."""
    found = {k: torch.from_numpy(v) for k, v in batch.items()}
    if pin_memory:
        found = {k: v.pin_memory() for k, v in found.items()}
    return {k: v.to(device, non_blocking=pin_memory) for k, v in found.items()}
