"""Episodes under a policy that does not learn, with seeds of their own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from agents.agent import Actor
from agents.environments import make_envs
from agents.run.parts import seeded
from agents.run.signals import Stop
from agents.settings import EnvSettings
from agents.spaces import Interface, Rows
from envs import EnvFailure, Failure

EVAL_SEED = 10_000

Watch = Callable[[np.ndarray, Rows, np.ndarray, Rows], None]
"""Sees a step: which episodes are running ``[B]``, the rows before it, the agent's actions, the
rows after it.
"""


@dataclass(frozen=True)
class Judge:
    """Runs episodes, side by side, of an environment that nobody learns from.

    The caller's random numbers are left as they were. An episode in which the environment fails
    does not count: another takes its place.

    Args:
        settings: the environment.
        episodes: how many.
        seed: of environments and draws.
        limit: actions after which an episode that has not ended counts with the return that it has.
        failed: told of the failures of an evaluation, at its end; a warning says them if None.

    >>> judge = Judge(EnvSettings("Pendulum-v1", time_limit=20), episodes=2, seed=0)
    >>> len(judge.random())
    2
    """

    settings: EnvSettings
    episodes: int
    seed: int
    limit: int = 30_000
    failed: Callable[[Failure], None] | None = None

    def actor(
        self,
        actor: Actor,
        stop: Stop | None = None,
        *,
        explore: bool = False,
        watch: Watch | None = None,
    ) -> list[float] | None:
        """Returns of an actor's best actions, or of those that it explores with; None if asked to
        stop.
        """
        state = actor.initial(self.episodes)

        def act(interface: Interface, rows: Rows) -> np.ndarray:
            nonlocal state
            if "action" in rows:  # what was done, which is not always what was chosen
                state = actor.acted(state, torch.from_numpy(rows["action"]).to(actor.device))
            action, state = actor.act(interface.tensors(rows, actor.device), state, explore=explore)
            return action.cpu().float().numpy()

        with seeded(self.seed):
            return self.run(act, stop, watch)

    def random(self, stop: Stop | None = None) -> list[float] | None:
        """Returns of uniformly random actions; None if asked to stop."""
        rng = np.random.default_rng(self.seed)
        return self.run(lambda interface, rows: interface.random(self.episodes, rng), stop)

    def run(
        self,
        act: Callable[[Interface, Rows], np.ndarray],
        stop: Stop | None = None,
        watch: Watch | None = None,
    ) -> list[float] | None:
        """Returns of the first episode of each environment that it did not fail in; None if asked
        to stop.

        Raises:
            EnvFailure: one failed three times in a row.
        """
        workers = min(self.settings.workers, self.episodes)
        envs = make_envs(self.settings, self.episodes, EVAL_SEED + self.seed, workers)
        interface, returns = Interface.of(envs), np.zeros(self.episodes)
        running, taken = np.ones(self.episodes, np.bool_), np.zeros(self.episodes, np.int64)
        endless = np.zeros(self.episodes, np.bool_)
        failures: list[Failure] = []
        try:
            rows = envs.reset()
            while running.any():
                chosen, before = act(interface, rows), rows
                rows = envs.step(interface.to_env(chosen, envs))
                if watch is not None:
                    watch(running, before, chosen, rows)
                failures += [f for f in envs.pop_failures() if running[f.env]]
                again = running & rows["is_first"]  # it failed, and began anew
                returns += np.where(running, rows["reward"].astype(np.float64), 0.0)
                taken += running
                returns[again], taken[again] = 0.0, 0
                running &= ~rows["is_last"]
                endless |= running & (taken >= self.limit)
                running &= ~endless
                if stop is not None and stop.asked and running.any():
                    return None
        except EnvFailure as error:
            raise EnvFailure(
                f"in an evaluation, {error.message}", env=error.env, trace=error.trace
            ) from (error.__cause__ or error)
        finally:
            envs.close()
        for failure in failures:
            (self.failed or self._warn)(failure)
        if endless.any():
            warnings.warn(
                f"{self.settings.id}: {endless.sum()} of {self.episodes} episodes had not "
                f"ended after {self.limit} actions; they count "
                "with the return so far. Give env.time_limit, or another eval_limit",
                stacklevel=2,
            )
        return [float(r) for r in returns]

    def _warn(self, failure: Failure) -> None:
        warnings.warn(
            f"{self.settings.id}: {failure.text.splitlines()[0]}; "
            "its episode does not count, another took its place",
            stacklevel=3,
        )
