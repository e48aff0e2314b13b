"""Make an environment from its id."""

from __future__ import annotations

import inspect
import re
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from envs.errors import EnvError, MissingExtra, UnknownEnv
from envs.extras import load, missing_extra, simulators
from envs.images import Size, check_size
from envs.options import check_count

if TYPE_CHECKING:
    from envs.adapted import Adapted

_DM_CONTROL = "dm_control/"
_LIKE_DM_CONTROL = re.compile(r"[a-z][a-zA-Z_]*-[a-z0-9_]+(-v0)?")


def make(
    env_id: str,
    *,
    action_repeat: int = 1,
    seed: int | None = None,
    time_limit: int | None = None,
    image_size: Size | None = None,
    **kwargs: Any,
) -> Adapted:
    """Make an environment in the form of the contract (see `envs.Adapted`).

    Args:
        env_id: of gymnasium ("Pendulum-v1"), of dm_control ("dm_control/cartpole-swingup", with or
            without "-v0"), or one's own: "module:Id", where importing the module registers the id,
            or "module:Class", or "module:function" of a function that makes one, of gymnasium or
            torchrl.
        action_repeat: environment steps a call of `step`; rewards are summed, info["envs.frames"]
            counts the steps made.
        seed: for the first reset that is given none. The same seed gives the same episodes.
        time_limit: environment steps (not actions) after which an episode is truncated; None keeps
            the task's own.
        image_size: (height, width) that images are scaled to, by area; None: as they are.
        **kwargs: for the environment; of a dm_control task: pixels, size, camera, quality,
            task_kwargs, environment_kwargs.

    Raises:
        UnknownEnv: no such id; the nearest ones are named.
        MissingExtra: its simulator is not installed.
        SpaceError: its spaces have no form in the contract, for example actions without finite
            bounds.
        EnvError: a bad action_repeat or time_limit, or an option that the environment does not
            take.

    Example:
        >>> env = make("Pendulum-v1", action_repeat=2, seed=0)
        >>> observation, info = env.reset()
        >>> observation, reward, terminated, truncated, info = env.step([0.5])
        >>> observation["observation"].shape, info["envs.frames"]
        ((3,), 2)
    """
    if not isinstance(env_id, str):
        raise UnknownEnv(
            f"expected an id such as 'Pendulum-v1', got {env_id!r}; "
            f"use envs.adapt for an environment"
        )
    check_count("action_repeat", action_repeat)
    check_size(image_size)
    if time_limit is not None:
        check_count("time_limit", time_limit)
    wanted_by = f"environment {env_id!r}"
    adapted: type[Adapted] = load("envs.adapted", wanted_by).Adapted
    try:
        with simulators(wanted_by):
            if env_id.startswith(_DM_CONTROL):
                env = _make_dm_control(env_id, seed, time_limit, kwargs)
            else:
                env = _make_gymnasium(env_id, time_limit, kwargs)
    except TypeError as error:
        if not kwargs or "argument" not in str(error):
            raise
        raise EnvError(
            f"{wanted_by}: expected options that it takes, got {kwargs}: {error}; correct them"
        ) from error
    try:
        return adapted(env, action_repeat=action_repeat, seed=seed, image_size=image_size)
    except EnvError:
        env.close()
        raise


def _make_dm_control(
    env_id: str, seed: int | None, time_limit: int | None, kwargs: dict[str, Any]
) -> Any:
    module = load("envs.dm_control", f"environment {env_id!r}")
    domain, task = module.parse_id(env_id, module.load_suite(bool(kwargs.get("pixels"))))
    return module.DMControl(domain, task, seed=seed, time_limit=time_limit, **kwargs)


def _make_gymnasium(env_id: str, time_limit: int | None, kwargs: dict[str, Any]) -> Any:
    gymnasium = load("gymnasium", f"environment {env_id!r}")
    module, _, name = env_id.rpartition(":")  # "module:Id" is registered by importing the module
    try:
        own = (
            getattr(import_module(module), name, None)
            if module
            else gymnasium.spec(env_id) and None
        )
        if inspect.isfunction(own) or (isinstance(own, type) and issubclass(own, gymnasium.Env)):
            return _limited(
                load("envs.adapted", f"environment {env_id!r}").as_gymnasium(own(**kwargs)),
                time_limit,
            )
        limit = {} if time_limit is None else {"max_episode_steps": time_limit}
        return gymnasium.make(env_id, disable_env_checker=True, **kwargs, **limit)
    except gymnasium.error.DependencyNotInstalled as error:
        if "mujoco" in str(error).lower():
            raise missing_extra(f"environment {env_id!r}", "mujoco") from error
        raise MissingExtra(
            f"environment {env_id!r} needs what is not installed: {error}"
        ) from error
    except gymnasium.error.UnregisteredEnv as error:
        raise _unregistered(env_id, module, name, list(gymnasium.registry)) from error
    except gymnasium.error.DeprecatedEnv as error:
        raise _unknown(env_id, list(gymnasium.registry)) from error
    except gymnasium.error.Error as error:
        if not any(said in str(error) for said in ("alformed", "No registered env")):
            raise
        raise _unregistered(env_id, module, name, list(gymnasium.registry)) from error
    except ModuleNotFoundError as error:
        if not module or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UnknownEnv(
            f"expected a module to import in {env_id!r}, got {error}; install it, "
            f"or start in the folder "
            "where it lies (the command looks there; in Python it must be on sys.path)"
        ) from error
    except ImportError as error:  # how gymnasium says that a version has moved elsewhere
        if "moved" not in str(error):
            raise
        raise _unknown(env_id, [name for name in gymnasium.registry if name != env_id]) from error


def _limited(env: Any, time_limit: int | None) -> Any:
    return (
        env
        if time_limit is None
        else load("gymnasium.wrappers", "a time limit").TimeLimit(env, time_limit)
    )


def _unregistered(env_id: str, module: str, name: str, known: list[str]) -> UnknownEnv:
    """The error for a name that is not registered, also not by its own module."""
    if not module:
        return _unknown(env_id, known)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    return UnknownEnv(
        f"expected {name!r} in {env_id!r} to be an id that importing {module} registers, "
        f"a class in it that is a gymnasium.Env, or a function that makes one, "
        f"got none of them{hint}"
    )


def _unknown(env_id: str, known: list[str]) -> UnknownEnv:
    near = get_close_matches(env_id, known, n=3, cutoff=0.5)
    if _LIKE_DM_CONTROL.fullmatch(env_id):
        near.insert(0, _DM_CONTROL + env_id)
    hint = (
        f"nearest: {', '.join(near)}; "
        if near
        else "ids of dm_control are written dm_control/<domain>-<task>; "
    )
    return UnknownEnv(
        f"expected an id of gymnasium or dm_control, got {env_id!r}; "
        f"{hint}an environment of your own is "
        "written module:Id, where importing the module registers the id, "
        "module:Class or module:function (the "
        "command looks for modules in the current folder too)"
    )
