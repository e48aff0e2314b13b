"""How TD-MPC acts: by a plan on its model, from the last plan and the policy's proposals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from agents.agent import Choose, State
from agents.checked import Checked
from agents.compiling import Switch
from agents.planning import MPPI, PathScorer, Plan
from agents.spaces import ActionSpec, most_probable
from agents.tdmpc.config import TDMPCConfig
from agents.tdmpc.heads import (
    Continue,
    ContinuousPolicy,
    Critics,
    DiscretePolicy,
    Dynamics,
    Encoder,
    Reward,
)
from agents.tdmpc.targets import ScaledValue
from pixyz.types import PixyzError

NOISE = "noise"
"""Of the state: the last noise of each environment, ``[B, A]``."""


class Plans(Checked):
    """Abstract: acts by planning with the networks that a final class has, and calls
    :meth:`_begin` when they are there.

    >>> from agents.tdmpc import TDMPC
    >>> issubclass(TDMPC, Plans)
    True
    """

    config: TDMPCConfig
    action: ActionSpec
    encoder: Encoder
    dynamics: Dynamics
    reward: Reward
    cont: Continue
    critics: Critics
    policy: ContinuousPolicy | DiscretePolicy
    scaled: ScaledValue
    memoryless: ClassVar[bool] = True
    """But for the last plan, from which the next one starts."""
    switch: Switch
    """When exploring and updates are compiled."""

    def _begin(self) -> None:
        """The planner, and what it scores paths by."""
        c = self.config
        self.solver = MPPI(
            self.action,
            c.horizon,
            c.candidates,
            c.rounds,
            elites=c.elites,
            temperature=c.temperature,
            min_std=c.min_std,
            max_std=c.max_std,
        )
        self.scorer = PathScorer(self._imagine, self._rewards, self._value, self._live, c.discount)
        self.endless = PathScorer(self._imagine, self._rewards, self._value, None, c.discount)

    def initial(self, rows: int) -> State:
        """The plan that the next one starts from: none; the last noise, where it is remembered."""
        like = next(self.encoder.parameters()).detach()
        state = self.solver.init(rows, like)
        if self.config.explore_margin:
            state[NOISE] = like.new_zeros(rows, self.action.size)
        return state

    def choose(
        self, obs: Mapping[str, Tensor], state: State, explore: bool
    ) -> tuple[Tensor, State]:
        r"""Actions ``[B, A]`` in [-1, 1] (one-hot for discrete spaces) after observations ``[B,
        ...]``.

        .. math::
            a = (1 - w)\, \pi(z) + w\, \mu_0, \quad
                w = \mathrm{clip}\Big(\frac{R(\mu) - R(\pi)}{m S}, 0, 1\Big)

        is the best one, where ``m``, the margin, is not 0: ``mu`` is the plan, ``R`` what a path is
        worth by the model and the critics, and ``S`` the range of values. A plan follows the
        critics' errors, too; where it promises hardly more than the policy's path, these are what
        it promises. Of choices it is the nearer one.

        An exploring action is drawn from the plan's normal; with ``explore_margin`` d it is

        .. math::
            a = v \mu_0 + (v \sigma_0 + 1 - v) \epsilon, \quad
                v = \mathrm{clip}\Big(\frac{\max_i R_i - \min_i R_i}{d S}, 0, 1\Big)

        with the candidates' returns ``R``. Where ``v`` is 0 no reward was met yet: the noise is
        then correlated with that of the step before (Lillicrap et al. 2016).

        Args:
            obs: the observation keys and ``is_first [B]``.
            state: from :meth:`initial` or the last call.
            explore: draw from the plan's distribution; else the best action, above; without a
                margin the plan's mean (the most probable choice).

        Raises:
            PixyzError: an image is neither uint8 nor in [0, 1].
        """
        scorer, seconds = self._scorer, self.config.seconds or None
        if explore and (found := self.switch.choose(self, obs, state, scorer is self.scorer)):
            return found
        return self._act(obs, state, scorer, explore, seconds)

    def _act(
        self,
        obs: Mapping[str, Tensor],
        state: State,
        scorer: PathScorer,
        explore: bool,
        seconds: float | None = None,
    ) -> tuple[Tensor, State]:
        c, z = self.config, self._latent(obs)
        plan, state = self._solve(z, obs, state, scorer, None, seconds)
        if not explore:
            return self._best(plan, z, scorer) if c.margin else plan.best(), state
        around = plan.elite(c.elites, c.temperature) if c.around_elite else None
        if not c.explore_margin:
            return plan.draw(least=c.explore_std, around=around), state
        share = plan.says(c.explore_margin * self.scaled.scale.width)
        fresh = torch.randn_like(state[NOISE])
        noise = self._lasting(state[NOISE], fresh, obs["is_first"].bool())
        action = plan.mixed(share).draw(
            least=c.explore_std,
            around=None if around is None else share.unsqueeze(-1) * around,
            noise=torch.lerp(noise, fresh, share.unsqueeze(-1)),
        )
        return action, {**state, NOISE: noise}

    def _lasting(self, last: Tensor, fresh: Tensor, first: Tensor) -> Tensor:
        r"""Standard normal ``[B, A]``, correlated with the last one of the episode.

        .. math:: \epsilon_t = \rho\, \epsilon_{t-1} + \sqrt{1 - \rho^2}\, \eta_t
        """
        rho = self.config.explore_correlation
        held = torch.add(rho * last, fresh, alpha=(1.0 - rho * rho) ** 0.5)
        return torch.where(first.unsqueeze(-1), fresh, held)

    @torch.no_grad()
    def _best(self, plan: Plan, z: Tensor, scorer: PathScorer) -> Tensor:
        """Between the policy's action and the plan's, by what the plan promises."""
        path = torch.stack([self._follow(z, self.policy.best), plan.path()], 1)
        policy, planned = scorer.at({"z": z})(path.flatten(1, 2)).unflatten(0, (2, -1))
        promised = (planned - policy) / (self.config.margin * self.scaled.scale.width)
        share = promised.clamp(0.0, 1.0).unsqueeze(-1)
        action = torch.lerp(path[0, 0], path[0, 1], share)
        return most_probable(action) if self.action.discrete else action

    def plan(
        self, obs: Mapping[str, Tensor], state: State, generator: torch.Generator | None = None
    ) -> tuple[Plan, State]:
        """The plan after observations ``[B, ...]``, with its candidates, and the state for the next
        one.
        """
        seconds = self.config.seconds or None
        return self._solve(self._latent(obs), obs, state, self._scorer, generator, seconds)

    @property
    def _scorer(self) -> PathScorer:
        """That of the episodes that were met: they end, or they do not."""
        return self.scorer if bool(self.cont.met) else self.endless

    @property
    def exports(self) -> dict[str, Choose]:
        """The planner, with all of its rounds and no limit of time, and the policy that its
        proposals come from.
        """
        scorer = self._scorer

        def planner(obs: Mapping[str, Tensor], state: State, explore: bool) -> tuple[Tensor, State]:
            return self._act(obs, state, scorer, explore)

        def policy(obs: Mapping[str, Tensor], state: State, explore: bool) -> tuple[Tensor, State]:
            z = self._latent(obs)
            return self.policy.propose(z) if explore else self.policy.best(z), {}

        return {"planner": planner, "policy": policy}

    @torch.no_grad()
    def _latent(self, obs: Mapping[str, Tensor]) -> Tensor:
        """The latent state of observations.

        Raises:
            PixyzError: an image is neither uint8 nor in [0, 1].
        """
        for key, domain in self.encoder.domains.items():
            if wrong := domain.misfit(obs[key]):
                raise PixyzError(f"{key!r} {wrong}")
        return self.encoder(**{k: obs[k] for k in self.keys})["z"]

    @torch.no_grad()
    def _solve(
        self,
        z: Tensor,
        obs: Mapping[str, Tensor],
        state: State,
        scorer: PathScorer,
        generator: torch.Generator | None,
        seconds: float | None,
    ) -> tuple[Plan, State]:
        c = self.config
        proposals = None
        if c.proposals:
            proposals = self._follow(
                z.repeat(c.proposals, 1), lambda z: self.policy.propose(z, generator)
            ).unflatten(1, (c.proposals, len(z)))
        plan, planned = self.solver.solve(
            scorer.at({"z": z}),
            {k: v for k, v in state.items() if k != NOISE},
            first=obs["is_first"].bool(),
            proposals=proposals,
            generator=generator,
            seconds=seconds,
        )
        return plan, {**state, **planned}

    def _follow(self, z: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
        """The actions ``[H, N, A]`` of a policy that acts in the model."""
        actions = [act(z)]
        for _ in range(self.config.horizon - 1):
            z = self.dynamics.net(z, actions[-1])
            actions.append(act(z))
        return torch.stack(actions)

    def _imagine(self, state: State, actions: Tensor) -> State:
        path = [state["z"]]
        for action in actions:
            path.append(self.dynamics.net(path[-1], action))
        return {"z": torch.stack(path)}

    def _rewards(self, path: State, actions: Tensor) -> Tensor:
        return self.reward.mean(self.reward.net(path["z"][:-1], actions))

    def _live(self, path: State, actions: Tensor) -> Tensor:
        return torch.sigmoid(self.cont.net(path["z"][1:])).squeeze(-1)

    def _value(self, state: State) -> Tensor:
        z = state["z"]
        return self.critics.mean(self.critics.net(z, self.policy.best(z))).mean(-1)
