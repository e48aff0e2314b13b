r"""TD-MPC: a latent model without a decoder, a value learned by temporal differences, and a planner
on both.

.. math::
    L = \mathbb{E}\sum_{t} \rho^t \big[-20 \log p(e_{t+1}|z_{t+1}) - 0.1 \log p_r(r_{t+1}|z_t, a_t)
        - 0.1 \log Q(y_t|z_t, a_t) - 0.1 \log p_c(c_{t+1}|z_{t+1})\big]
        - \mathbb{E}\sum_t \rho^t \big[Q(\bar z_t, a)/S + \eta H[\pi(a|\bar z_t)]\big]

with ``z_{t+1} = d(z_t, a_t)`` from the first state's latent, and the target ``e`` the next
observation's latent without gradient (Hansen et al. 2022, 2024). Nothing is computed beside the
expression: what :attr:`TDMPC.objective` prints is what trains.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from agents.agent import Batch, Learned, Nested, Window
from agents.compiling import Beside, Switch
from agents.replay.priorities import Ranked
from agents.spaces import ActionSpec
from agents.tdmpc.acting import Plans
from agents.tdmpc.config import TDMPCConfig
from agents.tdmpc.heads import (
    Continue,
    Critics,
    Dynamics,
    Encoder,
    LatentsAhead,
    NextLatent,
    Reward,
    build_policy,
)
from agents.tdmpc.targets import Constant, ScaledValue, StepWeights, Target, n_step
from agents.torch_agent import TorchAgent, follow
from pixyz.distributions import Distribution, Mean, Scan
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import Entropy
from pixyz.types import PixyzError
from worldmodels.networks import check_keys

NEXT, LATER = "_next", "_later"
NAMES = ("consistency", "reward_loss", "value", "cont_loss", "policy")
RESERVED = (
    "z",
    "z_0",
    "z_all",
    "z_bar",
    "e",
    "e_later",
    "y",
    "q",
    "q_e",
    "q_pi",
    "w",
    "w_pi",
    "on",
    "action",
    "a_e",
    "a_bar",
    "reward",
    "cont",
    "reward_n",
    "discount_n",
    "is_first",
    "is_last",
    "is_terminal",
    "mask",
)


class TDMPC(Plans, TorchAgent):
    """The agent; it plans when it explores, too.

    Args:
        shapes: observation key -> shape of one observation, ``[D]`` or ``[H, W, C]``.
        action: what an action is.
        config: sizes, weights and rates.
        fission: split the time loops; False is the reference in tests.

    Raises:
        PixyzError: an observation's name is taken, or a shape is neither that of a vector nor of an
            image.

    >>> config = TDMPCConfig(
    ...     latent=16, units=16, encoder_units=16, critics=2, candidates=16, proposals=2, elites=4
    ... )
    >>> agent = TDMPC({"x": (3,)}, ActionSpec(1), config)
    >>> action, state = agent.act(
    ...     {"x": torch.zeros(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}, agent.initial(2)
    ... )
    >>> action.shape, state["plan"].shape
    (torch.Size([2, 1]), torch.Size([2, 3, 1]))
    """

    Config = TDMPCConfig

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        action: ActionSpec,
        config: TDMPCConfig | None = None,
        fission: bool = True,
    ) -> None:
        super().__init__()
        self.config = c = config or TDMPCConfig()
        taken = [k for k in shapes if k in RESERVED or k.endswith((NEXT, LATER))]
        odd = {k: tuple(s) for k, s in shapes.items() if len(s) not in (1, 3)}
        if taken:
            raise PixyzError(
                f"{', '.join(taken)}: expected observations by other names, got names that are "
                f"taken: *{NEXT}, *{LATER}, {', '.join(RESERVED)}; rename them"
            )
        if odd or not shapes:
            raise PixyzError(
                "expected observations as vectors [D] or images [H, W, C], "
                f"got {odd or 'none'}; leave out or reshape what is neither"
            )
        check_keys(shapes)
        self.action, self.keys, self.fission = action, list(shapes), fission
        self.encoder, self.dynamics = Encoder(shapes, c), Dynamics(action.size, c)
        self.next_latent = NextLatent(c)
        self.reward = Reward(action.size, c)
        self.cont = Continue(c)
        self.critics, self.policy = Critics(action.size, c), build_policy(action, c)
        self.slow_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.slow_critics.name = r"Q^{slow}"
        self.target = Target(c.pessimism)
        self.weights = StepWeights(c.rho)
        self.scaled = ScaledValue(c.scale_rate)
        # no submodule: its distributions are registered above, and the state dict shall hold them
        # once
        self.__dict__["_objective"] = self._write_objective()
        self.optimizer = torch.optim.Adam(self._groups(), c.lr, fused=True)
        self.switch = Switch(c.compile_from, c.horizon, Beside(shapes, action, c))
        self._begin()

    def _groups(self) -> list[dict[str, object]]:
        encoder = list(self.encoder.parameters())
        own = {id(p) for p in encoder}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in own]
        return [
            {"params": encoder, "lr": self.config.lr * self.config.encoder_lr},
            {"params": rest},
        ]

    # ---------------------------------------------------------------- the objective

    @property
    def objective(self) -> Loss:
        """All losses, one expression; its variables are those of :meth:`prepare`."""
        found: Loss = self.__dict__["_objective"]
        return found

    def parts(self) -> dict[str, Distribution]:
        """The distributions that it is made of, by what they are for."""
        return {
            "a state": self.encoder,
            "a step of the model": self.dynamics * self.reward * self.cont.at(z_next="z_next"),
            "values": self.critics,
            "acting": self.policy,
        }

    @property
    def recorded(self) -> list[str]:
        """The observations of each step's targets."""
        ends = (NEXT, LATER) if self.config.n_step > 1 else (NEXT,)
        return [k + end for end in ends for k in self.keys]

    @property
    def ahead(self) -> Scan:
        """The model along the recorded actions, from the first observation's latent."""
        return Scan(
            self.dynamics,
            [*self.recorded, "action", "reward", "cont", "reward_n", "discount_n", "on"],
            {"z_next": "z"},
            start={"z": "z_0"},
            path={"z_all": "z"},
            fission=self.fission,
        )

    def _write_objective(self) -> Loss:
        c = self.config
        after, later = ([k + ending for k in self.keys] for ending in (NEXT, LATER))
        if c.n_step > 1:
            end, seen = "e_later", LatentsAhead(self.encoder, after, later).detach()
        else:
            end, seen = "e", self.encoder.at(z="e", **dict(zip(self.keys, after))).detach()
        following = self.policy.at(z=end, action="a_e").detach()
        bootstrap = Mean(self.slow_critics.at(z=end, action="a_e"), "q_e").detach()
        targets = self.target.detach() * bootstrap * following * seen * self.weights.detach()
        model = (
            c.consistency * (-LogProb(self.next_latent)).named("consistency")
            + c.reward * (-LogProb(self.reward)).named("reward_loss")
            + c.value / c.critics * (-LogProb(self.critics)).named("value")
            + c.cont * (-LogProb(self.cont)).named("cont_loss")
        )
        acting = self.policy.at(z="z_bar", action="a_bar")
        valued = self.scaled * Mean(self.critics.frozen().at(z="z_bar", action="a_bar"), "q_pi")
        entropy = Entropy(acting) if self.action.discrete else -LogProb(acting)
        policy = -(Parameter("w_pi") * (Parameter("q") + c.entropy * entropy))
        behaviour = E(
            valued * acting * Constant("z_bar", "z_all").detach(), policy.named("policy").mean()
        )
        return E(
            self.encoder.at(z="z_0"),
            E(self.ahead, E(targets, (Parameter("w") * model).mean() + behaviour)),
        )

    # ---------------------------------------------------------------- learning

    def state(self) -> Nested:
        """Weights, running estimates, optimizer; how far compiling is, where it is asked for."""
        own = {"switch": self.switch.state()} if self.switch.at else {}
        return {**super().state(), **own}

    def load_state(self, state: Nested) -> None:
        """Be as it was."""
        super().load_state(state)
        if self.switch.at:
            self.objective.compile(0)
            self.switch.load_state(state.get("switch", {"updates": 0, "on": False, "obs": {}}))

    @property
    def window(self) -> Window:
        """Short sequences: a start, ``horizon`` steps,
        and what the last one's target looks ahead.
        """
        return Window(self.config.batch, self.config.horizon + self.config.n_step)

    @property
    def ranks(self) -> Ranked:
        """Sequences, by what they cost the critics."""
        return "sequences"

    @property
    def acting(self) -> nn.Module:
        """All but the slow critics."""
        model = [self.encoder, self.dynamics, self.reward, self.cont]
        return nn.ModuleList([*model, self.critics, self.policy, self.scaled])

    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's variables from recorded sequences ``[H + n_step, B, ...]``."""
        c = self.config
        after = slice(1, c.horizon + 1)
        reward, first = batch["reward"], batch["is_first"]
        cont = 1.0 - batch["is_terminal"].to(reward.dtype)
        later = n_step(reward, cont, first, c.n_step, c.discount)
        x = {k: batch[k][0] for k in self.keys} | {k + NEXT: batch[k][after] for k in self.keys}
        if c.n_step > 1:
            column = torch.arange(reward.shape[1], device=reward.device)
            x |= {k + LATER: batch[k][later.row, column] for k in self.keys}
        numbers = {
            "reward": reward[after],
            "cont": cont[after],
            "reward_n": later.reward,
            "discount_n": later.discount,
        }
        on = 1.0 - first[after].to(reward.dtype)
        return {**x, "action": batch["action"][: c.horizon], "on": on} | {
            k: v.unsqueeze(-1) for k, v in numbers.items()
        }

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective of a batch, and its terms."""
        loss, found = self.objective.eval(self.prepare(batch), return_dict=True, return_all=False)
        return loss, {k: found[k] for k in NAMES}

    def learn(self, batch: Batch) -> Learned:
        """One update of everything: model, critics, policy.

        Raises:
            NotFinite: the loss or the gradient is not finite; weights, running estimates and
                optimizer are as before.
        """
        self.train()
        self.switch.before(self, batch)
        bounds = self.scaled.scale.bounds
        undo = [(bounds, bounds.clone())]
        loss, found = self.evaluate(batch)
        metrics = self.minimise(
            loss, self.optimizer, {k: found[k] for k in NAMES}, batch, undo, self.config.clip
        )
        if self.encoder.standard is not None:
            self.encoder.standard.take(batch)
        self.cont.met |= batch["is_terminal"].any()
        self.update_slow()
        self.switch.updates += 1
        return Learned(metrics, priority=self._surprise(found, batch))

    def _surprise(self, found: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The critics' loss of each sequence up to the end of its first episode, its steps weighted
        as in the objective, ``[1, B]``; 0 where it begins with a last row (Hansen et al. 2022).
        """
        value = found["value"].detach()
        on = 1.0 - batch["is_first"][1 : len(value) + 1].to(value.dtype)
        w = self.weights(on=on)["w"]
        return (w * value).mean(0, keepdim=True).clamp_min(0.0)

    def update_slow(self) -> None:
        """Move the slow critics a little towards the critics."""
        follow(self.slow_critics, self.critics, self.config.slow_rate)
