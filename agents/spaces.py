"""Between environments (numpy rows) and agents (tensors)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = dict[str, NDArray[Any]]
FLAGS = ("is_first", "is_last", "is_terminal")


@dataclass(frozen=True)
class ActionSpec:
    """What an action is: ``size`` numbers in [-1, 1], or one of ``size`` choices (one-hot).

    >>> ActionSpec(4, discrete=True).size
    4
    """

    size: int
    discrete: bool = False


def most_probable(weights: Tensor) -> Tensor:
    """The choice that counts most, one-hot, ``[..., A] -> [..., A]``; NaN in its place where its
    weight is not finite.

    >>> most_probable(torch.tensor([[0.2, 0.7, 0.1], [0.2, torch.nan, 0.1]]))
    tensor([[0., 1., 0.],
            [0., nan, 0.]])
    """
    most, index = weights.max(-1, keepdim=True)
    return torch.zeros_like(weights).scatter_(-1, index, 1.0 + 0.0 * most)


@dataclass(frozen=True)
class Interface:
    """What an agent sees of an environment.

    Args:
        shapes: observation key -> ``[D]`` or ``[H, W, C]``.
        dtypes: observation key -> numpy type.
        action: what an action is.

    >>> from envs import make_vector
    >>> interface = Interface.of(make_vector("Pendulum-v1", 1))
    >>> interface.shapes, interface.action
    ({'observation': (3,)}, ActionSpec(size=1, discrete=False))
    """

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, np.dtype[Any]]
    action: ActionSpec

    @staticmethod
    def of(envs: Any) -> Interface:
        """From a vector of environments."""
        return Interface.from_spaces(envs.single_observation_space, envs.single_action_space)

    @staticmethod
    def from_spaces(observation: Any, action: Any) -> Interface:
        """From the spaces of the contract (:mod:`envs.spaces`): a Dict of Box, and a Box or a
        Discrete.
        """
        spaces = observation.spaces
        shapes = {
            k: s.shape if len(s.shape) == 3 else (int(np.prod(s.shape)),) for k, s in spaces.items()
        }
        dtypes = {
            k: np.dtype(np.uint8 if s.dtype == np.uint8 else np.float32) for k, s in spaces.items()
        }
        discrete = hasattr(action, "n")
        size = int(action.n) if discrete else int(np.prod(action.shape))
        return Interface(shapes, dtypes, ActionSpec(size, discrete))

    def observation(self, rows: Mapping[str, NDArray[Any]]) -> Rows:
        """The observation keys of rows, ``[N, *shape]``."""
        return {
            k: rows[k].reshape(len(rows[k]), *s).astype(self.dtypes[k], copy=False)
            for k, s in self.shapes.items()
        }

    def tensors(self, rows: Mapping[str, NDArray[Any]], device: torch.device) -> dict[str, Tensor]:
        """Observations and ``is_first`` for :meth:`agents.agent.Actor.act`."""
        found = {**self.observation(rows), "is_first": rows["is_first"]}
        return {k: torch.from_numpy(v).to(device) for k, v in found.items()}

    def to_env(self, action: NDArray[Any], envs: Any) -> NDArray[Any]:
        """What a vector of environments takes, from an agent's ``[N, A]``."""
        return self.native(action, envs.single_action_space)

    def native(self, action: NDArray[Any], space: Any) -> NDArray[Any]:
        """Actions ``[N, *shape]`` of a space of the contract, from an agent's ``[N, A]``."""
        if self.action.discrete:
            return np.asarray(action.argmax(-1)) + int(getattr(space, "start", 0))
        return action.reshape(len(action), *space.shape)

    def random(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Random actions ``[N, A]``: uniform."""
        if self.action.discrete:
            return np.eye(self.action.size, dtype=np.float32)[
                rng.integers(self.action.size, size=count)
            ]
        return rng.uniform(-1.0, 1.0, (count, self.action.size)).astype(np.float32)

    def spec(self, stored: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Keys, shapes and types of what a replay stores; ``stored`` is what the actor adds."""
        found: dict[str, tuple[tuple[int, ...], Any]] = {
            k: (s, self.dtypes[k]) for k, s in self.shapes.items()
        }
        found |= {"action": ((self.action.size,), np.float32), "reward": ((), np.float32)}
        return (
            found
            | dict.fromkeys(FLAGS, ((), np.bool_))
            | {k: (s, np.float32) for k, s in stored.items()}
        )
