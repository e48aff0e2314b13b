"""Load an optional simulator, or say what it needs."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from envs.errors import EnvError, MissingExtra
from envs.rendering import FOUND, NOTHING, advice

_SIMULATORS = ("gymnasium", "dm_control", "dm_env", "mujoco", "yaml")
_RENDERERS = ("OpenGL", "mujoco.gl_context", "mujoco.egl", "mujoco.osmesa", "dm_control._render")
"""The modules that load the renderer named in MUJOCO_GL."""


@contextmanager
def simulators(wanted_by: str) -> Iterator[None]:
    """Say what a simulator inside the block needs: a package that is missing is a `MissingExtra`, a
    renderer in MUJOCO_GL that is not there an `EnvError`; other errors pass unchanged.
    """
    try:
        yield
    except (ImportError, AttributeError, RuntimeError) as error:  # each driver raises its own
        missing = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
        if isinstance(error, ModuleNotFoundError) and missing in _SIMULATORS:
            raise missing_extra(wanted_by, missing) from error
        chosen = os.environ.get("MUJOCO_GL")
        if not chosen or not _while_loading_a_renderer(error):
            raise
        said = f"MUJOCO_GL={chosen} does not draw here ({error}); unset it, or:"
        if os.environ.get(FOUND) == NOTHING:
            said = f"nothing draws here ({chosen}: {error});"
        raise EnvError(f"{wanted_by}: {said} {advice()}") from error


def _while_loading_a_renderer(error: BaseException) -> bool:
    names = (
        frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)
    )
    return any(name == r or name.startswith(r + ".") for name in names for r in _RENDERERS)


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
