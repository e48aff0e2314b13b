"""Exploration by noise on actions: what PlaNet and Dreamer V1 do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from agents.agent import State
from agents.checked import Checked


class Noisy(Checked):
    r"""An actor that explores by noise on its actions, held in [-1, 1]; of choices a share is
    random.

    .. math:: a \leftarrow a + \epsilon, \quad \epsilon \sim \mathcal{N}(0, \sigma^2)

    (Hafner et al. 2019, 2020.)

    Args:
        actor: with ``keys``, ``action``, ``initial``, ``choose`` and ``acted``.
        amount: the deviation, or the share.

    >>> from agents.dreamer.v1 import DreamerV1
    >>> from agents.spaces import ActionSpec
    >>> DreamerV1({"x": (3,)}, ActionSpec(1)).actor.amount
    0.3
    """

    def __init__(self, actor: Any, amount: float) -> None:
        self.actor, self.amount, self.what = actor, amount, actor.what
        self.keys = actor.keys

    def initial(self, rows: int) -> State:
        """That of the actor."""
        found: State = self.actor.initial(rows)
        return found

    @torch.no_grad()
    def choose(
        self, obs: Mapping[str, Tensor], state: State, explore: bool
    ) -> tuple[Tensor, State]:
        """As :meth:`act`, and looks at no number."""
        action, state = self.actor.choose(obs, state, explore)
        if not explore or not self.amount:
            return action, state
        if self.actor.action.discrete:
            size, rows = action.shape[-1], action.shape[:-1]
            other = nn.functional.one_hot(torch.randint(size, rows, device=action.device), size)
            random = torch.rand(rows, device=action.device).unsqueeze(-1) < self.amount
            action = torch.where(random, other.to(action.dtype), action)
        else:
            action = (action + self.amount * torch.randn_like(action)).clamp(-1.0, 1.0)
        return action, self.actor.acted(state, action)
