"""A training run from its settings: every part is built before the run's folder is made."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from agents.agent import Saves
from agents.build import build
from agents.environments import make_env, make_envs
from agents.logger import Logger
from agents.run.driver import Driver
from agents.run.evaluate import Judge
from agents.run.in_folder import InFolder
from agents.run.parts import Generators
from agents.run.replay import check_sizes, open_replay
from agents.run.run import Run
from agents.run.schedule import Online
from agents.run.signals import Stop
from agents.run.train import Watch, train
from agents.settings import RunSettings
from agents.spaces import Interface
from agents.tracking import check_tracker, tracker
from envs.plain import space_to_plain
from worldmodels.words import counted


class Trainer(InFolder):
    """Environments and an agent, then a folder, then training.

    Args:
        settings: the run.
        watch: sees the newest metrics, for a display.
        phase: told what begins that takes a while, and at which step.

    Raises:
        UsageError, EnvError: the environment, the agent or their sizes do not fit; nothing was
            written.

    >>> import tempfile
    >>> from agents.config import load_config
    >>> small = [
    ...     "steps=40",
    ...     "prefill=30",
    ...     "agent.length=4",
    ...     "agent.batch=2",
    ...     "eval_episodes=1",
    ...     "env.time_limit=10",
    ... ]
    >>> settings = load_config(RunSettings, "dreamer_v3/pendulum", small)
    >>> with (
    ...     tempfile.TemporaryDirectory() as folder,
    ...     Trainer(settings).begin(Path(folder) / "run") as trainer,
    ... ):
    ...     trainer.train().progress.steps
    40
    """

    def __init__(
        self,
        settings: RunSettings,
        watch: Watch | None = None,
        phase: Callable[[str, int], None] | None = None,
    ) -> None:
        super().__init__(settings)
        self.watch, self.phase = watch, phase or (lambda text, step: None)
        s = settings
        check_tracker(s)
        Generators.seed(s.seed)
        self.envs = make_envs(s.env, s.env.num_envs, s.seed, s.env.workers)
        self.closing.callback(self.envs.close)
        try:
            self.view = Interface.of(self.envs)
            self.agent = build(s.agent, self.view)
            if isinstance(self.agent, torch.nn.Module):
                self.agent.to(s.device)
            check_sizes(s, self.agent, self.view)
            self._declared = _declared(s)
        except BaseException:
            self.close()
            raise
        w = self.agent.window
        self.schedule = Online(
            s.steps,
            s.prefill,
            s.train_ratio / (w.batch * w.length),
            s.eval_every,
            s.checkpoint_every,
            s.prefill_updates,
        )

    # ---------------------------------------------------------------- a folder

    def fill(self, directory: Path) -> Run:
        """Replay, driver and log."""
        s = self.settings
        self.replay = open_replay(s, self.agent, self.view, s.env.num_envs, directory)
        self.closing.callback(self.replay.close)
        self.driver = Driver(self.envs, self.agent, self.replay, s.seed, s.prefill_hold)
        parts: dict[str, Saves] = {
            "agent": self.agent,
            "replay": self.replay,
            "driver": self.driver,
        }
        return Run(
            parts,
            directory,
            Logger(directory, tracker=tracker(s, directory)),
            minutes=s.checkpoint_minutes,
        )

    def interface(self) -> dict[str, Any]:
        """The spaces that the environment declares."""
        return self._declared

    def options(self, attempt: int) -> dict[str, Any]:
        """Environments that cannot be put back begin anew with seeds that no start has used."""
        return {"driver": {"attempt": attempt}}

    def resume(self, directory: Path) -> Self:
        """See :meth:`InFolder.resume`."""
        super().resume(directory)
        if restarted := self.driver.restarted:
            warnings.warn(
                f"{len(restarted)} of {self.envs.num_envs} environments cannot be put back "
                f"into the middle of an episode: "
                "they begin a new one, and the run is no longer exactly the one without the stop",
                stacklevel=2,
            )
        return self

    # ---------------------------------------------------------------- work

    def train(self) -> Run:
        """Train until the settings' steps, or until a signal asks to stop."""
        s, run = self.settings, self.run
        told = partial(run.failed, judged=True)
        judge = Judge(s.env, s.eval_episodes, s.seed, s.eval_limit, told)
        with run.working() as stop:
            if not run.progress.random:
                self.phase(f"a random policy, {counted(s.eval_episodes, 'episode')}", run.at)
                found = judge.random(stop)
                if found is None:
                    return run
                run.progress.random = found
                run.write({"random_return": float(np.mean(found))}, "eval")

            if self.schedule.random(run.progress):
                self.phase(f"random actions until step {s.prefill:,}", run.at)

            def evaluate(stop: Stop) -> list[float] | None:
                self.phase(f"an evaluation, {counted(s.eval_episodes, 'episode')}", run.at)
                returns = judge.actor(self.agent, stop)
                if returns is not None:
                    run.write(
                        {
                            "eval_return": float(np.mean(returns)),
                            "eval_std": float(np.std(returns)),
                        },
                        "eval",
                    )
                return returns

            train(
                self.agent,
                self.driver,
                self.replay,
                self.schedule,
                run=run,
                evaluate=evaluate,
                watch=self.watch,
                log_every=s.log_every,
            )
            if stop.asked is None:
                self._tell_bounds(run)
        return run

    def _tell_bounds(self, run: Run) -> None:
        """Say how often observations lay far outside of the bounds that the
        environment declares.
        """
        counts = {k: n for k, n in getattr(self.envs, "out_of_bounds", {}).items() if n}
        if counts:
            run.write({f"out_of_bounds/{k}": n for k, n in counts.items()}, "bounds")
            said = ", ".join(f"{k} in {n} rows" for k, n in counts.items())
            warnings.warn(
                f"{self.settings.env.id}: outside of the bounds that it declares: {said}",
                stacklevel=2,
            )


def _declared(settings: RunSettings) -> dict[str, Any]:
    """What the environment declares, by itself: units that a loaded policy takes and gives."""
    env = make_env(settings.env)
    try:
        inner = env.env
        found = {
            "observation": space_to_plain(inner.observation_space),
            "action": space_to_plain(inner.action_space),
        }
        return found if env.image_size is None else {**found, "image_size": list(env.image_size)}
    finally:
        env.close()
