"""All values of a finite variable, which a marginal sums over."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixyz.types import PixyzError

MOST_STATES = 1 << 16


def all_states(values: Tensor, shape: Sequence[int]) -> Tensor:
    """All ways to fill ``shape`` with ``values``: ``[S, *shape]``, what :meth:`Distribution.states`
    returns.

    Args:
        values: what one element may be, ``[V]``, or what one vector may be, ``[V, K]``; then K
            divides the last dimension.
        shape: of a sample, ``features_shape``.

    Raises:
        PixyzError: there are too many.

    >>> all_states(torch.tensor([-1.0, 1.0]), [2])
    tensor([[-1., -1.],
            [-1.,  1.],
            [ 1., -1.],
            [ 1.,  1.]])
    """
    groups = math.prod(shape) // (values.shape[1] if values.ndim > 1 else 1)
    if groups * math.log(len(values)) > math.log(MOST_STATES):
        raise PixyzError(
            f"{len(values)}^{groups} values are too many to sum over; estimate by "
            f"log_prob(proposal=q, sample_shape=[K])"
        )
    rows = [torch.stack(row) for row in itertools.product(values, repeat=groups)]
    return torch.stack(rows).reshape(len(rows), *shape)


class States:
    """All values of a variable ``[S, *features]``, of the type and on the device of a joint's
    weights.
    """

    def __init__(self, values: Tensor, joint: nn.Module) -> None:
        self.values, self.joint = values, joint

    def __len__(self) -> int:
        return len(self.values)

    def __call__(self) -> Tensor:
        held = itertools.chain(nn.Module.parameters(self.joint), nn.Module.buffers(self.joint))
        like = next((w for w in held if w.is_floating_point()), torch.empty(0))
        if self.values.dtype != like.dtype or self.values.device != like.device:
            with torch.inference_mode(False):  # they may be needed for a gradient later
                self.values = self.values.to(like)
        return self.values
