"""The watchdog's process: it has the driver, passes commands on within the limits, and acts when
none come.

    from the program   [serial, "connect" | "observe" | "send" | "rest" | "stop" | "end", value]
    to the program     [serial, "ok" | "error" | "stopped", value, [[time, cause, detail], ...]]

The program's end of the socket closes when it dies, whatever killed it: then the robot is stopped
at once; within a tenth of a second where a process that the program has forked holds that end, too.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

from envs.robot.contract import make_driver
from envs.robot.errors import RobotError
from envs.robot.limits import Limits
from envs.robot.safety import Safety
from envs.robot.verdict import first_pose
from envs.robot.watched import refuse
from envs.wire import WireError, framed, receive

_MESSAGE = 1.0  # seconds in which a message that has begun must be whole
_LOOK = 0.1  # seconds between looks whether the program is there, where nothing else is due
_LAST = 2.0  # seconds at the end for a stop that raises
_ASKED = ("connect", "observe", "send", "rest", "stop")
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # the program decides, and closes
_log = logging.getLogger("envs.robot")


class Watchdog:
    """What it knows: when the last command came, and whether it holds or has stopped.

    Its gate has the limits of range and step, and twice the rate: the program has kept the rate by
    its own clock, and messages jitter.

    >>> from envs.robot.models import arm_limits
    >>> dog = Watchdog("envs.robot.simulated:SimulatedArm", {"joints": 3}, arm_limits(3))
    >>> dog.answer("observe", None, 0.0)
    ('error', 'RobotError: expected a connected robot; call connect() first')
    """

    def __init__(self, driver: str, options: dict[str, Any], limits: Limits) -> None:
        self.driver = make_driver(driver, options)
        self.limits = limits
        loose = {name: replace(each, rate=2.0 * each.rate) for name, each in limits.actions.items()}
        self.gate = Safety(replace(limits, actions=loose, workspace={}))
        self._commanded_at: float | None = None  # None: nothing has been sent, or the program rests
        self._holding = False
        self._held_at = 0.0
        self._stopped = True  # or there is nothing to stop
        self._failing_since: float | None = None

    def due(self) -> float | None:
        """When `watch` wants to be called."""
        again = self._held_at + self.limits.period
        if self.gate.latched is not None:
            return None if self._stopped else again
        if self._holding:
            return again
        if self._commanded_at is None:
            return None
        return self._commanded_at + self.limits.watchdog_ms / 1000.0

    def watch(self, now: float) -> None:
        """Hold where no command came for too long, and then stop; where the program rests, hold
        until that is reached. A stop that raised is tried again.
        """
        due = self.due()
        if due is None or now < due:
            return
        if self.gate.latched is not None:
            self._halt(now)
            return
        if self._commanded_at is not None:
            silent = 1000.0 * (now - self._commanded_at)
            if silent >= self.limits.watchdog_ms + self.limits.stop_ms:
                self.stop(f"no command for {silent:.0f} ms", now)
                return
            if not self._holding:
                self.gate.note("watchdog", f"no command for {silent:.0f} ms: holds", now)
        self._holding, self._held_at = True, now
        command = self.gate.holding(now)
        if self._hold(command, now) and self._commanded_at is None:
            self._holding = command != self.gate.resting

    def stop(self, why: str, now: float, level: int = logging.ERROR) -> None:
        """Stop the robot, and latch."""
        self.gate.stop("watchdog", why, now, level)
        self._halt(now)

    def _halt(self, now: float) -> None:
        self._stopped, self._held_at = False, now
        try:
            self.driver.stop()
            self._stopped = True
        except Exception as error:  # a driver's own
            self.gate.note("driver", f"stop raised {refuse(error)}", now)

    def _pass_on(self, command: dict[str, float], now: float) -> Any:
        """What the driver sent; None, and stopped, where that is something else. Raises what it
        raises.
        """
        try:
            sent = self.driver.send_action(dict(command))
        except Exception:
            self.gate.unsure(command, now)
            raise
        if self.gate.sent(sent, now) is None:
            return sent
        self.stop(str(self.gate.latched), now)
        return None

    def _hold(self, command: dict[str, float], now: float) -> bool:
        """Send what holds; stop where nothing can be sent for `stop_ms`. Whether it was sent."""
        try:
            sent = self._pass_on(command, now)
        except Exception as error:  # a driver's own
            self.gate.note("driver", f"send_action raised {refuse(error)}", now)
            if self._failing_since is None:
                self._failing_since = now
            if 1000.0 * (now - self._failing_since) >= self.limits.stop_ms:
                self.stop(f"nothing could be sent for {self.limits.stop_ms:g} ms", now)
            return False
        self._failing_since = None
        return sent is not None

    def answer(self, what: str, value: Any, now: float) -> tuple[str, Any]:
        """Do what the program asks for."""
        if self.gate.latched is not None and what not in ("connect", "stop"):
            return "stopped", self.gate.latched
        try:
            if what not in _ASKED:
                raise RobotError(f"expected one of {list(_ASKED)}, got {what!r}")
            found = getattr(self, f"_{what}")(value, now)
        except Exception as error:  # a driver's own
            return "error", f"{type(error).__name__}: {refuse(error)}"
        return (
            ("ok", found)
            if self.gate.latched is None or what == "stop"
            else ("stopped", self.gate.latched)
        )

    def _connect(self, value: Any, now: float) -> None:
        self.gate.rearm()
        self._commanded_at, self._holding, self._stopped = None, False, True
        self.driver.connect()

    def _observe(self, value: Any, now: float) -> list[Any]:
        found = dict(self.driver.get_observation())
        at = getattr(self.driver, "observed_at", None)
        return [found, time.monotonic() if at is None else float(at)]

    def _send(self, action: Any, now: float) -> Any:
        if not self.gate.begun:
            self.gate.begin(first_pose(self.limits, self.driver.get_observation()), now)
        verdict = self.gate.decide(action, now=now, observed_at=now, decided_at=now)
        if self._commanded_at is None:
            self._commanded_at = now  # from the first on, whether it can be sent or not
        if verdict.stop is not None:
            self.stop(verdict.stop, now)
            return None
        sent = self._pass_on(verdict.command, now)
        if sent is None:
            return None
        self._commanded_at, self._holding = now, False
        return dict(sent)

    def _rest(self, value: Any, now: float) -> None:
        self._commanded_at = None
        self._holding = self.gate.begun and self.gate.resting != self.gate.last

    def _stop(self, value: Any, now: float) -> None:
        self.stop("the program asked for it", now, logging.INFO)
        if not self._stopped:
            raise RobotError("stop: expected the driver to stop, it raised; it is tried again")


def main(descriptor: int, told: dict[str, Any]) -> None:
    """Watch until the program is gone."""
    for name in _SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    dog = Watchdog(told["driver"], told["options"], Limits.read(told["limits"]))
    talk = Talk(connection, dog, told["program"])
    try:
        while talk.once():
            dog.watch(time.monotonic())
    except (EOFError, TimeoutError, OSError, WireError, TypeError, ValueError) as error:
        dog.stop(f"the program is gone ({type(error).__name__})", time.monotonic())
    end = time.monotonic() + _LAST
    while (due := dog.due()) is not None and time.monotonic() < end:  # a stop that raised
        time.sleep(max(0.0, due - time.monotonic()))
        dog.watch(time.monotonic())
    try:
        dog.driver.disconnect()
    except Exception as error:  # a driver's own
        _log.error("disconnect raised %s", refuse(error))
    sys.exit(0)


class Talk:
    """The program's end of the socket, and the watchdog that goes on watching while it reads and
    writes there.

    Args:
        program: the program's process. Another one, that it has started, may hold its end of the
            socket when it is gone.
    """

    def __init__(self, connection: socket.socket, dog: Watchdog, program: int) -> None:
        self.connection, self.dog, self.program = connection, dog, program

    def once(self) -> bool:
        """Answer what the program asks for, if it asks now; False: it said that it ends.

        Raises EOFError, OSError where the program is gone, and the errors of `receive`.
        """
        if not self._ready(read=True):
            return True
        serial, what, value = receive(self.connection, time.monotonic() + _MESSAGE)
        dog = self.dog
        if what == "end":
            dog.stop("the program ended", time.monotonic(), logging.INFO)
            return False
        kind, found = dog.answer(what, value, time.monotonic())
        notes = [list(each) for each in dog.gate.log]
        dog.gate.log.clear()
        try:
            message = framed([serial, kind, found, notes])
        except WireError as error:  # what a driver measured has no form in a message
            message = framed([serial, "error", f"expected numbers and images: {error}", notes])
        self._write(memoryview(message))
        return True

    def _write(self, left: memoryview) -> None:
        """An image is longer than what a socket takes at once, and the program may not read."""
        while left:
            if self._ready(read=False):
                with suppress(BlockingIOError):
                    left = left[self.connection.send(left, socket.MSG_DONTWAIT) :]
            self.dog.watch(time.monotonic())

    def _ready(self, read: bool) -> bool:
        """Whether the socket is; waits until something is due."""
        due, ours = self.dog.due(), [self.connection]
        wait = _LOOK if due is None else min(_LOOK, max(0.0, due - time.monotonic()))
        ready = select.select(ours if read else [], [] if read else ours, [], wait)
        if os.getppid() != self.program:
            raise EOFError("the program is gone")
        return bool(ready[0] or ready[1])
