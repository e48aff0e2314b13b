r"""Observation, critics, target, temperature and policy of SAC as distributions.

A critic of choices gives a number for each of them, :math:`Q(s, a) = \sum_k a_k Q_k(s)`. It is
linear in ``a``, so the choices' probabilities in place of a choice give the expectation over it
(Christodoulou 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from agents.sac.config import SACConfig
from agents.spaces import ActionSpec
from agents.squashed import SquashedNormal, bounded_log_scale
from agents.standard import Standard
from pixyz.distributions import Deterministic, GroupedOneHot
from worldmodels.ensemble import Ensemble
from worldmodels.images import ConvEncoder


class Observation(Deterministic):
    """``s = h(x)``: vectors as they are or in standard units, images ``[H, W, C]`` through
    convolutions, side by side, ``[N, size]``.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], c: SACConfig) -> None:
        super().__init__("s", list(shapes), name="h")
        self.vectors = [k for k, s in shapes.items() if len(s) == 1]
        self.cnn = nn.ModuleDict(
            {k: ConvEncoder(tuple(s), c.depth, c.strided) for k, s in shapes.items() if len(s) == 3}
        )
        self.standard = Standard({k: shapes[k][0] for k in self.vectors}) if c.standardize else None
        self.size = sum(shapes[k][0] for k in self.vectors)
        self.size += sum(cnn.out for cnn in self.cnn.values())  # type: ignore[misc]

    def forward(self, **obs: Tensor) -> dict[str, Tensor]:
        std = self.standard
        parts = [obs[k] if std is None else std(k, obs[k]) for k in self.vectors]
        parts += [cnn(obs[k]) for k, cnn in self.cnn.items()]
        return {"s": torch.cat(parts, -1)}


class Critics(Deterministic):
    r"""``q, q_min = Q(s, a)``: a number of each critic, ``[N, critics]``, and the smallest,
    ``[N]``.
    """

    def __init__(self, size: int, action: ActionSpec, c: SACConfig) -> None:
        super().__init__(["q", "q_min"], ["s", "action"], name="Q")
        self.discrete = action.discrete
        inputs, out = (size, action.size) if action.discrete else (size + action.size, 1)
        self.net = Ensemble(c.critics, inputs, c.units, c.layers, out, c.norm)

    def forward(self, s: Tensor, action: Tensor) -> dict[str, Tensor]:
        q, least = self.values(s, action)
        return {"q": q, "q_min": least}

    def values(self, s: Tensor, action: Tensor, of_rows: bool = False) -> tuple[Tensor, Tensor]:
        """Both."""
        if self.discrete:
            each = self.net(s, of_rows=of_rows)
            return (each * action.unsqueeze(1)).sum(-1), (each.amin(1) * action).sum(-1)
        q = self.net(s, action, of_rows=of_rows).squeeze(-1)
        return q, q.amin(1)


class JointCritics(Deterministic):
    """``q, q_next = Q(s, a, s', a')``: the critics' numbers now and the smallest one at the next
    step.

    They are called once on both, so that batch norm sees the actions of both (Bhatt et al. 2024).
    """

    def __init__(self, critics: Critics) -> None:
        super().__init__(["q", "q_next"], ["s", "action", "s_next", "a_next"], name="Q")
        self.__dict__["critics"] = critics  # held by the agent

    def forward(
        self, s: Tensor, action: Tensor, s_next: Tensor, a_next: Tensor
    ) -> dict[str, Tensor]:
        critics: Critics = self.__dict__["critics"]
        both = torch.cat([s, s_next]), torch.cat([action, a_next])
        q, least = critics.values(*both, of_rows=True)
        return {"q": q[: len(s)], "q_next": least[len(s) :]}


class Target(Deterministic):
    r"""``y [N, critics]``, for each critic the same.

    .. math:: y = r + \gamma c (\min_i Q_i(s', a') - \alpha \log \pi(a'|s'))
    """

    def __init__(self, discount: float, critics: int) -> None:
        super().__init__("y", ["reward", "cont", "q_next", "l_next", "alpha"], name="y")
        self.discount, self.critics = discount, critics

    def forward(
        self, reward: Tensor, cont: Tensor, q_next: Tensor, l_next: Tensor, alpha: Tensor
    ) -> dict[str, Tensor]:
        y = reward + self.discount * cont * (q_next - alpha * l_next)
        return {"y": y.unsqueeze(-1).expand(-1, self.critics)}


class Temperature(Deterministic):
    r"""``alpha [N]``, the same for each state: :math:`\alpha = e^\lambda`."""

    def __init__(self, first: float) -> None:
        super().__init__("alpha", ["reward"], name=r"\alpha")
        self.log_alpha = nn.Parameter(torch.tensor(math.log(first)))

    def forward(self, reward: Tensor) -> dict[str, Tensor]:
        return {"alpha": self.log_alpha.exp().expand_as(reward)}


def network(size: int, c: SACConfig, out: int) -> nn.Sequential:
    """``layers`` times linear and ReLU, then linear."""
    layers: list[nn.Module] = []
    for i in range(c.layers):
        layers += [nn.Linear(c.units if i else size, c.units), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(c.units, out))


class ContinuousPolicy(SquashedNormal):
    """``pi(a|s)``: a normal through tanh."""

    def __init__(self, size: int, actions: int, c: SACConfig) -> None:
        super().__init__("action", "s", r"\pi", features_shape=[actions])
        self.net = network(size, c, 2 * actions)
        self.low, self.high = c.min_log_std, c.max_log_std

    def forward(self, s: Tensor) -> dict[str, Tensor]:
        loc, raw = self.net(s).chunk(2, -1)
        return {"loc": loc, "log_scale": bounded_log_scale(raw, self.low, self.high)}


class DiscretePolicy(GroupedOneHot):
    """``pi(a|s)``: a one-hot choice."""

    def __init__(self, size: int, actions: int, c: SACConfig) -> None:
        super().__init__(1, actions, "action", "s", r"\pi", unimix=0.0, straight_through=False)
        self.net = network(size, c, actions)

    def forward(self, s: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(s)}


def build_policy(size: int, action: ActionSpec, c: SACConfig) -> ContinuousPolicy | DiscretePolicy:
    """The policy for an action space."""
    return (DiscretePolicy if action.discrete else ContinuousPolicy)(size, action.size, c)
