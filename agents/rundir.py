"""The folder of a run: what was asked for and where it came from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from agents.config import to_yaml
from agents.errors import RunError

PACKAGES = ("pixyz-worldmodels", "torch", "numpy", "gymnasium", "mujoco", "dm-control")


def create_run(path: Path, config: Any, *, seed: int) -> Path:
    """Make the folder with ``config.yaml`` and ``run.json``.

    Raises:
        RunError: the folder exists and is not empty.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} exists; go on with `pixyz resume {path}`, or choose another folder with --run")
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
        (path / "run.json").write_text(json.dumps({**origin(), "seed": seed}, indent=1), encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write the run folder {path}: {error.strerror or error}") from None
    return path


def open_run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings and the origin of a run.

    Raises:
        RunError: it is no run folder.
    """
    try:
        config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        info = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is no run folder: {Path(error.filename).name} is missing") from None
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        raise RunError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    return config, info


def origin() -> dict[str, Any]:
    """Commit, versions, machine, command and time: what a result came from."""
    here = Path(__file__).resolve().parent
    return {
        "commit": _git(here, "rev-parse", "HEAD"),
        "dirty": bool(_git(here, "status", "--porcelain", "--untracked-files=no")),
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
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
