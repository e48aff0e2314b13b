r"""Observed vectors in standard units, estimated from the batches that an agent learns from.

.. math:: \hat x = (x - \mu) / \sqrt{\sigma^2 + 10^{-6}}

``mu`` and ``sigma^2`` are the moments of all rows so far, and once these are more than a thousand
batches, running ones in which the newest batch counts one thousandth.

A robot's numbers are in its own units: an angle about 3.6 rad that moves by 0.4, a way of 0.2 m.
Beside the large and constant ones a network hardly sees those that matter.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from worldmodels import ranks

LEAST, SMALL, FAR = 1e-3, 1e-6, 10.0
"""The smallest share of a batch in the moments, what is added to a variance, and where numbers are
cut off: a sensor that never moved until now would be a number without bounds.
"""


class Standard(nn.Module):
    """``(x - mean) / deviation`` of vectors by name, ``[..., D] -> [..., D]``.

    Args:
        sizes: observation key -> ``D``.

    >>> standard = Standard({"x": 1})
    >>> round(standard("x", torch.tensor([5.0])).item(), 3)
    5.0
    >>> standard.take({"x": torch.tensor([[3.0], [5.0]])})
    >>> round(standard("x", torch.tensor([5.0])).item(), 3)
    1.0
    """

    count: Tensor

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.keys = tuple(sizes)
        self.register_buffer("count", torch.zeros(()))
        for key, size in sizes.items():
            self.register_buffer(f"mean_{key}", torch.zeros(size))
            self.register_buffer(f"square_{key}", torch.ones(size))

    def forward(self, key: str, x: Tensor) -> Tensor:
        mean, square = self._moments(key)
        return ((x - mean) * torch.rsqrt(square + SMALL)).clamp(-FAR, FAR)

    @torch.no_grad()
    def take(self, batch: Mapping[str, Tensor]) -> None:
        """Take in a batch ``[..., D]`` of each vector, of all processes."""
        self.count += 1.0
        rate = (1.0 / self.count).clamp(min=LEAST)
        for key in self.keys:
            mean, square = self._moments(key)
            rows = batch[key].flatten(0, -2)
            (newest,) = ranks.averaged(rows.mean(0))
            (around,) = ranks.averaged((rows - newest).square().mean(0))
            square.lerp_(around + (1.0 - rate) * (newest - mean).square(), rate)
            mean.lerp_(newest, rate)

    def _moments(self, key: str) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"mean_{key}"), self.get_buffer(f"square_{key}")
