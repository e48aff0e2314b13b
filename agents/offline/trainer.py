"""An agent from a log, from settings: the log, a model of it, and what the model imagines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from agents.agent import Saves
from agents.build import build
from agents.errors import UsageError
from agents.logger import Logger
from agents.offline.imagined import Imagination
from agents.policy import load_model
from agents.pretrain.command import open_log
from agents.pretrain.models import StepModel
from agents.replay import ReplayBuffer
from agents.replay.blended import Blended
from agents.replay.fill import fill
from agents.run import Offline, Run, train
from agents.run.in_folder import APART, InFolder
from agents.run.parts import Generators
from agents.run.replay import row_spec
from agents.run.train import Watch
from agents.settings import RunSettings
from agents.spaces import Interface
from envs.plain import space_to_plain
from worldmodels import ranks
from worldmodels.data import Episodes, checked


class OfflineTrainer(InFolder):
    """The log and its model, then a folder, then training.

    Args:
        settings: of the run, with ``offline``.
        watch: sees the newest metrics.
        log: the log, if it is at hand.

    Raises:
        UsageError, DataError: log, model and agent do not fit; nothing was written.
    """

    def __init__(
        self, settings: RunSettings, watch: Watch | None = None, log: Episodes | None = None
    ) -> None:
        super().__init__(settings)
        s, o = settings, settings.offline
        if o is None:
            raise UsageError("expected settings with offline.log and offline.model, got none")
        self.watch, self.offline = watch, o
        found = load_model(Path(o.model), device=s.device)
        if not isinstance(found, StepModel):
            raise UsageError(f"{o.model}: expected a run of `pixyz pretrain one_step`, got another")
        self.model = found.model
        log = log if log is not None else checked(open_log(o.log, o.format))
        self.log, self.unit = in_units(log.select(list(self.model.sizes)), o.action_scale)
        Generators.seed(s.seed)
        self.see = spaces.Dict(
            {
                k: spaces.Box(-np.inf, np.inf, shape, np.float32)
                for k, shape in self.log.shapes.items()
            }
        )
        self.do = spaces.Box(-self.unit, self.unit, dtype=np.float64)
        self.view = Interface.from_spaces(self.see, self.do)
        self.agent: Any = build(s.agent, self.view)
        if isinstance(self.agent, torch.nn.Module):
            self.agent.to(s.device)
        rows = self.agent.window.rows
        if rows > o.horizon + 1:
            raise UsageError(
                f"an update of this agent reads {rows} rows that follow each other, and a path of "
                f"offline.horizon={o.horizon} has {o.horizon + 1}: give at least {rows - 1}"
            )
        self.schedule = Offline(o.updates, o.updates, s.checkpoint_every)

    # -------------------------------------------------------------- a folder

    def fill(self, directory: Path) -> Run:
        """Agent, log and imagination."""
        s, o, stored = self.settings, self.offline, self.agent.stored
        replay = ReplayBuffer(
            row_spec(s, self.agent, self.view),
            self.log.steps,
            seed=s.seed + APART * ranks.rank(),
            stored=list(stored),
            online=False,
        )
        fill(replay, self.log)
        self.imagination = Imagination(
            self.model,
            self.agent,
            replay,
            self.view,
            self.unit,
            horizon=o.horizon,
            rows=o.rows,
            every=o.every,
            kept=o.kept,
            penalty=o.penalty,
        )
        self.source = Blended([(replay, o.share), (self.imagination, 1.0 - o.share)])
        parts: dict[str, Saves] = {
            "agent": self.agent,
            "log": replay,
            "imagination": self.imagination,
        }
        return Run(
            parts, directory, Logger(directory), counts="updates", minutes=s.checkpoint_minutes
        )

    def interface(self) -> dict[str, Any]:
        """The spaces of a robot that is like the log's."""
        return {"observation": space_to_plain(self.see), "action": space_to_plain(self.do)}

    # -------------------------------------------------------------- work

    def train(self) -> Run:
        """Train to the end, or until a signal asks to stop."""
        return train(
            self.agent,
            None,
            self.source,
            self.schedule,
            run=self.run,
            watch=self.watch,
            log_every=self.settings.log_every,
        )


def in_units(log: Episodes, scale: tuple[float, ...]) -> tuple[Episodes, Any]:
    """A log with actions in [-1, 1], and what was 1 before, ``[A]``.

    Args:
        log: with actions.
        scale: one number or one for each; the largest of the log if empty.

    Raises:
        UsageError: there are no actions, other numbers of them, or larger ones.
    """
    size = log.action_size
    if not size or len(scale) not in (0, 1, size):
        raise UsageError(f"action_scale: expected one number or {size}, got {len(scale)}")
    largest = np.stack([np.abs(e["action"]).max(0) for e in log]).max(0)
    unit = np.ones(size) * np.asarray(scale) if scale else np.where(largest > 0, largest, 1.0)
    if (largest > unit * (1 + 1e-3)).any():
        raise UsageError(
            f"action_scale {unit.tolist()}: the log's actions reach {largest.tolist()}; give the "
            "bound of the environment that it was recorded in"
        )
    made = []
    for episode in log:
        action = (episode["action"] / unit).clip(-1.0, 1.0).astype(np.float32)
        made.append(replace(episode, series={**episode.series, "action": action}))
    return log.with_(made), unit
