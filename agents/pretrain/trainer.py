"""Pretrainer: updates from windows of a log, validation, early stopping, checkpoints; a stopped run goes on exactly."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from agents.checkpoint import flatten_state, load_checkpoint, save_checkpoint, unflatten_state
from agents.errors import RunError
from agents.logger import Logger
from agents.pretrain.models import build
from agents.pretrain.settings import PretrainSettings
from worldmodels.data import DataError, Episode, Episodes, Split, Windows, pad, split


@dataclass
class PretrainProgress:
    """How far a run is; saved with it.

    Args:
        updates: so far.
        best: the smallest validation bound, nats a frame; ``best_update`` its update.
        waited: validations since then.
        seconds, cpu_seconds: spent so far.
    """

    updates: int = 0
    best: float = math.inf
    best_update: int = 0
    waited: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


Watch = Callable[["Pretrainer", dict[str, float]], None]


class Pretrainer:
    """A run, built from its settings and data; goes on from where it is.

    Args:
        settings: the run.
        data: all episodes.
        directory: the run's folder (``checkpoints``, ``best``, ``metrics.jsonl``).
        logger: where numbers go.
        watch: called with the newest metrics, for a display.

    Raises:
        DataError: the data cannot be split, or the test part is too short for the report.

    >>> import tempfile, numpy
    >>> from agents.pretrain.settings import VRNNSettings
    >>> from worldmodels.data import make_episode
    >>> data = Episodes([make_episode("run", {"x": numpy.sin(numpy.arange(200.0))[:, None]})])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Pretrainer(VRNNSettings(batch=2, length=8, seen=5, horizon=4), data, Path(folder), Logger(Path(folder)))
    ...     loss = run.update()
    >>> run.progress.updates
    1
    """

    def __init__(
        self, settings: PretrainSettings, data: Episodes, directory: Path, logger: Logger, watch: Watch | None = None
    ) -> None:
        s = self.settings = settings
        self.directory, self.logger = directory, logger
        self.watch: Watch = watch or (lambda trainer, metrics: None)
        self.device, self.progress = torch.device(s.device), PretrainProgress()
        data = data.select(s.keys) if s.keys else data
        self.fingerprint = fingerprint(data)
        self.data: Split = split(data, s.split, s.valid, s.test, s.seed)
        longest = max(map(len, self.data.test))
        if longest < s.seen + s.horizon:  # now, and not after the training
            raise DataError(f"{data.source}: the open-loop report reads {s.seen} rows and predicts {s.horizon}, and the longest "
                            f"test episode has {longest}; choose seen and horizon below that, or a larger test share")
        torch.manual_seed(s.seed)
        self.model = build(s, data.shapes, data.action_size)
        self.model.fit_units(self.data.train)
        self.model.to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), s.lr, weight_decay=s.weight_decay)
        self.windows = Windows(self.data.train, s.batch, s.length, s.seed)
        self.valid = _pieces(self.data.valid, s.length)
        self._sums: dict[str, float] = {}

    # ---------------------------------------------------------------- the loop

    def run(self) -> None:
        """Train to the end; on any error or interruption a checkpoint is written first."""
        p, s = self.progress, self.settings
        began, cpu, before, cpu_before = time.monotonic(), time.process_time(), p.seconds, p.cpu_seconds
        total, count = 0.0, 0
        try:
            while not self.done:
                loss = self.update()
                total, count = total + loss, count + 1
                p.seconds = before + time.monotonic() - began
                p.cpu_seconds = cpu_before + time.process_time() - cpu
                self.watch(self, {"loss": loss})
                if p.updates % s.eval_every == 0 or p.updates == s.updates:
                    self._validate(total / count)
                    total, count = 0.0, 0
                if p.updates % s.checkpoint_every == 0:
                    self.save()
        finally:
            self.save()

    @property
    def done(self) -> bool:
        """All updates were made, or validation has not improved for long."""
        p, s = self.progress, self.settings
        return p.updates >= s.updates or (s.patience > 0 and p.waited >= s.patience)

    def update(self) -> float:
        """One update; the loss before it.

        Raises:
            FloatingPointError: the loss is not finite; the weights are as before.
        """
        p, s = self.progress, self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = s.lr * _rate(p.updates, s)
        self.model.train()
        batch = self._to_device(self.windows.draw())
        loss = self.model.loss(batch, min(1.0, (p.updates + 1) / s.anneal) if s.anneal else 1.0)
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at update {p.updates}; the weights are as before, try a smaller lr")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), s.clip)
        self.optimizer.step()
        p.updates += 1
        return value

    @torch.no_grad()
    def bound(self, parts: Sequence[Episode]) -> float:
        """Nats a frame over windows, one draw each with a generator's state of their own."""
        self.model.eval()
        state = torch.get_rng_state()
        torch.manual_seed(self.settings.seed + 1)  # the same noise at every validation
        nats = frames = 0.0
        for i in range(0, len(parts), 64):
            batch = self._to_device(pad(parts[i : i + 64]))
            nats += self.model.bound(batch).sum().item()
            frames += sum(map(len, parts[i : i + 64]))
        torch.set_rng_state(state)
        return nats / frames

    def _validate(self, loss: float) -> None:
        p = self.progress
        bound = self.bound(self.valid)
        if bound < p.best:
            p.best, p.best_update, p.waited = bound, p.updates, 0
            tensors, nested = flatten_state(self.model.state_dict())
            save_checkpoint(self.directory / "best", p.updates, tensors, {"nested": nested, "bound": bound}, keep=1)
        else:
            p.waited += 1
        found = {"loss": loss, "valid_bound": bound, "best": p.best}
        self.logger.log(p.updates, {**found, "seconds": p.seconds, "cpu_seconds": p.cpu_seconds}, kind="pretrain")
        self.watch(self, found)

    # ---------------------------------------------------------------- checkpoints

    def save(self) -> Path:
        """Write a checkpoint of everything."""
        tensors, nested = flatten_state({
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "torch_rng": torch.get_rng_state(),
        })
        state = {"nested": nested, "progress": asdict(self.progress), "windows": self.windows.state(), "data": self.fingerprint}
        return save_checkpoint(self.directory / "checkpoints", self.progress.updates, tensors, state)

    def load(self) -> None:
        """Go on from the newest sound checkpoint.

        Raises:
            RunError: the data is another than the run began with.
        """
        found = load_checkpoint(self.directory / "checkpoints")
        if found.state["data"] != self.fingerprint:
            raise RunError(f"{self.settings.data} is not the data that {self.directory} began with; start a new run")
        nested = unflatten_state(found.tensors, found.state["nested"])
        self.model.load_state_dict(nested["model"])
        self.optimizer.load_state_dict(nested["optimizer"])
        torch.set_rng_state(nested["torch_rng"])
        self.windows.load_state(found.state["windows"])
        self.progress = PretrainProgress(**found.state["progress"])
        self.logger.truncate_after(self.progress.updates)

    def load_best(self) -> None:
        """Take the weights of the best validation bound."""
        self.model.load_state_dict(best_weights(self.directory))
        self.model.to(self.device)

    def _to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        if bool(batch["mask"].all()):  # a plan without masks is faster
            batch = {k: v for k, v in batch.items() if k != "mask"}
        pinned = self.device.type == "cuda"
        return {k: (v.pin_memory() if pinned else v).to(self.device, non_blocking=pinned) for k, v in batch.items()}


def best_weights(directory: Path) -> dict[str, Tensor]:
    """The state dict of the best validation bound of a run."""
    found = load_checkpoint(directory / "best")
    weights: dict[str, Tensor] = unflatten_state(found.tensors, found.state["nested"])
    return weights


def fingerprint(data: Episodes) -> str:
    """What tells two data sets apart: names, lengths, keys, shapes, types, the first and the last row of each episode."""
    digest = hashlib.sha256()
    digest.update(json.dumps([[k, list(shape), dtype.str] for k, (shape, dtype) in data.schema.items()]).encode())
    for episode in data:
        digest.update(f"{episode.name} {len(episode)}".encode())
        for series in episode.series.values():
            digest.update(np.ascontiguousarray(series[[0, -1]]).tobytes())
    return digest.hexdigest()


def _pieces(data: Episodes, length: int) -> list[Episode]:
    """All rows, in windows of ``length`` and what is left over."""
    return [e.part(s, min(s + length, len(e))) for e in data for s in range(0, len(e), length)]


def _rate(update: int, s: PretrainSettings) -> float:
    warm = min(1.0, (update + 1) / s.warmup) if s.warmup else 1.0
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, update / s.updates)))
    return warm * (s.final_lr + (1 - s.final_lr) * fall)
