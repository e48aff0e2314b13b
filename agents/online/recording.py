"""Episodes of a robot, recorded so that a kill at any row loses that row and no other; a data set
when it is over.

record     RobotEnv and who moves it -> rows in a log
episodes   the log -> worldmodels.data.Episodes;   write   LeRobot v3
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from agents.errors import UsageError
from agents.online.log import RowLog
from agents.online.record import Record
from agents.outputs import check_folder
from agents.policy import Policy
from agents.run.signals import Stop
from envs import ActionGuard
from envs.adapted import SENT
from envs.robot import RECORD, RobotEnv
from worldmodels.data import Episode, Episodes, write_lerobot
from worldmodels.data.folders import need

LOG, DATA = "log", "lerobot"
"""In a folder of recordings: the rows, and the data set that is made of them."""
Move = Callable[[Mapping[str, Any]], Any]
"""An action ``[A]`` in the driver's units after an observation; a person's takes its place."""


class ByPolicy:
    """A policy that moves a robot: it begins anew with each episode, and hears what was sent.

    Args:
        policy: of :func:`agents.load`.
        env: the robot's.
    """

    def __init__(self, policy: Policy, env: RobotEnv) -> None:
        self.policy, self._actions = policy, ActionGuard(env.action_space)

    def __call__(self, seen: Mapping[str, Any]) -> Any:
        """The action after an observation."""
        return self.policy.act(seen)

    def reset(self) -> None:
        """An episode begins."""
        self.policy.reset()

    def acted(self, sent: Any) -> None:
        """What was sent in the place of its action, ``[A]`` in the driver's units."""
        self.policy.acted(self._actions.unit(sent))


def record(
    env: RobotEnv,
    log: RowLog,
    move: Move,
    count: int,
    stop: Stop | None = None,
    said: Callable[[int, float], None] | None = None,
) -> int:
    """Record episodes; returns how many came to their end.

    A row holds what was measured, the action that was SENT after it, and the reward and flags that
    arrived with it.

    Args:
        env: of a robot.
        log: takes the rows; one that keeps all of them.
        move: who moves the robot where no person does. One with ``reset()`` is told that an
            episode begins, one with ``acted(action)`` what was sent.
        count: episodes.
        stop: ends it after the row that is being made.
        said: called after each episode with its number and its return.

    Raises:
        RobotStopped: the robot was stopped; what was recorded is in the log.
    """
    steps = 0
    begin, acted = getattr(move, "reset", None), getattr(move, "acted", None)
    for number in range(count):
        seen, _ = env.reset()
        if begin is not None:
            begin()
        flags, reward, total = {"is_first": True, "is_last": False, "is_terminal": False}, 0.0, 0.0
        while not flags["is_last"]:
            if stop is not None and stop.asked is not None:
                return number
            following, gained, terminated, truncated, info = env.step(move(seen))
            tick, steps = info[RECORD], steps + 1
            if acted is not None:
                acted(info[SENT])
            _write(
                log,
                seen,
                info[SENT],
                reward,
                flags,
                steps,
                {
                    "late": tick.late,
                    "causes": list(tick.causes),
                    "held": tick.held,
                    "intervened": tick.intervened,
                    "success": tick.success,
                },
            )
            seen, reward, total = following, float(gained), total + float(gained)
            flags = {
                "is_first": False,
                "is_last": terminated or truncated,
                "is_terminal": terminated,
            }
        _write(log, seen, np.zeros(env.action_space.shape or ()), reward, flags, steps, {})
        if said is not None:
            said(number + 1, total)
    return count


def _write(
    log: RowLog,
    seen: Mapping[str, Any],
    action: Any,
    reward: float,
    flags: Mapping[str, bool],
    steps: int,
    notes: dict[str, Any],
) -> None:
    row = {k: _single(v) for k, v in seen.items()}
    row |= {
        "action": np.asarray(action, np.float32),
        "reward": np.float32(reward),
        **{k: np.bool_(v) for k, v in flags.items()},
    }
    log.append(Record(row, 1, 1, steps, notes=notes).data())


def _single(value: Any) -> Any:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def episodes(log: RowLog, rate: float | None = None) -> Episodes:
    """The episodes of a log. One that was cut off has no last row.

    Args:
        log: of :func:`record`, or of an actor that kept its rows.
        rate: rows a second.

    Raises:
        UsageError: there are no rows.
    """
    rows = [Record.read(data).row for data in log.read(log.first, log.next, 1 << 60) if data]
    if not rows:
        raise UsageError(f"{log.folder}: expected rows, got none")
    cuts = [0, *(i for i, row in enumerate(rows) if i and bool(row["is_first"])), len(rows)]
    keys = list(rows[0])
    found = []
    for start, stop in pairwise(cuts):
        series = {k: np.stack([np.asarray(row[k]) for row in rows[start:stop]]) for k in keys}
        found.append(Episode(f"row {start + 1}", series).part(0, stop - start))
    return Episodes(found, rate=rate, source=str(log.folder))


def check_out(folder: Path) -> None:
    """Whether a folder can take a recording, before a robot moves.

    Raises:
        DataError: pyarrow is not installed.
        UsageError: it cannot be written to, or it has a data set that is of no log in it.
    """
    need("pyarrow.parquet", "writing LeRobot's data sets")
    check_folder(folder, "--out")
    if (folder / DATA).exists() and not (folder / LOG).is_dir():
        raise UsageError(
            f"--out: {folder} has a data set ({DATA}), but no {LOG} that it was made of, and a "
            "recording would take its place; give another folder"
        )


def write(data: Episodes, folder: Path) -> Path:
    """Write a data set in LeRobot's form (v3); one that is there is replaced when the new one is
    whole.

    Raises:
        DataError: see :func:`worldmodels.data.write_lerobot`.
    """
    new = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(new, ignore_errors=True)
    write_lerobot(data, new)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return folder
