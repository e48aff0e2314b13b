r"""DreamerV3 (Hafner et al. 2023, the 2024 revision in Nature 2025): every loss as one expression.

.. math::
    L = \mathbb{E}_{seen}\big[\beta L_{model} + \mathbb{E}_{dream}[L_{policy} + L_{value}] + 0.3 L_{replay\ value}\big]

``seen`` filters the recorded sequence, ``dream`` imagines from every state of it.  Nothing is computed beside the
expression: what :attr:`DreamerV3.objective` prints is what trains.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from agents.agent import Batch, Choose, Learned, State, Window
from agents.dreamer.config import DreamerV3Config
from agents.dreamer.heads import build_policy
from agents.dreamer.normalize import ReturnRange
from agents.dreamer.optimizer import LaProp
from agents.dreamer.returns import ImaginedReturn, ReplayReturn
from agents.latent import LatentActor
from agents.spaces import ActionSpec
from agents.torch_agent import TorchAgent
from pixyz.distributions import Distribution, Mean, Scan
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import Entropy
from worldmodels.own_terms import Terms
from worldmodels.rssm import RSSM, ScalarHead

PATH = {"deter": "deter_all", "stoch": "stoch_all"}
NAMES = ("rec", "rew", "con", "dyn", "rep", "policy", "value", "replay_value")


class DreamerV3(TorchAgent):
    """The agent.

    Args:
        shapes: observation key -> shape of one observation, ``[D]`` or ``[H, W, C]``.
        action: what an action is.
        config: sizes, weights and rates.
        fission: split the time loops; False is the reference in tests.
        terms: own terms of the world model's objective, by name: losses over a step's variables, or a function of the model
            that gives them; see :class:`worldmodels.StateSpaceModel`. They see the draws that all terms see, and are in the
            log under their names.

    >>> from worldmodels import RSSMConfig
    >>> config = DreamerV3Config(RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8), units=8)
    >>> agent = DreamerV3({"x": (3,)}, ActionSpec(1), config)
    >>> action, state = agent.act({"x": torch.zeros(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}, agent.initial(2))
    >>> action.shape
    torch.Size([2, 1])
    """

    Config = DreamerV3Config

    def __init__(
        self, shapes: Mapping[str, Sequence[int]], action: ActionSpec, config: DreamerV3Config | None = None,
        fission: bool = True, terms: Terms | None = None,
    ) -> None:
        super().__init__()
        self.config = c = config or DreamerV3Config()
        self.action = action
        size = c.model.features
        self.model = RSSM(shapes, action.size, c.model, fission=fission, terms=terms)
        self.policy = build_policy(action, size, c.units, c.actor_layers, c.unimix)
        self.value = ScalarHead("ret", "v", size, c.units, c.critic_layers, c.bins)
        self.slow_value = copy.deepcopy(self.value).requires_grad_(False)
        self.slow_value.name = r"v^{slow}"
        self.imagined = ImaginedReturn(c.lam, 1.0, ReturnRange(c.return_rate, limit=c.return_limit))
        self.recorded = ReplayReturn(c.lam, c.discount)
        # no submodule: its distributions are registered above, and the state dict shall hold them once
        self.__dict__["_objective"] = self._write_objective().compile(c.chunk, whole=c.whole).in_slabs(c.max_rows)
        self.actor = LatentActor(self.model, self.policy, action, self._precision)
        self.optimizer = LaProp(
            [p for p in self.parameters() if p.requires_grad], c.lr, c.beta1, c.beta2, c.eps, c.clip, c.warmup, c.halving
        )

    # ---------------------------------------------------------------- the objective

    @property
    def objective(self) -> Loss:
        """All losses, one expression; its variables are those of :meth:`prepare`."""
        found: Loss = self.__dict__["_objective"]
        return found

    def parts(self) -> dict[str, Distribution]:
        """The distributions that it is made of, by what they are for."""
        return {
            "a step of filtering": self.model.step, "a step of imagination": self.model.transition,
            "acting": self.policy,
        }

    @property
    def dream(self) -> Scan:
        """Imagination under the policy, from every state of the recorded sequence, without gradient."""
        return self.model.dream(self.policy, self.config.horizon)

    def _write_objective(self) -> Loss:
        c, value, slow = self.config, self.value, self.slow_value
        # under the recorded sequence: deter, stoch; under the dream: deter_all, stoch_all and action_prev, which
        # was taken in the state deter_prev, stoch_prev
        on_path = (
            Mean(self.model.reward.at(**PATH), "r") * Mean(self.model.cont.at(**PATH), "c")
            * Mean(value.at(**PATH), "v") * Mean(slow.at(**PATH), "v_slow")
        )
        returns = on_path * self.imagined.detach()
        seen_returns = self.recorded.detach() * Mean(slow, "v_slow_seen").detach()
        acting = self.policy.at(action="action_prev", deter="deter_prev", stoch="stoch_prev")
        w, adv = Parameter("w"), Parameter("adv")
        policy = -(Parameter("w_pi") * (adv * LogProb(acting) + c.entropy * Entropy(acting)))
        imagined = LogProb(value.at(**PATH)) + c.slow_regularizer * LogProb(value.at(ret="v_slow", **PATH))
        recorded = LogProb(value.at(ret="ret_seen")) + c.slow_regularizer * LogProb(value.at(ret="v_slow_seen"))
        behaviour = policy.named("policy").mean() + (-(w * imagined)).named("value").mean()
        replay = (-(Parameter("w_seen") * recorded)).named("replay_value").mean()
        inner = E(returns, behaviour + c.replay_value * E(seen_returns, replay))
        return E(self.model.scan(), self.model.terms().mean() + E(self.dream, inner))

    # ---------------------------------------------------------------- acting

    @property
    def window(self) -> Window:
        """Sequences, with one row before them that holds the state they start from."""
        return Window(self.config.batch, self.config.length, int(self.config.stored_latents))

    @property
    def stored(self) -> Mapping[str, tuple[int, ...]]:
        """The latent state."""
        return self.actor.shapes if self.config.stored_latents else {}

    @property
    def acting(self) -> nn.Module:
        """Encoder, dynamics, posterior and policy; the units of changes, where the model predicts those."""
        model = self.model
        found = nn.ModuleList([model.encoder, model.dynamics, model.posterior, self.policy])
        return found if model.steps is None else found.append(model.steps)

    def initial(self, rows: int) -> State:
        """Zeros: the model's state and ``action``, the action before."""
        return self.actor.initial(rows)

    def act(self, obs: Mapping[str, Tensor], state: State, *, explore: bool = False) -> tuple[Tensor, State]:
        """Actions ``[B, A]`` in [-1, 1] (one-hot for discrete spaces) after observations ``[B, ...]``.

        Args:
            obs: the observation keys and ``is_first [B]``.
            state: from :meth:`initial` or the last call.
            explore: draw from the policy; else its mean (the most probable choice).

        Raises:
            NotFinite: an observation is not finite.
        """
        return self.actor.act(obs, state, explore=explore)

    @property
    def exports(self) -> dict[str, Choose]:
        """The policy on the filtered state."""
        return {"policy": self.actor.choose}

    # ---------------------------------------------------------------- learning

    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's variables from recorded sequences.

        With stored latents, the first step of the batch only gives the state that the rest starts from.
        """
        own = self.model.own.reads
        x = {k: batch[k] for k in (*self.model.keys, "action", "is_first", "is_last", "is_terminal", *own)}
        x["reward"] = batch["reward"].unsqueeze(-1)
        if self.config.stored_latents:
            start = {f"{k}_prev": batch[k][0] for k in (*self.stored, "action")}
            x = {k: v[1:] for k, v in x.items()} | start
        x["cont"] = (1.0 - x["is_terminal"].to(x["reward"].dtype)).unsqueeze(-1) * self.config.discount
        return x

    def learn(self, batch: Batch) -> Learned:
        """One update of everything: world model, policy, value.

        Raises:
            NotFinite: the loss or the gradient is not finite; weights, running estimates and optimizer are as before.
        """
        self.train()
        bounds = self.imagined.scale.bounds
        undo = [(bounds, bounds.clone())]
        with self._precision():
            loss, found = self.objective.eval(self.prepare(batch), return_dict=True, return_all=False)
        terms = {k: found[k] for k in (*NAMES, *self.model.own.losses)}
        metrics = self.minimise(loss, self.optimizer, terms, batch, undo)
        self.update_slow()
        return Learned(metrics, {k: found[k].detach() for k in self.stored})

    @torch.no_grad()
    def update_slow(self) -> None:
        """Move the slow critic a little towards the critic."""
        torch._foreach_lerp_(list(self.slow_value.parameters()), list(self.value.parameters()), self.config.slow_rate)

    def _precision(self) -> AbstractContextManager[object]:
        if self.config.precision == "float32":
            return nullcontext()
        kind = next(self.parameters()).device.type
        # the cache would hand casts made without gradient (imagination) to the policy's loss
        return torch.autocast(kind, dtype=torch.bfloat16, cache_enabled=False)
