r"""The distributions of TD-MPC (Hansen et al. 2022, 2024).

.. math::
    z = h(x), \quad z' = d(z, a), \quad e \sim p(e|z'), \quad r \sim p_r(r|z, a), \quad
        c \sim p_c(c|z'), \quad
    y \sim Q(y|z, a), \quad a \sim \pi(a|z)

``z [N, D]`` is a latent state, ``a [N, A]`` an action, ``e [N, D]`` the latent state of the next
observation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from agents.spaces import ActionSpec, most_probable
from agents.squashed import SquashedNormal, bounded_log_scale
from agents.standard import Standard
from agents.tdmpc.config import TDMPCConfig
from agents.tdmpc.networks import Ensemble, LatentNetwork, Network
from pixyz.distributions import Bernoulli, Deterministic, GroupedOneHot, Normal, TwoHot
from worldmodels.decoder import symexp, symlog
from worldmodels.images import PIXELS, ConvEncoder


class Encoder(Deterministic):
    """``z = h(x)``: vectors through symlog or in standard units, images ``[H, W, C]`` through
    convolutions, then a network.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], c: TDMPCConfig) -> None:
        super().__init__("z", list(shapes), name="h", features_shape=[c.latent])
        self.vectors = [k for k, s in shapes.items() if len(s) == 1]
        self.cnn = nn.ModuleDict(
            {k: ConvEncoder(tuple(s), c.depth, c.strided) for k, s in shapes.items() if len(s) == 3}
        )
        self.domains = dict.fromkeys(self.cnn, PIXELS)
        self.standard = Standard({k: shapes[k][0] for k in self.vectors}) if c.standardize else None
        size = sum(shapes[k][0] for k in self.vectors) + sum(cnn.out for cnn in self.cnn.values())  # type: ignore[misc]
        self.net = LatentNetwork(size, c.encoder_units, c.encoder_layers, c.latent, c.group)

    def forward(self, **obs: Tensor) -> dict[str, Tensor]:
        std, parts = self.standard, [obs[k] for k in self.vectors]
        if std is not None:
            parts = [std(k, obs[k]) for k in self.vectors]
        elif parts:
            parts = [symlog(torch.cat(parts, -1))]
        parts += [cnn(obs[k]) for k, cnn in self.cnn.items()]
        return {"z": self.net(*parts)}


class LatentsAhead(Deterministic):
    """``e, e_later = h(x_next), h(x_later)``: what is predicted, and where a target bootstraps.

    The encoder is called once on both.

    Args:
        encoder: the agent's, which holds its weights.
        next_keys, later_keys: the observations, in the order of the encoder's.
    """

    def __init__(
        self, encoder: Encoder, next_keys: Sequence[str], later_keys: Sequence[str]
    ) -> None:
        super().__init__(["e", "e_later"], [*next_keys, *later_keys], name="h")
        self.__dict__["encoder"] = encoder  # held by the agent
        self.pairs = list(zip(next_keys, later_keys, strict=True))
        looked = zip(encoder.cond_var, self.pairs, strict=True)
        self.domains = {
            k: encoder.domains[own] for own, pair in looked if own in encoder.domains for k in pair
        }

    def forward(self, **obs: Tensor) -> dict[str, Tensor]:
        encoder: Encoder = self.__dict__["encoder"]
        both = [torch.cat([obs[first], obs[second]]) for first, second in self.pairs]
        e, later = encoder.forward(**dict(zip(encoder.cond_var, both, strict=True)))["z"].chunk(2)
        return {"e": e, "e_later": later}


class Dynamics(Deterministic):
    """``z' = d(z, a)``."""

    def __init__(self, action: int, c: TDMPCConfig) -> None:
        super().__init__("z_next", ["z", "action"], name="d", features_shape=[c.latent])
        self.net = LatentNetwork(c.latent + action, c.units, c.layers, c.latent, c.group)

    def forward(self, z: Tensor, action: Tensor) -> dict[str, Tensor]:
        return {"z_next": self.net(z, action)}


class NextLatent(Normal):
    """``p(e|z')``: a normal around the predicted latent state, ``[N, D]``.

    Its variance is ``D / 2``: minus its logarithm is the mean squared error and a constant.
    """

    def __init__(self, c: TDMPCConfig) -> None:
        deviation = math.sqrt(c.latent / 2.0)
        super().__init__("e", "z_next", features_shape=[c.latent], loc="z_next", scale=deviation)


class SymlogTwoHot(TwoHot):
    """Numbers of any size, as two-hot weights over equal steps of their symlog; the mean is symexp
    of the bins' mean.
    """

    def __init__(self, var: str, cond_var: Sequence[str], name: str, c: TDMPCConfig) -> None:
        half = torch.linspace(0.0, c.limit, c.bins // 2 + 1)
        super().__init__(var, list(cond_var), name, bins=torch.cat([-half[1:].flip(0), half]))

    def log_density(self, x: Tensor, log_probs: Tensor) -> Tensor:
        return super().log_density(symlog(x), log_probs)

    def mean_of(self, probs: Tensor) -> Tensor:
        return symexp(probs @ self.bins).unsqueeze(-1)

    def mean(self, logits: Tensor) -> Tensor:
        """The mean from logits ``[..., bins] -> [...]``."""
        return symexp(torch.softmax(logits, -1) @ self.bins)


class Reward(SymlogTwoHot):
    """``p_r(r|z, a)``."""

    def __init__(self, action: int, c: TDMPCConfig) -> None:
        super().__init__("reward", ["z", "action"], "p_r", c)
        self.net = Network(c.latent + action, c.units, c.layers, c.bins, zero=True)

    def forward(self, z: Tensor, action: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(z, action)}


class Critics(SymlogTwoHot):
    """``Q(y|z, a)``: several critics, each of its own number in ``y [N, critics, 1]``; so is their
    mean.
    """

    def __init__(self, action: int, c: TDMPCConfig) -> None:
        super().__init__("y", ["z", "action"], "Q", c)
        self.net = Ensemble(c.critics, c.latent + action, c.units, c.layers, c.bins)

    def forward(self, z: Tensor, action: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(z, action)}


class Continue(Bernoulli):
    """``p_c(c|z')``: whether the episode goes on. ``met``: a termination was; a planner need not
    ask before.
    """

    met: Tensor

    def __init__(self, c: TDMPCConfig) -> None:
        super().__init__("cont", "z_next", "p_c", features_shape=[1])
        self.net = Network(c.latent, c.units, 1, 1)
        nn.init.constant_(self.net.last.bias, 3.0)
        self.register_buffer("met", torch.zeros((), dtype=torch.bool))

    def forward(self, z_next: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(z_next)}


class ContinuousPolicy(SquashedNormal):
    """``pi(a|z)``: a normal through tanh; the deviation's logarithm is held in bounds."""

    def __init__(self, action: int, c: TDMPCConfig) -> None:
        super().__init__("action", "z", r"\pi", features_shape=[action])
        self.net = Network(c.latent, c.units, c.layers, 2 * action)
        self.low, self.high = c.min_log_std, c.max_log_std

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        loc, raw = self.net(z).chunk(2, -1)
        return {"loc": loc, "log_scale": bounded_log_scale(raw, self.low, self.high)}

    def best(self, z: Tensor) -> Tensor:
        """The action of the mean, ``[N, A]``."""
        return torch.tanh(self.net(z).chunk(2, -1)[0])

    def propose(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw, ``[N, A]``."""
        found = self.forward(z)
        noise = torch.randn(found["loc"].shape, generator=generator, dtype=z.dtype, device=z.device)
        return self.draw(noise, found["loc"], found["log_scale"].exp())


class DiscretePolicy(GroupedOneHot):
    """``pi(a|z)``: a one-hot choice, with a share of the uniform distribution; gradients pass
    straight through a draw.
    """

    def __init__(self, actions: int, c: TDMPCConfig) -> None:
        super().__init__(1, actions, "action", "z", r"\pi", unimix=0.01, straight_through=True)
        self.net = Network(c.latent, c.units, c.layers, actions)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(z)}

    def best(self, z: Tensor) -> Tensor:
        """The most probable choice, ``[N, A]``."""
        return most_probable(self.net(z))

    def propose(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw, ``[N, A]``."""
        logits = self.net(z)
        noise = torch.rand(
            *logits.shape[:-1], 1, 1, generator=generator, dtype=z.dtype, device=z.device
        )
        return self.draw(noise, self.derive_probs(logits))


def build_policy(action: ActionSpec, c: TDMPCConfig) -> ContinuousPolicy | DiscretePolicy:
    """The policy for an action space."""
    return DiscretePolicy(action.size, c) if action.discrete else ContinuousPolicy(action.size, c)
