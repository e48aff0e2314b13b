r"""DreamerV2 (Hafner et al. 2021): every loss as one expression.

.. math::
    L = \mathbb{E}_{seen}\big[-\log p(x, r, c|s) + \alpha \max(1, \overline{D_{KL}}[\bar q\|p])
        + (1 - \alpha) \max(1, \overline{D_{KL}}[q\|\bar p])
        + \mathbb{E}_{dream}[L_{policy} - w \log v(\bar R_\lambda|\bar s)]\big]

    L_{policy} = -w \big[\rho \log \pi(\bar a|\bar s)\, \overline{(R_\lambda - v^{slow})} + (1
        - \rho) R_\lambda
        + \eta H[\pi(a|\bar s)]\big]

As in DreamerV3 a reward belongs to the arrival at a state, and a value counts what comes after it;
the published code's value counts the state's own reward, too. Its policy for numbers is a truncated
normal, here it is DreamerV3's.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from agents.agent import Batch, Learned
from agents.dreamer.config_v2 import DreamerV2Config
from agents.dreamer.heads import build_policy
from agents.dreamer.latent_agent import LatentAgent
from agents.dreamer.optimizer import ClippedAdam
from agents.dreamer.returns import PathReturn, Stop
from agents.latent import LatentActor
from agents.spaces import ActionSpec
from pixyz.distributions import Distribution, Mean
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import Entropy, KullbackLeibler
from worldmodels.heads import NormalHead
from worldmodels.own_terms import Terms

START = {"deter": "deter_0", "stoch": "stoch_0"}
PATH = {"deter": "deter_all", "stoch": "stoch_all"}
BAR = {"deter": "deter_bar", "stoch": "stoch_bar"}
TAKEN = {"action": "a_bar", "deter": "deter_pi", "stoch": "stoch_pi"}


class DreamerV2(LatentAgent):
    """The agent; its arguments are those of :class:`agents.dreamer.latent_agent.LatentAgent`.

    >>> import torch
    >>> from worldmodels import RSSMConfig
    >>> config = DreamerV2Config(
    ...     RSSMConfig(core="gru", deter=8, groups=3, classes=3, units=8), units=8
    ... )
    >>> agent = DreamerV2({"x": (3,)}, ActionSpec(1), config)
    >>> action, state = agent.act(
    ...     {"x": torch.zeros(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}, agent.initial(2)
    ... )
    >>> action.shape
    torch.Size([2, 1])
    """

    Config = DreamerV2Config
    names = ("rec", "rew", "con", "dyn", "rep", "policy", "value")
    config: DreamerV2Config

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        action: ActionSpec,
        config: DreamerV2Config | None = None,
        fission: bool = True,
        terms: Terms | None = None,
    ) -> None:
        c = config or DreamerV2Config()
        super().__init__(shapes, action, c, fission, terms)
        size = c.model.features
        self.policy = build_policy(
            action, size, c.units, c.actor_layers, 0.0, straight_through=True
        )
        self.value = NormalHead("ret", "v", size, c.units, c.critic_layers)
        self.slow_value = copy.deepcopy(self.value).requires_grad_(False)
        self.slow_value.name = r"v^{slow}"
        self.imagined = PathReturn(c.lam, c.discount)
        self._begin(LatentActor(self.model, self.policy, action, self._precision), self.policy)
        rates = ((self.model, c.lr), (self.policy, c.actor_lr), (self.value, c.critic_lr))
        self.optimizer = ClippedAdam(
            [{"params": list(part.parameters()), "lr": lr} for part, lr in rates],
            c.eps,
            c.weight_decay,
            c.clip,
        )

    @property
    def reinforce(self) -> float:
        """The share of REINFORCE in the policy's gradient."""
        return (
            float(self.action.discrete) if self.config.reinforce is None else self.config.reinforce
        )

    @property
    def dream(self) -> Distribution:
        """Imagination under the policy, from every state of the recorded sequence; with gradient to
        it, where that counts.
        """
        ahead = self.model.dream(
            self.policy, self.config.horizon, grad=self.reinforce < 1.0, frozen=True, start=START
        )
        return ahead * Stop({first: k for k, first in START.items()})

    def _write_objective(self) -> Loss:
        c, model, value, rho = self.config, self.model, self.value, self.reinforce
        # under the recorded sequence: deter, stoch; under the dream: deter_all, stoch_all and
        # action_prev, which was taken in the state deter_prev, stoch_prev
        on_path = (
            Mean(model.reward.frozen().at(**PATH), "r")
            * Mean(model.cont.frozen().at(**PATH), "c")
            * Mean(self.slow_value.at(**PATH), "v")
        )
        # H + 1 states and H actions: one function of both would pair each with each
        states = Stop({bar: PATH[k] for k, bar in BAR.items()})
        actions = Stop({bar: f"{k}_prev" for k, bar in TAKEN.items()})
        returns = self.imagined * on_path * states * actions
        acting = self.policy.at(**TAKEN)
        w, w_pi = Parameter("w"), Parameter("w_pi")
        score = c.entropy * Entropy(acting)
        if rho > 0.0:
            score = rho * (Parameter("adv") * LogProb(acting)) + score
        if rho < 1.0:
            score = (1.0 - rho) * Parameter("gain") + score
        policy = -(w_pi * score)
        behaviour = (
            policy.named("policy").mean() + (-(w * LogProb(value.at(**BAR)))).named("value").mean()
        )
        posterior, prior, free = model.posterior, model.prior, c.model.free_nats
        dyn = KullbackLeibler(posterior.detach(), prior).mean().clamp(min=free).named("dyn")
        rep = KullbackLeibler(posterior, prior.detach()).mean().clamp(min=free).named("rep")
        divergence = c.model.dyn_scale * dyn + c.model.rep_scale * rep
        return E(
            model.scan(),
            model.aligned(model.heads().mean()) + divergence + E(self.dream, E(returns, behaviour)),
        )

    def learn(self, batch: Batch) -> Learned:
        """One update of everything: world model, policy, value.

        Raises:
            NotFinite: the loss or the gradient is not finite; weights and optimizer are as before.
        """
        learned = self._learned(batch, self.optimizer)
        if self.optimizer.updates % self.config.slow_every == 0:
            self.slow_value.load_state_dict(self.value.state_dict())
        return learned
