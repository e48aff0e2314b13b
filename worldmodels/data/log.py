"""Episodes from what a log holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldmodels.data.actions import classes_of, one_hot
from worldmodels.data.episodes import FLAGS, Array, Episode
from worldmodels.data.errors import DataError, EmptyEpisode
from worldmodels.data.names import variable


def make_episode(
    name: str,
    observations: Mapping[str, Any],
    action: Any = None,
    reward: Any = None,
    terminal: bool = False,
    actions: int | None = None,
    last: bool = True,
) -> Episode:
    """An episode from a log.

    Args:
        name: for messages.
        observations: key -> ``[T, ...]``; numbers become float32 ``[T, D]`` (a number a row ``[T,
            1]``), uint8 images ``[T, H, W, C]`` stay, grey ones ``[T, H, W]`` get a channel.
        action: ``[T, A]``, after each observation; ``T - 1`` of them, where none followed the last
            observation, are filled up with zeros; whole numbers ``[T]`` become one-hot where they
            are classes.
        reward: ``[T]``, arrived with each observation, or ``[T - 1]``, from the second on; zeros if
            None.
        terminal: whether the last row is a terminal state.
        actions: how many classes whole numbers are; 0 if they are numbers; if None, they are
            classes where they are 0 to at most 31 (with a warning that says so), else numbers.
        last: whether the episode ended with the last row (and is no part of a longer one).

    Raises:
        DataError: lengths or shapes that do not fit together, no row, or a name that is none for a
            variable (:mod:`worldmodels.data.names`).
    """
    if not observations:
        raise DataError(f"episode {name}: expected observations, got none")
    clash = {k: variable(k) for k in observations if variable(k) != k}
    if clash:
        raise DataError(
            f"episode {name}: observations may not be called {list(clash)}; "
            f"call them {list(clash.values())}"
        )
    series = {k: _observation(name, k, v) for k, v in observations.items()}
    lengths = {k: len(v) for k, v in series.items()}
    steps = next(iter(lengths.values()))
    if set(lengths.values()) != {steps}:
        raise DataError(f"episode {name}: expected one length for all observations, got {lengths}")
    if steps == 0:
        raise EmptyEpisode(f"episode {name}: expected rows, got none")
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
        raise DataError(
            f"episode {name}, key {key}: expected an array of numbers, {error}"
        ) from None
    if found.dtype.kind not in "fiub" or found.ndim == 0:
        what = "one number" if found.dtype.kind in "fiub" else f"the type {found.dtype}"
        raise DataError(
            f"episode {name}, key {key}: expected an array of numbers, one a row, got {what}"
        )
    return found


def _numbers(name: str, key: str, value: Any) -> Array:
    with np.errstate(over="ignore"):  # what is too large becomes inf, which the checker names
        return _array(name, key, value).astype(np.float32, copy=False)


def _observation(name: str, key: str, value: Any) -> Array:
    found = _array(name, key, value)
    if found.ndim == 3 and found.dtype == np.uint8:
        found = found[..., None]
    if found.ndim == 4 and found.dtype == np.uint8:
        return found
    found = _numbers(name, key, found)
    if found.ndim == 1:
        return found[:, None]
    if found.ndim not in (2, 4):
        raise DataError(
            f"episode {name}, key {key}: expected [T], [T, D] or images [T, H, W, C], "
            f"got {list(found.shape)}"
        )
    return found


def _action(name: str, value: Any, actions: int | None) -> Array:
    found = _array(name, "action", value)
    size = actions
    if found.ndim == 1 and found.dtype.kind in "iu" and size is None:
        size = classes_of([found], f"episode {name}")
    if found.ndim == 1 and found.dtype.kind in "iu" and size:
        if len(found) and (found.min() < 0 or found.max() >= size):
            step = int(np.flatnonzero((found < 0) | (found >= size))[0])
            raise DataError(
                f"episode {name}, step {step}, key action: expected 0 to {size - 1}, "
                f"got {found[step]}"
            )
        return one_hot(found, size)
    found = _numbers(name, "action", found)
    if found.ndim == 1:
        return found[:, None]
    if found.ndim != 2:
        raise DataError(
            f"episode {name}, key action: expected [T] or [T, A], got {list(found.shape)}"
        )
    return found


def _fill(name: str, key: str, value: Array, steps: int, at_end: bool) -> Array:
    """``[T]`` rows, from ``T - 1`` with a row of zeros at the end or in front."""
    if len(value) == steps:
        return value
    if len(value) != steps - 1:
        raise DataError(
            f"episode {name}, key {key}: "
            f"expected {steps} or {steps - 1} rows beside {steps} observations, "
            f"got {len(value)}"
        )
    zero = np.zeros((1, *value.shape[1:]), value.dtype)
    return np.concatenate([value, zero] if at_end else [zero, value])
