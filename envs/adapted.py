"""Give any gymnasium environment the form of the contract.

repeat the action  ->  check reward and flags  ->  check and convert the observation
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from envs.errors import EnvError
from envs.guard import ActionGuard, Observation, ObservationGuard, check_flag, check_reward
from envs.images import Size
from envs.options import check_count
from envs.state import load_layers, restorable, save_layers
from envs.torchrl_env import TorchRLEnv, looks_like_torchrl

Step = tuple[Any, Any, Any, Any, dict[str, Any], int]
FRAMES = "envs.frames"  # of info: the environment steps made; "frames" is the environment's own
# of info: the action that was done, in the action space, where it is not always the one asked
SENT = "envs.sent"
RESET = ("observation", "info")
STEP = ("observation", "reward", "terminated", "truncated", "info")


@runtime_checkable
class Repeats(Protocol):
    """An environment that repeats an action by itself, for example to render the last frame only.

    `repeat` is `times` steps with one action: it sums the reward, stops at the end of the episode
    and returns what `step` does and the number of steps made.
    """

    def repeat(self, action: Any, times: int) -> Step: ...


class Adapted(gymnasium.Wrapper[Observation, Any, Any, Any]):
    """A gymnasium environment in the form of the contract. Made by `adapt` and `make`.

    observation_space: a flat Dict of float32, or of uint8 for images [H, W, C]. action_space: Box
    [-1, 1] float32, clipped and rescaled to the environment's bounds; or Discrete. time_limit:
    environment steps after which an episode is truncated; None where no layer has a limit.
    image_size: (height, width) that images are scaled to; None: as they are. restorable: whether
    `save_state` and `load_state` work (see `envs.Restorable`). frames: environment steps made by
    the last call. outside: its observations far out of bounds. sent: the action [*shape] in [-1, 1]
    that the environment says it did, by info["envs.sent"]; None where it says nothing. Of repeated
    actions it is the last.

    >>> env = Adapted(gymnasium.make("CartPole-v1"), seed=0)
    >>> observation, info = env.reset()
    >>> observation["observation"].shape, env.action_space.n
    ((4,), np.int64(2))
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        action_repeat: int = 1,
        seed: int | None = None,
        image_size: Size | None = None,
    ) -> None:
        super().__init__(env)
        self.action_repeat = check_count("action_repeat", action_repeat)
        self._observations = ObservationGuard(env.observation_space, image_size)
        self._actions = ActionGuard(env.action_space)
        self.image_size = self._observations.image_size
        self.observation_space: spaces.Dict = self._observations.space  # type: ignore[override]
        self.action_space = self._actions.space
        self._seed = seed
        self._running = False
        self.frames = 0
        self.sent: NDArray[np.float32] | None = None
        self.time_limit = _time_limit(env)
        self.restorable = restorable(env)
        self._repeat = env.repeat if isinstance(env, Repeats) else self._repeat_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode. The seed given to `make` serves the first reset that gets none."""
        seed, self._seed = (self._seed if seed is None else seed), None
        found = self.env.reset(seed=seed, options=options)
        raw, info = _parts(found, RESET, "reset")
        observation = self._observations.one(raw)
        self._running, self.frames, self.sent = True, 0, None
        return observation, info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one action in [-1, 1] [*shape] (or an int), `action_repeat` times or until the
        episode ends.

        Returns the last observation, the sum of the rewards, terminated, truncated, and info with
        "envs.frames", the number of environment steps made. Raises ActionError, ObservationError,
        and EnvError when no episode is running.
        """
        if not self._running:
            raise EnvError(
                "step: expected a running episode, got none; call reset() first, "
                "and after every end"
            )
        raw, reward, terminated, truncated, info, frames = self._repeat(
            self._actions.one(action), self.action_repeat
        )
        terminated, truncated = (
            check_flag(terminated, "terminated"),
            check_flag(truncated, "truncated"),
        )
        self._running, self.frames = not (terminated or truncated), frames
        self.sent = self._actions.unit(info[SENT]) if SENT in info else None
        said = {FRAMES: frames} if self.sent is None else {FRAMES: frames, SENT: self.sent}
        return (
            self._observations.one(raw),
            check_reward(reward),
            terminated,
            truncated,
            {**info, **said},
        )

    @property
    def outside(self) -> tuple[str, ...]:
        """Observations of the last call far out of their bounds (see `envs.ObservationGuard`)."""
        return self._observations.outside

    def save_state(self) -> dict[str, Any]:
        """All that later steps depend on. Raises EnvError unless `restorable`."""
        return {"running": self._running, "seed": self._seed, "layers": save_layers(self.env)}

    def load_state(self, state: Any) -> None:
        """Go on from a state saved here or in another instance.
        Raises EnvError for other layers.
        """
        load_layers(self.env, state["layers"])
        self._running, self._seed = state["running"], state["seed"]

    def _repeat_steps(self, action: Any, times: int) -> Step:
        total, frames = 0.0, 0
        for _ in range(times):
            raw, reward, terminated, truncated, info = _parts(self.env.step(action), STEP, "step")
            total += check_reward(reward)
            frames += info.get(FRAMES, 1)
            if terminated or truncated:
                break
        return raw, total, terminated, truncated, info, frames


def _parts(found: Any, names: tuple[str, ...], method: str) -> tuple[Any, ...]:
    """What a method returned, as many values as the contract has."""
    if isinstance(found, tuple) and len(found) == len(names):
        return found
    got = f"{len(found)} values" if isinstance(found, tuple) else type(found).__name__
    raise EnvError(
        f"{method}: expected {len(names)} values ({', '.join(names)}), got {got}; return them as "
        "gymnasium has it (of old gym's done, terminated is the task's end and truncated a clock's)"
    )


def _time_limit(env: Any) -> int | None:
    """The least limit of any layer, in environment steps."""
    limits: list[Any] = []
    while env is not None:
        limits.append(
            env._max_episode_steps
            if isinstance(env, TimeLimit)
            else getattr(env, "time_limit", None)
        )
        env = env.env if isinstance(env, gymnasium.Wrapper) else None
    return min((limit for limit in limits if isinstance(limit, int)), default=None)


def as_gymnasium(env: Any) -> gymnasium.Env[Any, Any]:
    """`env` if it is one of gymnasium, or one of torchrl as such. Raises EnvError for anything
    else.
    """
    if isinstance(env, gymnasium.Env):
        return env
    if looks_like_torchrl(env):
        return TorchRLEnv(env)
    raise EnvError(
        f"expected an environment of gymnasium or torchrl, got {type(env).__name__}; "
        f"one of stable-baselines3's "
        "VecEnv goes through envs.from_stable_baselines"
    )


def adapt(
    env: Any,
    *,
    action_repeat: int = 1,
    seed: int | None = None,
    time_limit: int | None = None,
    image_size: Size | None = None,
) -> Adapted:
    """`env` in the form of the contract (see `Adapted`); returned as it is when it already has that
    form.

    Args:
        env: an environment of gymnasium or of torchrl.
        action_repeat: environment steps a call of `step`.
        seed: for the first reset that is given none.
        time_limit: environment steps (not actions) after which an episode is truncated, beside the
            limit it has.
        image_size: (height, width) that images are scaled to, by area; None: as they are.

    Raises:
        SpaceError: for spaces that have no form in the contract.
        EnvError: for a bad option, or one given to an environment that is already adapted.
    """
    if isinstance(env, Adapted):
        if (
            action_repeat != 1
            or seed is not None
            or time_limit is not None
            or image_size is not None
        ):
            raise EnvError(
                "adapt: expected an environment not adapted before; "
                "give these options to make or the first adapt"
            )
        return env
    env = as_gymnasium(env)
    if time_limit is not None:
        env = TimeLimit(env, check_count("time_limit", time_limit))
    return Adapted(env, action_repeat=action_repeat, seed=seed, image_size=image_size)
