"""Acting in a world model's latent state: what V1, V2, V3 and PlaNet share."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor

from agents.agent import State
from agents.checked import Checked
from agents.spaces import ActionSpec, most_probable
from pixyz.distributions import Distribution, Mean


class LatentActor(Checked):
    r"""Filters observations into a latent state and draws an action from it.

    .. math:: s_t \sim q(s_t | s_{t-1}, a_{t-1}, x_t), \quad a_t \sim \pi(a_t | s_t)

    Args:
        model: a world model that reads actions: ``step``, ``keys``, ``initial``.
        policy: a distribution of ``action`` given the model's state.
        action: what an action is.
        precision: gives the context that the networks are called in.

    >>> from agents.dreamer.heads import build_policy
    >>> from worldmodels import RSSM, RSSMConfig
    >>> model = RSSM(
    ...     {"x": (3,)}, 1, RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8)
    ... )
    >>> actor = LatentActor(
    ...     model, build_policy(ActionSpec(1), model.config.features, 8, 1, 0.01), ActionSpec(1)
    ... )
    >>> first = {"x": torch.zeros(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}
    >>> actor.act(first, actor.initial(2))[0].shape
    torch.Size([2, 1])
    """

    what: ClassVar[str] = "policy"

    def __init__(
        self, model: Any, policy: Distribution, action: ActionSpec, precision: Any = nullcontext
    ) -> None:
        self.model, self.action, self.precision = model, action, precision
        self.keys = list(model.keys)
        # kept as products, so that their plans are kept
        self.exploring: Distribution = model.step * policy
        self.greedy: Distribution = model.step * Mean(policy, "action")

    def initial(self, rows: int) -> State:
        """The model's first state, and ``action``, the action before it: zeros."""
        like = next(self.model.parameters())
        return {**self.model.initial(rows), "action": like.new_zeros(rows, self.action.size)}

    @torch.no_grad()
    def choose(
        self, obs: Mapping[str, Tensor], state: State, explore: bool
    ) -> tuple[Tensor, State]:
        """As :meth:`act`, and looks at no number: NaN comes out where it goes in."""
        first = obs["is_first"].bool().unsqueeze(-1)
        # a product would keep a NaN
        given = {f"{k}_prev": v.masked_fill(first, 0) for k, v in state.items()}
        seen = {k: obs[k] for k in self.keys}
        with self.precision():
            drawn = (self.exploring if explore else self.greedy).sample(
                {**given, **seen}, return_all=False
            )
        action = drawn["action"]
        if self.action.discrete:
            action = most_probable(action)
        else:
            action = action.clamp(-1.0, 1.0)
        return action, {**{k: drawn[k] for k in state if k != "action"}, "action": action}

    @staticmethod
    def acted(state: State, action: Tensor) -> State:
        """The state if another action was done."""
        return {**state, "action": action.to(state["action"])}
