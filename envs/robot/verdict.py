"""What safety says of a command, and what is noted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from envs.robot.errors import RobotError
from envs.robot.limits import Limits

CAUSES = (
    "schema",
    "stale observation",
    "stale decision",
    "clock",
    "range",
    "step",
    "rate",
    "workspace",
    "sent",
    "held too long",
    "driver",
    "watchdog",
    "person",
    "doubt",
)
"""The causes of interventions."""


def first_pose(limits: Limits, measured: Mapping[str, Any]) -> dict[str, float]:
    """The command that a robot is at: what it measures under the same name, else its home. Else
    RobotError.
    """
    pose = {}
    for name, limit in limits.actions.items():
        value = measured.get(name, limit.home)
        if value is None:
            raise RobotError(
                f"limits: {name}: expected a home, "
                f"since get_observation has no number of this name to start from"
            )
        pose[name] = float(value)
    return pose


class Intervention(NamedTuple):
    """Something that safety did: when (the clock's seconds), why, and what it saw.

    >>> Intervention(1.5, "range", "elbow.pos: 2.0 -> 1.5").cause
    'range'
    """

    time: float
    cause: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    """What to send; the causes for which it is not what was asked; whether it only holds.

    `stop` is the cause of a stop: then nothing may be sent.

    >>> Verdict({"elbow.pos": 1.5}, ("range",)).held
    False
    """

    command: dict[str, float]
    causes: tuple[str, ...] = ()
    held: bool = False
    stop: str | None = None
