"""Weights & Biases as a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.errors import UsageError


class WandbTracker:
    """Sends numbers to wandb, or keeps them in the run's folder (``mode="offline"``).

    Raises:
        UsageError: wandb is not installed.
    """

    def __init__(self, project: str, config: Mapping[str, Any], directory: Path, mode: str = "offline") -> None:
        try:
            import wandb
        except ImportError:
            raise UsageError("tracker=wandb needs wandb: pip install 'pixyz-worldmodels[tracking]'") from None
        self._run = wandb.init(project=project, config=dict(config), dir=str(directory), mode=mode)  # type: ignore[arg-type]

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take some numbers."""
        self._run.log({**metrics, "step": step})

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()
