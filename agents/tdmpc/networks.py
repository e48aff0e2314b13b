"""Networks of a latent model without a decoder: linear, layer norm, SiLU; several side by side;
simplicial latents.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions.families.one_hot import softmax_last

INITIAL = 0.02
"""Deviation of weights at the beginning. Layers are normalised, so what counts is how much a step
of the optimizer is beside it: at variance 1 / fan_in, four times as much, the same rates learn
several times slower.
"""


def start(weight: Tensor, zero: bool = False) -> Tensor:
    """Draw first weights, or zeros; returns them."""
    with torch.no_grad():
        return (
            weight.zero_()
            if zero
            else nn.init.trunc_normal_(weight, 0.0, INITIAL, -2 * INITIAL, 2 * INITIAL)
        )


def simplicial(x: Tensor, group: int) -> Tensor:
    """Groups of ``group`` numbers through softmax, ``[..., D] -> [...,
    D]`` (Lavoie et al. 2023).
    """
    return softmax_last(x.unflatten(-1, (-1, group))).flatten(-2)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``[..., size] -> [..., out]``; compiled code adds the bias within the kernel that follows."""
    if torch.compiler.is_compiling():
        return x @ weight.T + bias
    return F.linear(x, weight, bias)


def side_by_side(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same of several at once, ``[M, N, size]`` by ``[M, size, out]``."""
    if torch.compiler.is_compiling():
        return torch.bmm(x, weight) + bias
    return torch.baddbmm(bias, x, weight)


class Normed(nn.Module):
    """Linear and layer norm, ``[..., size] -> [..., out]``."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, size))
        self.bias = nn.Parameter(torch.zeros(out))
        self.gain, self.shift = nn.Parameter(torch.ones(out)), nn.Parameter(torch.zeros(out))
        start(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(
            linear(x, self.weight, self.bias), self.gain.shape, self.gain, self.shift
        )


class Network(nn.Module):
    """``layers`` times linear, layer norm, SiLU, then a linear layer; of parts that are side by
    side.

    Args:
        size: of all parts together.
        units, layers: hidden ones.
        out: the result's size.
        zero: the last layer starts at exactly zero.
    """

    def __init__(self, size: int, units: int, layers: int, out: int, zero: bool = False) -> None:
        super().__init__()
        self.hidden = nn.ModuleList([Normed(units if i else size, units) for i in range(layers)])
        self.last = nn.Linear(units if layers else size, out)
        start(self.last.weight, zero)
        nn.init.zeros_(self.last.bias)

    def forward(self, *parts: Tensor) -> Tensor:
        x = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        for layer in self.hidden:
            x = F.silu(layer(x))
        return linear(x, self.last.weight, self.last.bias)


class LatentNetwork(Network):
    """A network whose result is a latent state: layer norm, then groups through softmax."""

    def __init__(self, size: int, units: int, layers: int, latent: int, group: int) -> None:
        super().__init__(size, units, layers, latent)
        self.norm, self.group = nn.LayerNorm(latent), group

    def forward(self, *parts: Tensor) -> Tensor:
        x = super().forward(*parts)
        return simplicial(
            F.layer_norm(x, self.norm.normalized_shape, self.norm.weight, self.norm.bias),
            self.group,
        )


class Ensemble(nn.Module):
    """``members`` networks of one shape at once: one product of matrices a layer, ``[N, size] ->
    [N, members, out]``.

    The last layer starts at zero.
    """

    def __init__(self, members: int, size: int, units: int, layers: int, out: int) -> None:
        super().__init__()
        sizes = [size, *[units] * layers, out]
        self.weights = nn.ParameterList(
            [nn.Parameter(torch.empty(members, a, b)) for a, b in pairwise(sizes)]
        )
        self.biases = nn.ParameterList(
            [nn.Parameter(torch.zeros(members, 1, b)) for b in sizes[1:]]
        )
        self.gains = nn.ParameterList(
            [nn.Parameter(torch.ones(members, 1, units)) for _ in range(layers)]
        )
        self.shifts = nn.ParameterList(
            [nn.Parameter(torch.zeros(members, 1, units)) for _ in range(layers)]
        )
        for i, weight in enumerate(self.weights):
            start(weight, zero=i == layers)

    def forward(self, *parts: Tensor) -> Tensor:
        x = torch.cat(parts, -1)
        x = x.expand(self.weights[0].shape[0], *x.shape)
        for weight, bias, gain, shift in zip(self.weights, self.biases, self.gains, self.shifts):
            x = side_by_side(x, weight, bias)
            x = F.silu(torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), gain))
        return side_by_side(x, self.weights[-1], self.biases[-1]).transpose(0, 1)
