"""Weights & Biases as a tracker, loaded when it is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from agents.config import to_dict
from agents.errors import UsageError
from agents.logger import Tracker
from agents.settings import RunSettings

MODES = ("online", "offline", "disabled")


class WandbTracker:
    """Sends numbers to wandb, or keeps them in the run's folder (``mode="offline"``; ``wandb sync`` sends them later).

    A run that wandb cannot start is warned of and goes on without; numbers that it refuses are the logger's matter.

    Args:
        project: name of the project.
        config: the settings, shown beside the curves.
        directory: the run's folder, whose name is the run's; wandb writes into ``directory/wandb``.
        mode: online, offline or disabled.

    Raises:
        UsageError: wandb is not installed, or the mode is none of these.
    """

    def __init__(self, project: str, config: Mapping[str, Any], directory: Path, mode: str = "offline") -> None:
        if mode not in MODES:
            raise UsageError(f"tracker mode: expected one of {', '.join(MODES)}, got {mode!r}")
        try:
            from wandb import init  # not `import wandb`: a folder wandb/ of earlier runs would pass for the package
        except ImportError:
            raise UsageError("tracker wandb: expected the package wandb; pip install pixyz-worldmodels[tracking]") from None
        self._run: Any = None
        try:
            self._run = init(
                project=project, config=dict(config), dir=str(directory), name=directory.resolve().name, mode=mode  # type: ignore[arg-type]
            )
        except Exception as error:
            warnings.warn(f"wandb did not start ({error}); training goes on without it", stacklevel=2)
        with suppress(Exception):  # curves over environment steps; only a preference of the display
            self._run.define_metric("*", step_metric="step")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send the numbers of environment step ``step``."""
        if self._run is not None:
            self._run.log({**metrics, "step": step})

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish()


def tracker(settings: RunSettings, directory: Path) -> Tracker | None:
    """The tracker that a run's settings ask for, if any."""
    return None if settings.tracker == "none" else WandbTracker("pixyz", to_dict(settings), directory)
