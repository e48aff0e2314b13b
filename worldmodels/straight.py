"""Networks that are called once and without a gradient, as in acting: the kernels of their form in
``torch.nn``, one after the other.

A network of three layers is a dozen modules; calling each of them takes more time than what they
compute for one row.  Here parts are looked at where they lie: a part of another class, with hooks,
or whose weight is no parameter, is called as ``torch.nn`` has it.  The numbers are the same to the
last bit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

silu_ = torch._C._nn.silu_
Tensors = tuple[Tensor, ...]
FLOATS = (torch.float32, torch.float64)


def transformed() -> bool:
    """Whether a transform of ``torch.func`` or forward differentiation is at work."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def plain() -> bool:
    """Whether neither a transform nor autocast changes what kernels compute."""
    return not (transformed() or torch._C._is_any_autocast_enabled())


def bare(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of exactly this class and has no hooks."""
    held = module.__dict__
    return type(module) is kind and not (
        held["_forward_hooks"]
        or held["_forward_pre_hooks"]
        or held["_backward_hooks"]
        or held["_backward_pre_hooks"]
    )


def dense(layer: nn.Module, parts: Sequence[Tensor]) -> Tensor | None:
    """A dense layer of inputs that are side by side; None where a weight is no parameter."""
    held = layer._parameters
    weight, bias = held.get("weight"), held.get("bias")
    if weight is None or bias is None or parts[0].dtype is not weight.dtype:
        return None
    if len(parts) == 1:
        return torch._C._nn.linear(parts[0], weight, bias)
    weights = weight.split_with_sizes([p.shape[-1] for p in parts], -1)
    out = torch._C._nn.linear(parts[0], weights[0], bias)
    for part, own in zip(parts[1:], weights[1:], strict=True):
        out = torch.addmm(out, part, own.t())
    return out


def norm_silu(norm: nn.Module, x: Tensor) -> Tensor | None:
    """RMS norm and SiLU; None where the weight is no parameter.

    ``torch.rms_norm`` is composed of these kernels where there is none for it, as on a CPU; numbers
    are tensors here, which kernels take as they are.
    """
    weight = norm._parameters.get("weight")
    if weight is None or weight.dtype is not x.dtype:
        return None
    eps: float = norm.eps  # type: ignore[assignment]
    if type(x) is not Tensor or x.device.type != "cpu" or x.dtype not in FLOATS:
        return silu_(torch.rms_norm(x, weight.shape, weight, eps))
    size, small = _numbers(x.shape[-1], eps, x.dtype)
    scale = x.square().sum(-1, True).div_(size).add_(small).rsqrt_()
    return silu_((x * scale).mul_(weight))


@functools.cache
def _numbers(size: int, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.tensor(size, dtype=dtype), torch.tensor(eps, dtype=dtype)
