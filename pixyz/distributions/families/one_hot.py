"""Kernels of one-hot variables: softmax, a draw, a gradient that passes straight through.

A one-hot sample takes one uniform number a categorical (cumulative sum and compare).
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from pixyz.plan.once import once

WIDTH = {"AVX512": 64, "AVX2": 32}.get(torch.backends.cpu.get_cpu_capability(), 16)
"""Bytes of a vector of this CPU: softmax is vectorised along classes that fill one."""
MANY = 64
"""From so many rows of fewer classes on, softmax is faster along the rows."""
FEW = 16
"""From so many classes on, draws run over the classes."""
SEARCHED = 2048
"""Up to so many draws the class of each is searched for: fewer kernels, which take longer a draw.
"""


def softmax_last(x: Tensor) -> Tensor:
    """Softmax over the last dimension; of many rows a short one is moved to the front, where CPUs
    vectorise (6 times faster for 1,024 rows of 8).
    """
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return x.softmax(-1)
    if x.shape[-1] * x.element_size() >= WIDTH or x.numel() < MANY * x.shape[-1]:
        return x.softmax(-1)
    return x.movedim(-1, 0).softmax(0).movedim(0, -1)


def with_uniform(probs: Tensor, share: float) -> Tensor:
    r""":math:`(1 - \epsilon) p + \epsilon / K`, by one kernel; the number is a tensor without
    dimensions, as kernels take it.
    """
    uniform, dtype = share / probs.shape[-1], probs.dtype
    if torch.compiler.is_compiling():
        return probs * (1.0 - share) + uniform
    number = once((with_uniform, uniform, dtype), lambda: torch.tensor(uniform, dtype=dtype))
    return torch.add(number, probs, alpha=1.0 - share)


def one_hot_sample(u: Tensor, probs: Tensor) -> Tensor:
    """A one-hot sample from one uniform number: the first class whose cumulative probability
    exceeds ``u``.

    ``u`` is scaled by the total, so that rounding never leaves the range. Where the total is not
    finite, the sample of few draws, as in acting, is not either; of many the update is refused.
    """
    # sums and comparisons alone: one kernel
    if torch.compiler.is_compiling() and 1 < probs.shape[-1] < FEW:
        *steps, total = accumulate(probs.unbind(-1))
        below = (
            torch.stack([edge <= u.squeeze(-1) * total for edge in steps]).to(probs.dtype).sum(0)
        )
        chosen = torch.arange(probs.shape[-1], device=probs.device) == below.unsqueeze(-1)
        return chosen.to(probs.dtype) + 0.0 * total.detach().unsqueeze(-1)
    if probs.shape[-1] < FEW and u.ndim == probs.ndim and u.numel() > SEARCHED:
        edges = probs.detach().movedim(-1, 0).cumsum(0)  # [K, ...] is vectorised
        bound = u.squeeze(-1) * edges[-1]
        below = probs.new_zeros((edges.shape[0] + 1, *bound.shape))
        below[0] = 1.0
        torch.le(edges[:-1], bound, out=below[1:-1])
        return (below[:-1] - below[1:]).movedim(0, -1)
    edges = probs.detach().cumsum(-1)
    bound = u * edges[..., -1:]
    if torch.compiler.is_compiling() or bound.shape[:-1] != edges.shape[:-1]:
        index = (edges[..., :-1] <= bound).sum(-1, keepdim=True)
    else:
        last = edges.shape[-1] - 1
        index = torch.searchsorted(edges, bound, right=True).clamp_(max=last)
    # zeros, or NaN, by one kernel
    nothing = bound.expand(*index.shape[:-1], edges.shape[-1]) * 0.0
    return nothing.scatter_(-1, index, 1.0)


class StraightThrough(torch.autograd.Function):
    """A sample, with the gradient of its probabilities (Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: FunctionCtx, sample: Tensor, probs: Tensor) -> Tensor:
        return sample.view_as(sample)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad


def straight_through(sample: Tensor, probs: Tensor) -> Tensor:
    r""":math:`x + (p - \mathrm{sg}(p))`: the sample, with the gradient of its probabilities."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return sample + (probs - probs.detach())
    if not (probs.requires_grad and torch.is_grad_enabled()):
        return sample
    made: Tensor = StraightThrough.apply(sample, probs)
    return made
