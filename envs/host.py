"""Environments that answer requests, in this process or in another.

A host holds some of the environments of a vector. `begin` tells it the requests to come, so that
another process may go to work; `finish` takes the answers, one environment after the other:

    ("make", seed)    close the environment there is and make it (anew)   ->  what of its spaces
    ("reset", seed)   start an episode                                    ->  a row
    ("step", action)  one action of the contract                          ->  a row
    ("save",)         its state, or None when it has none to give         ->  plain data
    ("load", state)   go on from a saved state                            ->  None
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from gymnasium import Env, spaces

from envs.adapted import Adapted, adapt
from envs.errors import EnvError, NotFinite
from envs.make import make
from envs.wire import WireError, encode

Request = tuple[Any, ...]


class Recipe(NamedTuple):
    """How to make an environment from plain data, here or in another process."""

    env_id: str
    options: dict[str, Any]


Source = Callable[[], Env[Any, Any]] | str | Recipe


class Row(NamedTuple):
    """What one environment returned, the observations that were far out of their bounds, and the
    action that it says it did.
    """

    observation: dict[str, Any]
    reward: float
    is_first: bool
    is_last: bool
    is_terminal: bool
    frames: int
    outside: tuple[str, ...]
    sent: Any = None


class Reply(NamedTuple):
    """The answer to a request.

    `kind`: "ok", with the value; "failed", when the environment raised an error of its own;
    "broken", when it broke the contract; "lost", when its process hung or died. `said` is the error
    in one line, `trace` its traceback, `error` the error itself when it was raised in this process,
    `name` its class.
    """

    kind: Literal["ok", "failed", "broken", "lost"]
    value: Any = None
    said: str = ""
    trace: str = ""
    name: str = ""
    error: BaseException | None = None


class Host(Protocol):
    """Where environments live. `envs` are their indexes in the vector."""

    envs: tuple[int, ...]

    def begin(self, requests: dict[int, Request]) -> None: ...
    def finish(self, env: int, request: Request) -> Reply: ...
    def restart(self) -> None: ...
    def hang_up(self) -> None: ...
    def close(self, deadline: float) -> None: ...


class Local:
    """One environment in this process. A request is carried out when its answer is asked for."""

    def __init__(self, env: int, source: Source) -> None:
        self.envs: tuple[int, ...] = (env,)
        self._holder = Holder(source)

    def begin(self, requests: dict[int, Request]) -> None:
        """Nothing to do: this process does one thing after the other."""

    def finish(self, env: int, request: Request) -> Reply:
        """Carry it out."""
        return self._holder.answer(request)

    def restart(self) -> None:
        """Nothing to do: this process is never lost."""

    def hang_up(self) -> None:
        """Nothing to do: it is closed by `close`."""

    def close(self, deadline: float) -> None:
        """Close the environment."""
        self._holder.close()


class Holder:
    """One environment, made anew as often as it is asked for. Errors become replies."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._env: Adapted | None = None
        self._ways: dict[str, Callable[..., Any]] = {
            "make": self._make,
            "reset": self._reset,
            "step": self._step,
            "save": self._save,
            "load": self._load,
        }

    def answer(self, request: Request) -> Reply:
        """Carry out one request."""
        try:
            return Reply("ok", self._ways[request[0]](*request[1:]))
        except NotFinite as error:
            return _reply("failed", error)
        except EnvError as error:
            return _reply("broken", error)
        except (Exception, SystemExit) as error:  # simulators call exit() where they should raise
            return _reply("failed", error)

    def close(self) -> None:
        """Close the environment; what it raises while it closes is of no use to anybody."""
        env, self._env = self._env, None
        if env is not None:
            with suppress(Exception):
                env.close()

    def _make(self, seed: int | None) -> dict[str, Any]:
        self.close()
        if isinstance(self._source, str):
            self._env = make(self._source, seed=seed)
        elif isinstance(self._source, Recipe):
            self._env = make(self._source.env_id, seed=seed, **self._source.options)
        else:
            self._env = adapt(self._source())
        return describe(self._env)

    def _reset(self, seed: int | None) -> Row:
        env = self._made()
        observation, _ = env.reset(seed=seed)
        return Row(observation, 0.0, True, False, False, 0, env.outside)

    def _step(self, action: Any) -> Row:
        env = self._made()
        observation, reward, terminated, truncated, _ = env.step(action)
        over = terminated or truncated
        return Row(observation, reward, False, over, terminated, env.frames, env.outside, env.sent)

    def _save(self) -> Any:
        env = self._made()
        if not env.restorable:
            return None
        state = env.save_state()
        try:
            encode(state)
        except WireError as error:
            raise EnvError(
                f"save_state: expected plain data (see envs.Restorable); {error}"
            ) from error
        return state

    def _load(self, state: Any) -> None:
        self._made().load_state(state)

    def _made(self) -> Adapted:
        if self._env is None:
            raise EnvError("expected an environment, got a closed one; make the vector anew")
        return self._env


def _reply(kind: Literal["failed", "broken"], error: BaseException) -> Reply:
    said = (
        error.message if isinstance(error, EnvError) else f"raised {type(error).__name__}: {error}"
    )
    return Reply(
        kind, None, said, "".join(traceback.format_exception(error)), type(error).__name__, error
    )


def describe(env: Adapted) -> dict[str, Any]:
    """The spaces of an adapted environment, and whether it has a limit, as plain data."""
    boxes = {
        key: [box.low, box.high, str(box.dtype)]
        for key, box in env.observation_space.spaces.items()
    }
    act = env.action_space
    action = [int(act.n), int(act.start)] if isinstance(act, spaces.Discrete) else list(act.shape)
    kind = "Discrete" if isinstance(act, spaces.Discrete) else "Box"
    return {"observation": boxes, "action": action, "kind": kind, "time_limit": env.time_limit}


def spaces_of(description: dict[str, Any]) -> tuple[spaces.Dict, spaces.Box | spaces.Discrete]:
    """The spaces that `describe` told."""
    boxes = {
        key: spaces.Box(low, high, np.shape(low), np.dtype(dtype).type)
        for key, (low, high, dtype) in description["observation"].items()
    }
    action = description["action"]
    if description["kind"] == "Discrete":
        return spaces.Dict(boxes), spaces.Discrete(action[0], start=action[1])
    return spaces.Dict(boxes), spaces.Box(-1.0, 1.0, tuple(action), np.float32)
