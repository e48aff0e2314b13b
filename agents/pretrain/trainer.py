"""Pretrainer: a world model learns from windows of a log, by the loop that agents learn by; it
stops where validation does.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.agent import Saves
from agents.checkpoint import flatten_state, load_checkpoint, save_checkpoint, unflatten_state
from agents.errors import CheckpointError, RunError
from agents.logger import Logger
from agents.pretrain.choice import bounds_above, chosen, largest_actions
from agents.pretrain.fit import fitted
from agents.pretrain.learner import LogLearner, LogWindows, arrays
from agents.pretrain.models import build
from agents.pretrain.settings import PretrainSettings, RSSMSettings
from agents.replay import to_tensors
from agents.run import Offline, Run, Stop, train
from agents.run.in_folder import APART, InFolder
from agents.run.parts import Generators, seeded
from agents.run.train import Watch
from worldmodels import ranks
from worldmodels.data import Episode, Episodes, pad


class Pretrainer(InFolder):
    """A model and its data, then a folder, then training.

    Args:
        settings: the run.
        data: all episodes.
        watch: sees the newest metrics, for a display.

    Raises:
        DataError: the data cannot be split, or the test part is too short for the report.
        UsageError: the model has no density for the data.

    >>> import tempfile, numpy
    >>> from agents.pretrain.settings import VRNNSettings
    >>> from worldmodels.data import make_episode
    >>> data = Episodes([make_episode("run", {"x": numpy.sin(numpy.arange(200.0))[:, None]})])
    >>> from worldmodels.vrnn import VRNNConfig
    >>> model = VRNNConfig(observation="gaussian")
    >>> settings = VRNNSettings(model=model, updates=1, batch=2, length=8, seen=5, horizon=4)
    >>> with (
    ...     tempfile.TemporaryDirectory() as folder,
    ...     Pretrainer(settings, data).begin(Path(folder) / "run") as run,
    ... ):
    ...     run.train().progress.updates
    1
    """

    def __init__(
        self, settings: PretrainSettings, data: Episodes, watch: Watch | None = None
    ) -> None:
        super().__init__(settings)
        s = settings
        self.watch, self.device = watch, torch.device(s.device)
        data = data.select(s.keys) if s.keys else data
        self.fingerprint = fingerprint(data)
        s, self.data, self.fit = fitted(s, data)
        s, self.choice = chosen(s, self.data.train)
        self.settings = s
        Generators.seed(s.seed)
        self._shapes = data.shapes, data.action_size
        self.model = build(s, *self._shapes)
        self.model.accept(data)
        self.model.fit_units(self.data.train)
        self.model.to(self.device)
        if isinstance(s, RSSMSettings) and not s.action_scale and data.action_size:
            _say_bounds(largest_actions(data))
        self.learner = LogLearner(self.model, s)
        self.source = LogWindows(self.data.train, s.batch, s.length, s.seed + APART * ranks.rank())
        self.valid = _pieces(self.data.valid, s.length)
        self.schedule = Offline(s.updates, s.eval_every, s.checkpoint_every, s.patience)

    # ---------------------------------------------------------------- a folder

    def fill(self, directory: Path) -> Run:
        """Model, windows and log."""
        same = _Same(self.fingerprint, self.settings.data)
        parts: dict[str, Saves] = {"agent": self.learner, "windows": self.source, "data": same}
        minutes = self.settings.checkpoint_minutes
        return Run(parts, directory, Logger(directory), counts="updates", minutes=minutes)

    def interface(self) -> dict[str, Any]:
        """The log's observations and actions."""
        shapes, action_size = self._shapes
        return {"shapes": {k: list(v) for k, v in shapes.items()}, "action_size": action_size}

    # ---------------------------------------------------------------- work

    def train(self) -> Run:
        """Train to the end, or until validation has not improved for long, or a signal asks to
        stop.
        """
        return train(
            self.learner,
            None,
            self.source,
            self.schedule,
            run=self.run,
            evaluate=self.validate,
            watch=self.watch,
            log_every=0,
        )

    @property
    def best(self) -> tuple[int, float]:
        """The update and the validation bound, nats a frame, of the best validation; infinity
        before the first.
        """
        found = self.run.progress.evaluations
        return min(
            ((at, numbers[0]) for at, numbers in found),
            key=lambda x: x[1],
            default=(0, float("inf")),
        )

    def validate(self, stop: Stop | None = None) -> list[float] | None:
        """The validation bound; the weights are kept in ``best`` if it is the smallest so far. None
        if asked to stop.
        """
        run = self.run
        bound = self.bound(self.valid, stop)
        if bound is None:
            return None
        if bound < self.best[1]:
            tensors, nested = flatten_state(self.model.state_dict())
            assert run.directory is not None
            save_checkpoint(
                run.directory / "best", run.at, tensors, {"nested": nested, "bound": bound}, keep=1
            )
        found = {**run.means.pop(), "valid_bound": bound, "best": min(bound, self.best[1])}
        run.write(
            {**found, "seconds": run.progress.seconds, "cpu_seconds": run.progress.cpu_seconds},
            "pretrain",
        )
        if self.watch is not None:
            self.watch(run, found)
        return [bound]

    @torch.no_grad()
    def bound(self, parts: Sequence[Episode], stop: Stop | None = None) -> float | None:
        """Nats a frame over windows, of the frames that the bound has a term for, one draw each,
        with the same noise at every call; None if asked to stop.
        """
        self.model.eval()
        nats = frames = 0.0
        with seeded(self.settings.seed + 1):
            for i in range(0, len(parts), 64):
                if stop is not None and stop.asked:
                    return None
                batch = to_tensors(arrays(pad(parts[i : i + 64])), self.device, pin_memory=True)
                nats += self.model.bound(batch).sum().item()
                frames += self.model.terms(batch).sum().item()
        return nats / max(frames, 1.0)

    def load_best(self) -> None:
        """Take the weights of the best validation bound; those of now, with a warning, where no
        validation was made.
        """
        try:
            assert self.run.directory is not None
            self.model.load_state_dict(best_weights(self.run.directory))
        except CheckpointError:
            warnings.warn("no validation was made: the report is of the last weights", stacklevel=2)
        self.model.to(self.device)


class _Same:
    """What a run began with: a resume with other data is refused."""

    def __init__(self, fingerprint: str, path: str) -> None:
        self.fingerprint, self.path = fingerprint, path

    def state(self) -> str:
        return self.fingerprint

    def load_state(self, state: str) -> None:
        if state != self.fingerprint:
            raise RunError(
                f"{self.path} is not the data that the run began with; give that, "
                f"or start a new run"
            )


def best_weights(directory: Path) -> dict[str, Tensor]:
    """The state dict of the best validation bound of a run.

    Raises:
        CheckpointError: no validation was made yet, or what it kept is damaged.
    """
    if not (directory / "best").exists() and any((directory / "checkpoints").glob("*")):
        raise CheckpointError(
            f"{directory}: expected the model of a validation, found none: the run was stopped "
            f"before its first (eval_every); go on with 'pixyz resume {directory}'"
        )
    found = load_checkpoint(directory / "best")
    weights: dict[str, Tensor] = unflatten_state(found.tensors, found.state["nested"])
    return weights


def fingerprint(data: Episodes) -> str:
    """What tells two data sets apart: names, lengths, keys, shapes, types, the first and the last
    row of each episode.
    """
    digest = hashlib.sha256()
    digest.update(
        json.dumps(
            [[k, list(shape), dtype.str] for k, (shape, dtype) in data.schema.items()]
        ).encode()
    )
    for episode in data:
        digest.update(f"{episode.name} {len(episode)}".encode())
        for series in episode.series.values():
            digest.update(np.ascontiguousarray(series[[0, -1]]).tobytes())
    return digest.hexdigest()


def _say_bounds(largest: list[float]) -> None:
    """Say that actions are beyond an agent's, and what to give."""
    bounds = bounds_above(largest)
    if max(bounds) > 1:
        warnings.warn(
            f"the log's actions reach {[round(x, 4) for x in largest]}, an agent's lie in [-1, 1]: "
            "if one shall start from this model (pixyz train --from), give the environment's "
            f"bound, such as action_scale={bounds}",
            stacklevel=3,
        )


def _pieces(data: Episodes, length: int) -> list[Episode]:
    """All rows, in windows of ``length`` and what is left over."""
    return [e.part(s, min(s + length, len(e))) for e in data for s in range(0, len(e), length)]
