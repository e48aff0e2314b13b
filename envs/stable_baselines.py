"""A VecEnv of stable-baselines3 as a vector environment of gymnasium, in the mode SAME_STEP.

A VecEnv starts the next episode in the step that ends one, and keeps the last observation in
infos[i]["terminal_observation"].  With the rows of the contract it is `from_stable_baselines(vec)`,
which says nothing of stable-baselines3 itself: what has its methods will do.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.errors import ContractError
from envs.gymnasium_vector import GymnasiumVector
from envs.spaces import action_space

METHODS = ("num_envs", "observation_space", "action_space", "reset", "step", "seed", "close")


class StableBaselinesVector(VectorEnv[Any, Any, Any]):
    """`vec` with the methods of gymnasium's vectors.

    >>> from envs import from_stable_baselines
    >>> from_stable_baselines(object())
    Traceback (most recent call last):
        ...
    envs.errors.ContractError: expected a VecEnv of stable-baselines3, got object, which lacks num_envs; wrap ...
    """  # noqa: E501

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # type: ignore[misc]

    def __init__(self, vec: Any) -> None:
        lacking = [name for name in METHODS if not hasattr(vec, name)]
        if lacking:
            raise ContractError(
                f"expected a VecEnv of stable-baselines3, got {type(vec).__name__}, "
                f"which lacks {lacking[0]}; "
                "wrap environments in DummyVecEnv or SubprocVecEnv"
            )
        action_space(vec.action_space)  # refused here, and not in the first step
        self._vec = vec
        self.num_envs = int(vec.num_envs)
        self.single_observation_space = vec.observation_space
        self.single_action_space = vec.action_space
        self.observation_space = batch_space(vec.observation_space, self.num_envs)
        self.action_space = batch_space(vec.action_space, self.num_envs)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode everywhere; environment i is seeded with seed + i, as stable-baselines3
        does.
        """
        if seed is not None:
            self._vec.seed(int(seed))
        return self._vec.reset(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step everywhere. An end that infos call "TimeLimit.truncated" is a truncation,
        another a termination.
        """
        observation, rewards, dones, infos = self._vec.step(actions)
        done = np.asarray(dones, np.bool_)
        cut = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos]) & done
        final = np.empty(self.num_envs, object)
        for i in np.flatnonzero(done).tolist():
            final[i] = infos[i].get("terminal_observation")
        return (
            observation,
            np.asarray(rewards),
            done & ~cut,
            cut,
            {"final_obs": final} if done.any() else {},
        )

    def close(self, **kwargs: Any) -> None:
        """Close all environments."""
        self._vec.close()


def from_stable_baselines(vec: Any, *, seed: int | None = None) -> GymnasiumVector:
    """A VecEnv of stable-baselines3 with the rows of `VectorEnv`; `envs.gymnasium_vector` says what
    SAME_STEP costs.

    Args:
        vec: a DummyVecEnv, SubprocVecEnv or another with their methods.
        seed: of the first reset.

    Raises:
        ContractError: it lacks a method.
        SpaceError: for spaces that have no form in the contract.
    """
    if isinstance(vec, gymnasium.vector.VectorEnv):
        return GymnasiumVector(vec, seed=seed)
    return GymnasiumVector(StableBaselinesVector(vec), seed=seed)
