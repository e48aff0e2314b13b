"""Policy and value as distributions over a world model's state."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from agents.spaces import ActionSpec
from agents.squashed import SquashedNormal
from pixyz.distributions import BoundedNormal, GroupedOneHot
from worldmodels.networks import MLP

WIDE, SMALLEST = 5.0, 1e-4
"""Of Dreamer V1's policy: the bound of its mean and its first deviation, and what its deviation is
at least.
"""


class ContinuousPolicy(BoundedNormal):
    """``pi(a|h, s)``: a normal with mean in (-1, 1) and deviation in (0.1, 1)."""

    def __init__(self, actions: int, size: int, units: int, layers: int) -> None:
        super().__init__("action", ["deter", "stoch"], r"\pi", features_shape=[actions])
        self.net = MLP(size, units, layers, 2 * actions, outscale=0.01)

    def forward(self, deter: Tensor, stoch: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(deter, stoch).chunk(2, -1)
        return {"loc": loc, "scale": scale}


class DiscretePolicy(GroupedOneHot):
    """``pi(a|h, s)``: a one-hot choice, with a share of the uniform distribution."""

    def __init__(
        self,
        actions: int,
        size: int,
        units: int,
        layers: int,
        unimix: float,
        straight_through: bool = False,
    ) -> None:
        state = ["deter", "stoch"]
        super().__init__(
            1, actions, "action", state, r"\pi", unimix=unimix, straight_through=straight_through
        )
        self.net = MLP(size, units, layers, actions, outscale=0.01)

    def forward(self, deter: Tensor, stoch: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(deter, stoch)}


class SquashedPolicy(SquashedNormal):
    r"""``pi(a|h, s)``: a normal through tanh, whose mean is held in (-5, 5), :math:`5 \tanh(\mu /
    5)`; its deviation begins at 5.
    """

    def __init__(self, actions: int, size: int, units: int, layers: int) -> None:
        super().__init__("action", ["deter", "stoch"], r"\pi", features_shape=[actions])
        self.net = MLP(size, units, layers, 2 * actions)

    def forward(self, deter: Tensor, stoch: Tensor) -> dict[str, Tensor]:
        loc, raw = self.net(deter, stoch).chunk(2, -1)
        scale = F.softplus(raw + math.log(math.expm1(WIDE))) + SMALLEST
        return {"loc": WIDE * torch.tanh(loc / WIDE), "log_scale": scale.log()}


def build_policy(
    action: ActionSpec,
    size: int,
    units: int,
    layers: int,
    unimix: float,
    straight_through: bool = False,
) -> ContinuousPolicy | DiscretePolicy:
    """The policy for an action space; ``straight_through``:
    a draw of a choice passes gradients on.
    """
    if action.discrete:
        return DiscretePolicy(action.size, size, units, layers, unimix, straight_through)
    return ContinuousPolicy(action.size, size, units, layers)


def build_squashed_policy(
    action: ActionSpec, size: int, units: int, layers: int
) -> SquashedPolicy | DiscretePolicy:
    """Dreamer V1's policy for an action space; its draws pass gradients on."""
    if action.discrete:
        return DiscretePolicy(action.size, size, units, layers, 0.0, straight_through=True)
    return SquashedPolicy(action.size, size, units, layers)
