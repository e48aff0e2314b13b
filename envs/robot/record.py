"""What a tick of a robot was like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RECORD = "envs.robot"
"""The key of `info` under which `RobotEnv` puts a `Record`."""


@dataclass(frozen=True)
class Record:
    """What a tick was like.

    `time`: the clock's seconds at which it began; `late`: seconds after it was due; `missed`: ticks
    passed over before it; `age`: seconds since the observation was measured, when the answer to it
    was sent; `latency`: seconds from the beginning of the last tick to its command; `command`: what
    was sent last, by name; `causes`: why it was not what was asked; `held`; `intervened`: a person
    moved the robot; `success`; `stopped`: the cause of a stop.

    >>> Record(time=0.05).held
    False
    """

    time: float
    late: float = 0.0
    missed: int = 0
    age: float = 0.0
    latency: float = 0.0
    command: Mapping[str, float] | None = None
    causes: tuple[str, ...] = ()
    held: bool = False
    intervened: bool = False
    success: bool = False
    stopped: str | None = None
