"""A driver's flat observations, and the arrays that they become."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.robot.errors import RobotError

STATE, TARGET = "state", "target"


class Features:
    """Which numbers and images a driver measures: name -> float, or the shape [H, W, C] of an
    image.

    >>> features = Features({"elbow.pos": float, "front": (2, 2, 3)})
    >>> features.numbers, features.images
    (('elbow.pos',), {'front': (2, 2, 3)})
    >>> features.fault({"elbow.pos": float("nan"), "front": np.zeros((2, 2, 3), np.uint8)})
    'elbow.pos: expected a finite number, got nan'
    """

    def __init__(self, declared: Mapping[str, Any]) -> None:
        numbers, images = [], {}
        for name, kind in declared.items():
            if kind in (float, int):
                numbers.append(str(name))
            elif (
                isinstance(kind, (tuple, list))
                and len(kind) == 3
                and all(isinstance(n, int) for n in kind)
            ):
                images[str(name)] = tuple(kind)
            else:
                raise RobotError(
                    f"observation_features: {name}: expected float, or the shape (H, W, "
                    f"C) of an image, got {kind!r}"
                )
            if name in (STATE, TARGET) and images.get(name) is not None:
                raise RobotError(
                    f"observation_features: "
                    f"expected other names of images than {STATE} and {TARGET}; rename one"
                )
        self.numbers, self.images = tuple(numbers), images

    @staticmethod
    def of(robot: Any) -> Features:
        """As the robot declares them; where it does not, as its first observation has them (it is
        connected).
        """
        declared = getattr(robot, "observation_features", None)
        return Features.found(robot.get_observation()) if declared is None else Features(declared)

    @staticmethod
    def found(observation: Mapping[str, Any]) -> Features:
        """From one observation."""
        if not isinstance(observation, Mapping):
            raise RobotError(f"get_observation: expected a dict, got {type(observation).__name__}")
        return Features(
            {
                name: float if np.ndim(value) == 0 else np.shape(value)
                for name, value in observation.items()
            }
        )

    def need(self, names: Iterable[str], what: str) -> None:
        """Raise RobotError unless all these numbers are measured."""
        missing = [name for name in names if name not in self.numbers]
        if missing:
            raise RobotError(
                f"{what}: expected names that get_observation returns, got {missing}; "
                f"it returns {list(self.numbers)}"
            )

    def fault(self, observation: Any) -> str | None:
        """What is wrong with an observation; None if nothing is. Names beside those declared are
        ignored.
        """
        if not isinstance(observation, Mapping):
            return f"expected a dict, got {type(observation).__name__}"
        for name in self.numbers:
            value = observation.get(name)
            if isinstance(value, (str, bytes, bool)) or value is None:
                return f"{name}: expected a number, got {value!r}"
            try:
                number = float(value)
            except (TypeError, ValueError, OverflowError):
                return f"{name}: expected a number, got {type(value).__name__}"
            if not math.isfinite(number) or abs(number) > 1e30:
                return f"{name}: expected a finite number, got {number}"
        for name, shape in self.images.items():
            image = observation.get(name)
            if not isinstance(image, np.ndarray) or image.shape != shape or image.dtype != np.uint8:
                got = (
                    f"{image.dtype} {image.shape}"
                    if isinstance(image, np.ndarray)
                    else type(image).__name__
                )
                return f"{name}: expected an image uint8 {shape}, got {got}"
        return None

    def boxes(self, targets: int) -> dict[str, spaces.Space[Any]]:
        """The spaces of the arrays; `targets` numbers were sent last."""
        boxes: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(-np.inf, np.inf, (count,), np.float32)
            for name, count in ((STATE, len(self.numbers)), (TARGET, targets))
        }
        return boxes | {
            name: spaces.Box(0, 255, shape, np.uint8) for name, shape in self.images.items()
        }

    def arrays(
        self, observation: Mapping[str, Any], target: Iterable[float]
    ) -> dict[str, NDArray[Any]]:
        """A checked observation as arrays, in memory of their own."""
        state = np.array([float(observation[name]) for name in self.numbers], np.float32)
        found = {STATE: state, TARGET: np.array(list(target), np.float32)}
        return found | {name: np.array(observation[name]) for name in self.images}
