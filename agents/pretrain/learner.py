"""A world model of logs as something that learns from windows, like an agent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents.agent import Batch, Learned, Nested, Window
from agents.pretrain.models import PretrainModel
from agents.pretrain.settings import PretrainSettings
from agents.torch_agent import TorchAgent
from worldmodels.data import Episodes, Windows


class LogLearner(TorchAgent):
    r"""Minimises a model's objective with AdamW; the rate rises, then falls along a cosine.

    .. math:: \eta_k = \eta \min(1, k / k_{warm}) (f + (1 - f) (1 + \cos(\pi k / K)) / 2)

    (Loshchilov & Hutter 2017, 2019.)

    Args:
        model: of logs.
        settings: rates and sizes.

    >>> from agents.pretrain.models import build
    >>> from agents.pretrain.settings import VRNNSettings
    >>> settings = VRNNSettings()
    >>> LogLearner(build(settings, {"x": (1,)}, 0), settings).window
    Window(batch=16, length=64, lead=0)
    """

    def __init__(self, model: PretrainModel, settings: PretrainSettings) -> None:
        super().__init__()
        self.model, self.settings, self.made = model, settings, 0
        self.optimizer = torch.optim.AdamW(
            model.parameters(), settings.lr, weight_decay=settings.weight_decay
        )

    @property
    def window(self) -> Window:
        """Windows of the settings' size."""
        return Window(self.settings.batch, self.settings.length)

    def learn(self, batch: Batch) -> Learned:
        """One update.

        Raises:
            NotFinite: the loss or the gradient is not finite; nothing has moved.
        """
        s = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = s.lr * self._share()
        self.model.train()
        loss = self.model.loss(batch, min(1.0, (self.made + 1) / s.anneal) if s.anneal else 1.0)
        metrics = self.minimise(loss, self.optimizer, {}, batch, clip=s.clip)
        self.made += 1
        return Learned(metrics)

    def _share(self) -> float:
        s = self.settings
        warm = min(1.0, (self.made + 1) / s.warmup) if s.warmup else 1.0
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, self.made / s.updates)))
        return warm * (s.final_lr + (1 - s.final_lr) * fall)

    def state(self) -> Nested:
        """Weights, optimizer, updates made."""
        return {**super().state(), "made": self.made}

    def load_state(self, state: Nested) -> None:
        """Be as it was."""
        super().load_state(state)
        self.made = int(state["made"])


class LogWindows:
    """Windows of a log where a replay could be: a :class:`agents.run.learner.Source`.

    >>> import numpy
    >>> from worldmodels.data import make_episode
    >>> source = LogWindows(
    ...     Episodes([make_episode("run", {"x": numpy.zeros((20, 3))})]), batch=4, length=8
    ... )
    >>> source.sample(4, 8)["x"].shape
    (8, 4, 3)
    """

    def __init__(self, data: Episodes, batch: int, length: int, seed: int = 0) -> None:
        self.windows = Windows(data, batch, length, seed)

    def can_sample(self, length: int) -> bool:
        """Always: shorter episodes are padded."""
        return True

    def sample(self, batch: int, length: int) -> dict[str, Any]:
        """A batch ``[T, B, ...]``; ``mask`` only where some of it is padding.

        Raises:
            ValueError: another size than that of the windows.
        """
        if (batch, length) != (self.windows.batch, self.windows.length):
            raise ValueError(
                f"expected batch={self.windows.batch} and length={self.windows.length}, those of "
                f"the windows, got {batch} and {length}"
            )
        return arrays(self.windows.draw())

    def update(self, index: Any, values: Mapping[str, Any]) -> int:
        """A log is not written to."""
        return 0

    def state(self) -> Nested:
        """Where the draws are."""
        return self.windows.state()

    def load_state(self, state: Nested) -> None:
        """Go on from there."""
        self.windows.load_state(state)


def arrays(batch: Mapping[str, Tensor]) -> dict[str, Any]:
    """A batch of a log as a replay gives it, without a mask that masks nothing: a plan without
    masks is faster.
    """
    found = {k: v.numpy() for k, v in batch.items()}
    return {k: v for k, v in found.items() if k != "mask"} if bool(found["mask"].all()) else found
