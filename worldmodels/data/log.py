"""Episodes from what a log holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldmodels.data.episodes import FLAGS, NOT_OBSERVED, Array, Episode
from worldmodels.data.errors import DataError


def make_episode(
    name: str, observations: Mapping[str, Any], action: Any = None, reward: Any = None, terminal: bool = False,
    actions: int | None = None, last: bool = True,
) -> Episode:
    """An episode from a log.

    Args:
        name: for messages.
        observations: key -> ``[T, ...]``; numbers become float32 ``[T, D]`` (a number a row ``[T, 1]``), uint8 images
            ``[T, H, W, C]`` stay.
        action: ``[T, A]``, after each observation; ``T - 1`` of them, where none followed the last observation, are
            filled up with zeros; whole numbers ``[T]`` are discrete and become one-hot.
        reward: ``[T]``, arrived with each observation, or ``[T - 1]``, from the second on; zeros if None.
        terminal: whether the last row is a terminal state.
        actions: how many discrete actions there are; one more than the largest if None.
        last: whether the episode ended with the last row (and is no part of a longer one).

    Raises:
        DataError: lengths or shapes that do not fit together.
    """
    if not observations:
        raise DataError(f"episode {name}: expected observations, got none")
    clash = [k for k in observations if k in NOT_OBSERVED or k.endswith("_prev")]
    if clash:
        raise DataError(f"episode {name}: observations may not be called {clash}; rename them")
    series = {k: _observation(name, k, v) for k, v in observations.items()}
    lengths = {k: len(v) for k, v in series.items()}
    steps = next(iter(lengths.values()))
    if set(lengths.values()) != {steps} or steps == 0:
        raise DataError(f"episode {name}: expected one length above 0 for all observations, got {lengths}")
    if action is not None:
        series["action"] = _fill(name, "action", _action(name, action, actions), steps, at_end=True)
    given = np.zeros(steps, np.float32) if reward is None else _numbers(name, "reward", reward)
    if given.size != len(given):
        raise DataError(f"episode {name}, key reward: expected [T], got {list(given.shape)}")
    series["reward"] = _fill(name, "reward", given.reshape(-1), steps, at_end=False)
    for flag in FLAGS:
        series[flag] = np.zeros(steps, bool)
    series["is_first"][0] = True
    series["is_last"][-1] = last or terminal
    series["is_terminal"][-1] = terminal
    return Episode(name, series)


def _array(name: str, key: str, value: Any) -> Array:
    """Any array of numbers with a first axis."""
    try:
        found = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"episode {name}, key {key}: expected an array of numbers, {error}") from None
    if found.dtype.kind not in "fiub" or found.ndim == 0:
        what = "one number" if found.dtype.kind in "fiub" else f"the type {found.dtype}"
        raise DataError(f"episode {name}, key {key}: expected an array of numbers, one a row, got {what}")
    return found


def _numbers(name: str, key: str, value: Any) -> Array:
    with np.errstate(over="ignore"):  # what is too large becomes inf, which the checker names
        return _array(name, key, value).astype(np.float32, copy=False)


def _observation(name: str, key: str, value: Any) -> Array:
    found = _array(name, key, value)
    if found.ndim == 4 and found.dtype == np.uint8:
        return found
    found = _numbers(name, key, found)
    if found.ndim == 1:
        return found[:, None]
    if found.ndim not in (2, 4):
        raise DataError(f"episode {name}, key {key}: expected [T], [T, D] or images [T, H, W, C], got {list(found.shape)}")
    return found


def _action(name: str, value: Any, actions: int | None) -> Array:
    found = _array(name, "action", value)
    if found.ndim == 1 and found.dtype.kind in "iu":
        size = actions or int(found.max(initial=0)) + 1
        if len(found) and (found.min() < 0 or found.max() >= size):
            step = int(np.flatnonzero((found < 0) | (found >= size))[0])
            raise DataError(f"episode {name}, step {step}, key action: expected 0 to {size - 1}, got {found[step]}")
        return np.eye(size, dtype=np.float32)[found]
    found = _numbers(name, "action", found)
    if found.ndim == 1:
        return found[:, None]
    if found.ndim != 2:
        raise DataError(f"episode {name}, key action: expected [T] or [T, A], got {list(found.shape)}")
    return found


def _fill(name: str, key: str, value: Array, steps: int, at_end: bool) -> Array:
    """``[T]`` rows, from ``T - 1`` with a row of zeros at the end or in front."""
    if len(value) == steps:
        return value
    if len(value) != steps - 1:
        raise DataError(f"episode {name}, key {key}: expected {steps} or {steps - 1} rows beside {steps} observations, "
                        f"got {len(value)}")
    zero = np.zeros((1, *value.shape[1:]), value.dtype)
    return np.concatenate([value, zero] if at_end else [zero, value])
