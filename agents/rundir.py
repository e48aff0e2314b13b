"""The folder of a run: what was asked for and where it came from.

    create_run  ->  config.yaml (every setting) and run.json (commit, versions, machine, seed, command, time)
    open_run    ->  both, read again
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from agents.config import parse_yaml, to_yaml
from agents.errors import RunError

PACKAGES = ("pixyz-worldmodels", "torch", "numpy", "gymnasium", "mujoco", "dm-control")
INTERFACE = "interface.json"
SOURCES = ("agents", "configs", "envs", "pixyz", "worldmodels")


def create_run(path: Path, config: Any, *, seed: int) -> Path:
    """Make the folder with ``config.yaml`` and ``run.json``.

    Args:
        config: the run's settings, a dataclass.

    Raises:
        RunError: the folder exists and is not empty, or cannot be written.
    """
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            on = f"go on with `pixyz resume {path}`, or " if (path / "run.json").is_file() else ""
            raise RunError(f"{path} exists and is not empty; {on}choose another folder with --run")
        path.mkdir(parents=True, exist_ok=True)
        with (path / "config.yaml").open("x", encoding="utf-8") as file:  # x: of two runs that start at once, one gets it
            file.write(to_yaml(config))
        (path / "run.json").write_text(json.dumps({**origin(), "seed": seed}, indent=1), encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write the run folder {path}: {error.strerror or error}; choose another with --run") from None
    return path


def open_run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings and the origin of a run.

    Raises:
        RunError: it is no run folder, or its files are damaged.
    """
    try:
        config = parse_yaml((path / "config.yaml").read_text(encoding="utf-8"), "config.yaml")
        info = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{path} is no run folder: expected a file {Path(error.filename).name} in it, got none") from None
    except OSError as error:
        raise RunError(f"cannot read the run folder {path}: {error.strerror or error}") from None
    except ValueError as error:  # not UTF-8, not YAML, not JSON
        raise RunError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict) or not isinstance(info, dict):
        raise RunError(f"{path} is damaged: expected keys and values in config.yaml and run.json")
    return config, info



def write_interface(path: Path, interface: dict[str, Any]) -> None:
    """Keep what a run's environment or log looks like, so that its agent or model can be loaded without it."""
    (path / INTERFACE).write_text(json.dumps(interface), encoding="utf-8")


def read_interface(path: Path) -> dict[str, Any]:
    """What :func:`write_interface` kept.

    Raises:
        RunError: it is not there, or damaged.
    """
    try:
        found = json.loads((path / INTERFACE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path}: expected a file {INTERFACE} in the run's folder, got none; go on with the run once") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path / INTERFACE} is damaged: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise RunError(f"{path / INTERFACE} is damaged: expected keys and values")
    return found


def origin() -> dict[str, Any]:
    """Commit, versions, machine, command and time: what a result came from."""
    root = Path(__file__).resolve().parents[1]
    tracked = _git(root, "ls-files", "--error-unmatch", "agents/__init__.py") is not None  # else another's repository
    changes = _git(root, "status", "--porcelain", "--", *SOURCES) if tracked else None
    return {
        "commit": _git(root, "rev-parse", "HEAD") if tracked else None,
        "dirty": None if changes is None else bool(changes),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None if it fails or is not there."""
    command = ["git", "--no-optional-locks", *arguments]
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}  # a hook's GIT_DIR is another's
    try:
        done = subprocess.run(
            command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """To be replaced."""
    yield


def count_start(path: Path) -> int:
    """To be replaced."""
    return 1
