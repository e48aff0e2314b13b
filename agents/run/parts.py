"""Parts that are saved by name, and parts that every run has:
random generators and running means.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from agents.agent import Nested
from pixyz.plan.random import random_states, restore_random_states


class Generators:
    """The random generators of the process: torch's (of the CPU and of CUDA devices in use),
    numpy's and Python's.

    >>> generators = Generators()
    >>> state = generators.state()
    >>> drawn = torch.rand(3)
    >>> generators.load_state(state)
    >>> torch.equal(torch.rand(3), drawn)
    True
    """

    @staticmethod
    def seed(seed: int) -> None:
        """Seed them all."""
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)

    def state(self) -> Nested:
        """Their states."""
        name, keys, at, has, cached = np.random.get_state()  # noqa: NPY002  libraries draw from it
        version, numbers, following = random.getstate()
        return {
            "torch": random_states(),
            "numpy": [name, np.asarray(keys, np.int64), at, has, cached],
            "python": [version, list(numbers), following],
        }

    def load_state(self, state: Nested) -> None:
        """Be as they were. CUDA generators that were not in use then are left alone."""
        states = state["torch"]
        gpus = (
            torch.cuda.device_count()
            if torch.cuda.is_available()
            else int(torch.backends.mps.is_available())
        )
        if len(states) - 1 not in (0, gpus):
            warnings.warn(
                f"random generators of {len(states) - 1} GPUs were saved and {gpus} are here: "
                f"theirs begin anew, and the run is "
                "no longer exactly the one without the stop",
                stacklevel=2,
            )
            states = states[:1]
        if len(states) > 1 and torch.cuda.is_available():
            torch.cuda.init()
        restore_random_states(states)
        name, keys, at, has, cached = state["numpy"]
        np.random.set_state((name, np.asarray(keys, np.uint32), at, has, cached))  # noqa: NPY002
        version, numbers, following = state["python"]
        random.setstate((version, tuple(numbers), following))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the context torch draws from this seed on; after it as if nothing had been drawn.

    >>> before = torch.get_rng_state()
    >>> with seeded(3):
    ...     drawn = torch.rand(2)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    before = random_states()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        restore_random_states(before)


class Means:
    """Sums of metrics since the last line of the log.

    >>> means = Means()
    >>> means.add({"loss": 1.0})
    >>> means.add({"loss": 3.0})
    >>> means.pop()
    {'loss': 2.0}
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self.count = 0

    def add(self, metrics: Mapping[str, float]) -> None:
        """Count an update."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self.count += 1

    def pop(self) -> dict[str, float]:
        """The means; begins anew."""
        found = {k: v / self.count for k, v in self._sums.items()}
        self._sums, self.count = {}, 0
        return found

    def state(self) -> Nested:
        """Sums and count."""
        return {"sums": dict(self._sums), "count": self.count}

    def load_state(self, state: Nested) -> None:
        """Be as it was."""
        self._sums, self.count = dict(state["sums"]), int(state["count"])


def load_parts(parts: Mapping[str, Any], state: Mapping[str, Any], **options: Any) -> None:
    """Give each part its state; generators come last, since loading may draw.

    Args:
        options: further arguments of a part's ``load_state``, by the part's name.
    """
    for name in sorted(parts, key=lambda name: name == "generators"):
        parts[name].load_state(state[name], **options.get(name, {}))
