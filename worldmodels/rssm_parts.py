"""The distributions that an RSSM draws its state from: encoder, dynamics, latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Deterministic, GroupedOneHot, Normal
from worldmodels.change import moved
from worldmodels.decoder import symlog
from worldmodels.images import PIXELS, ConvEncoder
from worldmodels.networks import MLP, BlockGRU, GRUCore
from worldmodels.rssm_config import RSSMConfig
from worldmodels.scaling import scalings


def join(*parts: Tensor) -> Tensor:
    """Concatenate features."""
    return torch.cat(parts, -1)


class Encoder(Deterministic):
    """``e = enc(x)``: vectors through symlog or a scaling and an MLP, images (``[H, W, C]``, uint8
    or in [0, 1]) through convolutions.

    Where changes are predicted it reads how far vectors moved since the last frame, too; ``steps``
    has the units of that.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        config: RSSMConfig,
        steps: nn.ModuleDict | None = None,
    ) -> None:
        super().__init__(
            "embed", [*shapes, *(["now_prev"] if steps is not None else [])], name="enc"
        )
        self.__dict__["steps"] = steps  # held by the decoder
        self.images = [k for k, s in shapes.items() if len(s) == 3]
        self.domains = dict.fromkeys(self.images, PIXELS)
        self.vectors = [k for k, s in shapes.items() if len(s) == 1]
        size = self.size = sum(shapes[k][0] for k in self.vectors)
        self.mlp = (
            MLP(size * (1 if steps is None else 2), config.units, config.encoder_layers)
            if self.vectors
            else None
        )
        self.scaling = scalings(shapes) if config.vectors == "gaussian" else None
        self.cnn = nn.ModuleDict(
            {k: ConvEncoder(tuple(shapes[k]), config.depth, config.strided) for k in self.images}
        )
        self.out = (config.units if self.vectors else 0) + sum(c.out for c in self.cnn.values())  # type: ignore[misc]

    def forward(self, **obs: Tensor) -> dict[str, Tensor]:
        parts = []
        if self.mlp is not None:
            parts.append(self.mlp(self._units(obs)))
        parts += [self.cnn[k](obs[k]) for k in self.images]
        return {"embed": parts[0] if len(parts) == 1 else join(*parts)}

    def _units(self, obs: Mapping[str, Tensor]) -> Tensor:
        if self.scaling is None:
            return symlog(join(*[obs[k] for k in self.vectors]))
        units, steps = (
            join(*[self.scaling[k](obs[k]) for k in self.vectors]),
            self.__dict__["steps"],
        )
        return units if steps is None else join(units, moved(units, obs["now_prev"], steps))


class Dynamics(Deterministic):
    """``h = f(h_prev, s_prev, a_prev)``."""

    def __init__(self, action_size: int, config: RSSMConfig) -> None:
        super().__init__(
            "deter",
            ["deter_prev", "stoch_prev", "action_prev"],
            name="f",
            features_shape=[config.deter],
        )
        self.core: nn.Module
        if config.core == "block_gru":
            self.core = BlockGRU(
                config.deter, config.stoch, action_size, config.hidden, config.blocks
            )
        else:
            self.core = GRUCore(config.deter, config.stoch, action_size, config.hidden)

    def forward(
        self, deter_prev: Tensor, stoch_prev: Tensor, action_prev: Tensor
    ) -> dict[str, Tensor]:
        return {"deter": self.core(deter_prev, stoch_prev, action_prev)}


class CategoricalLatent(GroupedOneHot):
    """``s``: one-hot groups from an MLP."""

    def __init__(
        self, cond_var: list[str], name: str, size: int, layers: int, config: RSSMConfig
    ) -> None:
        super().__init__(
            config.groups, config.classes, "stoch", cond_var, name, unimix=config.unimix
        )
        self.net = MLP(size, config.hidden, layers, config.stoch)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(*[given[v] for v in self.cond_var])}


class GaussianLatent(Normal):
    """``s``: a diagonal normal from an MLP."""

    def __init__(
        self, cond_var: list[str], name: str, size: int, layers: int, config: RSSMConfig
    ) -> None:
        super().__init__("stoch", cond_var, name, features_shape=[config.stoch])
        self.net = MLP(size, config.hidden, layers, 2 * config.stoch)
        self.min_scale = config.min_scale

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(*[given[v] for v in self.cond_var]).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale) + self.min_scale}
