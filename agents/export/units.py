"""An agent's actions in the environment's own units, as a module: what ``envs.ActionGuard`` does,
in a graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents.errors import UsageError


class Units(nn.Module):
    r"""``[1, A]`` in [-1, 1], or one-hot, to ``[1, *shape]`` of the declared space.

    .. math:: a_{env} = \mathrm{centre} + \mathrm{half} \cdot a

    computed in float64 and rounded once; choices become numbers from the space's first one on.

    Args:
        space: the action space that the environment declares.

    >>> Units(spaces.Box(0.0, 10.0, (1,)))(torch.tensor([[0.5]]))
    tensor([[7.5000]])
    >>> Units(spaces.MultiDiscrete([2, 3]))(torch.eye(6)[4:5])
    tensor([[1, 1]])
    """

    low: Tensor
    high: Tensor
    starts: Tensor

    def __init__(self, space: Any) -> None:
        super().__init__()
        self.shape, self.sizes = tuple(space.shape or ()), _sizes(space)
        if self.sizes is not None:
            start = np.broadcast_to(np.asarray(getattr(space, "start", 0)), self.shape)
            self.register_buffer("starts", torch.as_tensor(np.array(start, np.int64)))
        elif isinstance(space, spaces.Box):
            self.dtype = torch.float32 if space.dtype == np.float32 else torch.float64
            self.register_buffer("low", torch.as_tensor(space.low.astype(np.float64)))
            self.register_buffer("high", torch.as_tensor(space.high.astype(np.float64)))
        else:
            raise UsageError(
                f"expected actions of a Box, Discrete, MultiDiscrete or MultiBinary, got {space}"
            )

    def forward(self, action: Tensor) -> Tensor:
        if self.sizes is None:
            unit = action.reshape(1, *self.shape).clamp(-1.0, 1.0).double()
            scaled = (self.low + self.high) / 2 + (self.high - self.low) / 2 * unit
            return scaled.clamp(self.low, self.high).to(self.dtype)
        left, parts = action.argmax(-1), []
        for size in reversed(self.sizes):  # the last part fastest
            parts.append(left % size)
            left = left // size
        return torch.stack(parts[::-1], -1).reshape(1, *self.shape) + self.starts


def _sizes(space: Any) -> tuple[int, ...] | None:
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec.reshape(-1))
    if isinstance(space, spaces.MultiBinary):
        return (2,) * int(np.prod(space.shape))
    return None
