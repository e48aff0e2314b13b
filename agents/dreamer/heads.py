"""Policy and value as distributions over a world model's state."""

from __future__ import annotations

from torch import Tensor

from agents.spaces import ActionSpec
from pixyz.distributions import BoundedNormal, GroupedOneHot
from worldmodels.networks import MLP


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

    def __init__(self, actions: int, size: int, units: int, layers: int, unimix: float) -> None:
        super().__init__(1, actions, "action", ["deter", "stoch"], r"\pi", unimix=unimix, straight_through=False)
        self.net = MLP(size, units, layers, actions, outscale=0.01)

    def forward(self, deter: Tensor, stoch: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(deter, stoch)}


def build_policy(action: ActionSpec, size: int, units: int, layers: int, unimix: float) -> ContinuousPolicy | DiscretePolicy:
    """The policy for an action space."""
    if action.discrete:
        return DiscretePolicy(action.size, size, units, layers, unimix)
    return ContinuousPolicy(action.size, size, units, layers)
