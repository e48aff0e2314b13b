"""The watchdog's process: it has the driver, passes commands on within the limits, and acts when
none come.

    from the program   [serial, "connect" | "observe" | "send" | "rest" | "stop" | "end", value]
    to the program     [serial, "ok" | "error" | "stopped", value, [[time, cause, detail], ...]]

The program's end of the socket closes when it dies, whatever killed it: then the robot is stopped
at once.
"""

from __future__ import annotations

import logging
import select
import signal
import socket
import sys
import time
from dataclasses import replace
from typing import Any

from envs.robot.contract import make_driver
from envs.robot.limits import Limits
from envs.robot.safety import Safety, first_pose
from envs.robot.watched import refuse
from envs.wire import WireError, receive, send

_MESSAGE = 1.0  # seconds in which a message that has begun must be whole
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

    def due(self) -> float | None:
        """When `watch` wants to be called."""
        if self._commanded_at is None or self.gate.latched is not None:
            return None
        return (
            self._held_at + self.limits.period
            if self._holding
            else self._commanded_at + self.limits.watchdog_ms / 1000.0
        )

    def watch(self, now: float) -> None:
        """Hold where no command came for too long, and then stop."""
        due = self.due()
        if due is None or now < due or self._commanded_at is None:
            return
        silent = 1000.0 * (now - self._commanded_at)
        if silent >= self.limits.watchdog_ms + self.limits.stop_ms:
            self.stop(f"no command for {silent:.0f} ms", now)
            return
        if not self._holding:
            self.gate.note("watchdog", f"no command for {silent:.0f} ms: holds", now)
        self._holding, self._held_at = True, now
        try:
            self.gate.sent(self.driver.send_action(self.gate.holding(now)), now)
        except Exception as error:  # a driver's own
            self.gate.note("driver", f"send_action raised {refuse(error)}", now)

    def stop(self, why: str, now: float, level: int = logging.ERROR) -> None:
        """Stop the robot, and latch."""
        self.gate.stop("watchdog", why, now, level)
        try:
            self.driver.stop()
        except Exception as error:  # a driver's own
            self.gate.note("driver", f"stop raised {refuse(error)}", now)

    def answer(self, what: str, value: Any, now: float) -> tuple[str, Any]:
        """Do what the program asks for."""
        if self.gate.latched is not None and what not in ("connect", "stop"):
            return "stopped", self.gate.latched
        try:
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
        self._commanded_at, self._holding = None, False
        self.driver.connect()

    def _observe(self, value: Any, now: float) -> list[Any]:
        found = dict(self.driver.get_observation())
        at = getattr(self.driver, "observed_at", None)
        return [found, time.monotonic() if at is None else float(at)]

    def _send(self, action: Any, now: float) -> Any:
        if not self.gate.begun:
            self.gate.begin(first_pose(self.limits, self.driver.get_observation()), now)
        verdict = self.gate.decide(action, now=now, observed_at=now, decided_at=now)
        self._commanded_at, self._holding = now, False
        if verdict.stop is None:
            sent = self.driver.send_action(verdict.command)
            if self.gate.sent(sent, now) is None:
                return dict(sent)
        self.stop(str(self.gate.latched), now)
        return None

    def _rest(self, value: Any, now: float) -> None:
        self._commanded_at = None

    def _stop(self, value: Any, now: float) -> None:
        self.stop("the program asked for it", now, logging.INFO)


def main(descriptor: int, told: dict[str, Any]) -> None:
    """Watch until the program is gone."""
    for name in _SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    dog = Watchdog(told["driver"], told["options"], Limits.read(told["limits"]))
    while True:
        due = dog.due()
        wait = None if due is None else max(0.0, due - time.monotonic())
        if select.select([connection], [], [], wait)[0]:
            try:
                serial, what, value = receive(connection, time.monotonic() + _MESSAGE)
                if what == "end":
                    dog.stop("the program ended", time.monotonic(), logging.INFO)
                    break
                kind, found = dog.answer(what, value, time.monotonic())
                notes = [list(each) for each in dog.gate.log]
                dog.gate.log.clear()
                _reply(connection, [serial, kind, found, notes])
            except (EOFError, TimeoutError, OSError, WireError, TypeError, ValueError) as error:
                dog.stop(f"the program is gone ({type(error).__name__})", time.monotonic())
                break
        dog.watch(time.monotonic())
    try:
        dog.driver.disconnect()
    except Exception as error:  # a driver's own
        _log.error("disconnect raised %s", refuse(error))
    sys.exit(0)


def _reply(connection: socket.socket, answer: list[Any]) -> None:
    try:
        send(connection, answer)
    except WireError as error:  # what a driver measured has no form in a message
        send(connection, [answer[0], "error", f"expected numbers and images: {error}", answer[3]])
