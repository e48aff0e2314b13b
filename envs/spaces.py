"""The spaces of the contract, and how any other supported space maps to them.

Observations: a flat Dict of Box, named by the rules of `envs.names`. A bare space is called
"observation".

    declared                                       becomes
    Box, uint8 [H, W, C], C at most 4              the image, unchanged
    Box, uint8 [H, W], sides of at least 8         a grey image [H, W, 1]
    Box, uint8 [C, H, W], also a stack [16, H, W]  an image [H, W, C]: the first side is the
                                                   smallest
    Box, uint8 [S, H, W, C] or [S, C, H, W]        an image [H, W, S * C]: a stack of S images
    Box, floats of these 3-d and 4-d shapes, or
      [H, W] with sides of at least 32, declared
      in one range: [0, 1], [0, 255], a depth's    the image, in uint8; values outside are refused
    3-d and 4-d floats of other bounds             refused: neither pixels nor a vector
    any other Box                                  float32, its shape up to 2-d, else [D]; a scalar
                                                   is [1]
    Discrete, MultiDiscrete                        float32 [D]: one-hot vectors, joined
    MultiBinary                                    float32 [D]
    Dict, Tuple                                    its parts

Actions: a Box [-1, 1] float32 with the original's shape, or a Discrete. MultiDiscrete and
MultiBinary become the Discrete of all their combinations, up to 4096 of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.errors import SpaceError
from envs.images import Size
from envs.names import safe_names

KEY = "observation"  # the name of an observation that had none
MOST = 4096  # classes of a one-hot vector, or combinations of an action
UNBOUNDED = (
    1e6  # no actuator has such a range: it means "no bound", and an action of 0.5 would be absurd
)
_CHANNELS = 4  # colours, with alpha
_SIDE = 8  # the least side of an image whose form is guessed
_MATRIX = 32  # the least side of floats [H, W] that are an image, and no matrix


class Leaf(NamedTuple):
    """One observation: its name, the keys that lead to it, how it is declared, and how it leaves
    the guard.

    `turn` is the order of axes that makes an image of it, `pixels` what 1.0 of floats is in uint8
    (0: no floats) and `zero` the float that becomes 0, `sizes` the number of classes of each
    one-hot vector and `starts` their first classes; `least` and `most` are those that the declared
    type of whole numbers has.
    """

    name: str
    path: tuple[Any, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    box: spaces.Box
    turn: tuple[int, ...] | None = None
    pixels: float = 0.0
    zero: float = 0.0
    sizes: NDArray[np.int64] | None = None
    starts: NDArray[np.int64] | None = None
    least: int | None = None
    most: int | None = None


def observation_leaves(space: spaces.Space[Any], image_size: Size | None = None) -> list[Leaf]:
    """The observations in `space`. Raises SpaceError for what has no form in the contract.

    Args:
        image_size: (height, width) of all images; None: as they are.
    """
    found = list(_parts(space, ()))
    if not found:
        raise SpaceError(
            f"expected at least one observation key, got an empty {type(space).__name__}"
        )
    bare = len(found) == 1 and found[0][0] == ()
    names = (
        {(): KEY}
        if bare
        else safe_names(
            path if isinstance(space, spaces.Dict) else (KEY, *path) for path, _ in found
        )
    )
    lead = () if bare or isinstance(space, spaces.Dict) else (KEY,)
    leaves = [_leaf(names[(*lead, *path)], path, part) for path, part in found]
    return leaves if image_size is None else [_of_size(leaf, image_size) for leaf in leaves]


def _of_size(leaf: Leaf, size: Size) -> Leaf:
    """An image of another size; what is no image as it is."""
    if not is_image(leaf.box):
        return leaf
    shape = (*size, leaf.box.shape[2])
    return leaf._replace(
        box=spaces.Box(int(leaf.box.low.min()), int(leaf.box.high.max()), shape, np.uint8)
    )


def _parts(
    space: spaces.Space[Any], path: tuple[Any, ...]
) -> Iterator[tuple[tuple[Any, ...], spaces.Space[Any]]]:
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from _parts(part, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for i, part in enumerate(space.spaces):
            yield from _parts(part, (*path, i))
    else:
        yield path, space


def _leaf(name: str, path: tuple[Any, ...], space: spaces.Space[Any]) -> Leaf:
    if isinstance(space, spaces.Box):
        return _box_leaf(name, path, space)
    shape, dtype = space.shape or (), np.dtype(space.dtype or np.int64)
    if isinstance(space, spaces.MultiBinary):
        size = int(np.prod(shape))
        box = spaces.Box(0.0, 1.0, (size,), np.float32)
        return Leaf(name, path, shape, dtype, box, least=0, most=1)
    if isinstance(space, spaces.Discrete):
        sizes, starts = np.array([int(space.n)]), np.array([int(space.start)])
    elif isinstance(space, spaces.MultiDiscrete):
        sizes = space.nvec.reshape(-1).astype(np.int64)
        starts = np.asarray(space.start, np.int64).reshape(-1)
    else:
        raise SpaceError(
            f"observation key {name!r}: expected Box, Discrete, MultiDiscrete, MultiBinary, "
            f"or a Dict or "
            f"Tuple of them, got {space}; give envs.adapt the environment in a "
            "gymnasium.wrappers.TransformObservation that has one"
        )
    total = int(sizes.sum())
    if total > MOST:
        raise SpaceError(
            f"observation key {name!r}: expected at most {MOST} classes, "
            f"which become one-hot vectors, "
            f"got {total}; give the observation as numbers in a Box"
        )
    return Leaf(
        name,
        path,
        shape,
        dtype,
        spaces.Box(0.0, 1.0, (total,), np.float32),
        sizes=sizes,
        starts=starts,
    )


def _box_leaf(name: str, path: tuple[Any, ...], box: spaces.Box) -> Leaf:
    dtype = np.dtype(box.dtype)
    low, high = (float(bound.flat[0]) if box.shape else 0.0 for bound in (box.low, box.high))
    one = bool((box.low == low).all() and (box.high == high).all()) and bool(
        np.isfinite([low, high]).all()
    )
    turn = _turn(name, box.shape, dtype, one) if dtype == np.uint8 or dtype.kind == "f" else None
    if turn is None:
        return _whole(Leaf(name, path, box.shape, dtype, _vector(box)))
    shape = (*(box.shape[i] for i in turn[:2]), int(np.prod([box.shape[i] for i in turn[2:]])))
    if dtype == np.uint8:
        lows, highs = (bound.transpose(turn).reshape(shape) for bound in (box.low, box.high))
        pictures = spaces.Box(lows, highs, shape, np.uint8)
        return _whole(Leaf(name, path, box.shape, dtype, pictures, turn))
    if not one or low >= high:
        raise SpaceError(
            f"observation key {name!r}: expected pixels, since its shape is {box.shape}: uint8, "
            f"or floats "
            "declared in one finite range, as [0, 1], [0, 255] or near to far of a depth camera, "
            f"got {dtype} in [{box.low.min()}, {box.high.max()}]; "
            "correct the bounds of its Box, or flatten what is no image "
            "(gymnasium.wrappers.FlattenObservation)"
        )
    if (low, high) not in ((0.0, 1.0), (0.0, 255.0)):
        step = (high - low) / 255
        text = (
            f"observation {name!r}: floats in [{low:g}, {high:g}] become images of 8 bits, "
            f"in steps of {step:.2g}"
        )
        warnings.warn(text, stacklevel=2)
    pixels = 255.0 / (high - low)
    return Leaf(
        name, path, box.shape, dtype, spaces.Box(0, 255, shape, np.uint8), turn, pixels, low
    )


def _whole(leaf: Leaf) -> Leaf:
    """With what its type of whole numbers has, if it is one."""
    if leaf.dtype.kind not in "iu":
        return leaf
    found = np.iinfo(leaf.dtype)
    return leaf._replace(least=int(found.min), most=int(found.max))


def _turn(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], one: bool
) -> tuple[int, ...] | None:
    """The axes of height, width and channels, None for what is no image, or a SpaceError.

    `one`: all values are declared in one finite range.
    """
    if (
        len(shape) == 2
        and (dtype == np.uint8 or one)
        and min(shape) >= (_SIDE if dtype == np.uint8 else _MATRIX)
    ):
        return (0, 1)
    if len(shape) == 3:
        if dtype != np.uint8 and sorted(shape)[1] < _SIDE:
            return None
        if shape[2] <= _CHANNELS or shape[2] < min(shape[:2]):
            return (0, 1, 2)
        if shape[0] <= _CHANNELS or shape[0] < min(shape[1:]):
            return (1, 2, 0)
    elif len(shape) == 4:
        if dtype != np.uint8 and sorted(shape)[2] < _SIDE:
            return None
        if shape[3] <= _CHANNELS:
            return (1, 2, 0, 3)
        if shape[1] <= _CHANNELS:
            return (2, 3, 0, 1)
    if dtype == np.uint8 and len(shape) in (3, 4):
        raise SpaceError(
            f"observation key {name!r}: expected an image [H, W, C], channels first [C, H, W], "
            f"or a stack "
            f"[S, H, W, C] or [S, C, H, W], got the shape {shape}, "
            f"in which the channels cannot be told; "
            "transpose it in the environment"
        )
    return None


def _vector(box: spaces.Box) -> spaces.Box:
    shape = box.shape or (1,)
    shape = shape if len(shape) < 3 else (int(np.prod(shape)),)
    largest = np.finfo(
        np.float32
    ).max  # a float64 bound beyond float32 means "unbounded" to those who write it
    low, high = (np.asarray(bound, np.float64).reshape(shape) for bound in (box.low, box.high))
    low = np.where(low < -largest, -np.inf, low).astype(np.float32)
    high = np.where(high > largest, np.inf, high).astype(np.float32)
    return spaces.Box(low, high, shape, np.float32)


def is_image(box: spaces.Box) -> bool:
    """True for uint8 arrays [H, W, C]."""
    return box.dtype == np.uint8 and len(box.shape) == 3


def observation_space(space: spaces.Space[Any]) -> spaces.Dict:
    """The observation space of the contract that `space` maps to."""
    return spaces.Dict({leaf.name: leaf.box for leaf in observation_leaves(space)})


def action_sizes(space: spaces.Space[Any]) -> tuple[int, ...] | None:
    """The choices of each part of a MultiDiscrete or MultiBinary action; None for other spaces."""
    if isinstance(space, spaces.MultiBinary):
        return (2,) * int(np.prod(space.shape))
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec.reshape(-1))
    return None


def action_space(space: spaces.Space[Any]) -> spaces.Box | spaces.Discrete:
    """The action space of the contract that `space` maps to, or a SpaceError."""
    if isinstance(space, spaces.Discrete):
        return space
    sizes = action_sizes(space)
    if sizes is not None:
        count = float(np.prod(np.array(sizes, np.float64)))
        if count > MOST:
            raise SpaceError(
                f"action space: expected at most {MOST} combinations, which become one Discrete, "
                f"got {count:.0f} of {space}; give the environment fewer choices, "
                f"or a Box of floats"
            )
        return spaces.Discrete(int(count))
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        raise SpaceError(
            "action space: expected a Box of floats, a Discrete, a MultiDiscrete or a MultiBinary, "
            f"got {space}; wrap the environment to have one"
        )
    bounds = np.stack([space.low, space.high]).astype(np.float64)
    if not (np.abs(bounds) <= UNBOUNDED).all():
        raise SpaceError(
            f"action space: expected bounds within {UNBOUNDED:g}, got low={space.low.tolist()} "
            f"high={space.high.tolist()}; actions in [-1, 1] can only be rescaled to real limits: "
            "give the environment a Box with those of its actuators"
        )
    return spaces.Box(-1.0, 1.0, space.shape, np.float32)
