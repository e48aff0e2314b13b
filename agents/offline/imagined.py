r"""Rows that a model imagines, under the agent's own policy, from states of a log.

.. math:: \tilde r_{t+1} = r_{t+1} - \lambda\, u(s_t, a_t)

``u`` is the disagreement of the model's members (Yu et al. 2020, with the members' distance in the
place of the largest deviation; Li et al. 2025). A policy that learns from such rows gains nothing
where the model errs in its favour: there the members disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from agents.agent import Actor, Nested
from agents.replay import ReplayBuffer
from agents.replay.blended import Part
from agents.spaces import Interface
from worldmodels.one_step import OneStep


class Imagination:
    """A source of imagined sequences (:class:`agents.run.learner.Source`).

    Every ``every`` draws it imagines anew: ``rows`` paths of ``horizon`` steps from rows of the
    log, each a stream of a replay of its own, which keeps the newest ``kept`` of such rounds.

    Args:
        model: imagines.
        actor: acts, as it explores.
        log: the rows that paths start from.
        interface: what the actor sees and does.
        unit: ``[A]``, the model's action that the agent calls 1.
        horizon, rows, every, kept: see above.
        penalty: lambda.
    """

    def __init__(
        self,
        model: OneStep,
        actor: Actor,
        log: Part,
        interface: Interface,
        unit: Any,
        *,
        horizon: int = 5,
        rows: int = 64,
        every: int = 20,
        kept: int = 20,
        penalty: float = 1.0,
    ) -> None:
        self.model, self.actor, self.log, self.interface = model.eval(), actor, log, interface
        self.unit = torch.as_tensor(np.asarray(unit, np.float32), device=actor.device)
        self.horizon, self.rows, self.every, self.penalty = horizon, rows, every, penalty
        self.replay = ReplayBuffer(
            {**interface.spec(actor.stored), **getattr(actor, "packed", {})},
            kept * (horizon + 1) * rows,
            rows,
            stored=list(actor.stored),
            online=False,
        )
        self.draws = 0
        self.doubt = 0.0
        """The mean disagreement of the newest paths, in deviations of a step of the log."""

    def can_sample(self, length: int) -> bool:
        """Whether a path is that long; paths are made when they are asked for."""
        return length <= self.horizon + 1 and self.log.can_sample(1)

    def sample(self, batch: int, length: int) -> dict[str, Any]:
        """``batch`` sequences ``[T, B, ...]``; one that goes over the end of a path says so by
        ``is_first``.
        """
        if self.draws % self.every == 0:
            self.imagine()
        self.draws += 1
        found = self.replay.sample(batch, length)
        del found["index"]  # nothing is written back: rows are forgotten soon
        return found

    def update(self, index: Any, values: Mapping[str, Any]) -> int:
        """Nothing is written to."""
        return 0

    @torch.no_grad()
    def imagine(self) -> None:
        """One round of paths."""
        actor, device = self.actor, self.actor.device
        start = self.log.sample(self.rows, 1)
        origin = {k: torch.as_tensor(start[k][0], device=device) for k in self.interface.shapes}
        obs, reward = origin, torch.zeros(self.rows, device=device)
        first = torch.ones(self.rows, dtype=torch.bool, device=device)
        over = torch.zeros_like(first)
        state, doubts, lately = actor.initial(self.rows), [], None
        for t in range(self.horizon + 1):
            action, state = actor.act({**obs, "is_first": first}, state, explore=True)
            last = over | torch.full_like(over, t == self.horizon)
            row = {**obs, "action": action, "reward": reward, **{k: state[k] for k in actor.stored}}
            row |= {"is_first": first, "is_last": last, "is_terminal": over}
            self.replay.add({k: v.cpu().numpy() for k, v in row.items()})
            step = self.model.imagine(obs, action * self.unit, lately)
            # a path that came to an end begins anew, where it did before
            obs = {k: torch.where(over[:, None], origin[k], step.obs[k]) for k in obs}
            paid = step.reward - self.penalty * step.doubt
            reward = torch.where(over, torch.zeros_like(paid), paid)
            if step.lately is not None:
                lately = step.lately.masked_fill(over[:, None, None], 0.0)
            first, over = over, step.terminal & ~over
            doubts.append(step.doubt.mean())
        self.doubt = float(torch.stack(doubts[:-1]).mean())

    # -------------------------------------------------------------- saving

    def state(self) -> Nested:
        """How many draws were made; what was imagined is not kept."""
        return {"draws": self.draws}

    def load_state(self, state: Nested) -> None:
        """Go on, with a new round of paths."""
        self.draws = int(state["draws"])
        if len(self.replay) == 0 and self.draws % self.every:
            self.imagine()
