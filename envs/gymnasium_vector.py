"""Vector environments of gymnasium behind the contract of `envs.vector`.

Two of gymnasium's autoreset modes are served; both give the same rows but for one:

* NEXT_STEP: gymnasium's own convention is that of the contract. Rows pass as they come.
* SAME_STEP: the environment is already in its next episode when the last row arrives, whose
  observation is in info["final_obs"]. The contract's next row is a first one, and ignores the
  action; but a vector environment cannot hold one of its environments still, so this one takes the
  null action (the middle of the bounds; the first of discrete actions). The first row of each later
  episode is therefore the observation after that null step, with reward 0 and `frames` counting the
  step. Every transition stored is true; what is lost is the reset observation and the reward of one
  null step. Should the null step end that episode too, the first row is the reset observation of
  the one after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.vector import VectorEnv as GymnasiumVectorEnv
from numpy.typing import NDArray

from envs.adapted import FRAMES
from envs.errors import EnvError, ObservationError
from envs.guard import ActionGuard, ObservationGuard, check_rewards
from envs.rows import Episode, EpisodeLog, Failure, Rows, check_state, derive_seeds, renewed_seed


class GymnasiumVector:
    """A gymnasium vector environment with the rows of `VectorEnv`. Made by `from_gymnasium_vector`.

    >>> import gymnasium
    >>> vector = GymnasiumVector(
    ...     gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync"), seed=0
    ... )
    >>> vector.reset()["observation"].shape
    (2, 4)
    """

    def __init__(
        self, vector: GymnasiumVectorEnv[Any, Any, Any], *, seed: int | None = None
    ) -> None:
        mode = vector.metadata.get("autoreset_mode")
        if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            raise EnvError(
                f"autoreset_mode: expected NEXT_STEP or SAME_STEP in vector.metadata, got {mode}; "
                "set it there"
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
        self._base = seed
        self._one_seed = not isinstance(vector.unwrapped, (SyncVectorEnv, AsyncVectorEnv))
        self.out_of_bounds = dict.fromkeys(self._observations.space.spaces, 0)
        self.time_limit: int | None = None  # gymnasium's vectors do not tell
        self.exact = False
        self.restarted: tuple[int, ...] = ()
        self._restarts = 0

    def reset(self, *, seed: int | None = None) -> Rows:
        """As VectorEnv.reset."""
        if seed is None:
            seed, self._seed = self._seed, None
        else:
            self._base = seed
        return self._begin(derive_seeds(seed, self.num_envs))

    def _begin(self, seeds: Any) -> Rows:
        """Reset with a seed an environment; a vector that has one generator for all takes the
        first.
        """
        self._ended = None
        raw, _ = self._vector.reset(seed=seeds[0] if self._one_seed else seeds)
        nothing = np.zeros(self.num_envs, np.bool_)
        zeros = np.zeros(self.num_envs)
        observation = self._observations.many(raw, self.num_envs)
        return self._rows(observation, zeros, ~nothing, nothing, nothing, zeros.astype(np.int64))

    def step(self, action: Any) -> Rows:
        """As VectorEnv.step. Raises ActionError before stepping, ObservationError after."""
        if self._ended is None:
            raise EnvError(
                "step: expected a call of reset() first; also after an error of an environment"
            )
        first = self._ended
        actions = self._actions.batch(action, ~first)
        self._ended = None
        raw, rewards, terminated, truncated, info = self._vector.step(
            self._actions.convert(actions)
        )
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

    def pop_failures(self) -> list[Failure]:
        """None: an error of these environments is raised, since the vector cannot make one of them
        anew.
        """
        return []

    def state(self) -> dict[str, Any]:
        """As VectorEnv.state, without the environments' own: gymnasium's vectors do not give them
        out.
        """
        if self._ended is None:
            raise EnvError("state: expected running environments, got none; call reset() first")
        counts = {
            "restarts": self._restarts,
            "seed": self._base,
            "out_of_bounds": dict(self.out_of_bounds),
        }
        return {
            "kind": "GymnasiumVector",
            "num_envs": self.num_envs,
            **counts,
            "log": self._log.state(),
        }

    def load_state(self, state: Mapping[str, Any], attempt: int = 1) -> Rows:
        """As VectorEnv.load_state; all environments start anew."""
        check_state(state, self.num_envs, "GymnasiumVector")
        self._restarts, self._base, self._seed = state["restarts"] + 1, state["seed"], None
        self.out_of_bounds = dict(state["out_of_bounds"])
        self._log.load_state(state["log"])
        self.exact, self.restarted = False, tuple(range(self.num_envs))
        return self._begin(
            [renewed_seed(self._base, i, attempt, self._restarts) for i in self.restarted]
        )

    def close(self) -> None:
        """Close the vector environment."""
        self._vector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _put_final(self, observation: Rows, info: dict[str, Any], last: NDArray[np.bool_]) -> None:
        """Put the last observations of ended episodes in the place of the reset ones."""
        finals = info.get("final_obs")
        for i in np.flatnonzero(last).tolist():
            final = None if finals is None else _row(finals, i)
            if final is None:
                raise ObservationError(
                    "expected the last observation in info['final_obs'], as SAME_STEP says", env=i
                )
            for key, value in self._observations.one(final, env=i).items():
                observation[key][i] = value

    def _frames(self, info: dict[str, Any], last: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Environment steps made: those that an adapted environment tells, else 1."""
        frames = np.ones(self.num_envs, np.int64)
        final = info.get("final_info", {}) if self._same_step else {}
        for source, rows in ((info, ~last if self._same_step else last | ~last), (final, last)):
            if isinstance(source, dict) and FRAMES in source:
                told = rows & np.asarray(source.get(f"_{FRAMES}", rows), np.bool_)
                frames[told] = np.asarray(source[FRAMES])[told]
        return frames

    def _flags(self, flags: Any, key: str) -> NDArray[np.bool_]:
        array = np.asarray(flags)
        if array.dtype != np.bool_ or array.shape != (self.num_envs,):
            got = f"shape {array.shape} and dtype {array.dtype}"
            raise ObservationError(
                f"key {key!r}: expected bools of shape {(self.num_envs,)}, got {got}"
            )
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
        for key in self._observations.outside:
            self.out_of_bounds[key] += 1
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


def _row(batch: Any, i: int) -> Any:
    """Row i of observations: of an array of them, or of a dict or tuple of arrays."""
    if isinstance(batch, dict):
        return {key: _row(value, i) for key, value in batch.items()}
    return tuple(_row(each, i) for each in batch) if isinstance(batch, tuple) else batch[i]


def from_gymnasium_vector(
    vector: GymnasiumVectorEnv[Any, Any, Any], *, seed: int | None = None
) -> GymnasiumVector:
    """`vector` with the rows of `VectorEnv`; see this module's text for SAME_STEP.

    Args:
        vector: of gymnasium, in the modes NEXT_STEP or SAME_STEP, with the spaces that `envs.adapt`
            takes.
        seed: environment i is reset with `derive_seeds(seed, N)[i]` the first time; an environment
            that is a vector itself ("vector_entry_point"), with one generator for all, with the
            first of them.

    Raises:
        EnvError: for the mode DISABLED, or none.
        SpaceError: for spaces that have no form in the contract.
    """
    return GymnasiumVector(vector, seed=seed)
