"""Give any gymnasium environment the form of the contract.

repeat the action  ->  check reward and flags  ->  check and convert the observation
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import gymnasium
from gymnasium import spaces

from envs.errors import EnvError
from envs.guard import ActionGuard, Observation, ObservationGuard, check_flag, check_reward
from envs.options import check_count

Step = tuple[Any, Any, Any, Any, dict[str, Any]]


@runtime_checkable
class Repeats(Protocol):
    """An environment that repeats an action by itself, for example to render the last frame only.

    `repeat` is `times` steps with one action: it sums the reward, stops at the end of the episode and puts the number
    of steps made into info["frames"].
    """

    def repeat(self, action: Any, times: int) -> Step: ...


class Adapted(gymnasium.Wrapper[Observation, Any, Any, Any]):
    """A gymnasium environment in the form of the contract. Made by `adapt` and `make`.

    observation_space: a flat Dict of float32, or of uint8 for images [H, W, C].
    action_space: Box [-1, 1] float32, clipped and rescaled to the environment's bounds; or Discrete, unchanged.

    >>> env = Adapted(gymnasium.make("CartPole-v1"), seed=0)
    >>> observation, info = env.reset()
    >>> observation["observation"].shape, env.action_space.n
    ((4,), np.int64(2))
    """

    def __init__(self, env: gymnasium.Env[Any, Any], *, action_repeat: int = 1, seed: int | None = None) -> None:
        super().__init__(env)
        self.action_repeat = check_count("action_repeat", action_repeat)
        self._observations, self._actions = ObservationGuard(env.observation_space), ActionGuard(env.action_space)
        self.observation_space: spaces.Dict = self._observations.space  # type: ignore[override]
        self.action_space = self._actions.space
        self._seed = seed
        self._running = False
        self._repeat = env.repeat if isinstance(env, Repeats) else self._repeat_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode. The seed given to `make` serves the first reset that gets none."""
        seed, self._seed = (self._seed if seed is None else seed), None
        raw, info = self.env.reset(seed=seed, options=options)
        observation = self._observations.one(raw)
        self._running = True
        return observation, info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one action in [-1, 1] [*shape] (or an int), `action_repeat` times or until the episode ends.

        Returns the last observation, the sum of the rewards, terminated, truncated, and info with "frames", the number
        of environment steps made. Raises ActionError, ObservationError, and EnvError when no episode is running.
        """
        if not self._running:
            raise EnvError("step: expected a running episode, got none; call reset() first, and after every end")
        raw, reward, terminated, truncated, info = self._repeat(self._actions.one(action), self.action_repeat)
        terminated, truncated = check_flag(terminated, "terminated"), check_flag(truncated, "truncated")
        self._running = not (terminated or truncated)
        return self._observations.one(raw), check_reward(reward), terminated, truncated, info

    def _repeat_steps(self, action: Any, times: int) -> Step:
        total, frames = 0.0, 0
        for _ in range(times):
            raw, reward, terminated, truncated, info = self.env.step(action)
            total += check_reward(reward)
            frames += info.get("frames", 1)
            if terminated or truncated:
                break
        return raw, total, terminated, truncated, {**info, "frames": frames}


def adapt(
    env: gymnasium.Env[Any, Any], *, action_repeat: int = 1, seed: int | None = None, time_limit: int | None = None
) -> Adapted:
    """`env` in the form of the contract (see `Adapted`); returned as it is when it already has that form.

    Args:
        action_repeat: environment steps a call of `step`.
        seed: for the first reset that is given none.
        time_limit: environment steps (not actions) after which an episode is truncated, beside the limit it has.

    Raises:
        SpaceError: for spaces that have no form in the contract.
        EnvError: for a bad option, or one given to an environment that is already adapted.
    """
    if isinstance(env, Adapted):
        if action_repeat != 1 or seed is not None or time_limit is not None:
            raise EnvError(
                "adapt: expected an environment not adapted before; give these options to make or the first adapt"
            )
        return env
    if time_limit is not None:
        env = gymnasium.wrappers.TimeLimit(env, check_count("time_limit", time_limit))
    return Adapted(env, action_repeat=action_repeat, seed=seed)
