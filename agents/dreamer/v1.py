r"""Dreamer (Hafner et al. 2020): every loss as one expression.

.. math::
    L = \mathbb{E}_{seen}\big[-\log p(x, r, c|s) + \max(3, \overline{D_{KL}}[q\|p])
        + \mathbb{E}_{dream}[-w R_\lambda - w \log v(\bar R_\lambda|\bar s)]\big]

The policy climbs the returns' own gradient, through values, rewards and the dynamics, whose weights
are constants there. As in DreamerV3 a reward belongs to the arrival at a state, and a value counts
what comes after it; the published code's value counts the state's own reward, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.agent import Batch, Learned
from agents.dreamer.config_v1 import DreamerV1Config
from agents.dreamer.heads import build_squashed_policy
from agents.dreamer.latent_agent import LatentAgent
from agents.dreamer.optimizer import ClippedAdam
from agents.dreamer.returns import PathReturn, Stop
from agents.latent import LatentActor
from agents.noisy import Noisy
from agents.spaces import ActionSpec
from pixyz.distributions import Distribution, Mean
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import KullbackLeibler
from worldmodels.heads import NormalHead
from worldmodels.own_terms import Terms

START = {"deter": "deter_0", "stoch": "stoch_0"}
PATH = {"deter": "deter_all", "stoch": "stoch_all"}
BAR = {"deter": "deter_bar", "stoch": "stoch_bar"}


class DreamerV1(LatentAgent):
    """The agent; its arguments are those of :class:`agents.dreamer.latent_agent.LatentAgent`.

    >>> import torch
    >>> from worldmodels import RSSMConfig
    >>> config = DreamerV1Config(
    ...     RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8), units=8
    ... )
    >>> agent = DreamerV1({"x": (3,)}, ActionSpec(1), config)
    >>> action, state = agent.act(
    ...     {"x": torch.zeros(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}, agent.initial(2)
    ... )
    >>> action.shape
    torch.Size([2, 1])
    """

    Config = DreamerV1Config
    names = ("rec", "rew", "con", "kl", "policy", "value")
    config: DreamerV1Config

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        action: ActionSpec,
        config: DreamerV1Config | None = None,
        fission: bool = True,
        terms: Terms | None = None,
    ) -> None:
        c = config or DreamerV1Config()
        super().__init__(shapes, action, c, fission, terms)
        size = c.model.features
        self.policy = build_squashed_policy(action, size, c.units, c.actor_layers)
        self.value = NormalHead("ret", "v", size, c.units, c.critic_layers)
        self.imagined = PathReturn(c.lam, c.discount)
        actor = LatentActor(self.model, self.policy, action, self._precision)
        self._begin(Noisy(actor, c.noise), self.policy)
        rates = ((self.model, c.lr), (self.policy, c.actor_lr), (self.value, c.critic_lr))
        self.optimizer = ClippedAdam(
            [{"params": list(part.parameters()), "lr": lr} for part, lr in rates], clip=c.clip
        )

    @property
    def dream(self) -> Distribution:
        """Imagination under the policy, from every state of the recorded sequence, with gradient to
        the policy.
        """
        ahead = self.model.dream(
            self.policy, self.config.horizon, grad=True, frozen=True, start=START
        )
        return ahead * Stop({first: k for k, first in START.items()})

    def _write_objective(self) -> Loss:
        c, model, value = self.config, self.model, self.value
        # under the recorded sequence: deter, stoch; under the dream: deter_all, stoch_all
        on_path = (
            Mean(model.reward.frozen().at(**PATH), "r")
            * Mean(model.cont.frozen().at(**PATH), "c")
            * Mean(value.frozen().at(**PATH), "v")
        )
        returns = self.imagined * on_path * Stop({bar: PATH[k] for k, bar in BAR.items()})
        w, w_pi = Parameter("w"), Parameter("w_pi")
        policy = -(w_pi * Parameter("gain"))
        behaviour = (
            policy.named("policy").mean() + (-(w * LogProb(value.at(**BAR)))).named("value").mean()
        )
        divergence = (
            KullbackLeibler(model.posterior, model.prior)
            .mean()
            .clamp(min=c.model.free_nats)
            .named("kl")
        )
        fit = model.aligned(model.heads().mean()) + c.kl * divergence
        return E(model.scan(), fit + E(self.dream, E(returns, behaviour)))

    def learn(self, batch: Batch) -> Learned:
        """One update of everything: world model, policy, value.

        Raises:
            NotFinite: the loss or the gradient is not finite; weights and optimizer are as before.
        """
        return self._learned(batch, self.optimizer)
