"""Networks of world models: dense and block-dense layers, recurrent cores (DreamerV3, 2024). Those
of images are in :mod:`worldmodels.images`.

Every layer is linear -> RMS norm -> SiLU.  Weights start as truncated normals of variance 1/fan_in.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.types import ShapeError, VariableError
from worldmodels.data.names import taken, variable
from worldmodels.fused import Operation, Places, fused
from worldmodels.fused_core import GatedBlocks
from worldmodels.fused_layers import Chain, Linear, LinearNormSiLU
from worldmodels.gates import bounded, gated
from worldmodels.normalization import RMSNorm
from worldmodels.straight import bare, dense, norm_silu


def check_keys(
    keys: Collection[str],
    what: str = "observations",
    more: Collection[str] = (),
    endings: tuple[str, ...] = (),
) -> None:
    """Refuse names of observations that a model cannot take (:mod:`worldmodels.data.names`).

    Args:
        keys: the names.
        what: what the error calls them.
        more, endings: further names and endings that the model has for itself.

    Raises:
        VariableError: there are none; or one is a model's own name, or cannot name a network (a
            dot, ``keys``, ``type``).
    """
    if not keys:
        raise VariableError(f"{what} are missing: a model needs at least one")
    wrong = {
        k: variable(k) if taken(k) else f"{k}_"
        for k in keys
        if taken(k) or k in more or (endings and k.endswith(endings))
    }
    if wrong:
        raise VariableError(
            f"{what} may not be called {list(wrong)}, which models or torch have for themselves; "
            f"call them {list(wrong.values())}"
        )


def init_weight(weight: Tensor, fan_in: int, outscale: float = 1.0) -> None:
    """Truncated normal (at two deviations) of variance ``outscale^2 / fan_in``."""
    with torch.no_grad():
        if outscale == 0.0:
            weight.zero_()
        else:
            std = outscale * 1.1368 / fan_in**0.5
            nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std)


class Dense(nn.Linear):
    """A dense layer of one input, or of several that are side by side, without copying them
    together.

    The result has the weights' type, also under mixed precision.
    """

    def forward(self, *parts: Tensor) -> Tensor:
        if (found := fused(self, parts)) is not None:
            return found
        if len(parts) == 1:
            return super().forward(parts[0]).to(self.weight.dtype)
        weights = self.weight.split([p.shape[-1] for p in parts], -1)
        out = F.linear(parts[0], weights[0], self.bias)
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            out = torch.addmm(out, part, weight.t())
        return out.to(self.weight.dtype)

    def fused(self, sizes: tuple[int, ...]) -> tuple[Linear, Places]:
        """See :mod:`worldmodels.fused`."""
        return Linear(sizes), [(self, "weight"), (self, "bias")]

    def straight(self, parts: tuple[Tensor, ...]) -> Tensor | None:
        """See :mod:`worldmodels.straight`."""
        return dense(self, parts)


def linear(size: int, out: int, outscale: float = 1.0) -> Dense:
    """A dense layer ``[..., size] -> [..., out]``."""
    layer = Dense(size, out)
    init_weight(layer.weight, size, outscale)
    nn.init.zeros_(layer.bias)
    return layer


class Layer(nn.Sequential):
    """Linear, RMS norm, SiLU."""

    def __init__(self, size: int, units: int) -> None:
        super().__init__(linear(size, units), RMSNorm(units), nn.SiLU())

    def forward(self, *parts: Tensor) -> Tensor:
        if (found := fused(self, parts)) is not None:
            return found
        first, norm, _ = self
        return F.silu(norm(first(*parts)))

    def fused(self, sizes: tuple[int, ...]) -> tuple[LinearNormSiLU, Places] | None:
        """See :mod:`worldmodels.fused`."""
        first, norm, last = self
        if type(first) is not Dense or type(norm) is not RMSNorm or type(last) is not nn.SiLU:
            return None
        return LinearNormSiLU(sizes, norm.eps), [
            (first, "weight"),
            (first, "bias"),
            (norm, "weight"),
        ]

    def straight(self, parts: tuple[Tensor, ...]) -> Tensor | None:
        """See :mod:`worldmodels.straight`."""
        first, norm, last = self._modules.values()
        if not (bare(first, Dense) and bare(norm, RMSNorm) and bare(last, nn.SiLU)):
            return None
        x = dense(first, parts)
        return None if x is None else norm_silu(norm, x)


class MLP(nn.Sequential):
    """``layers`` layers of ``units``, and a last dense layer where ``out`` is given; of one input
    or several.

    Args:
        size: the input's last dimension.
        units, layers: the hidden layers.
        out: the size of a last layer without norm and activation.
        outscale: its initial scale; 0 starts at exactly zero.
    """

    def __init__(
        self, size: int, units: int, layers: int, out: int | None = None, outscale: float = 1.0
    ) -> None:
        parts: list[nn.Module] = [Layer(size if i == 0 else units, units) for i in range(layers)]
        if out is not None:
            parts.append(linear(units if layers else size, out, outscale))
        super().__init__(*parts)

    def forward(self, *parts: Tensor) -> Tensor:
        if (found := fused(self, parts)) is not None:
            return found
        first, *rest = self
        x: Tensor = first(*parts)
        for layer in rest:
            x = layer(x)
        return x

    def fused(self, sizes: tuple[int, ...]) -> tuple[Chain, Places] | None:
        """See :mod:`worldmodels.fused`."""
        links, places = list[tuple[Operation, int]](), Places()
        for layer in self:
            last = layer[0] if isinstance(layer, Layer) else layer
            found = layer.fused(sizes) if isinstance(layer, (Layer, Dense)) else None
            if found is None or not isinstance(last, Dense):
                return None
            links.append((found[0], len(found[1])))
            places += found[1]
            sizes = (last.out_features,)
        return Chain(links), places

    def straight(self, parts: tuple[Tensor, ...]) -> Tensor | None:
        """See :mod:`worldmodels.straight`."""
        for layer in self._modules.values():
            if not isinstance(layer, (Layer, Dense)):
                return None
            if not (bare(layer, Layer) or bare(layer, Dense)):
                return None
            x = layer.straight(parts)
            if x is None:
                return None
            parts = (x,)
        return parts[0]


class BlockLinear(nn.Module):
    """A block-diagonal dense layer: each of ``blocks`` parts of the input feeds one part of the
    output.

    Args:
        size, out: all inputs and outputs, multiples of ``blocks``.
        fan_in: for the initial scale; all inputs if None, as in DreamerV3.
    """

    def __init__(self, size: int, out: int, blocks: int, fan_in: int | None = None) -> None:
        super().__init__()
        if size % blocks or out % blocks:
            raise ShapeError(
                f"a layer of {blocks} blocks needs sizes that are multiples of it, "
                f"got {size} -> {out}"
            )
        self.blocks = blocks
        self.weight = nn.Parameter(torch.empty(blocks, size // blocks, out // blocks))
        self.bias = nn.Parameter(torch.zeros(out))
        init_weight(self.weight, size if fan_in is None else fan_in)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[0]
        parts = x.view(rows, self.blocks, -1).transpose(0, 1)
        return torch.bmm(parts, self.weight).transpose(0, 1).reshape(rows, -1) + self.bias


class BlockGRU(nn.Module):
    r"""DreamerV3's recurrent core: a GRU whose state is split into blocks, ``[B, deter] -> [B,
    deter]``.

    .. math::
        x = [W_d h, W_s s, W_a a], \quad y = \mathrm{block}(h, x), \quad (r, c,
            u) = \mathrm{block}(y), \quad
        h' = \sigma(u - 1)\tanh(\sigma(r) c) + (1 - \sigma(u - 1)) h

    Every block sees its own part of ``h`` and all of ``x``; the part of the block layer that reads
    ``x`` is one dense layer.  Actions above 1 in size are scaled to 1.

    Args:
        deter, stoch, action: sizes of state, latent and action.
        hidden: the size of each of the three parts of ``x``.
        blocks: how many.
    """

    def __init__(self, deter: int, stoch: int, action: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.deter_in, self.stoch_in = Layer(deter, hidden), Layer(stoch, hidden)
        self.action_in = Layer(action, hidden)
        fan_in = deter + 3 * hidden * blocks
        self.own = BlockLinear(deter, deter, blocks, fan_in)
        self.common = nn.Linear(3 * hidden, deter, bias=False)
        init_weight(self.common.weight, fan_in)
        self.norm = RMSNorm(deter)
        self.gates = BlockLinear(deter, 3 * deter, blocks)
        self.blocks = blocks

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        if (found := fused(self, (deter, stoch, action))) is not None:
            return found
        action = bounded(action)
        x = torch.cat([self.deter_in(deter), self.stoch_in(stoch), self.action_in(action)], -1)
        y = F.silu(self.norm(self.own(deter) + self.common(x)))
        return self._gated(self.gates(y), deter)

    def straight(self, parts: tuple[Tensor, ...]) -> Tensor | None:
        """See :mod:`worldmodels.straight`."""
        own, common, norm, gates = self.own, self.common, self.norm, self.gates
        layers = [self.deter_in, self.stoch_in, self.action_in]
        if not (
            all([bare(layer, Layer) for layer in layers])
            and (bare(own, BlockLinear) and bare(common, nn.Linear))
            and (bare(norm, RMSNorm) and bare(gates, BlockLinear))
        ):
            return None
        deter, stoch, action = parts
        given = (deter, stoch, bounded(action))
        read = [layer.straight((x,)) for layer, x in zip(layers, given, strict=True)]
        found = [x for x in read if x is not None]
        if len(found) < len(read):
            return None
        y = own.forward(deter) + F.linear(torch.cat(found, -1), common.weight)
        seen = norm_silu(norm, y)
        return None if seen is None else self._gated(gates.forward(seen), deter)

    def _gated(self, gates: Tensor, old: Tensor) -> Tensor:
        gates = gates.view(old.shape[0], self.blocks, 3, -1)
        reset, candidate, update = gates.unbind(2)
        return gated(reset, candidate, update, old.view(candidate.shape)).flatten(1)

    def fused(self, sizes: tuple[int, ...]) -> tuple[GatedBlocks, Places] | None:
        """See :mod:`worldmodels.fused`."""
        layers = [
            layer.fused((size,))
            for layer, size in zip(
                (self.deter_in, self.stoch_in, self.action_in), sizes, strict=True
            )
        ]
        rest = (self.own, self.common, self.norm, self.gates)
        if None in layers or [type(m) for m in rest] != [
            BlockLinear,
            nn.Linear,
            RMSNorm,
            BlockLinear,
        ]:
            return None
        places = [layer[1][i] for i in range(3) for layer in layers if layer is not None]
        places += [
            (self.own, "weight"),
            (self.own, "bias"),
            (self.common, "weight"),
            (self.norm, "weight"),
        ]
        return GatedBlocks(self.blocks, self.norm.eps), [
            *places,
            (self.gates, "weight"),
            (self.gates, "bias"),
        ]


class GRUCore(nn.Module):
    """A plain GRU on an input layer, with RMS norm on the gates: the core of DreamerV1 to V3
    (2023).
    """

    def __init__(self, deter: int, stoch: int, action: int, hidden: int) -> None:
        super().__init__()
        self.inputs = Layer(stoch + action, hidden)
        self.gates = linear(hidden + deter, 3 * deter)
        self.norm = RMSNorm(3 * deter)

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        x = self.inputs(torch.cat([stoch, bounded(action)], -1))
        reset, candidate, update = self.norm(self.gates(torch.cat([x, deter], -1))).chunk(3, -1)
        return gated(reset, candidate, update, deter)
