"""Networks side by side: one product of matrices a layer, ``[N, size] -> [N, members, out]``."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodels import ranks

EPS = 1e-5
BATCH_EPS, BATCH_RATE = 1e-3, 0.01
"""Of batch norm, and the share of the newest batch in the running moments (Bhatt et al. 2024)."""


class BatchNorm(nn.Module):
    r""":math:`(x - \mu) / \sqrt{\sigma^2 + \epsilon}\, g + b` over the rows of ``[members, N,
    size]``.

    The moments are those of the rows, which are then taken into the running ones, or the running
    ones.
    """

    mean: Tensor
    square: Tensor

    def __init__(self, members: int, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(members, 1, size))
        self.shift = nn.Parameter(torch.zeros(members, 1, size))
        self.register_buffer("mean", torch.zeros(members, 1, size))
        self.register_buffer("square", torch.ones(members, 1, size))

    def forward(self, x: Tensor, of_rows: bool) -> Tensor:
        mean, square = self.mean, self.square
        if of_rows:
            mean, square = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
            with torch.no_grad():
                newest = ranks.averaged(mean, square)
                self.mean.lerp_(newest[0], BATCH_RATE)
                self.square.lerp_(newest[1], BATCH_RATE)
        return torch.addcmul(self.shift, (x - mean) * torch.rsqrt(square + BATCH_EPS), self.gain)


class Ensemble(nn.Module):
    """``members`` networks of one shape: linear and ReLU, ``layers`` times, then linear.

    Args:
        norm: ``"none"``; ``"layer"``: layer norm before each ReLU; ``"batch"``: batch norm before
            each linear layer.
    """

    def __init__(
        self, members: int, size: int, units: int, layers: int, out: int, norm: str
    ) -> None:
        super().__init__()
        self.norm, sizes = norm, [size, *[units] * layers, out]
        self.weights = nn.ParameterList(
            [nn.Parameter(torch.empty(members, a, b)) for a, b in pairwise(sizes)]
        )
        self.biases = nn.ParameterList(
            [nn.Parameter(torch.empty(members, 1, b)) for b in sizes[1:]]
        )
        for weight, bias in zip(self.weights, self.biases):
            bound = weight.shape[1] ** -0.5
            nn.init.uniform_(weight, -bound, bound)
            nn.init.uniform_(bias, -bound, bound)
        self.norms = nn.ModuleList(
            [BatchNorm(members, a) for a in sizes[:-1]] if norm == "batch" else []
        )

    def forward(self, *parts: Tensor, of_rows: bool = False) -> Tensor:
        """``of_rows``: batch norm takes the moments of these rows, and takes them in; else it takes
        the running ones.
        """
        x = torch.cat(parts, -1)
        x = x.expand(len(self.weights[0]), *x.shape)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            if i:
                x = F.relu(F.layer_norm(x, x.shape[-1:], eps=EPS) if self.norm == "layer" else x)
            x = torch.baddbmm(bias, self.norms[i](x, of_rows) if self.norms else x, weight)
        return x.transpose(0, 1)
