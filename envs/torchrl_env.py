"""An environment of torchrl as one of gymnasium: its specs become spaces, its tensordicts
observations.

Nothing of torchrl is imported here; what has its methods will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.errors import ContractError, SpaceError

METHODS = (
    "observation_spec",
    "action_spec",
    "reward_key",
    "action_key",
    "reset",
    "step",
    "step_mdp",
    "set_seed",
)
Observation = dict[str, Any]


class TorchRLEnv(gymnasium.Env[Observation, Any]):
    """One environment of torchrl. Made by `envs.adapt`, which gives it the form of the contract.

    Its batch size must be (): one environment. Several are made by `envs.VectorEnv`.

    >>> looks_like_torchrl(object())
    False
    """

    def __init__(self, env: Any) -> None:
        if tuple(env.batch_size):
            raise ContractError(
                f"torchrl: expected one environment, of the batch size (), got "
                f"{tuple(env.batch_size)}; give "
                "envs.VectorEnv a factory that makes one"
            )
        self._env = env
        self._now: Any = None
        self.observation_space = _space(env.observation_spec, "observation")
        if not isinstance(self.observation_space, spaces.Dict):
            raise SpaceError(
                f"torchrl: expected a Composite of observations, got {self.observation_space}"
            )
        self.action_space = _space(env.action_spec, "action", acts=True)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        if seed is not None:
            self._env.set_seed(int(seed))
        self._now = self._env.reset()
        return self._seen(self._now), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One step. An end that is neither terminated nor truncated is a termination."""
        env = self._env
        self._now[env.action_key] = env.action_spec.encode(action)
        moved = env.step(self._now)
        after = moved["next"]
        reward = float(np.asarray(_numpy(after[env.reward_key])).reshape(()))
        terminated, truncated, done = (
            _flag(after, key) for key in ("terminated", "truncated", "done")
        )
        self._now = env.step_mdp(moved)
        return self._seen(after), reward, terminated or (done and not truncated), truncated, {}

    def close(self) -> None:
        """Close it."""
        self._env.close()

    def _seen(self, found: Any) -> Observation:
        return _values(found, self.observation_space)


def looks_like_torchrl(env: Any) -> bool:
    """Whether `env` has the methods of torchrl's EnvBase."""
    return all(hasattr(type(env), name) for name in METHODS)


def _values(found: Any, space: spaces.Space[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _values(found[key], part) for key, part in space.spaces.items()}
    return _numpy(found).astype(space.dtype, copy=False).reshape(space.shape or ())


def _numpy(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy()


def _flag(found: Any, key: str) -> bool:
    value = found.get(key, None)
    return False if value is None else bool(value.any())


# ---------------------------------------------------------------- specs


def _space(spec: Any, name: str, acts: bool = False) -> spaces.Space[Any]:
    """The space that a spec declares. Raises SpaceError for kinds without one."""
    if hasattr(spec, "items") and not acts:
        return spaces.Dict({str(key): _space(part, str(key)) for key, part in spec.items()})
    kind = type(spec).__name__
    if kind in ("OneHot", "MultiOneHot", "Binary") and not acts:  # they come as 0 and 1
        return spaces.MultiBinary(tuple(spec.shape) or 1)
    made = KINDS.get(kind)
    if made is None:
        raise SpaceError(
            f"torchrl, {name!r}: expected a spec of {', '.join(KINDS)}, got {kind}; "
            f"give the environment a transform "
            "that has one"
        )
    return made(spec)


def _box(spec: Any) -> spaces.Space[Any]:
    dtype, shape = _dtype(spec), tuple(spec.shape)
    low, high = (
        np.broadcast_to(_numpy(bound).astype(dtype), shape)
        for bound in (spec.space.low, spec.space.high)
    )
    return spaces.Box(low, high, shape, dtype.type)


def _unbounded(spec: Any) -> spaces.Space[Any]:
    dtype, shape = _dtype(spec), tuple(spec.shape)
    if dtype == np.uint8:  # pixels
        return spaces.Box(0, 255, shape, np.uint8)
    limits = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return spaces.Box(*limits, shape, dtype.type)


def _dtype(spec: Any) -> np.dtype[Any]:
    return np.dtype(str(spec.dtype).removeprefix("torch."))


def _multi(spec: Any) -> spaces.Space[Any]:
    return spaces.MultiDiscrete([int(n) for n in spec.nvec])


KINDS: dict[str, Callable[[Any], spaces.Space[Any]]] = {
    "BoundedContinuous": _box,
    "Bounded": _box,
    "BoundedDiscrete": _box,
    "UnboundedContinuous": _unbounded,
    "UnboundedDiscrete": _unbounded,
    "Unbounded": _unbounded,
    "OneHot": lambda spec: spaces.Discrete(int(spec.space.n)),
    "Categorical": lambda spec: spaces.Discrete(int(spec.space.n)),
    "MultiCategorical": _multi,
    "MultiOneHot": lambda spec: spaces.MultiDiscrete([int(box.n) for box in spec.space.boxes]),
    "Binary": lambda spec: spaces.MultiBinary(tuple(spec.shape) or 1),
}
"""Kinds of specs -> the space of each."""
