"""Which OpenGL MuJoCo draws with here: tried in a process of its own, since a driver that is broken
may take its process along.

MuJoCo and dm_control choose once, when they are imported, by the variable MUJOCO_GL. What a user
put there stands.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys

from envs.errors import EnvError

BACKENDS = ("egl", "osmesa", "glfw")
"""A GPU or a software driver without a screen; software without a driver; a screen."""
PACKAGES = {
    "egl": "libegl1 libgl1-mesa-dri",
    "osmesa": "libosmesa6",
    "glfw": "libglfw3 (and a screen)",
}
"""Of Debian and Ubuntu."""
ABSENT = re.compile(
    r"'NoneType' object has no attribute '(gl|egl|OSMesa)\w+'|[Uu]nable to load|cannot open shared"
)
"""What PyOpenGL and glfw say where they did not find the library."""
FOUND = "PIXYZ_GL"
"""What was found, kept for the processes that this one starts."""
NOTHING = "none"
"""In `FOUND`: nothing draws here, and what MUJOCO_GL says is no choice of the user's."""
SECONDS = 60.0
_TRIAL = (
    "import mujoco, os, sys\n"
    "model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom "
    'size="1"/></worldbody></mujoco>\')\n'
    "context = mujoco.GLContext(16, 16)\n"
    "context.make_current()\n"
    "mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)\n"
    "print('drawn', flush=True)\n"
    "os._exit(0)\n"  # some drivers fail while they are taken down
)


def screen() -> bool:
    """Whether there is a screen."""
    return sys.platform != "linux" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ


@functools.cache
def trouble(backend: str) -> str:
    """Why MuJoCo cannot draw with a back end here; an empty string if it can. About a second, once
    in a process.
    """
    given = {**os.environ, "MUJOCO_GL": backend}
    given.pop("PYOPENGL_PLATFORM", None)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL],
            env=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}"
    if "drawn" in done.stdout:
        return ""
    said = [
        line.strip()
        for line in done.stderr.splitlines()
        if line.strip() and not line.startswith(" ")
    ]
    last = said[-1] if said else ""
    if ABSENT.search(last):
        return (
            f"its library is not there; on Debian and Ubuntu: apt-get install {PACKAGES[backend]}"
        )
    return last[:160] or f"ended with code {done.returncode}"


def choose() -> str | None:
    """The value for MUJOCO_GL where nothing was chosen: None where there is a screen, else what
    draws here.

    Raises:
        EnvError: nothing does; says why, and what to install.
    """
    if screen():
        return None
    if os.environ.get(FOUND) in BACKENDS:
        return os.environ[FOUND]
    why = {}
    for backend in BACKENDS[:2]:
        why[backend] = trouble(backend)
        if not why[backend]:
            os.environ[FOUND] = backend
            return backend
    said = "; ".join(f"{backend}: {text}" for backend, text in why.items())
    raise EnvError(f"pictures need OpenGL, and none draws here ({said}); {advice()}")


def advice() -> str:
    """What to install."""
    return (
        f"on Debian and Ubuntu: apt-get install {PACKAGES['osmesa']} (no GPU needed), or "
        f"{PACKAGES['egl']}; a back end is "
        "chosen by itself, or by MUJOCO_GL=egl, osmesa or glfw, set before Python starts"
    )
