"""Several environments stepped together, in this process, with rows that a replay can store as they come.

A row holds the observation, and the reward and flags that arrive with it:

    call         reset()   step    step     step (action ignored)
    observation  first     ...     last     first of the next episode
    is_first     True      False   False    True
    is_last      False     False   True     False
    is_terminal  False     False   True unless the episode was only cut short (truncated)
    reward       0         r       r        0
    frames       0         k       k        0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from gymnasium import Env, spaces
from numpy.typing import NDArray

from envs.adapted import Adapted, adapt
from envs.errors import EnvError, EnvFailure, SpaceError
from envs.guard import ActionGuard
from envs.make import make
from envs.options import check_count
from envs.rows import EpisodeLog, Episode, Rows, derive_seeds

class VectorEnv:
    """N environments of one kind, stepped one after the other in this process.

    Args:
        envs: a factory without arguments, or an id for `make`, for each environment. What a factory returns is adapted
            to the contract (`envs.adapt`) when it is not yet.
        seed: environment i gets `derive_seeds(seed, N)[i]` at the first reset, whatever N is; None: not repeatable.

    Raises:
        SpaceError: when the environments' spaces differ, naming the first that differs.

    Example:
        >>> with VectorEnv(["Pendulum-v1"] * 2, seed=0) as vector:
        ...     rows = vector.reset()
        ...     rows = vector.step(np.zeros((2, 1), np.float32))
        >>> rows["observation"].shape, rows["is_first"].tolist()
        ((2, 3), [False, False])
    """

    def __init__(self, envs: Sequence[Callable[[], Env[Any, Any]] | str], *, seed: int | None = None) -> None:
        check_count("number of environments", len(envs))
        self.num_envs = len(envs)
        self._seed = seed
        self._envs: list[Adapted] = []
        seeds = derive_seeds(seed, self.num_envs)
        try:
            for i, source in enumerate(envs):
                made = make(source, seed=seeds[i]) if isinstance(source, str) else adapt(source())
                self._envs.append(made)
                for name in ("observation_space", "action_space"):
                    got, expected = getattr(made, name), getattr(self._envs[0], name)
                    if got != expected:
                        raise SpaceError(f"{name}: expected that of environment 0, {expected}, got {got}", env=i)
        except BaseException:
            self.close()
            raise
        self.single_observation_space: spaces.Dict = self._envs[0].observation_space
        self._actions = ActionGuard(self._envs[0].action_space)
        self.single_action_space = self._actions.space
        self._ended: NDArray[np.bool_] | None = None
        self._log = EpisodeLog(self.num_envs)

    def reset(self, *, seed: int | None = None) -> Rows:
        """Start every environment anew and return their first rows.

        `seed` seeds them all again; without it the first reset uses the constructor's and later ones go on drawing.
        """
        if seed is None:
            seed, self._seed = self._seed, None
        seeds = derive_seeds(seed, self.num_envs)
        self._ended = None
        rows = [self._reset(i, seeds[i]) for i in range(self.num_envs)]
        return self._stack(rows)

    def step(self, action: Any) -> Rows:
        """Take one action an environment and return one row each.

        Args:
            action: [N, A] (Box [-1, 1]; clipped) or [N] (Discrete). Ignored where the previous row was a last one:
                there the next episode starts.

        Returns:
            The observation keys [N, ...], and reward [N] float32, is_first, is_last, is_terminal [N] bool,
            frames [N] int64 (environment steps made).

        Raises:
            ActionError: before any environment is stepped.
            ObservationError: an environment broke the contract; named with the key.
            EnvFailure: an environment raised an error of its own. After this or the former, call reset().
        """
        if self._ended is None:
            raise EnvError("step: expected a call of reset() first; also after an error of an environment")
        ended, self._ended = self._ended, None
        try:
            actions = self._actions.batch(action, ~ended)
        except EnvError:
            self._ended = ended  # nothing has moved
            raise
        return self._stack(
            [self._reset(i, None) if ended[i] else self._step(i, actions[i]) for i in range(self.num_envs)]
        )

    def pop_episodes(self) -> list[Episode]:
        """The episodes finished since the last call, in the order of their ends."""
        return self._log.pop()

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _reset(self, i: int, seed: int | None) -> tuple[Rows, float, bool, bool, bool, int]:
        try:
            observation, _ = self._envs[i].reset(seed=seed)
        except Exception as error:
            raise _named(error, i, "reset") from error
        return observation, 0.0, True, False, False, 0

    def _step(self, i: int, action: Any) -> tuple[Rows, float, bool, bool, bool, int]:
        try:
            observation, reward, terminated, truncated, _ = self._envs[i].step(action)
        except Exception as error:
            raise _named(error, i, "step") from error
        return observation, reward, False, terminated or truncated, terminated, self._envs[i].frames

    def _stack(self, rows: list[tuple[Rows, float, bool, bool, bool, int]]) -> Rows:
        observations, rewards, first, last, terminal, frames = zip(*rows, strict=True)
        for i, (_, reward, is_first, is_last, _, count) in enumerate(rows):
            self._log.add(i, reward, count, is_first, is_last)
        self._ended = np.array(last, np.bool_)
        return {
            **{key: np.stack([each[key] for each in observations]) for key in self.single_observation_space.spaces},
            "reward": np.array(rewards, np.float32),
            "is_first": np.array(first, np.bool_),
            "is_last": self._ended.copy(),
            "is_terminal": np.array(terminal, np.bool_),
            "frames": np.array(frames, np.int64),
        }


def make_vector(
    env_id: str,
    num_envs: int,
    *,
    seed: int | None = None,
    action_repeat: int = 1,
    time_limit: int | None = None,
    workers: int = 0,
    **kwargs: Any,
) -> VectorEnv:
    """`num_envs` environments made by `make(env_id, ...)`, each with its own seed derived from `seed`."""
    check_count("num_envs", num_envs)
    options: dict[str, Any] = {"action_repeat": action_repeat, "time_limit": time_limit, **kwargs}

    def factory(own: int | None) -> Callable[[], Env[Any, Any]]:
        return lambda: make(env_id, seed=own, **options)

    return VectorEnv([factory(own) for own in derive_seeds(seed, num_envs)], seed=seed)


def _named(error: Exception, env: int, call: str) -> EnvError:
    """`error` with the index of the environment that raised it."""
    if isinstance(error, EnvError):
        return error.at(env)
    return EnvFailure(f"{call}: raised {type(error).__name__}: {error}; the cause is above", env=env)
