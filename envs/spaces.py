"""The spaces of the contract, and how any other supported space maps to them.

Observations: a flat Dict of Box. A bare Box becomes {"observation": Box}; uint8 arrays [H, W, C] stay uint8, everything
else is float32; a scalar has shape (1,). Actions: a Box [-1, 1] float32 with the original's shape, or a Discrete.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from envs.errors import SpaceError

KEY = "observation"  # the key of an observation that had none
RESERVED = frozenset({"reward", "is_first", "is_last", "is_terminal", "frames", "action"})


def observation_boxes(space: spaces.Space[Any]) -> dict[str, spaces.Box]:
    """The Box of each observation key, as declared. Raises SpaceError if there is another kind of space."""
    boxes = dict(space.spaces) if isinstance(space, spaces.Dict) else {KEY: space}
    for key, box in boxes.items():
        if not isinstance(box, spaces.Box):
            raise SpaceError(
                f"observation key {key!r}: expected a Box, or a flat Dict of Box, got {box}; "
                "give envs.adapt the environment wrapped in gymnasium.wrappers.FlattenObservation"
            )
        if key in RESERVED:
            raise SpaceError(f"observation key {key!r} is reserved for the rows of a vector environment; rename it")
    if not boxes:
        raise SpaceError("expected at least one observation key, got an empty Dict")
    return boxes  # type: ignore[return-value]


def is_image(box: spaces.Box) -> bool:
    """True for uint8 arrays [H, W, C]."""
    return box.dtype == np.uint8 and len(box.shape) == 3


def observation_space(space: spaces.Space[Any]) -> spaces.Dict:
    """The observation space of the contract that `space` maps to."""
    return spaces.Dict({key: _observation_box(box) for key, box in observation_boxes(space).items()})


def _observation_box(box: spaces.Box) -> spaces.Box:
    if is_image(box):
        return spaces.Box(box.low, box.high, box.shape, np.uint8)
    shape = box.shape or (1,)
    largest = np.finfo(np.float32).max  # a float64 bound beyond float32 means "unbounded" to those who write it
    low, high = (np.asarray(bound, np.float64).reshape(shape) for bound in (box.low, box.high))
    low = np.where(low < -largest, -np.inf, low).astype(np.float32)
    high = np.where(high > largest, np.inf, high).astype(np.float32)
    return spaces.Box(low, high, shape, np.float32)


def action_space(space: spaces.Space[Any]) -> spaces.Box | spaces.Discrete:
    """The action space of the contract that `space` maps to. Raises SpaceError for infinite bounds and other kinds."""
    if isinstance(space, spaces.Discrete):
        return space
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        raise SpaceError(
            f"action space: expected a Box of floats or a Discrete, got {space}; wrap the environment to have one"
        )
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise SpaceError(
            f"action space: expected finite bounds, got low={space.low.tolist()} high={space.high.tolist()}; "
            "actions in [-1, 1] can only be rescaled to finite bounds: give the environment a Box with limits"
        )
    return spaces.Box(-1.0, 1.0, space.shape, np.float32)
