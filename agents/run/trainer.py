"""A training run from its settings: every part is built before the run's folder is made."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.build import build
from agents.errors import UsageError
from agents.logger import Logger
from agents.replay import ReplayBuffer
from agents.run.driver import Driver
from agents.run.evaluate import Judge
from agents.run.parts import Generators
from agents.run.run import Run
from agents.run.schedule import Online
from agents.run.signals import Stop
from agents.run.train import Watch, train
from agents.rundir import count_start, created, lock, open_run, write_interface
from agents.settings import RunSettings
from agents.spaces import Interface
from agents.tracking import check_tracker, tracker
from envs import make, make_vector
from envs.plain import space_to_plain


class Trainer:
    """Environments and an agent, then a folder, then training.

    Args:
        settings: the run.
        watch: sees the newest metrics, for a display.

    Raises:
        UsageError, EnvError: the environment, the agent or their sizes do not fit; nothing was written.

    >>> import tempfile
    >>> from agents.config import load_config
    >>> small = ["steps=40", "prefill=30", "agent.length=4", "agent.batch=2", "eval_episodes=1", "env.time_limit=10"]
    >>> settings = load_config(RunSettings, "dreamer_v3/pendulum", small)
    >>> with tempfile.TemporaryDirectory() as folder, Trainer(settings).begin(Path(folder) / "run") as trainer:
    ...     trainer.train().progress.steps
    40
    """

    def __init__(self, settings: RunSettings, watch: Watch | None = None) -> None:
        self.settings, self.watch = settings, watch
        s, e = settings, settings.env
        check_tracker(s)
        Generators.seed(s.seed)
        self.envs = make_vector(
            e.id, e.num_envs, seed=s.seed, action_repeat=e.action_repeat, time_limit=e.time_limit, workers=e.workers,
            **e.options,
        )
        try:
            self.interface = Interface.of(self.envs)
            self.agent = build(s.agent, self.interface)
            if isinstance(self.agent, torch.nn.Module):
                self.agent.to(s.device)
            self._check_sizes()
            self._declared = _declared(s)
        except BaseException:
            self.envs.close()
            raise
        w = self.agent.window
        self.schedule = Online(s.steps, s.prefill, s.train_ratio / (w.batch * w.length), s.eval_every, s.checkpoint_every)
        self._lock: Any = None
        self._parts: tuple[ReplayBuffer, Driver, Run] | None = None

    def _check_sizes(self) -> None:
        s, w = self.settings, self.agent.window
        each = s.capacity // s.env.num_envs
        if each < 2 * w.rows:
            raise UsageError(
                f"capacity {s.capacity} is {each} rows an environment, and an update reads {w.rows} in a row: "
                f"give at least {2 * w.rows * s.env.num_envs}"
            )
        made = s.steps // (s.env.num_envs * s.env.action_repeat)
        credit = (s.steps - s.prefill) / s.env.action_repeat * s.train_ratio / (w.batch * w.length)
        if made < w.rows or credit < 1:
            raise UsageError(
                f"steps={s.steps} give {made} rows an environment and {credit:.2f} updates, and an update reads {w.rows} rows: "
                "nothing would be learned; raise steps or train_ratio, or lower prefill"
            )

    # ---------------------------------------------------------------- a folder

    def begin(self, directory: Path) -> Trainer:
        """Make the run's folder; returns itself.

        Raises:
            RunError, ReplayError: the folder is there and not empty, or has no room for the replay; nothing is left in it.
        """
        with created(directory, self.settings, seed=self.settings.seed):
            self._open(directory)
        return self

    def resume(self, directory: Path) -> Trainer:
        """Go on in a run's folder; returns itself.

        Raises:
            RunError, CheckpointError, ReplayError: it is no folder of such a run, in use, or damaged.
        """
        open_run(directory)
        attempt = self._open(directory)
        self.run.load(driver={"attempt": attempt})
        if self.run.progress.steps > self.settings.steps:
            raise UsageError(f"{directory} has made {self.run.progress.steps} steps already; give steps above that")
        assert self._parts is not None
        if restarted := self._parts[1].restarted:
            warnings.warn(
                f"{len(restarted)} of {self.envs.num_envs} environments cannot be put back into the middle of an episode: "
                "they begin a new one, and the run is no longer exactly the one without the stop", stacklevel=2,
            )
        return self

    def _open(self, directory: Path) -> int:
        taken = lock(directory)
        taken.__enter__()
        self._lock = taken
        try:
            return self._fill(directory)
        except BaseException:
            self.close()
            raise

    def _fill(self, directory: Path) -> int:
        s, attempt = self.settings, count_start(directory)
        write_interface(directory, self._declared)
        stored = self.agent.stored
        replay = ReplayBuffer(
            self.interface.spec(stored), s.capacity, s.env.num_envs, directory=directory / "replay", seed=s.seed,
            stored=list(stored),
        )
        driver = Driver(self.envs, self.agent, replay, s.seed)
        log = Logger(directory, tracker=tracker(s, directory))
        run = Run({"agent": self.agent, "replay": replay, "driver": driver}, directory, log, minutes=s.checkpoint_minutes)
        self._parts = replay, driver, run
        return attempt

    @property
    def run(self) -> Run:
        """Counters, parts, folder."""
        assert self._parts is not None, "call begin(directory) or resume(directory) first"
        return self._parts[2]

    def close(self) -> None:
        """Close environments, replay and log, and let go of the folder."""
        self.envs.close()
        if self._parts is not None:
            replay, _, run = self._parts
            replay.close()
            if run.log is not None:
                run.log.close()
        if self._lock is not None:
            self._lock.__exit__(None, None, None)
            self._lock = None

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    # ---------------------------------------------------------------- work

    def train(self) -> Run:
        """Train until the settings' steps, or until a signal asks to stop."""
        assert self._parts is not None, "call begin(directory) or resume(directory) first"
        replay, driver, run = self._parts
        s = self.settings
        judge = Judge(s.env, s.eval_episodes, s.seed, s.eval_limit)
        with run.working() as stop:
            if not run.progress.random:
                found = judge.random(stop)
                if found is None:
                    return run
                run.progress.random = found
                run.write({"random_return": float(np.mean(found))}, "eval")

            def evaluate(stop: Stop) -> list[float] | None:
                returns = judge.actor(self.agent, stop)
                if returns is not None:
                    run.write({"eval_return": float(np.mean(returns)), "eval_std": float(np.std(returns))}, "eval")
                return returns

            train(
                self.agent, driver, replay, self.schedule, run=run, evaluate=evaluate, watch=self.watch, log_every=s.log_every,
            )
            if stop.asked is None:
                self._tell_bounds(run)
        return run

    def _tell_bounds(self, run: Run) -> None:
        """Say how often observations lay far outside of the bounds that the environment declares."""
        counts = {k: n for k, n in getattr(self.envs, "out_of_bounds", {}).items() if n}
        if counts:
            run.write({f"out_of_bounds/{k}": n for k, n in counts.items()}, "bounds")
            said = ", ".join(f"{k} in {n} rows" for k, n in counts.items())
            warnings.warn(f"{self.settings.env.id}: outside of the bounds that it declares: {said}", stacklevel=2)


def _declared(settings: RunSettings) -> dict[str, Any]:
    """What the environment declares, by itself: units that a loaded policy takes and gives."""
    e = settings.env
    env = make(e.id, action_repeat=e.action_repeat, time_limit=e.time_limit, **e.options)
    try:
        inner = env.env
        return {"observation": space_to_plain(inner.observation_space), "action": space_to_plain(inner.action_space)}
    finally:
        env.close()
