"""Environments from settings: the one place that knows which fields `envs.make` is given."""

from __future__ import annotations

from typing import Any

from agents.settings import EnvSettings
from envs import make, make_vector
from envs.adapted import Adapted
from envs.vector import VectorEnv


def make_env(settings: EnvSettings, seed: int | None = None, **options: Any) -> Adapted:
    """One environment of a run; `options` go before those of the settings.

    >>> make_env(EnvSettings("Pendulum-v1", action_repeat=2)).action_repeat
    2
    """
    return make(
        settings.id,
        action_repeat=settings.action_repeat,
        time_limit=settings.time_limit,
        seed=seed,
        **{**settings.options, **options},
    )


def make_envs(
    settings: EnvSettings, num_envs: int, seed: int | None = None, workers: int = 0
) -> VectorEnv:
    """`num_envs` of them, stepped together; each has a seed derived from `seed`.

    >>> make_envs(EnvSettings("Pendulum-v1"), 3).num_envs
    3
    """
    return make_vector(
        settings.id,
        num_envs,
        seed=seed,
        action_repeat=settings.action_repeat,
        time_limit=settings.time_limit,
        workers=workers,
        **settings.options,
    )
