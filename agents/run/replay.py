"""The replay of a run, from its settings, its agent and its interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agents.agent import Window
from agents.errors import UsageError
from agents.replay import Mixed, Prioritized, Recent, ReplayBuffer, RowSpec, Sampler, Uniform
from agents.replay.errors import ReplayError
from agents.replay.priorities import PRIORITY, Ranked
from agents.replay.size import rows_of
from agents.settings import ReplaySettings, RunSettings
from agents.spaces import Interface

NOTHING = 1e-9
"""A share that is none, up to rounding."""


def sampler_of(s: ReplaySettings, ranked: Ranked = "rows") -> Sampler:
    """How sequences are drawn.

    Args:
        ranked: what the agent gives priorities of.

    >>> type(sampler_of(ReplaySettings())).__name__, len(sampler_of(ReplaySettings(0.5)).parts)
    ('Uniform', 2)
    """
    rest = 1.0 - (s.recent + s.prioritized)
    every: list[tuple[Sampler, float]] = [
        (Uniform(), rest),
        (Recent(s.recency), s.recent),
        (Prioritized(s.priority, ranked or "rows"), s.prioritized),
    ]
    parts = [(sampler, share) for sampler, share in every if share > NOTHING]
    return parts[0][0] if len(parts) == 1 else Mixed(parts)


def row_spec(settings: RunSettings, agent: Any, view: Interface) -> dict[str, Any]:
    """Keys, shapes and types of a row; what the agent says of how its own state is packed."""
    return {**view.spec(agent.stored), **getattr(agent, "packed", {})}


def rows_kept(settings: RunSettings, agent: Any, view: Interface) -> int:
    """How many rows the capacity is.

    Raises:
        UsageError: it is not one.
    """
    spec = row_spec(settings, agent, view)
    if settings.replay.prioritized:
        spec = {**spec, PRIORITY: ((), np.float32)}
    try:
        return rows_of(settings.capacity, RowSpec(spec))
    except ReplayError as error:
        raise UsageError(f"capacity: {error}") from None


def open_replay(
    settings: RunSettings, agent: Any, view: Interface, streams: int, directory: Path
) -> ReplayBuffer:
    """The replay in a run's folder."""
    return ReplayBuffer(
        row_spec(settings, agent, view),
        rows_kept(settings, agent, view),
        streams,
        directory=directory / "replay",
        seed=settings.seed,
        online=settings.replay.online,
        stored=list(agent.stored),
        sampler=sampler_of(settings.replay, getattr(agent, "ranks", "")),
    )


def check_sizes(s: RunSettings, agent: Any, view: Interface) -> None:
    """Refuse settings with which nothing would be learned.

    Raises:
        UsageError: the replay is too small for a window, the run too short for an update, or rows
            are drawn by priorities that the agent does not give.
    """
    w: Window = agent.window
    capacity = rows_kept(s, agent, view)
    each = capacity // s.env.num_envs
    if each < 2 * w.rows:
        raise UsageError(
            f"capacity {s.capacity} is {each} rows an environment, and an update reads {w.rows} "
            f"in a row: "
            f"give at least {2 * w.rows * s.env.num_envs}"
        )
    made = s.steps // (s.env.num_envs * s.env.action_repeat)
    learned = s.steps - (0 if s.prefill_updates else s.prefill)
    credit = learned / s.env.action_repeat * s.train_ratio / (w.batch * w.length)
    if made < w.rows or credit < 1:
        raise UsageError(
            f"steps={s.steps} give {made} rows an environment and {credit:.2f} updates, "
            f"and an update reads {w.rows} rows: "
            "nothing would be learned; raise steps or train_ratio, or lower prefill"
        )
    if s.replay.prioritized and not getattr(agent, "ranks", ""):
        raise UsageError(
            f"replay.prioritized={s.replay.prioritized} needs an agent that says how much rows "
            f"surprised it, and {s.agent.kind} does not; take replay.recent, or 0"
        )
