"""The errors of environments: each says what was expected, what came, and what to do.

All subclass `EnvError`, which is a ValueError. Those raised while an environment runs carry its
index in `env` (None for a single environment); a vector environment fills it in with `at`.
"""

from __future__ import annotations

from typing import Self


class EnvError(ValueError):
    """An environment cannot be made, or broke its contract. `env` is its index, or None.

    >>> EnvError("no such key", env=3)
    EnvError('environment 3, no such key')
    >>> EnvError("no such key").at(1).env
    1
    """

    def __init__(self, message: str, *, env: int | None = None) -> None:
        super().__init__(message if env is None else f"environment {env}, {message}")
        self.message = message
        self.env = env

    def at(self, env: int) -> Self:
        """The same error, naming the environment that raised it."""
        return type(self)(self.message, env=env)


class UnknownEnv(EnvError):
    """No environment has this id.

    >>> from envs import make
    >>> try:
    ...     make("gym:Nothing-v0")
    ... except UnknownEnv as error:
    ...     print(type(error).__name__)
    UnknownEnv
    """


class MissingExtra(EnvError):
    """A simulator is not installed.

    >>> MissingExtra("pip install dm-control")
    MissingExtra('pip install dm-control')
    """


class SpaceError(EnvError):
    """A space has no form in the contract (unbounded actions, nested observations, a reserved key,
    ...).

    >>> import gymnasium
    >>> import envs
    >>> space = gymnasium.spaces.Box(-float("inf"), 1.0, (1,))
    >>> try:
    ...     envs.ActionGuard(space)
    ... except SpaceError as error:
    ...     print(type(error).__name__)
    SpaceError
    """


class ObservationError(EnvError):
    """An observation, reward or flag has the wrong keys, shape, dtype or a value that is not
    finite.

    >>> import gymnasium, numpy
    >>> import envs
    >>> guard = envs.ObservationGuard(gymnasium.spaces.Box(-1.0, 1.0, (2,)))
    >>> try:
    ...     guard.one(numpy.zeros(3, numpy.float32))
    ... except ObservationError as error:
    ...     print(type(error).__name__)
    ObservationError
    """


class NotFinite(ObservationError):
    """An observation or reward is NaN or infinite. In a vector it costs an environment its episode.

    >>> import gymnasium, numpy
    >>> import envs
    >>> try:
    ...     envs.check_reward(float("nan"))
    ... except NotFinite as error:
    ...     print(isinstance(error, envs.ObservationError))
    True
    """


class ActionError(EnvError):
    """An action has the wrong shape or dtype, or a value that is not finite or out of range.

    >>> import gymnasium, numpy
    >>> import envs
    >>> guard = envs.ActionGuard(gymnasium.spaces.Box(-2.0, 2.0, (1,)))
    >>> try:
    ...     guard.one(numpy.array([numpy.nan]))
    ... except ActionError as error:
    ...     print(type(error).__name__)
    ActionError
    """


class ContractError(EnvError):
    """`check_env` found a broken promise.

    >>> ContractError("step: expected a float32 reward")
    ContractError('step: expected a float32 reward')
    """


class EnvFailure(EnvError):
    """An environment raised an error of its own, or its process hung or died. `trace`: its
    traceback.

    In this process the error is also the `__cause__`.

    >>> EnvFailure("step: the simulator stopped", env=0, trace="Traceback ...")
    EnvFailure('environment 0, step: the simulator stopped')
    """

    def __init__(self, message: str, *, env: int | None = None, trace: str = "") -> None:
        super().__init__(message, env=env)
        self.trace = trace

    def at(self, env: int) -> Self:
        """The same error, naming the environment that raised it."""
        return type(self)(self.message, env=env, trace=self.trace)
