"""What becomes of classes and of float pixels at the door, and the error for numbers that are not
finite.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from envs.errors import NotFinite, ObservationError
from envs.spaces import Leaf

LARGEST = float(np.finfo(np.float32).max)  # rewards are stored as float32


def one_hot(
    raw: NDArray[Any], leaf: Leaf, lead: tuple[int, ...], env: int | None
) -> NDArray[np.float32]:
    """Joined one-hot vectors [*lead, D] of class numbers [*lead, *shape]."""
    assert leaf.sizes is not None and leaf.starts is not None
    classes = raw.reshape(*lead, -1).astype(np.int64) - leaf.starts
    if ((classes < 0) | (classes >= leaf.sizes)).any():
        raise ObservationError(
            f"key {leaf.name!r}: expected classes from {leaf.starts.tolist()}, "
            f"{leaf.sizes.tolist()} of "
            f"them, got {raw.tolist()}; make observation_space and the observation agree",
            env=env,
        )
    result = np.zeros((*lead, int(leaf.sizes.sum())), np.float32)
    np.put_along_axis(result, classes + np.cumsum(leaf.sizes) - leaf.sizes, 1.0, -1)
    return result


def as_bytes(raw: NDArray[Any], leaf: Leaf, batched: bool, env: int | None) -> NDArray[Any]:
    """Float pixels as 0 to 255."""
    if not np.isfinite(raw).all():
        raise_not_finite(leaf.name, raw, batched, env)
    with np.errstate(over="ignore"):
        scaled = (raw - leaf.zero) * leaf.pixels
    if scaled.min() < -1.0 or scaled.max() > 256.0:
        raise ObservationError(
            f"key {leaf.name!r}: expected pixels in [{leaf.zero:g}, "
            f"{leaf.zero + 255 / leaf.pixels:g}], "
            "as declared, got values in "
            f"[{raw.min()}, {raw.max()}]; correct the observation or the bounds of its Box",
            env=env,
        )
    return np.asarray(np.rint(np.clip(scaled, 0.0, 255.0)))


def check_whole(raw: NDArray[Any], leaf: Leaf, batched: bool, env: int | None) -> None:
    """Refuse whole numbers that the declared type has not: they would be others in it."""
    assert leaf.least is not None and leaf.most is not None
    wrong = (raw < leaf.least) | (raw > leaf.most)
    if not wrong.any():
        return
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    value = raw[where]
    if batched:
        env, where = where[0], where[1:]
    at = f" at index {list(where)}" if where else ""
    raise ObservationError(
        f"key {leaf.name!r}: expected whole numbers from {leaf.least} to {leaf.most}, as "
        f"declared, got {value}{at}; make observation_space and the observation agree",
        env=env,
    )


def raise_not_finite(key: str, array: NDArray[Any], batched: bool, env: int | None) -> NoReturn:
    where = tuple(int(i) for i in np.argwhere(~(np.abs(array) <= LARGEST))[0])
    value = float(array[where])
    if batched:
        env, where = where[0], where[1:]
    at = f" at index {list(where)}" if where else ""
    raise NotFinite(
        f"key {key!r}: expected finite values, got {value}{at}; the simulation may have diverged: "
        "look at its state and at the last actions",
        env=env,
    )
