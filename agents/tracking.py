"""Further places for a run's numbers, loaded when they are asked for: Weights & Biases,
TensorBoard.
"""

from __future__ import annotations

import netrc
import os
import secrets
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agents.config import to_dict
from agents.errors import UsageError
from agents.logger import Tracker
from agents.settings import RunSettings

PACKAGES = {"none": (), "wandb": ("wandb",), "tensorboard": ("tensorboard", "tensorboardX")}
"""A tracker -> the packages of which it needs one."""
MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")
RUN_ID = "wandb_id"


class WandbTracker:
    """Sends numbers to wandb. Its environment variables count: WANDB_MODE, WANDB_PROJECT,
    WANDB_ENTITY, WANDB_DIR, WANDB_NAME, WANDB_RUN_ID and the others that wandb reads.

    Where they say nothing: the project is ``pixyz``; name and files are those of the run's folder;
    the run is offline if no key is configured (``wandb sync`` sends it later). Its id is kept in
    the folder, so that a resumed run goes on in wandb too. A run that wandb cannot start is warned
    of and goes on without; numbers that it refuses are the logger's matter.

    Args:
        config: the settings, shown beside the curves.
        directory: the run's folder.

    Raises:
        UsageError: wandb is not installed, or WANDB_MODE is none of its modes.
    """

    def __init__(self, config: Mapping[str, Any], directory: Path) -> None:
        mode = os.environ.get("WANDB_MODE")
        if mode is not None and mode not in MODES:
            raise UsageError(f"WANDB_MODE: expected one of {', '.join(MODES)}, got {mode!r}")
        try:
            # not `import wandb`: a folder wandb/ of earlier runs would pass for the package
            from wandb import (
                init,
            )
        except ImportError as error:
            raise UsageError(
                f"tracker wandb: expected the package wandb ({error}); pip install wandb"
            ) from None
        ours: dict[str, tuple[str, Any]] = {
            "project": ("WANDB_PROJECT", "pixyz"),
            "dir": ("WANDB_DIR", str(directory)),
            "name": ("WANDB_NAME", directory.resolve().name),
            "resume": ("WANDB_RESUME", "allow"),
        }
        options = {
            name: value for name, (variable, value) in ours.items() if variable not in os.environ
        }
        self._run: Any = None
        try:
            if "WANDB_RUN_ID" not in os.environ:
                options["id"] = _run_id(directory)
            if mode is None and not _has_key():
                options["mode"] = "offline"
            self._run = init(config=dict(config), **options)
        except Exception as error:
            warnings.warn(
                f"wandb did not start ({error}); training goes on without it", stacklevel=2
            )
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


class TensorBoardTracker:
    """Writes numbers into ``tensorboard`` of the run's folder: ``tensorboard --logdir runs`` shows
    them.

    Args:
        directory: the run's folder.

    Raises:
        UsageError: neither tensorboard nor tensorboardX is installed.
    """

    def __init__(self, directory: Path) -> None:
        writer = _summary_writer()
        self._writer: Any = None
        try:
            self._writer = writer(str(directory / "tensorboard"))
        except Exception as error:
            warnings.warn(
                f"TensorBoard's writer did not start ({error}); training goes on without it",
                stacklevel=2,
            )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the numbers of environment step ``step``."""
        for name, value in metrics.items() if self._writer is not None else ():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def tracker(settings: RunSettings, directory: Path) -> Tracker | None:
    """The tracker that a run's settings ask for, if any."""
    if settings.tracker == "wandb":
        return WandbTracker(to_dict(settings), directory)
    return TensorBoardTracker(directory) if settings.tracker == "tensorboard" else None


def check_tracker(settings: RunSettings) -> None:
    """Refuse a tracker whose package is missing, before anything is written."""
    packages = PACKAGES[settings.tracker]
    if packages and not any(find_spec(package) for package in packages):
        raise UsageError(
            f"tracker {settings.tracker}: expected the package {packages[0]}; "
            f"pip install {packages[0]}"
        )


def _summary_writer() -> Any:
    for module in ("torch.utils.tensorboard", "tensorboardX"):
        with suppress(ImportError):
            return import_module(module).SummaryWriter
    raise UsageError(
        "tracker tensorboard: expected the package tensorboard; pip install tensorboard"
    )


def _run_id(directory: Path) -> str:
    """The id of the run in wandb, the same at each start of it."""
    path = directory / RUN_ID
    if not path.exists():
        path.write_text(secrets.token_hex(4), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _has_key() -> bool:
    """Whether wandb would find a key: in its variable, or in the file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    with suppress(OSError, netrc.NetrcParseError, KeyError):
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    return False
