"""Images of another size: each pixel of the result is the mean of the area that it covers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import EnvError
from envs.options import check_count

Size = tuple[int, int]


def check_size(size: Any) -> Size | None:
    """(height, width), or None. Raises EnvError for anything else.

    >>> check_size([64, 64])
    (64, 64)
    """
    if size is None:
        return None
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise EnvError(
            f"image_size: expected (height, width), got {size!r}; for example image_size=(64, 64)"
        )
    height, width = (check_count("image_size", n) for n in size)
    return height, width


def resized(images: NDArray[Any], size: Size) -> NDArray[np.uint8]:
    """uint8 images [..., H, W, C] with the height and width of `size`, by area.

    >>> resized(np.array([[[0], [100]], [[100], [200]]], np.uint8), (1, 1)).tolist()
    [[[100]]]
    """
    height, width, channels = images.shape[-3:]
    if (height, width) == size:
        return images
    down, across = _weights(height, size[0]), _weights(width, size[1])
    flat = images.reshape(-1, height, width * channels).astype(np.float32)
    rows = (down @ flat).reshape(-1, width, channels)
    found = (across @ rows).reshape(*images.shape[:-3], *size, channels)
    return np.rint(found).astype(np.uint8)


@functools.cache
def _weights(before: int, after: int) -> NDArray[np.float32]:
    """[after, before]: the share of each pixel of a line in each of the new ones."""
    edges = np.arange(after + 1) * (before / after)
    pixels = np.arange(before)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    overlap = np.clip(overlap, 0.0, None)
    return np.asarray(overlap / overlap.sum(1, keepdims=True), np.float32)
