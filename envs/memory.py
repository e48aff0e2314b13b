"""A task that needs memory: a cue at the first step, nothing of it later, and a choice at the end.

It is `memory_len` of bsuite (Osband et al. 2020). Whoever acts by what is seen now gets 0 in the
mean, and 1 is the best. Its id is "envs.memory:MemoryChain", with `env.options.length` steps
between cue and choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.options import check_count


class MemoryChain(gymnasium.Env[NDArray[np.float32], int]):
    """Cue, `length` steps, choice.

    Observation `[3]`: the cue (-1 or 1, at the first step; else 0), the share of time that is left,
    and 1 where the choice counts. Actions: 0 stands for the cue -1, 1 for 1. The reward comes with
    the end: 1 for the cue, -1 for the other.

    Args:
        length: actions before the one that counts.

    Raises:
        EnvError: length is below 1.

    Example:
        >>> env = MemoryChain(length=2)
        >>> cue = env.reset(seed=0)[0][0]
        >>> [env.step(int(cue > 0))[1] for _ in range(3)]
        [0.0, 0.0, 1.0]
    """

    def __init__(self, length: int = 10) -> None:
        check_count("length", length)
        self.length, self.cue, self.time = length, 1.0, 0
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.time, self.cue = 0, float(2 * self.np_random.integers(2) - 1)
        return self._seen(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        over = self.time == self.length
        reward = float(self.cue * (2 * int(action) - 1)) if over else 0.0
        self.time += 1
        return self._seen(), reward, over, False, {}

    def save_state(self) -> dict[str, Any]:
        """All that a later step depends on."""
        return {"cue": self.cue, "time": self.time, "random": self.np_random.bit_generator.state}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.cue, self.time = float(state["cue"]), int(state["time"])
        self.np_random.bit_generator.state = state["random"]

    def _seen(self) -> NDArray[np.float32]:
        cue = self.cue if self.time == 0 else 0.0
        left = max(0.0, 1.0 - self.time / self.length)
        return np.array([cue, left, float(self.time == self.length)], np.float32)
