r"""SAC: an off-policy actor and critics that are paid for the policy's entropy (Haarnoja et al.
2018).

.. math::
    L = \mathbb{E}\big[-\textstyle\sum_i \log \mathcal{N}(y; Q_i(s, a), 1)\big]
        + \mathbb{E}_{a \sim \pi}\big[\bar\alpha \log \pi(a|\bar s) - \min_i \underline{Q}_i(\bar s,
            a)\big]
        - \alpha\, \mathbb{E}_{a \sim \pi}\big[\overline{\log \pi(a|\bar s) + \mathcal{H}}\big]

with :math:`y = r + \gamma c (\min_i Q^{slow}_i(s', a') - \alpha \log \pi(a'|s'))`, :math:`a' \sim
\pi`. The bar stops gradients, underlined weights are constants. Policy, critics and temperature
move at once, and not one after another.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from agents.agent import Batch, Choose, Learned, State, Window
from agents.checked import Checked
from agents.replay.priorities import Ranked
from agents.sac.config import SACConfig
from agents.sac.heads import Critics, JointCritics, Observation, Target, Temperature, build_policy
from agents.spaces import ActionSpec, most_probable
from agents.torch_agent import TorchAgent, follow
from pixyz.distributions import Distribution, LogDensity, Mean, Normal
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.types import PixyzError
from worldmodels.networks import check_keys

NEXT = "_next"
NAMES = ("critic", "policy", "temperature")
OWN = ("s", "a", "l", "y", "q", "q_slow", "q_least", "alpha", "w")
"""What the objective has for itself, also with ``_next`` behind it."""


class SAC(Checked, TorchAgent):
    """The agent.

    Args:
        shapes: observation key -> shape of one observation, ``[D]`` or ``[H, W, C]``.
        action: what an action is.
        config: sizes and rates.

    Raises:
        PixyzError: an observation's name is taken, or a shape is neither that of a vector nor of an
            image.

    >>> agent = SAC({"x": (3,)}, ActionSpec(1), SACConfig(units=16))
    >>> action, _ = agent.act(
    ...     {"x": torch.zeros(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}, agent.initial(2)
    ... )
    >>> action.shape
    torch.Size([2, 1])
    """

    Config = SACConfig
    memoryless: ClassVar[bool] = True
    """It acts by the newest observation alone."""

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        action: ActionSpec,
        config: SACConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = c = config or SACConfig()
        check_keys(shapes, more=OWN, endings=(NEXT, "_bar", "_pi", "_min"))
        odd = {k: tuple(s) for k, s in shapes.items() if len(s) not in (1, 3)}
        if odd:
            raise PixyzError(f"observations are vectors [D] or images [H, W, C], got {odd}")
        self.action, self.keys = action, list(shapes)
        self.observation = Observation(shapes, c)
        self.policy = build_policy(self.observation.size, action, c)
        self.critics = Critics(self.observation.size, action, c)
        self.temperature, self.target = Temperature(c.temperature), Target(c.discount, c.critics)
        self.values = Normal("y", "q", "Q", features_shape=[c.critics], loc="q", scale=1.0)
        self.slow_critics: Critics | None = None
        if c.slow:
            self.slow_critics = copy.deepcopy(self.critics).requires_grad_(False)
            self.slow_critics.name = "Q^{slow}"
        # no submodule: its distributions are registered above, and the state dict shall hold them
        # once
        self.__dict__["_objective"] = self._write_objective()
        trained = [p for p in self.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, c.lr, (c.beta1, 0.999), fused=True)
        # kept as products, so that their plans are kept
        self.exploring = self.observation * self.policy
        self.greedy = self.observation * Mean(self.policy, "action")

    # ---------------------------------------------------------------- the objective

    @property
    def objective(self) -> Loss:
        """All losses, one expression; its variables are those of :meth:`prepare`."""
        found: Loss = self.__dict__["_objective"]
        return found

    def parts(self) -> dict[str, Distribution]:
        """The distributions that it is made of, by what they are for."""
        return {
            "a state": self.observation,
            "values": self.critics,
            "a target": self.target,
            "acting": self.policy,
        }

    @property
    def target_entropy(self) -> float:
        """What the policy's entropy is held at, nats."""
        c, a = self.config, self.action
        return c.target_share * math.log(a.size) if a.discrete else c.target_entropy * a.size

    def _drawn(self, s: str, action: str) -> Distribution:
        """An action of the policy; the probabilities of choices, which critics and densities are
        linear in.
        """
        policy = self.policy.at(s=s)
        return Mean(policy, action) if self.action.discrete else policy.at(action=action)

    def _write_objective(self) -> Loss:
        now, ahead = (
            self.observation,
            self.observation.at(s="s_next", **{k: k + NEXT for k in self.keys}),
        )
        log_next = LogDensity(self.policy.at(s="s_next", action="a_next"), "l_next")
        following = (log_next * self._drawn("s_next", "a_next") * ahead).detach()
        valued: Distribution
        if self.slow_critics is not None:
            slow = self.slow_critics.at(
                s="s_next", action="a_next", q="q_slow", q_min="q_next"
            ).detach()
            valued = self.critics.at(q_min="q_least") * slow
        else:
            valued = JointCritics(self.critics)
        critic = (-LogProb(self.values)).named("critic")
        learned = E(self.target.detach() * valued * following * now, Parameter("w") * critic)
        log_pi = LogProb(self.policy.at(s="s_bar", action="a_pi"))
        judged = self.critics.frozen().at(s="s_bar", action="a_pi", q="q_pi", q_min="q_bar")
        alpha = Parameter("alpha")
        behaviour = (alpha.detach() * log_pi - Parameter("q_bar")).named("policy")
        warmth = (-alpha * (log_pi + self.target_entropy).detach()).named("temperature")
        acting = judged * self._drawn("s_bar", "a_pi") * self.observation.at(s="s_bar").detach()
        return E(self.temperature, learned.mean() + E(acting, behaviour.mean() + warmth.mean()))

    # ---------------------------------------------------------------- acting

    @property
    def window(self) -> Window:
        """Transitions."""
        return Window(self.config.batch, 2)

    @property
    def ranks(self) -> Ranked:
        """Transitions, by their temporal-difference error."""
        return "sequences"

    @property
    def acting(self) -> nn.Module:
        """The policy, and the image encoder."""
        return nn.ModuleList([self.observation, self.policy])

    def initial(self, rows: int) -> State:
        """Nothing is remembered."""
        return {}

    @torch.no_grad()
    def choose(
        self, obs: Mapping[str, Tensor], state: State, explore: bool
    ) -> tuple[Tensor, State]:
        """As :meth:`act`, and looks at no number: NaN comes out where it goes in."""
        seen = {k: obs[k] for k in self.keys}
        action = (self.exploring if explore else self.greedy).sample(seen, return_all=False)[
            "action"
        ]
        if self.action.discrete:
            action = most_probable(action)
        return action, state

    @property
    def exports(self) -> dict[str, Choose]:
        """The policy."""
        return {"policy": self.choose}

    # ---------------------------------------------------------------- learning

    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's variables from transitions ``[2, B, ...]``; where an episode begins
        between the two, ``w`` is 0.
        """
        x = {k: batch[k][0] for k in self.keys} | {k + NEXT: batch[k][1] for k in self.keys}
        reward = batch["reward"][1]
        cont, w = (1.0 - batch[k][1].to(reward.dtype) for k in ("is_terminal", "is_first"))
        return {**x, "action": batch["action"][0], "reward": reward, "cont": cont, "w": w}

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective of a batch, its terms, and the critics' numbers with their target."""
        loss, found = self.objective.eval(self.prepare(batch), return_dict=True, return_all=False)
        return loss, {k: found[k] for k in (*NAMES, "q", "y")}

    def learn(self, batch: Batch) -> Learned:
        """One update of everything: critics, policy, temperature.

        Raises:
            NotFinite: the loss or the gradient is not finite; weights, running moments and
                optimizer are as before.
        """
        self.train()
        undo = [(b, b.clone()) for b in self.critics.buffers()]
        loss, found = self.evaluate(batch)
        metrics = self.minimise(loss, self.optimizer, {k: found[k] for k in NAMES}, batch, undo)
        if self.observation.standard is not None:
            self.observation.standard.take(batch)
        if self.slow_critics is not None:
            follow(self.slow_critics, self.critics, self.config.slow_rate)
        return Learned(metrics, priority=self._surprise(found, batch))

    @staticmethod
    def _surprise(found: Mapping[str, Tensor], batch: Batch) -> Tensor:
        r"""The temporal-difference error of each transition, :math:`|y - Q|`, the critics' mean,
        ``[1, B]`` (Schaul et al. 2016); 0 between two episodes.
        """
        error = (found["y"] - found["q"]).detach().abs().mean(-1)
        return error.masked_fill(batch["is_first"][1].bool(), 0.0).unsqueeze(0)
