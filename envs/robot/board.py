"""The electronics of a simulated robot: it takes packets from the link, drives the body, and sends
what it measures.

    receive -> (link's faults) -> newest command of the session -> (stuck, backlash) -> servos ->
    body transmit <- (link's faults) <- sensors' faults <- body

It obeys whoever said hello last. It ignores commands that are older than one it has had, that have
been on their way for too long, or that hold a number that is not finite; whatever else it is told
it does, however dangerous: limits are the business of the program. A stop holds the pose until the
next hello.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.robot.errors import RobotError
from envs.robot.faults import BROKEN, Channel, Faults
from envs.robot.models import TIMESTEP, Body
from envs.robot.packet import COMMAND, FAULTS, HELLO, STATE, STOP, STOPPED, Packet, pack, unpack
from envs.state import load_generator, save_generator

_FRESH = 0.25  # seconds that a command may have been on its way
_BEHIND = (
    0.1  # seconds that are made up for; of a longer absence, or where the clock was set, nothing is
)
_ROW = 3  # numbers of a row of the trace before the setpoint: time, session, stopped


class Board:
    """A simulated robot behind a link.

    Args:
        body: what is driven (`envs.robot.models`).
        now: the clock's seconds.
        faults: what goes wrong from the beginning.
        seed: of all that is random here.
        hz: how often measurements are sent.
        trace: a file to which each measurement's time, the setpoint and the sensors are appended,
            float64.

    >>> from envs.robot.models import Arm
    >>> board = Board(Arm(3), now=0.0)
    >>> board.receive(pack(Packet(HELLO, session=1, serial=1, time=0.0, values=np.empty(0))), 0.0)
    >>> board.run(0.05)
    >>> len(board.transmit(0.05))
    5
    """

    def __init__(
        self,
        body: Body,
        *,
        now: float,
        faults: Faults | None = None,
        seed: int = 0,
        hz: float = 100.0,
        trace: Path | None = None,
    ) -> None:
        self.body = body
        self.every = max(1, round(1.0 / (hz * TIMESTEP)))
        self._trace = None if trace is None else trace.open("ab", buffering=0)
        self.restart(now, seed, faults or Faults())

    def restart(self, now: float, seed: int, faults: Faults) -> None:
        """As it is when it is switched on."""
        self.body.restart()
        self._rng = np.random.default_rng([seed, 11])
        self._in, self._out = Channel(self._rng), Channel(self._rng)
        self._zero, self._steps = now, 0
        self.session = self.serial = self._states = 0
        self.stopped = True
        self._setpoint = self._driven = self.body.setpoint()
        self._frame, self._framed_at = self.body.measure(), now
        self.switch(faults)

    def switch(self, faults: Faults) -> None:
        """From now on these go wrong."""
        if faults.stuck is not None and faults.stuck not in self.body.actions:
            raise RobotError(
                f"faults: stuck: expected one of {', '.join(self.body.actions)}, "
                f"got {faults.stuck!r}"
            )
        self.faults = faults
        self.body.carry(faults.payload)
        self._stuck = None if faults.stuck is None else self.body.actions.index(faults.stuck)

    # ---------------------------------------------------------------- the link

    def receive(self, message: bytes, now: float) -> None:
        """A datagram sets out to the board. Orders to switch faults are the bench's, and always
        arrive.
        """
        packet = unpack(message)
        if packet is not None and packet.kind == FAULTS:
            self.switch(Faults.read(json.loads(bytes(packet.values.astype(np.uint8)))))
        else:
            self._in.put(message, now, self.faults)

    def transmit(self, now: float) -> list[bytes]:
        """The datagrams that have arrived at the program by now."""
        return self._out.due(now)

    def run(self, now: float) -> None:
        """Let time pass."""
        end = math.floor((now - self._zero) / TIMESTEP + 1e-6)
        if not 0 <= end - self._steps <= _BEHIND / TIMESTEP:
            self._zero, end = now - self._steps * TIMESTEP, self._steps
        while self._steps < end:
            self._steps += 1
            at = self._zero + self._steps * TIMESTEP
            for message in self._in.due(at):
                self._obey(message, at)
            self._drive()
            self.body.step()
            if self._steps % self.every == 0:
                self._measure(at)

    # ---------------------------------------------------------------- what it does

    def _obey(self, message: bytes, now: float) -> None:
        packet = unpack(message)
        if packet is None:
            return
        if packet.kind == HELLO and packet.session > self.session:
            self.session, self.serial, self.stopped = packet.session, packet.serial, False
            self._setpoint = self.body.setpoint()
        if packet.session != self.session:
            return
        if packet.kind == STOP and not self.stopped:
            self._setpoint, self.stopped = self.body.setpoint(), True
        elif packet.kind == COMMAND and not self.stopped and packet.serial > self.serial:
            fits = packet.values.shape == self._setpoint.shape and bool(
                np.isfinite(packet.values).all()
            )
            if fits and abs(now - packet.time) <= _FRESH:
                self._setpoint, self.serial = packet.values, packet.serial

    def _drive(self) -> None:
        """The servos' goals: with play in the gears, and one that may be stuck."""
        half = self.faults.backlash / 2.0
        driven = (
            np.clip(self._driven, self._setpoint - half, self._setpoint + half)
            if half
            else self._setpoint.copy()
        )
        if self._stuck is not None:
            driven[self._stuck] = self._driven[self._stuck]
        self._driven = driven
        self.body.drive(driven)

    def _measure(self, now: float) -> None:
        f = self.faults
        frame = self.body.measure()
        if self._trace is not None:
            row = [now, float(self.session), float(self.stopped), *self._setpoint, *frame]
            self._trace.write(np.array(row, "<f8").tobytes())
        if not (f.frozen or (f.dropped and self._rng.random() < f.dropped)):
            if f.noise:
                frame = frame + self._rng.normal(0.0, f.noise, frame.shape)
            if f.broken is not None:
                frame[int(self._rng.integers(len(frame)))] = BROKEN[f.broken]
            self._frame, self._framed_at = frame, now
        if self.session:
            self._states += 1
            flags = STOPPED if self.stopped else 0
            packet = Packet(
                STATE, self.session, self._states, self._framed_at, self._frame, self.serial, flags
            )
            self._out.put(pack(packet), now, f)

    # ---------------------------------------------------------------- state

    def state(self) -> dict[str, Any]:
        """All that later measurements depend on, as plain data."""
        kept = {key: getattr(self, key) for key in _KEPT}
        return {
            **{k: v.copy() if isinstance(v, np.ndarray) else v for k, v in kept.items()},
            "body": self.body.state(),
            "in": self._in.state(),
            "out": self._out.state(),
            "rng": save_generator(self._rng),
        }

    def load_state(self, state: Any) -> None:
        """Go on from `state()`; the faults stay as they are."""
        for key in _KEPT:
            setattr(
                self,
                key,
                np.array(state[key]) if isinstance(state[key], np.ndarray) else state[key],
            )
        self.body.load_state(state["body"])
        self._rng.bit_generator.state = load_generator(state["rng"]).bit_generator.state
        self._in.load_state(state["in"])
        self._out.load_state(state["out"])


_KEPT = (
    "_zero",
    "_steps",
    "session",
    "serial",
    "_states",
    "stopped",
    "_setpoint",
    "_driven",
    "_frame",
    "_framed_at",
)


def read_trace(path: Path, body: Body) -> dict[str, NDArray[np.float64]]:
    """The rows of a trace: "time" [T], "session" [T], "stopped" [T], "setpoint" [T, A], "sensors"
    [T, D].
    """
    a, d = len(body.actions), len(body.sensors)
    width = _ROW + a + d
    raw = np.frombuffer(path.read_bytes(), "<f8")
    rows = raw[: raw.size // width * width].reshape(-1, width)
    return {
        "time": rows[:, 0],
        "session": rows[:, 1],
        "stopped": rows[:, 2],
        "setpoint": rows[:, _ROW : _ROW + a],
        "sensors": rows[:, _ROW + a :],
    }
