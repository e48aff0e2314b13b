r"""DreamerV3 (Hafner et al. 2023, the 2024 revision in Nature 2025): every loss as one expression.

.. math::
    L = \mathbb{E}_{seen}\big[\beta L_{model} + \mathbb{E}_{dream}[L_{policy} + L_{value}]
        + 0.3 L_{replay\ value}\big]

``seen`` filters the recorded sequence, ``dream`` imagines from every state of it.  Nothing is
computed beside the expression: what :attr:`DreamerV3.objective` prints is what trains.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from torch import nn

from agents.agent import Batch, Learned
from agents.dreamer.config import DreamerV3Config
from agents.dreamer.heads import build_policy
from agents.dreamer.latent_agent import LatentAgent
from agents.dreamer.normalize import ReturnRange
from agents.dreamer.optimizer import LaProp
from agents.dreamer.returns import Curious, ImaginedReturn, ReplayReturn
from agents.latent import LatentActor
from agents.planning import MPPI
from agents.planning.latent import LatentPlanner
from agents.spaces import ActionSpec
from agents.torch_agent import follow
from pixyz.distributions import Mean, Scan
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import Entropy
from worldmodels.disagreement import Disagreement, StepEnsemble
from worldmodels.heads import ScalarHead
from worldmodels.own_terms import Terms, joined

PATH = {"deter": "deter_all", "stoch": "stoch_all"}


class DreamerV3(LatentAgent):
    """The agent; its arguments are those of :class:`agents.dreamer.latent_agent.LatentAgent`.

    >>> import torch
    >>> from worldmodels import RSSMConfig
    >>> config = DreamerV3Config(
    ...     RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8), units=8
    ... )
    >>> agent = DreamerV3({"x": (3,)}, ActionSpec(1), config)
    >>> action, state = agent.act(
    ...     {"x": torch.zeros(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}, agent.initial(2)
    ... )
    >>> action.shape
    torch.Size([2, 1])
    """

    Config = DreamerV3Config
    names = ("rec", "rew", "con", "dyn", "rep", "policy", "value", "replay_value")
    config: DreamerV3Config
    ensemble: StepEnsemble | None
    """Says how unsure the model is, where it is curious."""

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        action: ActionSpec,
        config: DreamerV3Config | None = None,
        fission: bool = True,
        terms: Terms | None = None,
    ) -> None:
        c = config or DreamerV3Config()
        ensemble = None
        if c.curiosity:
            state = {"deter": c.model.deter, "stoch": c.model.stoch}
            ensemble = StepEnsemble(state, action.size, "stoch", c.members, c.units)
            terms = joined({"ensemble": ensemble.term()}, terms)
        super().__init__(shapes, action, c, fission, terms)
        self.__dict__["ensemble"] = ensemble  # its weights are the model's
        size = c.model.features
        self.policy = build_policy(action, size, c.units, c.actor_layers, c.unimix)
        self.value = ScalarHead("ret", "v", size, c.units, c.critic_layers, c.bins)
        self.slow_value = copy.deepcopy(self.value).requires_grad_(False)
        self.slow_value.name = r"v^{slow}"
        self.imagined = ImaginedReturn(c.lam, 1.0, ReturnRange(c.return_rate, limit=c.return_limit))
        self.recorded = ReplayReturn(c.lam, c.discount)
        actor = (
            self._planner()
            if c.candidates
            else LatentActor(self.model, self.policy, action, self._precision)
        )
        self._begin(actor, self.policy)
        self.optimizer = LaProp(
            [p for p in self.parameters() if p.requires_grad],
            c.lr,
            c.beta1,
            c.beta2,
            c.eps,
            c.clip,
            c.warmup,
            c.halving,
        )

    def _planner(self) -> LatentPlanner:
        """Plans on the model in place of the policy's own action; the continuation has the discount
        in it.
        """
        c = self.config
        solver = MPPI(self.action, c.plan_horizon, c.candidates, c.rounds, elites=c.elites)
        return LatentPlanner(
            self.model,
            solver,
            self.action,
            value=self.value,
            policy=self.policy,
            proposals=c.proposals,
            draws=True,
            precision=self._precision,
        )

    @property
    def acting(self) -> nn.Module:
        """What filters and the policy; all of the model and the value, too, where it plans."""
        return (
            nn.ModuleList([self.model, self.policy, self.value])
            if self.config.candidates
            else super().acting
        )

    @property
    def dream(self) -> Scan:
        """Imagination under the policy, from every state of the recorded sequence, without
        gradient.
        """
        return self.model.dream(self.policy, self.config.horizon)

    def _write_objective(self) -> Loss:
        c, value, slow = self.config, self.value, self.slow_value
        # under the recorded sequence: deter, stoch; under the dream: deter_all, stoch_all and
        # action_prev, which was taken in the state deter_prev, stoch_prev
        on_path = (
            Mean(self.model.reward.at(**PATH), "r")
            * Mean(self.model.cont.at(**PATH), "c")
            * Mean(value.at(**PATH), "v")
            * Mean(slow.at(**PATH), "v_slow")
        )
        if self.ensemble is not None:
            on_path = Curious(c.curiosity) * on_path.at(r="r_task") * Disagreement(self.ensemble)
        returns = on_path * self.imagined.detach()
        seen_returns = self.recorded.detach() * Mean(slow, "v_slow_seen").detach()
        acting = self.policy.at(action="action_prev", deter="deter_prev", stoch="stoch_prev")
        w, adv = Parameter("w"), Parameter("adv")
        policy = -(Parameter("w_pi") * (adv * LogProb(acting) + c.entropy * Entropy(acting)))
        imagined = LogProb(value.at(**PATH)) + c.slow_regularizer * LogProb(
            value.at(ret="v_slow", **PATH)
        )
        recorded = LogProb(value.at(ret="ret_seen")) + c.slow_regularizer * LogProb(
            value.at(ret="v_slow_seen")
        )
        behaviour = policy.named("policy").mean() + (-(w * imagined)).named("value").mean()
        replay = (-(Parameter("w_seen") * recorded)).named("replay_value").mean()
        inner = E(returns, behaviour + c.replay_value * E(seen_returns, replay))
        return E(self.model.scan(), self.model.cost() + E(self.dream, inner))

    def learn(self, batch: Batch) -> Learned:
        """One update of everything: world model, policy, value.

        Raises:
            NotFinite: the loss or the gradient is not finite; weights, running estimates and
                optimizer are as before.
        """
        bounds = self.imagined.scale.bounds
        learned = self._learned(batch, self.optimizer, [(bounds, bounds.clone())])
        self.update_slow()
        return learned

    def update_slow(self) -> None:
        """Move the slow critic a little towards the critic."""
        follow(self.slow_value, self.value, self.config.slow_rate)
