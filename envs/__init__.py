"""Simulators behind one contract, gymnasium's, checked at the door.

    make(env_id)  ->  one environment: Dict observations, actions in [-1, 1], action repeat,
                      finite values
    make_vector   ->  N of them, stepped together, whose rows carry is_first, is_last and
                      is_terminal
    adapt         ->  the same for an environment of yours, of gymnasium or torchrl
    check_env     ->  whether it keeps the contract
    from_gymnasium_vector, from_stable_baselines: for vectors of theirs

Importing this package loads none of gymnasium, mujoco and dm_control: they are loaded when they are
first needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from envs.errors import (
    ActionError,
    ContractError,
    EnvError,
    EnvFailure,
    MissingExtra,
    NotFinite,
    ObservationError,
    SpaceError,
    UnknownEnv,
)
from envs.make import make  # not lazy: the function must win over the submodule of the same name

if TYPE_CHECKING:
    from envs.adapted import Adapted, adapt
    from envs.check import check_env
    from envs.guard import ActionGuard, ObservationGuard, check_flag, check_reward
    from envs.gymnasium_vector import GymnasiumVector, from_gymnasium_vector
    from envs.rows import Episode, Failure, Vector, derive_seeds
    from envs.stable_baselines import from_stable_baselines
    from envs.state import Restorable
    from envs.vector import VectorEnv, make_vector

_HOMES = {
    "Adapted": "adapted",
    "adapt": "adapted",
    "ActionGuard": "guard",
    "ObservationGuard": "guard",
    "check_env": "check",
    "check_flag": "guard",
    "check_reward": "guard",
    "GymnasiumVector": "gymnasium_vector",
    "from_gymnasium_vector": "gymnasium_vector",
    "from_stable_baselines": "stable_baselines",
    "Episode": "rows",
    "Failure": "rows",
    "Vector": "rows",
    "VectorEnv": "vector",
    "Restorable": "state",
    "derive_seeds": "rows",
    "make_vector": "vector",
}

__all__ = [
    "ActionError",
    "ActionGuard",
    "Adapted",
    "ContractError",
    "EnvError",
    "EnvFailure",
    "Episode",
    "Failure",
    "GymnasiumVector",
    "MissingExtra",
    "NotFinite",
    "ObservationError",
    "ObservationGuard",
    "Restorable",
    "SpaceError",
    "UnknownEnv",
    "Vector",
    "VectorEnv",
    "adapt",
    "check_env",
    "check_flag",
    "check_reward",
    "derive_seeds",
    "from_gymnasium_vector",
    "from_stable_baselines",
    "make",
    "make_vector",
]


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'envs' has no attribute {name!r}")
    value = getattr(import_module(f"envs.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
