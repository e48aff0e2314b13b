"""What persons show: demonstrations from a log, and the rows in which somebody intervened.

They lie in a replay of their own, of which every batch has a share
(:class:`agents.replay.blended.Blended`), and interventions lie in the actor's own replay, too, as
HIL-SERL has it (Luo et al. 2024).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.agent import Nested
from agents.errors import UsageError
from agents.online.record import Record
from agents.pretrain.command import open_log
from agents.replay import ReplayBuffer
from agents.replay.fill import fill
from agents.settings import ShownSettings
from agents.spaces import Interface
from envs import ActionGuard
from worldmodels.data import Episodes, checked

INTERVENED = "intervened"
"""The note of a record that says that a person moved the robot."""


class Shown:
    """Demonstrations in stream 0, interventions of actor ``i`` in stream ``i + 1``.

    Args:
        settings: the log and the sizes.
        view: what the agent sees and does.
        do: between the agent's actions and the robot's.
        actors: how many.
        agent: says what is stored beside a row.
        directory: of the rows; one that holds rows goes on with them.
        seed: of the draws.

    Raises:
        UsageError, DataError, ReplayError: the log does not fit the robot.
    """

    def __init__(
        self,
        settings: ShownSettings,
        view: Interface,
        do: ActionGuard,
        actors: int,
        agent: Any,
        directory: Path | None = None,
        seed: int = 0,
    ) -> None:
        log = demonstrations(settings, view, do) if settings.log else None
        rows = max(settings.capacity, 0 if log is None else log.steps)
        self.replay = ReplayBuffer(
            {**view.spec(agent.stored), **getattr(agent, "packed", {})},
            rows * (actors + 1),
            actors + 1,
            directory=directory,
            seed=seed,
            stored=list(agent.stored),
            online=False,
        )
        if log is not None and not self.replay.counters[0]:
            fill(self.replay, log)
        self._going = dict.fromkeys(range(actors), False)

    def add(self, actor: int, record: Record) -> None:
        """Take a row in which a person moved the robot, and the one after it, which that led to."""
        moved, going = bool(record.notes.get(INTERVENED)), self._going[actor]
        first = bool(record.row["is_first"])
        led = going and not first
        stream = [actor + 1]
        if going and first:
            self.replay.mark_abandoned(stream)
        if moved or led:
            row = {**record.row, "is_first": np.bool_(not led)}
            self.replay.add({k: np.asarray(v)[None] for k, v in row.items()}, stream)
        last = bool(record.row["is_last"])
        if led and not moved and not last:
            self.replay.mark_abandoned(stream)
        self._going[actor] = moved and not last

    # -------------------------------------------------------------- saving

    def state(self) -> Nested:
        """How many rows there are, and where the draws are."""
        return {"replay": self.replay.state(), "going": list(self._going.values())}

    def load_state(self, state: Nested) -> None:
        """Go back to those."""
        self.replay.load_state(state["replay"])
        self._going = dict(enumerate(state["going"]))


def demonstrations(settings: ShownSettings, view: Interface, do: ActionGuard) -> Episodes:
    """A log with the agent's observations and actions in [-1, 1].

    Raises:
        UsageError: it lacks observations, or its actions are outside of the robot's.
    """
    log = checked(open_log(settings.log, settings.format))
    lacking = {k: s for k, s in view.shapes.items() if log.shapes.get(k) != tuple(s)}
    if lacking or log.action_size != view.action.size:
        raise UsageError(
            f"{settings.log}: expected the robot's observations {view.shapes} and actions of size "
            f"{view.action.size}, got {log.shapes} and {log.action_size}"
        )
    found = []
    for episode in log.select(list(view.shapes)):
        unit = np.stack([do.unit(a) for a in episode["action"]])
        back = np.stack([do.one(u) for u in unit])
        far = np.abs(back - episode["action"])[:-1].max(initial=0.0)
        if far > 1e-3 * np.abs(back).max(initial=0.0):  # it was clipped
            raise UsageError(
                f"{settings.log}: its actions reach {np.abs(episode['action']).max(0).tolist()}, "
                "more than this robot's limits allow; they are expected in the robot's units"
            )
        series = {**episode.series, "action": unit}
        found.append(replace(episode, series=series))
    return log.with_(found)
