"""A learner from settings: it meets an actor, builds the agent for what that one sees and does, and
learns from its rows.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from agents.agent import Saves
from agents.build import build
from agents.logger import Logger
from agents.online.learning import Arrivals, LearnerRun, Publisher, Streaming
from agents.online.message import DamagedError
from agents.online.receiving import NotYetError, Receiving
from agents.online.shown import Shown
from agents.online.weights import Weights
from agents.pretrain.start import start_from
from agents.replay.blended import Blended
from agents.run import Run, Stop, train
from agents.run.in_folder import APART, InFolder
from agents.run.learner import Source
from agents.run.parts import Generators
from agents.run.replay import check_sizes, open_replay
from agents.run.train import Watch
from agents.settings import RunSettings
from agents.spaces import Interface
from agents.tracking import check_tracker, tracker
from envs import ActionGuard, EnvError, ObservationGuard
from envs.plain import space_from_plain
from worldmodels import ranks

OWED = 10_000
"""Actions whose updates may be due, at most."""


class Meeting:
    """What an actor says about itself, first: before there is an agent it is only remembered.

    >>> meeting = Meeting()
    >>> try:
    ...     meeting.check({"observation": {}, "action": {}})
    ... except DamagedError as error:
    ...     print(error)
    expected what space_to_plain gives, got {} (KeyError: 'kind')
    """

    def __init__(self) -> None:
        self.about: Mapping[str, Any] | None = None
        self.fits: Callable[[Mapping[str, Any]], None] | None = None
        self._met = threading.Event()

    def check(self, about: Mapping[str, Any]) -> None:
        """See whether an actor fits.

        Raises:
            DamagedError: it does not, or (NotYetError) there is no agent yet.
        """
        if self.fits is not None:
            self.fits(about)
            return
        try:
            for key in ("observation", "action"):
                space_from_plain(about[key])
        except (EnvError, KeyError) as error:
            raise DamagedError(str(error)) from None
        self.about = about
        self._met.set()
        raise NotYetError("the learner is being built")

    def wait(self, stop: Stop) -> dict[str, Any] | None:
        """The spaces of the first actor; None if a signal asked to stop."""
        while not self._met.wait(0.1):
            if stop.asked is not None:
                return None
        assert self.about is not None
        return {key: dict(self.about[key]) for key in ("observation", "action")}


class LearnerSide(InFolder):
    """The learner's parts, in a run's folder.

    Args:
        settings: the run; ``env.num_envs`` is the number of actors.
        declared: the spaces that actors declare, as plain data.
        receiving: where rows come from.
        meeting: lets actors in once there is an agent.
        watch: sees the newest metrics.
        seconds: between two policies, at least.
        arrived: is set when rows have come.
        parent: the process that this one stops with.

    Raises:
        UsageError: the agent does not fit; nothing was written.
    """

    def __init__(
        self,
        settings: RunSettings,
        declared: Mapping[str, Any],
        receiving: Receiving,
        meeting: Meeting,
        watch: Watch | None = None,
        seconds: float = 1.0,
        arrived: threading.Event | None = None,
        parent: int | None = None,
    ) -> None:
        super().__init__(settings)
        s = settings
        self.declared, self.receiving, self.meeting = dict(declared), receiving, meeting
        self._watch, self._event, self._parent = watch, arrived or threading.Event(), parent
        check_tracker(s)
        Generators.seed(s.seed)
        see = ObservationGuard(space_from_plain(declared["observation"]))
        self._do = do = ActionGuard(space_from_plain(declared["action"]))
        self.view = Interface.from_spaces(see.space, do.space)
        self.agent: Any = build(s.agent, self.view)
        if isinstance(self.agent, torch.nn.Module):
            self.agent.to(s.device)
        w = self.agent.window
        check_sizes(s, self.agent, self.view)
        self.weights = Weights(self.agent.acting)
        self.publisher = Publisher(receiving, self.weights.take, seconds)
        per_action = s.train_ratio / (w.batch * w.length)
        self.schedule = Streaming(
            s.steps,
            s.prefill,
            per_action,
            0,
            s.checkpoint_every,
            s.prefill_updates,
            waiting=lambda: receiving.waiting,
            owed=max(1.0, OWED * per_action),
        )

    def fill(self, directory: Path) -> Run:
        """Replay, arrivals and log."""
        s = self.settings
        own = replace(s, seed=s.seed + APART * ranks.rank())
        self.replay = open_replay(own, self.agent, self.view, self.receiving.actors, directory)
        self.closing.callback(self.replay.close)
        parts: dict[str, Saves] = {"agent": self.agent, "replay": self.replay}
        self.source: Source = self.replay
        shown = None
        if s.shown is not None:
            actors, folder = self.receiving.actors, directory / "shown"
            shown = Shown(s.shown, self.view, self._do, actors, self.agent, folder, own.seed)
            self.closing.callback(shown.replay.close)
            self.source = Blended([(self.replay, 1 - s.shown.share), (shown.replay, s.shown.share)])
            parts["shown"] = shown
        self.arrivals = Arrivals(self.receiving, self.replay, self._wait, shown)
        parts["arrivals"] = self.arrivals
        return LearnerRun(
            self.arrivals,
            parts,
            directory,
            Logger(directory, tracker=tracker(s, directory)),
            minutes=s.checkpoint_minutes,
        )

    def _look(self) -> None:
        """Stop with the process that this one stands beside."""
        if self._parent is not None and os.getppid() != self._parent:
            self.run.stop.ask("SIGTERM")

    def _wait(self) -> None:
        self._look()
        self._event.wait(0.05)
        self._event.clear()

    def interface(self) -> dict[str, Any]:
        """The spaces that actors declare."""
        return self.declared

    def start_from(self, pretrained: Path) -> None:
        """Take what a run of ``pixyz pretrain`` or ``pixyz robot offline`` learned, before the run
        begins.
        """
        start_from(self.agent, pretrained)

    def fits(self, about: Mapping[str, Any]) -> None:
        """Raise DamagedError for an actor with other spaces, weights or stored values."""
        mine = {
            **self.declared,
            "weights": self.weights.about,
            "stored": {k: list(v) for k, v in self.agent.stored.items()},
        }
        for key, value in mine.items():
            if about.get(key) != value:
                raise DamagedError(
                    f"its {key} is not the learner's: expected {str(value)[:200]}, got "
                    f"{str(about.get(key))[:200]}; "
                    "give both the same config, robot and limits"
                )

    def train(self) -> Run:
        """Learn until the settings' steps have been made, or until a signal asks to stop."""
        run, updates = self.run, self.run.progress.updates
        if run.directory is not None and not (run.directory / "checkpoints").exists():
            run.save()
        self.publisher.offer(updates)
        self.meeting.fits = self.fits
        train(
            self.agent,
            self.arrivals,
            self.source,
            self.schedule,
            run=run,
            watch=self._seen,
            log_every=self.settings.log_every,
        )
        return run

    def _seen(self, run: Run, metrics: Mapping[str, float]) -> None:
        self._look()
        self.publisher.offer(run.progress.updates)
        if self._watch is not None:
            self._watch(run, metrics)

    def say_goodbye(self, seconds: float = 2.0) -> None:
        """Let actors hear which rows the last checkpoint holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(
            time.monotonic() - p.heard < 1.0 for p in self.receiving.peers
        ):
            time.sleep(0.05)
