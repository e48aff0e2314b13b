"""The errors of environments: each says what was expected, what came, and what to do.

All subclass `EnvError`, which is a ValueError. Those raised while an environment runs carry its index in `env`
(None for a single environment); a vector environment fills it in with `at`.
"""

from __future__ import annotations

from typing import Self


class EnvError(ValueError):
    """An environment cannot be made, or broke its contract. `env` is its index, or None."""

    def __init__(self, message: str, *, env: int | None = None) -> None:
        super().__init__(message if env is None else f"environment {env}, {message}")
        self.message = message
        self.env = env

    def at(self, env: int) -> Self:
        """The same error, naming the environment that raised it."""
        return type(self)(self.message, env=env)


class UnknownEnv(EnvError):
    """No environment has this id."""


class MissingExtra(EnvError):
    """A simulator is not installed."""


class SpaceError(EnvError):
    """A space has no form in the contract (unbounded actions, nested observations, a reserved key, ...)."""


class ObservationError(EnvError):
    """An observation, reward or flag has the wrong keys, shape, dtype or a value that is not finite."""


class ActionError(EnvError):
    """An action has the wrong shape or dtype, or a value that is not finite or out of range."""


class ContractError(EnvError):
    """`check_env` found a broken promise."""


class EnvFailure(EnvError):
    """An environment raised an error of its own; it is the `__cause__`."""
