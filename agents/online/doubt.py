"""A model of a robot's log that says when not to trust what is asked (`envs.robot.Doubt`).

disagreement   before an action is sent: state, action or what was unexpected lately are unlike the
               log's
surprise       after it: the robot answers unlike the log's
drift          over many ticks: it answers so by little, and always to one side
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from agents.errors import UsageError
from agents.policy import load_model
from agents.pretrain.models import StepModel
from agents.pretrain.trust import THRESHOLDS
from worldmodels.doubt import Doubt, Thresholds
from worldmodels.one_step import OneStep

Seen = Mapping[str, NDArray[Any]]


class ModelDoubt:
    """Asks an ensemble of one-step predictors.

    Args:
        model: of a log in the units of the environment, such as `pixyz robot record` writes.
        trusted: of its scores.
        observation, action: the environment's spaces.

    Raises:
        UsageError: the environment has not the log's observations, or not its actions.
    """

    def __init__(
        self, model: OneStep, trusted: Thresholds, observation: spaces.Dict, action: spaces.Box
    ) -> None:
        self.model, self._doubt = model.eval(), Doubt(trusted)
        self._low, self._high = action.low, action.high
        declared = {k: observation[k].shape for k in model.sizes if k in observation.spaces}
        wanted = {k: (size,) for k, size in model.sizes.items()}
        if declared != wanted:
            raise UsageError(
                f"a doubt of the observations {wanted} does not fit a robot that has {declared}"
            )
        reach = model.reach.cpu().numpy()
        far = reach.shape != action.shape or (reach > 1.01 * np.maximum(-action.low, action.high))
        if np.any(far):
            raise UsageError(
                f"a doubt of a log whose actions reach {reach.tolist()} does not fit a robot whose "
                f"actions lie in [{action.low.tolist()}, {action.high.tolist()}]; learn it from a "
                "log of `pixyz robot record` with the same limits and control"
            )
        self._before: dict[str, Tensor] = {}
        self._lately = model.initial(1)
        self._why: str | None = None

    @staticmethod
    def load(run: Path, observation: spaces.Dict, action: spaces.Box) -> ModelDoubt:
        """From a run of `pixyz pretrain doubt` or `one_step`.

        Raises:
            UsageError: it is another run, or does not fit the robot.
            DataError: it has no thresholds.
        """
        model = load_model(run)
        if not isinstance(model, StepModel):
            raise UsageError(
                f"{run}: expected a run of `pixyz pretrain doubt` or `one_step`, got another"
            )
        return ModelDoubt(model.model, Thresholds.load(run / THRESHOLDS), observation, action)

    def begin(self, seen: Seen) -> None:
        """An episode begins."""
        self._doubt.reset()
        self._before, self._why = self._tensors(seen), None
        self._lately = self.model.initial(1)

    def ask(self, seen: Seen, action: NDArray[Any]) -> str | None:
        """Why not to trust: the answer to the last action, or this one."""
        asked = np.clip(action, self._low, self._high)
        found = self.model.disagreement(self._tensors(seen), _row(asked), self._lately)
        return self._doubt.add(disagreement=float(found)) or self._why

    def came(self, sent: NDArray[Any], seen: Seen) -> None:
        """What was sent, and what came of it."""
        step = self._before, _row(sent), self._tensors(seen)
        found = self.model.residual(*step, self._lately)[0]
        self._why = self._doubt.add(found, surprise=float(found.square().mean()))
        self._before, self._lately = step[-1], self.model.follow(self._lately, *step)

    def _tensors(self, seen: Seen) -> dict[str, Tensor]:
        return {k: _row(seen[k]) for k in self.model.sizes}


def _row(values: Any) -> Tensor:
    """``[1, D]``."""
    return torch.from_numpy(np.asarray(values, np.float32).reshape(1, -1))
