"""Load an optional simulator, or say how to install it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from envs.errors import MissingExtra

_SIMULATORS = ("gymnasium", "dm_control", "dm_env", "mujoco", "yaml")


@contextmanager
def simulators(wanted_by: str) -> Iterator[None]:
    """Turn a missing simulator inside the block into `MissingExtra`; other import errors pass
    unchanged.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _SIMULATORS:
            raise
        raise missing_extra(wanted_by, missing) from error


def missing_extra(wanted_by: str, module: str) -> MissingExtra:
    """The error that says which package `wanted_by` needs and what to type."""
    package = {"dm_control": "dm-control", "dm_env": "dm-control", "yaml": "pyyaml"}.get(
        module, module
    )
    late = package == "dm-control" and sys.version_info >= (3, 13)
    advice = ", in Python 3.11 or 3.12: its labmaze has no wheel for later ones" if late else ""
    return MissingExtra(
        f"{wanted_by} needs the package {module!r}, which is not installed; run: "
        f"pip install {package}{advice}"
    )


def load(module: str, wanted_by: str) -> Any:
    """Import `module` by name. Raises `MissingExtra` if it, or a simulator under it, is not
    installed.
    """
    with simulators(wanted_by):
        return import_module(module)
