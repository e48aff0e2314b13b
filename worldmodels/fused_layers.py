"""Dense layers with their backward passes: linear, linear -> RMS norm -> SiLU, and one after the
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worldmodels.fused import Operation, Tensors
from worldmodels.normalization import Zeros, inverse_rms, pull_norm, pull_norm_weight

silu = torch._C._nn.silu
silu_backward = torch.ops.aten.silu_backward.default


class Linear(Operation):
    r""":math:`y = \sum_i x_i W_i^\top + b`, for inputs ``x_i [B, D_i]`` that are side by side, ``W
    [N, sum D_i]``.

    Args:
        sizes: the ``D_i``.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)
        self.saves, self.keeps = len(sizes), len(sizes) + 1

    def pack(self, weights: Sequence[Tensor], low: torch.dtype | None) -> Any:
        weight, bias = weights
        parts = weight.to(low or weight.dtype).split(self.sizes, -1)
        return bias.to(low or bias.dtype), parts, [w.t() for w in parts], weight.dtype

    def run(self, inputs: Tensors, packed: Any, low: torch.dtype | None) -> tuple[Tensor, Tensors]:
        bias, _, turned, exact = packed
        if low is not None:
            inputs = tuple([x.to(low) for x in inputs])
        out = torch.addmm(bias, inputs[0], turned[0])
        for x, w in zip(inputs[1:], turned[1:], strict=True):
            out.addmm_(x, w)
        return (out if low is None else out.to(exact)), inputs

    def pull(
        self, grad: Tensor, saved: Tensors, packed: Any, needed: Sequence[bool]
    ) -> tuple[list[Tensor | None], Tensors]:
        parts = packed[1]
        grad = grad.to(parts[0].dtype)
        return [
            torch.mm(grad, w) if need else None for w, need in zip(parts, needed, strict=True)
        ], (grad, *saved)

    def gather(self, rows: Tensors) -> list[Tensor]:
        grad, *inputs = rows
        parts = [torch.mm(grad.t(), x) for x in inputs]
        return [parts[0] if len(parts) == 1 else torch.cat(parts, -1), grad.sum(0)]


class LinearNormSiLU(Operation):
    r""":math:`y = \mathrm{silu}(w \odot u / \sqrt{\mathrm{mean}(u^2) + \epsilon})`, :math:`u` of
    :class:`Linear`.
    """

    def __init__(self, sizes: Sequence[int], eps: float) -> None:
        self.linear, self.eps = Linear(sizes), eps
        self.saves, self.keeps = self.linear.saves + 3, self.linear.keeps + 3

    def pack(self, weights: Sequence[Tensor], low: torch.dtype | None) -> Any:
        weight, bias, norm = weights
        eps = norm.new_full((), self.eps)
        return norm, eps, Zeros(), self.linear.pack((weight, bias), low)

    def run(self, inputs: Tensors, packed: Any, low: torch.dtype | None) -> tuple[Tensor, Tensors]:
        norm, eps, _, linear = packed
        x, given = self.linear.run(inputs, linear, low)
        scale = inverse_rms(x, eps)
        normed = (x * scale).mul_(norm)
        return silu(normed), (x, scale, normed, *given)

    def pull(
        self, grad: Tensor, saved: Tensors, packed: Any, needed: Sequence[bool]
    ) -> tuple[list[Tensor | None], Tensors]:
        norm, _, zeros, linear = packed
        x, scale, normed, *given = saved
        grad = silu_backward(grad, normed)
        to_x = pull_norm(grad, x, scale, norm, zeros)
        found, rows = self.linear.pull(to_x, tuple(given), linear, needed)
        return found, (grad, x, scale, *rows)

    def gather(self, rows: Tensors) -> list[Tensor]:
        grad, x, scale, *rest = rows
        return [*self.linear.gather(tuple(rest)), pull_norm_weight(grad, x, scale)]


class Chain(Operation):
    """One operation after the other; the first has all inputs, the later ones a result.

    Args:
        links: operations, and how many weights each has.
    """

    def __init__(self, links: Sequence[tuple[Operation, int]]) -> None:
        self.links = list(links)
        self.saves, self.keeps = sum(o.saves for o, _ in links), sum(o.keeps for o, _ in links)

    def pack(self, weights: Sequence[Tensor], low: torch.dtype | None) -> Any:
        rest = iter(weights)
        return [o.pack([next(rest) for _ in range(n)], low) for o, n in self.links]

    def run(self, inputs: Tensors, packed: Any, low: torch.dtype | None) -> tuple[Tensor, Tensors]:
        saved: Tensors = ()
        for (o, _), own in zip(self.links, packed, strict=True):
            x, more = o.run(inputs, own, low)
            inputs = (x,)
            saved += more
        return x, saved

    def pull(
        self, grad: Tensor, saved: Tensors, packed: Any, needed: Sequence[bool]
    ) -> tuple[list[Tensor | None], Tensors]:
        rows: Tensors = ()
        end = len(saved)
        for i in reversed(range(len(self.links))):
            o = self.links[i][0]
            found, more = o.pull(
                grad, saved[end - o.saves : end], packed[i], needed if i == 0 else (True,)
            )
            end -= o.saves
            rows = more + rows
            grad = found[0]  # type: ignore[assignment]
        return found, rows

    def gather(self, rows: Tensors) -> list[Tensor]:
        found: list[Tensor] = []
        for o, _ in self.links:
            found += o.gather(rows[: o.keeps])
            rows = rows[o.keeps :]
        return found
