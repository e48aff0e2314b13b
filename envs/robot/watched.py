"""A driver in a process of its own, which watches over the program that moves it, and is watched by
it.

    program, with RobotEnv  --  commands  -->  the watchdog's process, with the driver  -->  robot

    the program hangs: no command for `watchdog_ms`     the watchdog holds; after `stop_ms` more it
                                                        stops the robot
    the program dies                                    the watchdog stops the robot at once
    the watchdog hangs or dies                          the program ends it, connects a driver
                                                        itself, and stops the robot
    a command is outside of the limits                  the watchdog clamps it, whatever the program
                                                        thinks

A stop latches on both sides. Where both die together only the robot's own electronics are left:
give them a timeout if they have one, and use the button that cuts the power.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from envs.child import start_python
from envs.errors import EnvError
from envs.robot.contract import make_driver
from envs.robot.errors import RobotError, RobotStopped
from envs.robot.limits import Limits, load_limits
from envs.robot.verdict import Intervention
from envs.wire import WireError, encode, receive, send

_CONNECTING = 60.0  # seconds: starting a process, and a driver's own connect
_STOPPING = 2.0  # seconds that a driver's stop may take
_log = logging.getLogger("envs.robot")


class Watched:
    """A robot whose driver is in the watchdog's process (`envs.robot.Robot`).

    Args:
        driver: "module:Class"; it is made there with `options`, which are plain data, and once
            here, without connecting it: to tell what it measures, and to stop the robot if the
            watchdog is lost.
        limits: the same that `RobotEnv` has.

    >>> from envs.robot.models import arm_limits
    >>> robot = Watched("envs.robot.simulated:SimulatedArm", arm_limits(3), options={"joints": 3})
    >>> sorted(robot.action_features), robot.is_connected
    (['joint_1.pos', 'joint_2.pos', 'joint_3.pos'], False)
    """

    def __init__(
        self,
        driver: str,
        limits: Limits | str | Path | Mapping[str, Any],
        *,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.limits = load_limits(limits)
        self._told = {
            "driver": driver,
            "options": dict(options or {}),
            "limits": self.limits.plain(),
        }
        try:
            encode(self._told)
        except WireError as error:
            raise RobotError(
                f"watchdog: expected options that are plain data, since they are sent; {error}"
            ) from None
        self._own = make_driver(driver, options)
        for name in ("observation_features", "action_features", "forward"):
            if getattr(self._own, name, None) is not None:
                setattr(self, name, getattr(self._own, name))
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._serial = 0
        self._notes: list[Intervention] = []
        self.is_connected = False
        self.observed_at = 0.0

    @property
    def pid(self) -> int | None:
        """The watchdog's process."""
        return None if self._process is None else self._process.pid

    def connect(self) -> None:
        """Start the watchdog if it is not there, and let it connect the driver."""
        if self._process is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = start_python(
                    "envs.robot.watching",
                    [theirs.fileno(), {**self._told, "program": os.getpid()}],
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            self._socket = ours
        self._ask("connect", seconds=_CONNECTING)
        self.is_connected = True

    def get_observation(self) -> Mapping[str, Any]:
        """The driver's; `observed_at` says of when it is."""
        found, self.observed_at = self._ask("observe")
        return dict(found)

    def send_action(self, action: dict[str, float]) -> Mapping[str, Any]:
        """Through the watchdog's limits to the driver."""
        return dict(self._ask("send", action))

    def rest(self) -> None:
        """No command will come for a while: the watchdog holds, and does not stop for it."""
        self._ask("rest")

    def stop(self) -> None:
        """Stop the robot: by the watchdog, or by a driver of this process if it does not answer."""
        if self._process is None:
            self._rescue("stop")
            return
        with suppress(RobotStopped):
            self._ask("stop", seconds=_STOPPING)

    def disconnect(self) -> None:
        """Disconnect the driver and end the watchdog, which stops the robot first."""
        process, self.is_connected = self._process, False
        if self._socket is not None:
            with suppress(OSError):
                send(self._socket, [0, "end", None])
            self._socket.close()  # it hears this too
        self._socket = self._process = None
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(2.0)
            process.kill()
            process.wait(10.0)

    def pop_interventions(self) -> list[Intervention]:
        """What the watchdog did since the last call."""
        notes, self._notes = self._notes, []
        return notes

    # ---------------------------------------------------------------- parts

    def _ask(self, what: str, value: Any = None, seconds: float | None = None) -> Any:
        """The watchdog's answer. Raises RobotStopped where it stopped the robot,
        or is lost itself.
        """
        if self._process is None or self._socket is None:
            raise RobotError(f"{what}: expected a connected robot; call connect() first")
        self._serial += 1
        allowed = self.limits.watchdog_ms / 1000.0 if seconds is None else seconds
        try:
            send(self._socket, [self._serial, what, value])
            answer = receive(self._socket, time.monotonic() + allowed)
            serial, kind, found, notes = answer
        except (TimeoutError, OSError, EOFError, WireError, TypeError, ValueError) as error:
            self._lost(f"the watchdog did not answer to {what!r} ({type(error).__name__})")
            raise AssertionError("not reached") from error
        self._notes += [
            Intervention(float(at), str(cause), str(detail)) for at, cause, detail in notes
        ]
        if kind == "stopped":
            raise RobotStopped(str(found))
        if kind != "ok" or serial != self._serial:
            raise RobotError(f"{what}: {found}")
        return found

    def _lost(self, why: str) -> None:
        """End the watchdog, stop the robot from here, and say so."""
        assert self._process is not None
        self._process.kill()
        self.disconnect()
        self._rescue(why)
        raise RobotStopped(f"watchdog: {why}; the robot was stopped from the program")

    def _rescue(self, why: str) -> None:
        for method in ("connect", "stop", "disconnect"):
            try:
                getattr(self._own, method)()
            except Exception as error:  # a driver's own; the next method may still work
                _log.error("after %s: %s raised %s: %s", why, method, type(error).__name__, error)


def refuse(error: BaseException) -> str:
    """An error in one line."""
    return error.message if isinstance(error, EnvError) else f"{type(error).__name__}: {error}"
