r"""DreamerV3's recurrent core with its backward pass; :class:`worldmodels.networks.BlockGRU` has
the formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from worldmodels.fused import Operation, Tensors
from worldmodels.normalization import Zeros, inverse_rms, pull_norm, pull_norm_weight

aten = torch.ops.aten
silu = torch._C._nn.silu
silu_backward = aten.silu_backward.default
silu_backward_out = aten.silu_backward.grad_input
sigmoid_backward_out = aten.sigmoid_backward.grad_input
tanh_backward = aten.tanh_backward.default


class Packed(NamedTuple):
    """The weights of a run; matrices in the type of products, all else in their own."""

    eps: Tensor
    zeros: Zeros
    norms: Tensor
    norm: Tensor
    own_bias: Tensor
    gates_bias: Tensor
    dense: list[Tensor]
    turned: list[Tensor]
    biases: list[Tensor]
    own: Tensor
    own_turned: Tensor
    common: Tensor
    common_turned: Tensor
    gates: Tensor
    gates_turned: Tensor


class GatedBlocks(Operation):
    """A step of a block GRU: inputs ``h [B, D], s [B, S], a [B, A]``, state ``[B, D]``.

    Weights: of the layers of ``h``, ``s`` and ``a`` three matrices ``[H, .]``, biases and norms
    ``[H]``; ``own [K, D/K, D/K]``, its bias ``[D]``, ``common [D, 3H]``, the norm ``[D]``; ``gates
    [K, D/K, 3D/K]`` and their bias ``[3D]``.

    Args:
        blocks: K.
        eps: of all norms.
    """

    saves, keeps = 16, 14

    def __init__(self, blocks: int, eps: float) -> None:
        self.blocks, self.eps = blocks, eps

    def pack(self, weights: Sequence[Tensor], low: torch.dtype | None) -> Packed:
        own_bias, norm, gates_bias = weights[10], weights[12], weights[14]
        bias = gates_bias.view(self.blocks, 1, 3, -1).clone()
        bias[:, :, 2] -= 1.0  # the update gate is biased towards keeping
        kind = low or norm.dtype
        dense, biases = [w.to(kind) for w in weights[:3]], [w.to(kind) for w in weights[3:6]]
        own, common, gates = (weights[i].to(kind) for i in (9, 11, 13))
        return Packed(
            norm.new_full((), self.eps),
            Zeros(),
            torch.stack(list(weights[6:9])),
            norm,
            own_bias,
            bias.flatten(2),
            dense,
            [w.t() for w in dense],
            biases,
            own,
            own.mT,
            common,
            common.t(),
            gates,
            gates.mT,
        )

    def run(
        self, inputs: Tensors, packed: Packed, low: torch.dtype | None
    ) -> tuple[Tensor, Tensors]:
        p = packed
        state, latent, action = inputs
        given: Tensors = (state, latent, action.clamp(-1.0, 1.0))
        if low is not None:
            given = tuple([x.to(low) for x in given])
        u = p.own.new_empty(state.shape[0], 3, p.norms.shape[1])
        for x, w, b, out in zip(given, p.turned, p.biases, u.unbind(1), strict=True):
            torch.addmm(b, x, w, out=out)
        if low is not None:
            u = u.to(p.norm.dtype)
        u_scale = inverse_rms(u, p.eps)
        u_normed = (u * u_scale).mul_(p.norms)
        x = silu(u_normed).flatten(1)
        y, x = self._block(given[0], x, p, low)
        y_scale = inverse_rms(y, p.eps)
        y_normed = (y * y_scale).mul_(p.norm)
        z = silu(y_normed)
        g, z = self._gates(z, p, low)
        # of the candidate, too: a whole block in one piece is faster than two thirds of it
        opened = g.sigmoid()
        reset, _, update = opened.unbind(2)
        candidate = g.select(2, 1)
        c = (reset * candidate).tanh_()
        new = torch.empty_like(y)
        old = self._parts(state if low is None else state.to(new.dtype))
        torch.lerp(old, c, update, out=self._parts(new))
        return new, (
            state,
            action,
            *given,
            u,
            u_scale,
            u_normed,
            x,
            y,
            y_scale,
            y_normed,
            z,
            candidate,
            opened,
            c,
        )

    def _block(
        self, h: Tensor, x: Tensor, p: Packed, low: torch.dtype | None
    ) -> tuple[Tensor, Tensor]:
        if low is None:
            y = torch.addmm(p.own_bias, x, p.common_turned)
            # a batch of products writes into one piece; else it is one product after the other
            self._parts(y).add_(torch.bmm(self._parts(h), p.own))
            return y, x
        x = x.to(low)  # products are rounded, sums are not
        y = p.own_bias + torch.mm(x, p.common_turned)
        self._parts(y).add_(torch.bmm(self._parts(h), p.own))
        return y, x

    def _gates(self, z: Tensor, p: Packed, low: torch.dtype | None) -> tuple[Tensor, Tensor]:
        """Reset, candidate and update ``[K, B, 3, D/K]``."""
        if low is None:
            g = torch.baddbmm(p.gates_bias, self._parts(z), p.gates)
        else:
            z = z.to(low)
            g = p.gates_bias + torch.bmm(self._parts(z), p.gates)
        return g.view(self.blocks, z.shape[0], 3, -1), z

    def pull(
        self, grad: Tensor, saved: Tensors, packed: Packed, needed: Sequence[bool]
    ) -> tuple[list[Tensor | None], Tensors]:
        p = packed
        (
            state,
            action,
            h,
            s,
            a,
            u,
            u_scale,
            u_normed,
            x,
            y,
            y_scale,
            y_normed,
            z,
            candidate,
            opened,
            c,
        ) = saved
        low, exact = z.dtype, y.dtype
        mixed = low is not exact
        parts = self._parts(grad)
        old = self._parts(state.to(exact) if mixed else state)
        to_c, to_g = self._pull_gates(parts, old, candidate, opened, c)
        to_g = to_g.flatten(2)
        if mixed:
            to_g = to_g.to(low)
        to_z = torch.bmm(to_g, p.gates_turned).transpose(0, 1)
        if mixed:
            to_z = to_z.to(exact)
        to_y_normed = torch.empty_like(y_normed)
        shape = to_z.shape
        silu_backward_out(to_z, y_normed.view(shape), grad_input=to_y_normed.view(shape))
        to_y = pull_norm(to_y_normed, y, y_scale, p.norm, p.zeros)
        to_y = to_y.to(low) if mixed else to_y
        to_x = torch.mm(to_y, p.common).view(u.shape)
        to_u_normed = silu_backward(to_x.to(exact) if mixed else to_x, u_normed)
        to_u = pull_norm(to_u_normed, u, u_scale, p.norms, p.zeros)
        to_u = to_u.to(low) if mixed else to_u
        found: list[Tensor | None] = [None, None, None]
        if needed[0]:
            found[0] = self._pull_state(parts, to_c, to_y, to_u.select(1, 0), p)
        if needed[1]:
            found[1] = torch.mm(to_u.select(1, 1), p.dense[1])
        if needed[2]:
            found[2] = torch.mm(to_u.select(1, 2), p.dense[2]).div(action.abs().clamp_(min=1.0))
        return found, (
            h,
            s,
            a,
            to_u,
            to_u_normed,
            u,
            u_scale,
            x,
            to_y,
            to_y_normed,
            y,
            y_scale,
            z,
            to_g.transpose(0, 1),
        )

    @staticmethod
    def _pull_gates(
        grad: Tensor, old: Tensor, candidate: Tensor, opened: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The gradients of ``c``, and of reset, candidate and update, ``[K, B, 3, D/K]``."""
        reset, _, update = opened.unbind(2)
        found = c.new_empty(*c.shape[:2], 3, c.shape[2])
        to_reset, to_candidate, to_update = found.unbind(2)
        to_c = grad * update
        sigmoid_backward_out((c - old).mul_(grad), update, grad_input=to_update)
        to_gated = tanh_backward(to_c, c)
        torch.mul(to_gated, reset, out=to_candidate)
        sigmoid_backward_out(to_gated.mul_(candidate), reset, grad_input=to_reset)
        return to_c, found

    def _pull_state(
        self, grad: Tensor, to_c: Tensor, to_y: Tensor, to_u: Tensor, p: Packed
    ) -> Tensor:
        """By its share of the new state, by its block layer, and by its dense layer."""
        own = torch.bmm(self._parts(to_y), p.own_turned)
        found = torch.empty_like(to_y, dtype=to_c.dtype)
        parts = self._parts(found)
        torch.sub(grad, to_c, out=parts)
        parts.add_(own)
        if found.dtype is to_y.dtype:
            return found.addmm_(to_u, p.dense[0])
        return found.add_(torch.mm(to_u, p.dense[0]))

    def gather(self, rows: Tensors) -> list[Tensor]:
        h, s, a, to_u, to_u_normed, u, u_scale, x, to_y, to_y_normed, y, y_scale, z, to_g = rows
        return [
            *[torch.mm(to_u[:, i].t(), v) for i, v in enumerate((h, s, a))],
            *to_u.sum(0, dtype=u.dtype).unbind(0),
            *pull_norm_weight(to_u_normed, u, u_scale).unbind(0),
            torch.bmm(self._parts(h).mT, self._parts(to_y)),
            to_y.sum(0, dtype=y.dtype),
            torch.mm(to_y.t(), x),
            pull_norm_weight(to_y_normed, y, y_scale),
            torch.bmm(self._parts(z).mT, to_g.transpose(0, 1)),
            to_g.sum(0, dtype=y.dtype).flatten(),
        ]

    def _parts(self, x: Tensor) -> Tensor:
        """``[B, D] -> [K, B, D/K]``, a view."""
        return x.view(x.shape[0], self.blocks, -1).transpose(0, 1)
