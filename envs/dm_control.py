"""The tasks of dm_control's suite as gymnasium environments.

Without pixels nothing of OpenGL is imported: dm_control chooses its renderer when it is first
imported, so MUJOCO_GL says "disabled" during that import, unless the user has set it. With pixels
it says what draws here.
"""

from __future__ import annotations

import os
import re
import sys
from difflib import get_close_matches
from types import ModuleType
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.errors import EnvError, UnknownEnv
from envs.extras import load
from envs.options import check_count
from envs.physics import load_simulation, model_arrays, save_simulation
from envs.rendering import choose
from envs.state import load_attributes, load_generator, save_attributes, save_generator

PREFIX = "dm_control/"
_CHOOSE = "set MUJOCO_GL=egl (or glfw, osmesa) before Python starts"
_NO_LIMIT = 1e10  # what dm_control writes for an actuator without limits
_ID = re.compile(r"dm_control/(?P<domain>\w+)-(?P<task>\w+?)(-v0)?")


def load_suite(pixels: bool) -> ModuleType:
    """Import dm_control.suite, without OpenGL unless `pixels`: then with what draws here
    (`envs.rendering`).

    A renderer that the user chose in MUJOCO_GL stays; the variable is only set during the import.
    Raises MissingExtra when dm_control is not installed, EnvError when nothing draws.
    """
    taken = "dm_control._render" in sys.modules or "MUJOCO_GL" in os.environ
    renderer = None if taken else choose() if pixels else "disabled"
    if renderer is not None:
        os.environ["MUJOCO_GL"] = renderer
    try:
        suite: ModuleType = load("dm_control.suite", "a dm_control id")
    finally:
        if not taken:
            os.environ.pop("MUJOCO_GL", None)
    return suite


def parse_id(env_id: str, suite: ModuleType) -> tuple[str, str]:
    """Domain and task of "dm_control/<domain>-<task>" or "...-v0". Raises UnknownEnv with the
    nearest ids.
    """
    match = _ID.fullmatch(env_id)
    if match and (match["domain"], match["task"]) in suite.ALL_TASKS:
        return match["domain"], match["task"]
    known = [f"{PREFIX}{domain}-{task}" for domain, task in suite.ALL_TASKS]
    near = get_close_matches(re.sub(r"-v\d+$", "", env_id), known, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else f"for example {PREFIX}cartpole-swingup"
    raise UnknownEnv(
        f"expected dm_control/<domain>-<task> or the same with -v0, got {env_id!r}; {hint}"
    )


class DMControl(gymnasium.Env[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any]]):
    """One task of dm_control's suite.

    Observations are 1-d float32 arrays under dm_control's names (scalars have shape (1,)), or, with
    `pixels`, {"image": uint8 [H, W, 3]}. An episode that ends is terminated when dm_control's
    discount is 0, else truncated.

    An actuator without limits (lqr has them) takes actions in [-1, 1] as they are.

    Args:
        domain, task: as in suite.load.
        seed: of the task's random state when it is built; reset(seed=...) seeds it again. A few
            tasks (lqr, swimmer) also draw their model when they are built, so two of them are alike
            only when this is given.
        time_limit: environment steps; None keeps the task's own (1000 for most).
        pixels: render the observation, [*size, 3] from `camera`. Needs OpenGL (`envs.rendering`).
        quality: "full", or "fast": without shadows, reflections and multisampling, which is far
            cheaper where a CPU renders. The pixels differ, so scores compare within one quality
            only.
        task_kwargs, environment_kwargs: as in suite.load.

    Raises:
        EnvError: when pixels are asked of a dm_control that was imported without OpenGL.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (gymnasium's convention)
        "render_modes": ["rgb_array"]
    }
    render_mode = "rgb_array"

    def __init__(
        self,
        domain: str,
        task: str,
        *,
        seed: int | None = None,
        time_limit: int | None = None,
        pixels: bool = False,
        size: tuple[int, int] = (64, 64),
        camera: int | str = 0,
        quality: Literal["full", "fast"] = "full",
        task_kwargs: dict[str, Any] | None = None,
        environment_kwargs: dict[str, Any] | None = None,
    ) -> None:
        suite = load_suite(pixels)
        if pixels and load("dm_control._render", "pixels").BACKEND in (None, "off"):
            raise EnvError(
                "pixels: expected dm_control with a renderer, got one imported without OpenGL; "
                f"make the pixel task first in the process, or {_CHOOSE}"
            )
        kwargs = {"random": seed, **(task_kwargs or {})}
        self._limit = None if time_limit is None else check_count("time_limit", time_limit)
        if self._limit is not None:
            kwargs["time_limit"] = float("inf")  # counted here, in steps
        self._env = suite.load(
            domain, task, task_kwargs=kwargs, environment_kwargs=environment_kwargs
        )
        self._pixels, self._size, self._camera = pixels, size, camera
        if quality not in ("full", "fast"):
            raise EnvError(
                f"quality: expected 'full' or 'fast', got {quality!r}; choose one of them"
            )
        if quality == "fast":
            _render_fast(self._env.physics.model)
        self._count = 0
        self._built = {
            key: value.copy() for key, value in model_arrays(self._env.physics.model.ptr).items()
        }
        action = self._env.action_spec()
        low, high = (
            np.broadcast_to(b, action.shape).astype(np.float64)
            for b in (action.minimum, action.maximum)
        )
        free = (np.abs(low) >= _NO_LIMIT) | (np.abs(high) >= _NO_LIMIT)
        low, high = np.where(free, -1.0, low), np.where(free, 1.0, high)
        self.action_space = spaces.Box(low, high, action.shape, np.float64)
        boxes: dict[str, spaces.Space[Any]]
        if pixels:
            boxes = {"image": spaces.Box(0, 255, (*size, 3), np.uint8)}
        else:
            shapes = {
                key: (int(np.prod(spec.shape)),)
                for key, spec in self._env.observation_spec().items()
            }
            boxes = {
                key: spaces.Box(-np.inf, np.inf, shape, np.float32) for key, shape in shapes.items()
            }
        self.observation_space: spaces.Dict = spaces.Dict(boxes)  # type: ignore[assignment]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
        """Start an episode; `seed` seeds the task's random state.

        Raises EnvError for the one task that needs OpenGL even without pixels (quadruped-escape)
        when there is none.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._env.task.random.seed(seed % 2**32)
        self._count = 0
        try:
            return self._observation(self._env.reset().observation), {}
        except RuntimeError as error:
            if "OpenGL" not in str(error):
                raise
            raise EnvError(
                f"reset: this task draws with OpenGL even without pixels, got: {error}; {_CHOOSE}"
            ) from error

    def step(
        self, action: np.ndarray[Any, Any]
    ) -> tuple[dict[str, np.ndarray[Any, Any]], float, bool, bool, dict[str, Any]]:
        """One control step with an action [A] in the task's bounds."""
        return self.repeat(action, 1)[:5]

    def repeat(
        self, action: np.ndarray[Any, Any], times: int
    ) -> tuple[dict[str, np.ndarray[Any, Any]], float, bool, bool, dict[str, Any], int]:
        """Up to `times` steps with one action, only the last rendered; their number comes last."""
        reward, frames = 0.0, 0
        for _ in range(times):
            last = self._env.step(action)
            frames += 1
            reward += float(last.reward)
            self._count += 1
            terminated = bool(last.last() and last.discount == 0)
            truncated = bool(last.last() and not terminated)
            truncated = truncated or (
                not terminated and self._limit is not None and self._count >= self._limit
            )
            if terminated or truncated:
                break
        return self._observation(last.observation), reward, terminated, truncated, {}, frames

    @property
    def time_limit(self) -> int | None:
        """Environment steps after which an episode is truncated;
        None when there is no limit (lqr).
        """
        limit = self._env._step_limit if self._limit is None else self._limit
        return None if limit == float("inf") else int(np.ceil(limit))

    def save_state(self) -> dict[str, Any]:
        """The state of simulation, task, generator and clocks (see `envs.Restorable`)."""
        env, physics = self._env, self._env.physics
        model = model_arrays(physics.model.ptr)
        return {
            "simulation": save_simulation(physics.model.ptr, physics.data.ptr),
            "model": {
                key: value.copy()
                for key, value in model.items()
                if not np.array_equal(value, self._built[key])
            },
            "task": save_attributes(env.task),
            "random": save_generator(env.task.random),
            "clock": [int(env._step_count), bool(env._reset_next_step), self._count],
        }

    def load_state(self, state: Any) -> None:
        """Go on from a saved state of the same task. Raises EnvError for that of another."""
        env, physics = self._env, self._env.physics
        for key, value in model_arrays(physics.model.ptr).items():
            value[...] = state["model"].get(key, self._built[key])
        load_simulation(physics.model.ptr, physics.data.ptr, state["simulation"])
        load_attributes(env.task, state["task"])
        load_generator(state["random"], env.task.random)
        env._step_count, env._reset_next_step, self._count = state["clock"]

    def render(self) -> Any:
        """The scene as uint8 [H, W, 3]."""
        height, width = self._size
        return self._env.physics.render(height=height, width=width, camera_id=self._camera)

    def close(self) -> None:
        """Free the simulation."""
        self._env.close()

    def _observation(self, observation: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        if self._pixels:
            return {"image": self.render()}
        return {
            key: np.asarray(value, np.float32).reshape(-1) for key, value in observation.items()
        }


def _render_fast(model: Any) -> None:
    """No shadows, reflections and multisampling; before the first picture."""
    model.light_castshadow[:] = 0
    model.mat_reflectance[:] = 0
    model.vis.quality.shadowsize = 0
    model.vis.quality.offsamples = 0
