"""Base noise: what a draw is made of, one kernel a site;
a plan writes the kernels into its text.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pixyz.plan import rules


@rules.inline_like("torch.randn_like({0}, memory_format=torch.contiguous_format)")
def normal_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Standard normal noise."""
    if shape == like.shape:
        return torch.randn_like(like, memory_format=torch.contiguous_format)
    return torch.randn(tuple(shape), dtype=like.dtype, device=like.device)


@rules.inline_like("torch.rand_like({0}, memory_format=torch.contiguous_format)")
def uniform_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uniform noise in [0, 1)."""
    if shape == like.shape:
        return torch.rand_like(like, memory_format=torch.contiguous_format)
    return torch.rand(tuple(shape), dtype=like.dtype, device=like.device)


def class_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """One uniform number a categorical: ``[..., 1]``."""
    return torch.rand(
        (*shape[:-1], 1),
        dtype=torch.float32 if like.dtype.itemsize < 4 else like.dtype,
        device=like.device,
    )


def exponential_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Noise of the exponential distribution with rate 1; never 0."""
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device).exponential_()


def open_uniform_noise(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uniform noise in (0, 1)."""
    info = torch.finfo(like.dtype)
    noise = torch.rand(tuple(shape), dtype=like.dtype, device=like.device)
    return noise.clamp_(info.tiny, 1.0 - info.eps / 2)
