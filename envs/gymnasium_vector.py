"""Vector environments of gymnasium behind the contract of `envs.vector`.

Two of gymnasium's autoreset modes are served; both give the same rows but for one:

* NEXT_STEP: gymnasium's own convention is that of the contract. Rows pass as they come.
* SAME_STEP: the environment is already in its next episode when the last row arrives, whose observation is in
  info["final_obs"]. The contract's next row is a first one, and ignores the action; but a vector environment cannot
  hold one of its environments still, so this one takes the null action (the middle of the bounds; the first of
  discrete actions). The first row of each later episode is therefore the observation after that null step, with
  reward 0 and `frames` counting the step. Every transition stored is true; what is lost is the reset observation and
  the reward of one null step. Should the null step end that episode too, the first row is the reset observation of
  the one after it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector import VectorEnv as GymnasiumVectorEnv
from numpy.typing import NDArray

from envs.errors import EnvError, ObservationError
from envs.guard import ActionGuard, ObservationGuard, check_rewards
from envs.vector import Episode, EpisodeLog, Rows, derive_seeds


class GymnasiumVector:
    """A gymnasium vector environment with the rows of `VectorEnv`. Made by `from_gymnasium_vector`.

    >>> import gymnasium
    >>> vector = GymnasiumVector(gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync"), seed=0)
    >>> vector.reset()["observation"].shape
    (2, 4)
    """

    def __init__(self, vector: GymnasiumVectorEnv[Any, Any, Any], *, seed: int | None = None) -> None:
        mode = vector.metadata.get("autoreset_mode")
        if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            raise EnvError(
                f"autoreset_mode: expected NEXT_STEP or SAME_STEP in vector.metadata, got {mode}; set it there"
            )
        self._same_step = mode == AutoresetMode.SAME_STEP
        self._vector = vector
        self._seed = seed
        self._observations = ObservationGuard(vector.single_observation_space)
        self._actions = ActionGuard(vector.single_action_space)
        self.num_envs = vector.num_envs
        self.single_observation_space = self._observations.space
        self.single_action_space = self._actions.space
        self._ended: NDArray[np.bool_] | None = None
        self._log = EpisodeLog(self.num_envs)

    def reset(self, *, seed: int | None = None) -> Rows:
        """As VectorEnv.reset."""
        if seed is None:
            seed, self._seed = self._seed, None
        self._ended = None
        raw, _ = self._vector.reset(seed=derive_seeds(seed, self.num_envs))  # type: ignore[arg-type]  # lists work too
        nothing = np.zeros(self.num_envs, np.bool_)
        zeros = np.zeros(self.num_envs)
        observation = self._observations.many(raw, self.num_envs)
        return self._rows(observation, zeros, ~nothing, nothing, nothing, zeros.astype(np.int64))

    def step(self, action: Any) -> Rows:
        """As VectorEnv.step. Raises ActionError before stepping, ObservationError after."""
        if self._ended is None:
            raise EnvError("step: expected a call of reset() first; also after an error of an environment")
        first = self._ended
        actions = self._actions.batch(action, ~first)
        self._ended = None
        raw, rewards, terminated, truncated, info = self._vector.step(self._actions.convert(actions))
        observation = self._observations.many(raw, self.num_envs)
        terminal, cut = self._flags(terminated, "terminated"), self._flags(truncated, "truncated")
        last = (terminal | cut) & ~first
        if self._same_step:
            self._put_final(observation, info, last)
        frames = self._frames(info, last)
        if not self._same_step:
            frames[first] = 0
        reward = np.where(first, 0.0, check_rewards(rewards, self.num_envs))
        return self._rows(observation, reward, first.copy(), last, terminal & ~first, frames)

    def pop_episodes(self) -> list[Episode]:
        """As VectorEnv.pop_episodes."""
        return self._log.pop()

    def close(self) -> None:
        """Close the vector environment."""
        self._vector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _put_final(self, observation: Rows, info: dict[str, Any], last: NDArray[np.bool_]) -> None:
        """Put the last observations of ended episodes in the place of the reset ones."""
        finals = info.get("final_obs")
        for i in np.flatnonzero(last).tolist():
            if finals is None or finals[i] is None:
                raise ObservationError("expected the last observation in info['final_obs'], as SAME_STEP says", env=i)
            for key, value in self._observations.one(finals[i], env=i).items():
                observation[key][i] = value

    def _frames(self, info: dict[str, Any], last: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Environment steps made: info["frames"] where an environment tells, else 1."""
        frames = np.ones(self.num_envs, np.int64)
        final = info.get("final_info", {}) if self._same_step else {}
        for source, rows in ((info, ~last if self._same_step else last | ~last), (final, last)):
            if isinstance(source, dict) and "frames" in source:
                told = rows & np.asarray(source.get("_frames", rows), np.bool_)
                frames[told] = np.asarray(source["frames"])[told]
        return frames

    def _flags(self, flags: Any, key: str) -> NDArray[np.bool_]:
        array = np.asarray(flags)
        if array.dtype != np.bool_ or array.shape != (self.num_envs,):
            got = f"shape {array.shape} and dtype {array.dtype}"
            raise ObservationError(f"key {key!r}: expected bools of shape {(self.num_envs,)}, got {got}")
        return array

    def _rows(
        self,
        observation: Rows,
        reward: NDArray[np.float64],
        first: NDArray[np.bool_],
        last: NDArray[np.bool_],
        terminal: NDArray[np.bool_],
        frames: NDArray[np.int64],
    ) -> Rows:
        for i in range(self.num_envs):
            self._log.add(i, float(reward[i]), int(frames[i]), bool(first[i]), bool(last[i]))
        self._ended = last.copy()
        return {
            **observation,
            "reward": reward.astype(np.float32),
            "is_first": first,
            "is_last": last,
            "is_terminal": terminal,
            "frames": frames,
        }


def from_gymnasium_vector(vector: GymnasiumVectorEnv[Any, Any, Any], *, seed: int | None = None) -> GymnasiumVector:
    """`vector` with the rows of `VectorEnv`; see this module's text for the one row that differs in SAME_STEP.

    Args:
        vector: of gymnasium, in the modes NEXT_STEP or SAME_STEP, with the spaces that `envs.adapt` takes.
        seed: environment i is reset with `derive_seeds(seed, N)[i]` the first time.

    Raises:
        EnvError: for the mode DISABLED, or none.
        SpaceError: for spaces that have no form in the contract.
    """
    return GymnasiumVector(vector, seed=seed)
