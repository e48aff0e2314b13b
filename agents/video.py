"""A video of an episode: mp4 by imageio and ffmpeg, gif by Pillow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import Actor
from agents.environments import make_env
from agents.errors import UsageError
from agents.outputs import check_file
from agents.settings import EnvSettings
from agents.spaces import Interface
from envs import EnvError
from envs.rendering import FOUND, NOTHING, choose, screen
from pixyz.plan.random import random_states, restore_random_states

Frame = NDArray[np.uint8]
PACKAGES = {".mp4": ("imageio", "imageio_ffmpeg"), ".gif": ("PIL",)}
INSTALLED_BY = {"imageio": "imageio", "imageio_ffmpeg": "imageio-ffmpeg", "PIL": "pillow"}
SIZE = (240, 320)
MOST_FPS = 50
DRAWERS = ("egl", "glfw", "mujoco", "opengl", "osmesa")


def check_video(path: Path) -> None:
    """Refuse a file that could not be written at the end.

    Raises:
        UsageError: another ending than .mp4 or .gif, a package that is missing, a folder that is
            not there or cannot be written to.
    """
    packages = PACKAGES.get(path.suffix.lower())
    if packages is None:
        raise UsageError(f"--video: expected a name that ends in .mp4 or .gif, got {str(path)!r}")
    for package in packages:
        if find_spec(package) is None:
            other = "; .gif needs Pillow only" if path.suffix.lower() == ".mp4" else ""
            raise UsageError(
                f"--video: {path.suffix} needs {INSTALLED_BY[package]}: pip install "
                f"{INSTALLED_BY[package]}{other}"
            )
    check_file(path, "--video")


@contextmanager
def rendering(env_id: str) -> Iterator[None]:
    """Inside the block MuJoCo draws without a screen, too, with what draws here, unless a renderer
    was chosen; the first environment is made inside it. Variables are put back at its end.
    """
    before = {name: os.environ.get(name) for name in ("MUJOCO_GL", "SDL_VIDEODRIVER")}
    if not screen():
        if "MUJOCO_GL" not in os.environ:
            try:
                os.environ["MUJOCO_GL"] = choose() or "egl"
            except EnvError:  # its own error is the one that is shown
                os.environ |= {"MUJOCO_GL": "egl", FOUND: NOTHING}
        if not env_id.startswith("dm_control/"):
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    try:
        yield
    finally:
        if os.environ.get(FOUND) == NOTHING:
            before[FOUND] = None
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def record(
    settings: EnvSettings, actor: Actor, seed: int, limit: int
) -> tuple[list[Frame], float, float]:
    """Pictures ``[H, W, 3]`` of one episode of an actor's best actions, pictures a second, and the
    return.

    The caller's random numbers are left as they were.

    Raises:
        UsageError: the environment cannot be drawn here; says what it needs.
    """
    asked: dict[str, Any] = {"render_mode": "rgb_array"}
    # its own pictures are of the size of its observations, if it gives some
    if settings.id.startswith("dm_control/"):
        asked = {} if settings.options.get("pixels") else {"size": SIZE}
    before = random_states()
    torch.manual_seed(seed)
    env: Any = None
    try:
        env = drawn(settings, partial(make_env, settings, seed, **asked))
        interface = Interface.from_spaces(env.observation_space, env.action_space)
        state, total, first = actor.initial(1), 0.0, True
        observation, _ = env.reset()
        frames = [_frame(settings, env)]
        for _ in range(limit):
            rows = {
                **{k: np.asarray(v)[None] for k, v in observation.items()},
                "is_first": np.array([first]),
            }
            action, state = actor.act(interface.tensors(rows, actor.device), state)
            native = interface.native(action.cpu().float().numpy(), env.action_space)[0]
            observation, reward, terminated, truncated, _ = env.step(native)
            total, first = total + float(reward), False
            frames.append(_frame(settings, env))
            if terminated or truncated:
                break
        return frames, _fps(env, settings.action_repeat), total
    finally:
        restore_random_states(before)
        if env is not None:
            env.close()


def write_video(path: Path, frames: Sequence[Frame], fps: float) -> None:
    """Write pictures ``[H, W, 3]`` as .mp4 or .gif.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        if path.suffix.lower() == ".gif":
            from PIL import Image

            pictures = [Image.fromarray(frame) for frame in frames]
            pictures[0].save(
                path, save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0
            )
            return
        writers: Any = import_module("imageio.v2")
        with writers.get_writer(path, fps=fps, macro_block_size=2) as writer:
            for frame in frames:
                writer.append_data(frame)
    except OSError as error:
        raise UsageError(f"--video: cannot write {path}: {error.strerror or error}") from None


def clip(run: Path) -> str:
    """Write ``clip.gif``, the first ten seconds of an episode of a run.

    In a process of its own, since a simulator chooses how it draws when it is loaded.

    Returns:
        The line that says where it is, or why it is not.
    """
    path = run / "clip.gif"
    asked = ["--episodes", "1", "--video", str(path), "--seconds", "10"]
    command = [sys.executable, "-m", "agents.cli", "evaluate", str(run), *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return next(line for line in done.stdout.splitlines() if line.startswith("video: "))
    why = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return f"no clip ({why.removeprefix('pixyz: ')}); later: pixyz evaluate {run} --video {path}"


def drawn(settings: EnvSettings, draw: Callable[[], Any]) -> Any:
    """What ``draw`` gives.

    Raises:
        UsageError: it raised; says what pictures of an environment need.
    """
    try:
        return draw()
    except Exception as error:  # each simulator and each driver raises its own
        text = f"{type(error).__name__}: {error}" if not isinstance(error, EnvError) else str(error)
        advice = "MuJoCo draws with MUJOCO_GL=egl (a GPU, or libegl1), "
        advice += "osmesa (libosmesa6) or glfw (a screen)"
        if "pygame" in text:
            advice = "pip install pygame"
        elif ":" in settings.id and not any(word in text.lower() for word in DRAWERS):
            advice = "let its __init__ take render_mode, and its render() return uint8 [H, W, 3]"
        cure = "" if "apt-get" in text else f"; {advice}"
        raise UsageError(f"--video: {settings.id} cannot be drawn here ({text}){cure}") from None


def _frame(settings: EnvSettings, env: Any) -> Frame:
    picture = drawn(settings, env.render)
    picture = np.asarray(picture[-1] if isinstance(picture, list) and picture else picture)
    if picture.ndim != 3 or picture.shape[-1] != 3:
        raise UsageError(
            f"--video: expected pictures [H, W, 3] from {settings.id}, "
            f"got {picture.dtype} {list(picture.shape)}"
        )
    return picture.astype(np.uint8)


def _fps(env: Any, repeat: int) -> float:
    """Pictures a second of the environment's own time, at most 50."""
    inner: Any = getattr(env.unwrapped, "_env", None)  # of dm_control
    each = (
        1 / inner.control_timestep()
        if hasattr(inner, "control_timestep")
        else float(env.metadata.get("render_fps") or 30)
    )
    return float(min(max(each / repeat, 1.0), MOST_FPS))
