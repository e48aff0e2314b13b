"""Check what crosses the door of an environment: observations, rewards, flags and actions.

Vector environments of gymnasium let NaN observations and rewards through in silence; here each of
them is an error that names the environment, the key, what was expected and what came. The guards
read the spaces once, so that a check costs a few microseconds a step. They also convert: what comes
out has exactly the dtype and shape of the contract, in fresh memory.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.convert import LARGEST, as_bytes, check_whole, one_hot, raise_not_finite
from envs.errors import ActionError, NotFinite, ObservationError
from envs.images import Size, check_size, resized
from envs.spaces import Leaf, action_sizes, action_space, observation_leaves

Observation = dict[str, NDArray[Any]]

_FAR = 0.01  # of a range: less is rounding, or a bound that was declared a little too tight


class _Entry(NamedTuple):
    """One observation: how it is declared, how it leaves the guard,
    bounds that it should not pass.
    """

    leaf: Leaf
    raw_shape: tuple[int, ...]
    raw_dtype: np.dtype[Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    floats: bool
    low: NDArray[np.float32] | None
    high: NDArray[np.float32] | None


class ObservationGuard:
    """Checks and converts the observations of an environment whose declared space is `source`.

    `space` is the Dict of the contract. `outside` names the observations of the last call in which
    a value lay outside of its declared bounds by more than a hundredth of their range (the range,
    or 1.0 where only one bound is finite). With `image_size`, (height, width), images are scaled to
    it. Raises SpaceError when `source` has no form in the contract.

    >>> guard = ObservationGuard(spaces.Box(-1.0, 1.0, (2,), np.float64))
    >>> guard.space
    Dict('observation': Box(-1.0, 1.0, (2,), float32))
    >>> {k: v.dtype for k, v in guard.one(np.array([0.0, 2.0])).items()}, guard.outside
    ({'observation': dtype('float32')}, ('observation',))
    """

    def __init__(self, source: spaces.Space[Any], image_size: Size | None = None) -> None:
        self._source = source
        self.image_size = check_size(image_size)
        leaves = observation_leaves(source, self.image_size)
        self.space = spaces.Dict({leaf.name: leaf.box for leaf in leaves})
        self._entries = [_entry(leaf) for leaf in leaves]
        self._bare = not isinstance(source, (spaces.Dict, spaces.Tuple))
        self._flat = isinstance(source, spaces.Dict) and all(len(leaf.path) == 1 for leaf in leaves)
        self._keys = frozenset(source.spaces) if isinstance(source, spaces.Dict) else frozenset()
        self._needless: frozenset[str] = frozenset()
        self.outside: tuple[str, ...] = ()

    def only(self, names: Collection[str]) -> ObservationGuard:
        """The guard of who reads these observations alone: the others may be there or not, and are
        not looked at.

        >>> box = spaces.Box(-1.0, 1.0, (1,))
        >>> guard = ObservationGuard(spaces.Dict(laser=box, position=box)).only(["position"])
        >>> guard.one({"position": np.zeros(1)})
        {'position': array([0.], dtype=float32)}
        """
        found = copy(self)
        found._entries = [e for e in self._entries if e.leaf.name in names]
        found.space = spaces.Dict({e.leaf.name: e.leaf.box for e in found._entries})
        needed = {e.leaf.path[0] for e in found._entries if e.leaf.path}
        found._needless = self._keys - needed
        return found

    def one(self, observation: Any, env: int | None = None) -> Observation:
        """The observation of one environment, {key: [*shape]}, or an ObservationError with `env`
        and key.
        """
        return self._convert_all(observation, (), env)

    def many(self, observations: Any, num_envs: int) -> Observation:
        """The observations of environments, {key: [N, *shape]}.
        Raises ObservationError likewise.
        """
        return self._convert_all(observations, (num_envs,), None)

    def _convert_all(self, observation: Any, lead: tuple[int, ...], env: int | None) -> Observation:
        found: Observation = {}
        outside: tuple[str, ...] = ()
        if not self._bare:
            self._check(observation, self._source, env)
        for entry in self._entries:
            value = observation
            for key in entry.leaf.path:
                value = value[key]
            array = found[entry.leaf.name] = self._convert(value, entry, lead, env)
            if not entry.floats:
                continue
            fine = (
                np.isfinite(array)
                if entry.low is None
                else (array >= entry.low) & (array <= entry.high)
            )
            if not fine.all():
                if not np.isfinite(array).all():
                    raise_not_finite(entry.leaf.name, array, bool(lead), env)
                outside = (*outside, entry.leaf.name)
        self.outside = outside
        return found

    def _check(self, value: Any, space: spaces.Space[Any], env: int | None) -> None:
        """Keys and lengths of nested observations."""
        if isinstance(space, spaces.Dict):
            keys = self._keys if space is self._source else space.spaces.keys()
            if not isinstance(value, dict):
                raise ObservationError(
                    f"expected a dict with the keys {_listed(keys)}, got {type(value).__name__}; "
                    "return what observation_space declares",
                    env=env,
                )
            if value.keys() - self._needless != keys - self._needless:
                raise ObservationError(
                    f"expected the keys {_listed(keys)}, got {_listed(value)} "
                    f"(missing {_listed(keys - value.keys())}, extra "
                    f"{_listed(value.keys() - keys)}); "
                    "return what observation_space declares",
                    env=env,
                )
            if not self._flat:
                for key, part in space.spaces.items():
                    if space is self._source and key in self._needless:
                        continue
                    self._check(value[key], part, env)
        elif isinstance(space, spaces.Tuple):
            if not isinstance(value, (tuple, list)) or len(value) != len(space.spaces):
                raise ObservationError(
                    f"expected a tuple of {len(space.spaces)} observations, "
                    f"got {type(value).__name__}; "
                    "return what observation_space declares",
                    env=env,
                )
            for each, part in zip(value, space.spaces, strict=True):
                self._check(each, part, env)

    def _convert(
        self, value: Any, entry: _Entry, lead: tuple[int, ...], env: int | None
    ) -> NDArray[Any]:
        leaf = entry.leaf
        try:
            raw = np.asarray(value)
        except ValueError as error:
            message = (
                f"key {leaf.name!r}: expected an array of shape {leaf.shape}, "
                f"got nested values: {error}"
            )
            raise ObservationError(message, env=env) from error
        special = leaf.turn is not None or leaf.sizes is not None
        raw_shape, shape = entry.raw_shape, entry.shape
        if lead:
            raw_shape, shape = (*lead, *raw_shape), (*lead, *shape)
        if raw.shape != raw_shape and (special or raw.shape != shape):
            raise ObservationError(
                f"key {leaf.name!r}: expected shape {raw_shape}, got {raw.shape}; "
                "make observation_space and the observation agree",
                env=env,
            )
        if raw.dtype != entry.raw_dtype and not np.can_cast(
            raw.dtype, entry.raw_dtype, "same_kind"
        ):
            raise ObservationError(
                f"key {leaf.name!r}: expected dtype {entry.raw_dtype}, got {raw.dtype}; "
                "cast it in the environment, where its meaning is known",
                env=env,
            )
        if leaf.most == 1 or (leaf.most is not None and raw.dtype != entry.raw_dtype):
            check_whole(raw, leaf, bool(lead), env)
        if not special:
            with np.errstate(over="ignore"):  # what becomes of it is no finite value, and said
                array = np.array(raw, dtype=entry.dtype)
            return array if array.shape == shape else array.reshape(shape)
        if leaf.sizes is not None:
            return one_hot(raw, leaf, lead, env)
        if leaf.pixels:
            raw = as_bytes(raw, leaf, bool(lead), env)
        order = (*range(len(lead)), *(axis + len(lead) for axis in leaf.turn or ()))
        turned = np.array(raw.transpose(order), entry.dtype, order="C")
        if self.image_size is None:
            return turned.reshape(shape)
        inside = turned.shape[len(lead) : len(lead) + 2]
        return resized(turned.reshape(*lead, *inside, shape[-1]), self.image_size)


def _entry(leaf: Leaf) -> _Entry:
    dtype = np.dtype(leaf.box.dtype)
    floats = dtype.kind == "f" and leaf.sizes is None
    low: Any = None
    high: Any = None
    if floats and (np.isfinite(leaf.box.low) | np.isfinite(leaf.box.high)).any():
        with np.errstate(over="ignore", invalid="ignore"):
            width = leaf.box.high - leaf.box.low
            margin = np.where(np.isfinite(width), _FAR * width, _FAR)
            low = np.clip(leaf.box.low - margin, -LARGEST, LARGEST)
            high = np.clip(leaf.box.high + margin, -LARGEST, LARGEST)
    return _Entry(leaf, leaf.shape, leaf.dtype, leaf.box.shape, dtype, floats, low, high)


def _listed(keys: Any) -> list[str]:
    return sorted(map(str, keys))


def check_reward(reward: Any, env: int | None = None) -> float:
    """The reward as a float, finite in float32 too. Raises ObservationError for anything else."""
    if not isinstance(reward, float):
        array = np.asarray(reward)
        if array.size != 1 or array.dtype.kind not in "fiub":
            raise ObservationError(
                f"key 'reward': expected one number, "
                f"got shape {array.shape} and dtype {array.dtype}; "
                "return a float",
                env=env,
            )
        reward = float(array.reshape(()))
    if not abs(reward) <= LARGEST:
        raise NotFinite(
            f"key 'reward': expected a finite value, got {reward}; look at its terms", env=env
        )
    return float(reward)


def check_rewards(rewards: Any, num_envs: int) -> NDArray[np.float64]:
    """The rewards [N] as float64, all finite. Raises ObservationError naming the first at fault."""
    array = np.asarray(rewards)
    if array.shape != (num_envs,) or array.dtype.kind not in "fiub":
        raise ObservationError(
            f"key 'reward': expected shape {(num_envs,)} of floats, "
            f"got shape {array.shape} and dtype {array.dtype}"
        )
    result = np.array(array, dtype=np.float64)
    if not (np.abs(result) <= LARGEST).all():
        raise_not_finite("reward", result, True, None)
    return result


def check_flag(flag: Any, key: str, env: int | None = None) -> bool:
    """A terminated or truncated flag as a bool. Raises ObservationError if it is not one."""
    if flag is True or flag is False or isinstance(flag, np.bool_):
        return bool(flag)
    raise ObservationError(
        f"key {key!r}: expected a bool, got {flag!r} ({type(flag).__name__}); return a bool",
        env=env,
    )


class ActionGuard:
    """Checks actions of the contract and converts them to those of the declared space `target`.

    A Box action is rounded to float32 (what a replay stores is what was done), clipped to [-1, 1]
    and then rescaled to the bounds of `target`; a Discrete action passes unchanged; of a
    MultiDiscrete or MultiBinary, the Discrete counts the combinations, the last part fastest.
    `space` is the action space of the contract. Raises SpaceError for infinite bounds and other
    kinds of space.

    >>> guard = ActionGuard(spaces.Box(0.0, 10.0, (1,)))
    >>> guard.one(np.zeros(1)), guard.one(np.array([3.0]))
    (array([5.], dtype=float32), array([10.], dtype=float32))
    >>> guard.unit(np.array([10.0]))
    array([1.], dtype=float32)
    """

    def __init__(self, target: spaces.Space[Any]) -> None:
        self.space = action_space(target)
        self._discrete = isinstance(self.space, spaces.Discrete)
        self._sizes = action_sizes(target)
        if isinstance(self.space, spaces.Discrete):
            self._first = int(self.space.start)
            self._end = int(self.space.start) + int(self.space.n)
            self._shape, self._dtype = target.shape or (), target.dtype
            self._starts = np.asarray(getattr(target, "start", 0)) if self._sizes else 0
        elif isinstance(target, spaces.Box):
            self._low, self._high = target.low, target.high
            self._centre = (target.low.astype(np.float64) + target.high) / 2
            self._half = (target.high.astype(np.float64) - target.low) / 2

    @property
    def null(self) -> Any:
        """The null action of the contract: the middle of the bounds, or the first of the discrete
        actions.
        """
        return (
            np.int64(self._first)
            if self._discrete
            else np.zeros(self.space.shape or (), np.float32)
        )

    def batch(self, actions: Any, active: NDArray[np.bool_]) -> NDArray[Any]:
        """Actions [N, *shape], checked but not converted; rows that are not `active` are ignored by
        a reset.

        Returns a fresh array; ignored rows hold the null action. Raises ActionError naming the
        environment.
        """
        array = np.array(actions)
        expected = (len(active), *(self.space.shape or ()))
        if array.shape != expected:
            raise ActionError(
                f"expected actions of shape {expected}, one row an environment, got {array.shape}"
            )
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
            raise ActionError(
                f"expected an action of shape {self.space.shape or ()}, got {array.shape}", env=env
            )
        self._check_dtype(array, env)
        bad = self._bad(array)
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            self._raise(array[where], where, env)
        return (
            self.convert(array)
            if self._sizes
            else int(array)
            if self._discrete
            else self._rescale(array)
        )

    def convert(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Checked actions [N, *shape] to the environments' own, in their dtype and bounds."""
        if self._sizes:
            parts = np.stack(np.unravel_index(actions, self._sizes), -1).reshape(
                *np.shape(actions), *self._shape
            )
            return np.asarray(parts + self._starts, self._dtype)
        return actions if self._discrete else self._rescale(actions)

    def _rescale(self, array: NDArray[Any]) -> NDArray[Any]:
        unit = np.minimum(np.maximum(array, -1.0), 1.0).astype(np.float32)
        scaled = (self._centre + self._half * unit).astype(self._low.dtype)
        # rounding may step over a bound
        return np.asarray(np.minimum(np.maximum(scaled, self._low), self._high))

    def unit(self, action: Any) -> NDArray[np.float32]:
        """The action [*shape] of the contract that `one` makes `action` of; clipped to [-1, 1].

        Raises ActionError for what is no action of the environment's Box.
        """
        array = np.asarray(action)
        if not isinstance(self.space, spaces.Box) or array.shape != self.space.shape:
            raise ActionError(
                f"action that was sent: expected shape {self.space.shape}, got {array.shape}"
            )
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ActionError(f"action that was sent: expected finite numbers, got {array}")
        half = np.where(self._half > 0.0, self._half, 1.0)
        return np.asarray(np.clip((array - self._centre) / half, -1.0, 1.0), np.float32)

    def _bad(self, array: NDArray[Any]) -> NDArray[np.bool_]:
        bad = (
            (array < self._first) | (array >= self._end) if self._discrete else ~np.isfinite(array)
        )
        return np.asarray(bad)

    def _check_dtype(self, array: NDArray[Any], env: int | None) -> None:
        if array.dtype.kind not in ("iu" if self._discrete else "fiu"):
            expected = "integers" if self._discrete else "floats"
            raise ActionError(
                f"expected {expected} for {self.space}, got dtype {array.dtype}", env=env
            )

    def _raise(self, value: Any, where: tuple[int, ...], env: int | None) -> None:
        wanted = (
            f"an integer in [{self._first}, {self._end})" if self._discrete else "finite values"
        )
        at = f" at index {list(where)}" if where else ""
        raise ActionError(
            f"expected an action of {wanted}, got {value}{at}; look at the policy's output", env=env
        )
