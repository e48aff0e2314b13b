"""Plans in the latent state of a world model that filters: PlaNet's actor, and a Dreamer's that
plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from agents.agent import State
from agents.checked import Checked
from agents.planning.plan import Plan, Solver
from agents.planning.scorer import AtEnd, PathScorer
from agents.spaces import ActionSpec
from pixyz.distributions import Distribution, Mean, Scan

PATH = "_all"


class LatentPlanner(Checked):
    r"""Filters observations into a latent state and plans from it.

    .. math:: s_t \sim q(s_t | s_{t-1}, a_{t-1}, x_t), \quad
        a_{t:t+H} = \arg\max \mathbb{E}\Big[\sum_{k=1}^{H} \gamma^{k-1} r(s_{t+k}) \prod_{i<k}
            c(s_{t+i}) + \dots v(s_{t+H})\Big]

    A path is one draw of the model for each candidate. (Hafner et al. 2019.)

    Args:
        model: a world model that reads actions and predicts rewards and continuation, such as
            :class:`worldmodels.RSSM`.
        solver: finds the actions.
        action: what an action is.
        discount: per step; the continuation's target is divided by ``target``.
        target: the discount that the continuation was learned with.
        value: of a last state; nothing counts after a path if None.
        policy: a distribution of ``action`` given the state, for candidates; none if None.
        proposals: how many candidates it gives.
        draws: explore by a draw from the plan's distribution; else the best action is taken then,
            too.
        precision: gives the context that the networks are called in.

    >>> from agents.planning import CEM
    >>> from worldmodels import RSSM, RSSMConfig
    >>> model = RSSM(
    ...     {"x": (3,)}, 1, RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8)
    ... )
    >>> actor = LatentPlanner(
    ...     model, CEM(ActionSpec(1), horizon=4, candidates=16, elites=4), ActionSpec(1)
    ... )
    >>> first = {"x": torch.zeros(2, 3), "is_first": torch.ones(2, dtype=torch.bool)}
    >>> actor.act(first, actor.initial(2))[0].shape
    torch.Size([2, 1])
    """

    what: ClassVar[str] = "planner"

    def __init__(
        self,
        model: Any,
        solver: Solver,
        action: ActionSpec,
        discount: float = 1.0,
        target: float = 1.0,
        value: Distribution | None = None,
        policy: Distribution | None = None,
        proposals: int = 0,
        draws: bool = False,
        precision: Any = nullcontext,
    ) -> None:
        self.model = model
        self.keys = list(model.keys)
        self.solver = solver
        self.action = action
        self.target = target
        self.precision = precision
        self.value, self.proposals, self.draws = value, proposals, draws
        names = list(model.initial(1))
        at = {f"{k}_prev": k for k in names}
        ahead = Scan(
            model.transition,
            ["action_prev"],
            {k: prev for prev, k in at.items()},
            path={k + PATH: f"{k}_prev" for k in names},
        )
        # kept as products, so that their plans are kept
        self.ahead: Distribution = Mean(model.cont, "c") * Mean(model.reward, "r") * ahead
        self.dream = (
            None if policy is None or not proposals else model.dream(policy, solver.horizon)
        )
        self.discount = discount
        self.scorer = self._scoring(None)

    @property
    def _names(self) -> list[str]:
        return list(self.model.initial(1))

    def initial(self, rows: int) -> State:
        """The model's first state, ``action``, the action before it, and the plan that the next one
        starts from: none.
        """
        like = next(self.model.parameters()).detach()
        memory = self.solver.init(rows, like)
        return {
            **self.model.initial(rows),
            "action": like.new_zeros(rows, self.action.size),
            **memory,
        }

    @torch.no_grad()
    def choose(
        self, obs: Mapping[str, Tensor], state: State, explore: bool
    ) -> tuple[Tensor, State]:
        """As :meth:`act`, and looks at no number."""
        plan, following = self.plan(obs, state)
        action = plan.draw() if explore and self.draws else plan.best()
        return action, {**following, "action": action}

    @torch.no_grad()
    def plan(
        self, obs: Mapping[str, Tensor], state: State, generator: torch.Generator | None = None
    ) -> tuple[Plan, State]:
        """The plan after observations ``[B, ...]``, with its candidates, and the state for the next
        one, without an action.
        """
        first, names = obs["is_first"].bool(), self._names
        # a product would keep a NaN
        before = {k: state[k].masked_fill(first.unsqueeze(-1), 0) for k in (*names, "action")}
        given = {f"{k}_prev": v for k, v in before.items()} | {k: obs[k] for k in self.model.keys}
        memory = {k: v for k, v in state.items() if k not in before}
        with self.precision():
            drawn = self.model.step.sample(given, return_all=False, generator=generator)
            now = {k: drawn[k] for k in names}
            plan, memory = self.solver.solve(
                (self.scorer if generator is None else self._scoring(generator)).at(now),
                memory,
                first=first,
                proposals=self._propose(now, generator),
                generator=generator,
            )
        return plan, {**now, "action": before["action"], **memory}

    @staticmethod
    def acted(state: State, action: Tensor) -> State:
        """The state if another action was done."""
        return {**state, "action": action.to(state["action"])}

    def _propose(self, state: State, generator: torch.Generator | None) -> Tensor | None:
        if self.dream is None:
            return None
        rows = {k: v.repeat(self.proposals, *[1] * (v.ndim - 1)) for k, v in state.items()}
        actions = self.dream.sample(rows, return_all=False, generator=generator)["action_prev"]
        return actions.unflatten(1, (self.proposals, -1)).clamp(-1.0, 1.0)

    def _scoring(self, generator: torch.Generator | None) -> PathScorer:
        last: AtEnd | None = None if self.value is None else self._value
        imagine = partial(self._imagine, generator)
        return PathScorer(imagine, self._rewards, last, self._live, self.discount)

    def _imagine(self, generator: torch.Generator | None, state: State, actions: Tensor) -> State:
        given = {f"{k}_prev": v for k, v in state.items()} | {"action_prev": actions}
        found = self.ahead.sample(given, return_all=False, generator=generator)
        return {**{k: found[k + PATH] for k in state}, "r": found["r"], "c": found["c"]}

    def _rewards(self, path: State, actions: Tensor) -> Tensor:
        return path["r"].squeeze(-1)

    def _live(self, path: State, actions: Tensor) -> Tensor:
        return path["c"].squeeze(-1) / self.target

    def _value(self, state: State) -> Tensor:
        assert self.value is not None
        return self.value.sample_mean({k: state[k] for k in self.value.cond_var}).squeeze(-1)
