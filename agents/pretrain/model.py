"""A model of pretraining: an objective, a bound in nats a frame, a forecast.

Its final classes are in :mod:`agents.pretrain.models`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from worldmodels.data import Episodes
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State

Batch = Mapping[str, Tensor]


class PretrainModel(nn.Module):
    r"""Abstract: a model of logs ``[T, B, ...]``, whose bound :math:`\log p(x_{1:T}) \geq -L` is
    trained.

    The bound is that of the model (:mod:`worldmodels`: Krishnan et al. 2017, Chung et al. 2015,
    Gregor et al. 2019, Hafner et al. 2023).

    Args:
        model: of series.

    >>> from agents.pretrain.models import VectorModel
    >>> issubclass(VectorModel, PretrainModel)
    True
    """

    def __init__(self, model: StateSpaceModel) -> None:
        super().__init__()
        self.model = model

    def fit_units(self, train: Episodes) -> None:
        """Take the units from the training part; nothing, unless a final class has some."""

    def accept(self, data: Episodes) -> None:
        """Refuse a log that the model has no density for; nothing, unless a final class does.

        Raises:
            UsageError: it holds such values.
        """

    @abstractmethod
    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's variables from a batch of a log ``[T, B, ...]``."""

    @abstractmethod
    def observations(self, drawn: Batch, seen: Batch) -> dict[str, Tensor]:
        """Observations in the log's units and keys from what the model draws after the rows
        ``seen`` of the log.
        """

    def loss(self, batch: Batch, beta: float = 1.0) -> Tensor:
        """What is minimised, a number."""
        given = self.prepare(batch)
        if "beta" in self.model.objective.input_var:
            given["beta"] = torch.as_tensor(beta, device=batch["is_first"].device)
        found: Tensor = self.model.objective.eval(given)
        return found

    @torch.no_grad()
    def bound(self, batch: Batch) -> Tensor:
        """The negative evidence bound of each sequence, ``[B]`` nats."""
        found: Tensor = self.model.bound.eval(self.prepare(batch))
        return found

    def terms(self, batch: Batch) -> Tensor:
        """How many frames of each sequence :meth:`bound` has a term for, ``[B]``: all that are
        there, unless a final class says otherwise.
        """
        rows = torch.ones_like(batch["is_first"], dtype=torch.float32)
        found: Tensor = (rows * batch["mask"] if "mask" in batch else rows).sum(0)
        return found

    def forecast(
        self, seen: Batch, action: Tensor | None, steps: int, draws: int = 1
    ) -> dict[str, Tensor]:
        """The mean of ``draws`` predictions of the ``steps`` frames after ``seen``, ``[steps, B,
        ...]``; see :class:`worldmodels.open_loop.Forecaster`.
        """
        return {k: v.mean(2) for k, v in self.drawn(seen, action, steps, draws).items()}

    def drawn(
        self, seen: Batch, action: Tensor | None, steps: int, draws: int
    ) -> dict[str, Tensor]:
        """``draws`` predictions of the ``steps`` frames after ``seen``, ``[steps, B, draws,
        ...]``.
        """
        self.eval()
        count = seen["is_first"].shape[1]
        rows = {k: v.repeat_interleave(draws, 1) for k, v in seen.items()}
        state: State = {k: v[-1] for k, v in self.model.filter(self.prepare(rows)).items()}
        drawn = self.model.sample(state, steps, self.actions(action, steps, count, draws))
        found = self.observations({k: drawn[k] for k in self.model.keys}, rows)
        return {k: v.unflatten(1, (count, draws)) for k, v in found.items()}

    def actions(self, action: Tensor | None, steps: int, count: int, draws: int) -> Tensor | None:
        """What the model reads of actions, ``[steps, B draws, A]``."""
        return None
