"""Check what crosses the door of an environment: observations, rewards, flags and actions.

Vector environments of gymnasium let NaN observations and rewards through in silence; here each of them is an error
that names the environment, the key, what was expected and what came. The guards read the spaces once, so that a check
costs a few microseconds a step. They also convert: what comes out has exactly the dtype and shape of the contract, in
fresh memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.errors import ActionError, ObservationError
from envs.spaces import KEY, action_space, observation_boxes, observation_space

Observation = dict[str, NDArray[Any]]

_LARGEST = float(np.finfo(np.float32).max)  # rewards are stored as float32


class _Entry(NamedTuple):
    """One observation key: how the environment declares it, and how it leaves the guard."""

    key: str
    raw_shape: tuple[int, ...]
    raw_dtype: np.dtype[Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class ObservationGuard:
    """Checks and converts the observations of an environment whose declared space is `source`.

    `space` is the Dict of the contract. Raises SpaceError when `source` has no form in it.

    >>> guard = ObservationGuard(spaces.Box(-1.0, 1.0, (2,), np.float64))
    >>> guard.space
    Dict('observation': Box(-1.0, 1.0, (2,), float32))
    >>> {k: v.dtype for k, v in guard.one(np.zeros(2)).items()}
    {'observation': dtype('float32')}
    """

    def __init__(self, source: spaces.Space[Any]) -> None:
        self.space = observation_space(source)
        self._bare = not isinstance(source, spaces.Dict)
        self._entries = [
            _Entry(key, box.shape, box.dtype, self.space[key].shape or (), self.space[key].dtype or box.dtype)
            for key, box in observation_boxes(source).items()
        ]
        self._keys = frozenset(entry.key for entry in self._entries)

    def one(self, observation: Any, env: int | None = None) -> Observation:
        """The observation of one environment, {key: [*shape]}. Raises ObservationError naming `env` and the key."""
        values = self._values(observation, env)
        return {entry.key: self._convert(values[entry.key], entry, (), env) for entry in self._entries}

    def many(self, observations: Any, num_envs: int) -> Observation:
        """The observations of `num_envs` environments, {key: [N, *shape]}. Raises ObservationError likewise."""
        values = self._values(observations, None)
        return {entry.key: self._convert(values[entry.key], entry, (num_envs,), None) for entry in self._entries}

    def _values(self, observation: Any, env: int | None) -> Any:
        if self._bare:
            return {KEY: observation}
        if not isinstance(observation, dict):
            raise ObservationError(
                f"expected a dict with the keys {sorted(self._keys)}, got {type(observation).__name__}; "
                "return what observation_space declares",
                env=env,
            )
        if observation.keys() != self._keys:
            missing, extra = sorted(self._keys - observation.keys()), sorted(map(str, observation.keys() - self._keys))
            raise ObservationError(
                f"expected the keys {sorted(self._keys)}, got {sorted(map(str, observation))} "
                f"(missing {missing}, extra {extra}); return what observation_space declares",
                env=env,
            )
        return observation

    def _convert(self, value: Any, entry: _Entry, lead: tuple[int, ...], env: int | None) -> NDArray[Any]:
        try:
            raw = np.asarray(value)
        except ValueError as error:
            message = f"key {entry.key!r}: expected an array of shape {entry.raw_shape}, got nested values: {error}"
            raise ObservationError(message, env=env) from error
        if raw.shape != (*lead, *entry.raw_shape) and raw.shape != (*lead, *entry.shape):
            raise ObservationError(
                f"key {entry.key!r}: expected shape {(*lead, *entry.raw_shape)}, got {raw.shape}; "
                "make observation_space and the observation agree",
                env=env,
            )
        if raw.dtype != entry.raw_dtype and not np.can_cast(raw.dtype, entry.raw_dtype, "same_kind"):
            raise ObservationError(
                f"key {entry.key!r}: expected dtype {entry.raw_dtype}, got {raw.dtype}; "
                "cast it in the environment, where its meaning is known",
                env=env,
            )
        array = np.array(raw, dtype=entry.dtype).reshape((*lead, *entry.shape))
        if entry.dtype.kind == "f" and not np.isfinite(array).all():
            _raise_not_finite(entry.key, array, bool(lead), env)
        return array


def _raise_not_finite(key: str, array: NDArray[Any], batched: bool, env: int | None) -> None:
    where = tuple(int(i) for i in np.argwhere(~(np.abs(array) <= _LARGEST))[0])
    value = float(array[where])
    if batched:
        env, where = where[0], where[1:]
    at = f" at index {list(where)}" if where else ""
    raise ObservationError(
        f"key {key!r}: expected finite values, got {value}{at}; the simulation may have diverged: "
        "look at its state and at the last actions",
        env=env,
    )


def check_reward(reward: Any, env: int | None = None) -> float:
    """The reward as a float, finite in float32 too. Raises ObservationError with the key 'reward' for anything else."""
    if not isinstance(reward, float):
        array = np.asarray(reward)
        if array.size != 1 or array.dtype.kind not in "fiub":
            raise ObservationError(
                f"key 'reward': expected one number, got shape {array.shape} and dtype {array.dtype}; return a float",
                env=env,
            )
        reward = float(array.reshape(()))
    if not abs(reward) <= _LARGEST:
        raise ObservationError(f"key 'reward': expected a finite value, got {reward}; look at its terms", env=env)
    return float(reward)


def check_rewards(rewards: Any, num_envs: int) -> NDArray[np.float64]:
    """The rewards [N] as float64, all finite. Raises ObservationError naming the first environment at fault."""
    array = np.asarray(rewards)
    if array.shape != (num_envs,) or array.dtype.kind not in "fiub":
        raise ObservationError(
            f"key 'reward': expected shape {(num_envs,)} of floats, got shape {array.shape} and dtype {array.dtype}"
        )
    result = np.array(array, dtype=np.float64)
    if not (np.abs(result) <= _LARGEST).all():
        _raise_not_finite("reward", result, True, None)
    return result


def check_flag(flag: Any, key: str, env: int | None = None) -> bool:
    """A terminated or truncated flag as a bool. Raises ObservationError if it is not one."""
    if flag is True or flag is False or isinstance(flag, np.bool_):
        return bool(flag)
    raise ObservationError(
        f"key {key!r}: expected a bool, got {flag!r} ({type(flag).__name__}); return a bool", env=env
    )


class ActionGuard:
    """Checks the actions of the contract and converts them to those of an environment whose declared space is `target`.

    A Box action is rounded to float32 (what a replay stores is what was done), clipped to [-1, 1] and then rescaled to
    the bounds of `target`; a Discrete action passes unchanged.
    `space` is the action space of the contract. Raises SpaceError for infinite bounds and other kinds of space.

    >>> guard = ActionGuard(spaces.Box(0.0, 10.0, (1,)))
    >>> guard.one(np.zeros(1)), guard.one(np.array([3.0]))
    (array([5.], dtype=float32), array([10.], dtype=float32))
    """

    def __init__(self, target: spaces.Space[Any]) -> None:
        self.space = action_space(target)
        self._discrete = isinstance(target, spaces.Discrete)
        if isinstance(target, spaces.Discrete):
            self._first, self._end = int(target.start), int(target.start) + int(target.n)
        elif isinstance(target, spaces.Box):
            self._low, self._high = target.low, target.high
            self._centre = (target.low.astype(np.float64) + target.high) / 2
            self._half = (target.high.astype(np.float64) - target.low) / 2

    @property
    def null(self) -> Any:
        """The null action of the contract: the middle of the bounds, or the first of the discrete actions."""
        return np.int64(self._first) if self._discrete else np.zeros(self.space.shape or (), np.float32)

    def batch(self, actions: Any, active: NDArray[np.bool_]) -> NDArray[Any]:
        """Actions [N, *shape], checked but not converted; rows that are not `active` are ignored by a reset.

        Returns a fresh array whose ignored rows hold the null action. Raises ActionError naming the environment.
        """
        array = np.array(actions)
        expected = (len(active), *(self.space.shape or ()))
        if array.shape != expected:
            raise ActionError(f"expected actions of shape {expected}, one row an environment, got {array.shape}")
        self._check_dtype(array, None)
        array[~active] = self.null
        bad = self._bad(array)
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            self._raise(array[where], where[1:], where[0])
        return array

    def one(self, action: Any, env: int | None = None) -> Any:
        """The environment's own action: an array [*shape] in its dtype and bounds, or an int."""
        array = np.asarray(action)
        if array.shape != (self.space.shape or ()):
            raise ActionError(f"expected an action of shape {self.space.shape or ()}, got {array.shape}", env=env)
        self._check_dtype(array, env)
        bad = self._bad(array)
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            self._raise(array[where], where, env)
        return int(array) if self._discrete else self._rescale(array)

    def convert(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Checked actions [N, *shape] to the environments' own, in their dtype and bounds."""
        return actions if self._discrete else self._rescale(actions)

    def _rescale(self, array: NDArray[Any]) -> NDArray[Any]:
        unit = np.minimum(np.maximum(array.astype(np.float32), -1.0), 1.0)
        scaled = (self._centre + self._half * unit).astype(self._low.dtype)
        return np.asarray(np.minimum(np.maximum(scaled, self._low), self._high))  # rounding may step over a bound

    def _bad(self, array: NDArray[Any]) -> NDArray[np.bool_]:
        bad = (array < self._first) | (array >= self._end) if self._discrete else ~np.isfinite(array)
        return np.asarray(bad)

    def _check_dtype(self, array: NDArray[Any], env: int | None) -> None:
        if array.dtype.kind not in ("iu" if self._discrete else "fiu"):
            expected = "integers" if self._discrete else "floats"
            raise ActionError(f"expected {expected} for {self.space}, got dtype {array.dtype}", env=env)

    def _raise(self, value: Any, where: tuple[int, ...], env: int | None) -> None:
        wanted = f"an integer in [{self._first}, {self._end})" if self._discrete else "finite values"
        at = f" at index {list(where)}" if where else ""
        raise ActionError(f"expected an action of {wanted}, got {value}{at}; look at the policy's output", env=env)
