"""Episodes into a replay: what was recorded elsewhere is learned from like what the agent does."""

from __future__ import annotations

import numpy as np

from agents.replay.buffer import ReplayBuffer
from agents.replay.errors import ReplayError
from agents.replay.priorities import PRIORITY
from worldmodels.data import Episodes


def fill(buffer: ReplayBuffer, episodes: Episodes, stream: int = 0) -> int:
    """Add all rows of ``episodes`` to one stream, oldest first; returns how many.

    What an agent stores beside a row (its latents) is zero in them: true of first rows, and of
    others until an update has refreshed them.  An episode that goes on where the recording ended
    counts as cut short.

    Args:
        buffer: whose keys are those of the episodes, and an agent's own.
        episodes: with the observations, actions and rewards of the agent's environment; actions in
            [-1, 1], or one-hot.
        stream: which.

    Raises:
        ReplayError: keys, shapes or types do not fit, or actions lie outside.

    >>> from worldmodels.data import make_episode
    >>> flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
    >>> spec = {
    ...     "x": ((3,), "f4"),
    ...     "action": ((1,), "f4"),
    ...     "reward": ((), "f4"),
    ...     **flags,
    ...     "deter": ((8,), "f4"),
    ... }
    >>> buffer = ReplayBuffer(spec, capacity=100, stored=["deter"])
    >>> fill(
    ...     buffer,
    ...     Episodes([make_episode("run", {"x": np.zeros((9, 3))}, action=np.zeros((9, 1)))]),
    ... )
    9
    """
    reach = max(
        (float(np.abs(e["action"]).max(initial=0.0)) for e in episodes if "action" in e.series),
        default=0.0,
    )
    if reach > 1.0 + 1e-6:
        raise ReplayError(
            f"{episodes.source}: expected actions in [-1, 1], got {reach:g}; "
            f"divide by the environment's bound"
        )
    own = {
        k: buffer.spec.given(k) for k in buffer.stored if k != PRIORITY or not buffer.prioritizes
    }
    zeros = {k: np.zeros((1, *shape), dtype) for k, (shape, dtype) in own.items()}
    count = 0
    for episode in episodes:
        for t in range(len(episode)):
            buffer.add({**{k: v[t : t + 1] for k, v in episode.series.items()}, **zeros}, [stream])
            count += 1
        buffer.mark_abandoned([stream])
    return count
