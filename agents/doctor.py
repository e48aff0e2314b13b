"""What is installed here, what draws, where it computes, and what to type where something is
missing.

Needs torch alone, so that it can speak where the rest cannot be imported.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

from agents.shadow import HERE
from envs.rendering import BACKENDS, advice, screen, trouble
from pixyz import __version__
from pixyz.plan.run.compiled import HEADER

EXTRAS = {
    "train": ("agents and the command", ("pyyaml", "rich", "gymnasium")),
    "sim": ("MuJoCo and dm_control", ("mujoco", "dm-control")),
    "plots": ("curves and reports", ("matplotlib",)),
    "data": ("Minari, LeRobot, .mat", ("h5py", "pyarrow", "av", "scipy")),
    "export": ("pixyz export --to onnx", ("onnx", "onnxscript", "onnxruntime")),
    "robot": ("robot actor and learner", ("pyzmq",)),
    "ray": ("robot actors", ("pyzmq", "ray")),
    "video": ("--video", ("imageio", "imageio-ffmpeg", "pillow")),
    "tracking": ("tracker=", ("wandb", "tensorboard")),
    "flows": ("zuko's flows", ("zuko",)),
    "interop": ("tensordicts of torchrl", ("tensordict",)),
    "shell": ("completion", ("shtab",)),
}
"""Extras of the package: what they are for, and their packages."""


def report(draw: bool = True) -> Iterator[str]:
    """Lines, as they are found.

    Args:
        draw: try OpenGL, which takes a second or two.
    """
    yield f"pixyz {__version__}, from {HERE}"
    yield f"Python {platform.python_version()} ({sys.executable}), {platform.platform(terse=True)}"
    yield from computing()
    yield from packages()
    if draw:
        yield from drawing()
    yield from here(Path.cwd())


def computing() -> Iterator[str]:
    """Torch, threads, devices, compiler."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield (
        f"torch {torch.__version__}, {torch.get_num_threads()} threads on {cores} cores; "
        f"a run's own: threads=1"
    )
    names = [
        f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())
    ]
    names += ["mps"] if torch.backends.mps.is_available() else []
    if names:
        yield f"devices: cpu, {', '.join(names)}; take one with device={names[0].split()[0]}"
    else:
        yield "devices: cpu"
    if shutil.which(os.environ.get("CXX", "c++")) is None and shutil.which("g++") is None:
        yield (
            "compiling (agent.chunk=8): no C++ compiler is there; on Debian and Ubuntu: "
            "apt-get install g++ python3-dev"
        )
    elif not HEADER.is_file():
        yield (
            f"compiling (agent.chunk=8): a C++ compiler is there, but no {HEADER}; on Debian and "
            "Ubuntu: apt-get install python3-dev"
        )
    else:
        yield "compiling (agent.chunk=8): a C++ compiler is there"


def packages() -> Iterator[str]:
    """Each extra, and what it lacks."""
    for extra, (use, names) in EXTRAS.items():
        there = {name: _version(name) for name in names}
        lacking = [name for name, found in there.items() if found is None]
        found = ", ".join(f"{name} {at}" for name, at in there.items() if at is not None)
        line = f"{extra} ({use}): {found or 'nothing'}"
        yield line if not lacking else f"{line}; missing: pip install {' '.join(lacking)}"


def drawing() -> Iterator[str]:
    """What MuJoCo draws with here."""
    if find_spec("mujoco") is None:
        yield "OpenGL: not tried, MuJoCo is not installed"
        return
    chosen = os.environ.get("MUJOCO_GL")
    found = {name: trouble(name) for name in (BACKENDS if screen() else BACKENDS[:2])}
    working = [name for name, why in found.items() if not why]
    for name, why in found.items():
        yield f"OpenGL, {name}: {why or 'draws'}" + ("; another draws" if why and working else "")
    if chosen is not None and chosen not in working:
        yield f"MUJOCO_GL={chosen} is set and does not draw; unset it"
    if not working:
        yield f"pictures and videos of MuJoCo cannot be made; {advice()}"


def here(folder: Path) -> Iterator[str]:
    """What of the current folder gets into the way."""
    for name in ("pixyz", "worldmodels", "agents", "envs"):
        if (folder / name).is_dir() and (folder / name).resolve() != HERE / name:
            yield f"the folder {folder / name} has the name of a package of this library: rename it"
    if not os.access(folder, os.W_OK):
        yield f"{folder} cannot be written: runs need --run FOLDER elsewhere"


def main() -> int:
    """Print the report."""
    for line in report():
        print(line, flush=True)
    return 0


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
