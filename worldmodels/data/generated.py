"""Series that are generated: oscillators, bouncing balls, moving digits. One seed gives one data
set.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from worldmodels.data.episodes import Array
from worldmodels.data.errors import DataError

NOISE, DRIFT = 0.1, 0.01  # deviations of what is seen, and of each step


def oscillators(
    count: int, steps: int, draw: torch.Generator, slow: float, fast: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy harmonic oscillators (after Gregor et al., 2019, section 5.2, whose constants are not
    published).

    Each has its own amplitude in [0.8, 1.2], phase, and frequency in [``slow``, ``fast``] rad a
    step.  Position and velocity are rotated by the frequency and shaken (deviation 0.01), their
    energy is kept; what is seen is the position with noise (deviation 0.1).

    Returns:
        What is seen ``[T, N, 1]``, the phase of position and velocity ``[T, N]``, the frequency
            ``[N]``.
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=draw)

    rate, size, phase = uniform(slow, fast), uniform(0.8, 1.2), uniform(0.0, 2 * math.pi)
    position, velocity = size * torch.cos(phase), -size * torch.sin(phase)
    seen, phases = [], []
    for _ in range(steps):
        position, velocity = (
            torch.cos(rate) * position + torch.sin(rate) * velocity,
            -torch.sin(rate) * position + torch.cos(rate) * velocity,
        )
        position = position + DRIFT * torch.randn(count, generator=draw)
        velocity = velocity + DRIFT * torch.randn(count, generator=draw)
        scale = size / (position.square() + velocity.square()).sqrt()  # the energy is kept
        position, velocity = position * scale, velocity * scale
        seen.append(position + NOISE * torch.randn(count, generator=draw))
        phases.append(torch.atan2(-velocity, position))
    return torch.stack(seen).unsqueeze(-1), torch.stack(phases), rate


class Balls(NamedTuple):
    """Videos ``[T, N, H, W, 1]`` uint8; centres and velocities of their balls ``[T, N, K, 2]`` in
    pixels, down and right.

    >>> import numpy as np
    >>> found = Balls(
    ...     np.zeros((5, 2, 8, 8, 1), np.uint8), np.zeros((5, 2, 3, 2)), np.zeros((5, 2, 3, 2))
    ... )
    >>> found.position.shape
    (5, 2, 3, 2)
    """

    frames: Array
    position: Array
    velocity: Array


def bouncing_balls(
    count: int,
    steps: int,
    seed: int = 0,
    balls: int = 3,
    size: int = 32,
    radius: float = 4.0,
    speed: float = 2.0,
    substeps: int = 10,
) -> Balls:
    """Balls of one mass that collide elastically with each other and the walls of a square box
    (after Sutskever et al., 2008).

    Args:
        count, steps: how many videos, of how many frames.
        seed: of the first positions and velocities.
        balls, radius, speed: how many balls a video, their radius in pixels, the norm of their
            first velocities a frame.
        size: pixels of a side.
        substeps: steps of the simulation a frame.

    Raises:
        DataError: the balls do not fit.
    """
    if 4 * balls * (2 * radius) ** 2 > size**2 or min(count, steps, balls, substeps) < 1:
        raise DataError(
            f"expected at least one video, frame and ball, "
            f"and balls that fill a quarter of the box at most; got "
            f"{balls} balls of radius {radius:g} in a box of {size}"
        )
    draw = np.random.default_rng(seed)
    position = draw.uniform(radius, size - radius, (count, balls, 2))
    while (crowded := _nearest(position) < 2 * radius).any():
        position[crowded] = draw.uniform(radius, size - radius, (int(crowded.sum()), balls, 2))
    angle = draw.uniform(0, 2 * np.pi, (count, balls))
    velocity = speed * np.stack([np.sin(angle), np.cos(angle)], -1)
    frames = np.empty((steps, count, size, size, 1), np.uint8)
    positions, velocities = np.empty((2, steps, count, balls, 2))
    for t in range(steps):
        positions[t], velocities[t], frames[t, ..., 0] = (
            position,
            velocity,
            _discs(position, radius, size),
        )
        for _ in range(substeps):
            position = position + velocity / substeps
            for low, outward in ((position < radius, -1), (position > size - radius, 1)):
                velocity = np.where(low & (velocity * outward > 0), -velocity, velocity)
            position = np.clip(position, radius, size - radius)
            for i in range(balls):
                for j in range(i):
                    _collide(position, velocity, i, j, radius)
    return Balls(frames, positions, velocities)


def _nearest(position: Array) -> Array:
    """The smallest distance between two balls, ``[N]``."""
    apart = np.linalg.norm(position[:, :, None] - position[:, None], axis=-1)
    apart[:, np.arange(apart.shape[1]), np.arange(apart.shape[1])] = np.inf
    return np.asarray(apart.min((1, 2)))


def _collide(position: Array, velocity: Array, i: int, j: int, radius: float) -> None:
    """Exchange the velocities along the line between two balls that touch
    and approach each other.
    """
    line = position[:, i] - position[:, j]
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    unit = line / np.maximum(distance, 1e-9)
    approach = ((velocity[:, i] - velocity[:, j]) * unit).sum(-1, keepdims=True)
    change = np.where((distance < 2 * radius) & (approach < 0), approach, 0) * unit
    velocity[:, i] -= change
    velocity[:, j] += change


def _discs(position: Array, radius: float, size: int) -> Array:
    """Images ``[N, H, W]`` of discs with soft edges, one pixel wide."""
    pixel = np.arange(size) + 0.5
    down, right = position[..., 0, None] - pixel, position[..., 1, None] - pixel  # [N, K, size]
    distance = np.sqrt(np.square(down)[..., :, None] + np.square(right)[..., None, :])
    return np.asarray((255 * np.clip(radius + 0.5 - distance, 0, 1).max(1)).round(), np.uint8)


def moving_mnist(
    digits: Array | Tensor,
    count: int,
    steps: int,
    seed: int = 0,
    each: int = 2,
    size: int = 64,
    speed: float = 3.6,
) -> Array:
    """Digits that fly straight and bounce off the edges: ``[T, N, size, size, 1]`` uint8 (after
    Srivastava et al., 2015).

    Args:
        digits: images ``[M, H, W]`` uint8 to choose from, ``mnist("train")[0]``.
        count, steps: how many videos, of how many frames.
        seed: of digits, places and directions.
        each: digits a video; where two overlap, the brighter pixel is seen.
        size, speed: pixels of a side; pixels that a digit moves a frame (theirs is a tenth of the
            room it has).

    Raises:
        DataError: images of another form, or as large as the video.
    """
    images = np.asarray(digits)
    if images.ndim != 3 or images.dtype != np.uint8 or max(images.shape[1:]) >= size:
        raise DataError(
            f"expected digits [M, H, W] of type uint8, smaller than {size}, "
            f"got {images.dtype} {list(images.shape)}"
        )
    draw = np.random.default_rng(seed)
    chosen = images[draw.integers(len(images), size=(count, each))]
    room = np.array([size - images.shape[1], size - images.shape[2]], float)
    angle = draw.uniform(0, 2 * np.pi, (count, each))
    start = draw.uniform(0, 1, (count, each, 2)) * room
    heading = speed * np.stack([np.sin(angle), np.cos(angle)], -1)
    along = start + np.arange(steps)[:, None, None, None] * heading
    # a path that is folded at the edges
    corner = np.rint(room - np.abs(np.mod(along, 2 * room) - room)).astype(int)
    frames = np.zeros((steps, count, size, size, 1), np.uint8)
    height, width = images.shape[1:]
    for t, n, k in np.ndindex(steps, count, each):
        top, left = corner[t, n, k]
        place = frames[t, n, top : top + height, left : left + width, 0]
        np.maximum(place, chosen[n, k], out=place)
    return frames
