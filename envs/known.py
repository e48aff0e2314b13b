"""The ids that can be made here, and the simulators that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from envs.extras import load

SIMULATORS = {"mujoco": "mujoco", "box2d": "Box2D"}
"""A part of gymnasium's entry points -> the module that it needs."""
PREFIX = "dm_control/"


def known_ids() -> Iterator[tuple[str, str]]:
    """Ids, the newest version of each, and where they come from. Raises MissingExtra without
    gymnasium.

    >>> dict(known_ids())["Pendulum-v1"]
    'classic_control'
    """
    registry: dict[str, Any] = load("gymnasium", "a list of environments").registry
    newest: dict[str, Any] = {}
    for spec in registry.values():
        entry = spec.entry_point
        if (
            spec.namespace is None
            and isinstance(entry, str)
            and entry.startswith("gymnasium.envs.")
            and spec.version
        ):
            newest[spec.name] = max((newest.get(spec.name, spec), spec), key=lambda s: s.version)
    for spec in newest.values():
        origin = spec.entry_point.split(".")[2].partition(":")[0]
        if origin not in SIMULATORS or find_spec(SIMULATORS[origin]) is not None:
            yield spec.id, origin
    if find_spec("dm_control") is not None:
        for domain, task in sorted(
            load("envs.dm_control", "dm_control's ids").load_suite(False).ALL_TASKS
        ):
            yield f"{PREFIX}{domain}-{task}", "dm_control"


def missing() -> list[str]:
    """What to install for more of them.

    >>> all(line.startswith("pip install ") for line in missing())
    True
    """
    wanted = {
        "mujoco": "pip install 'gymnasium[mujoco]'",
        "dm_control": "pip install dm-control",
        "Box2D": "pip install 'gymnasium[box2d]'",
    }
    return [line for module, line in wanted.items() if find_spec(module) is None]
