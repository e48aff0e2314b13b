"""Drivers of simulated robots: in stepped time within this process, or in real time in a process of
its own.

SimulatedArm(clock=SteppedClock())     as fast as it can, the same every time
SimulatedArm()                         in real time; its process starts when it is connected
SimulatedArm(port=robot.port)          in real time, of a `Served` robot that outlives this program
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from envs.robot.board import Board
from envs.robot.clock import RealClock, SteppedClock
from envs.robot.errors import RobotError
from envs.robot.faults import Faults
from envs.robot.packet import COMMAND, FAULTS, HELLO, STATE, STOP, STOPPED, Packet, pack, unpack
from envs.robot.served import HOST, Served, make_body

_HELLO = 5.0  # seconds in which a robot answers
_STOP = 0.25  # seconds for which a stop is said again until it is answered
_WAIT = 0.01
_MOST = 65536


class Line(Protocol):
    """A way to the board: bytes there, bytes back, time that passes."""

    def send(self, message: bytes) -> None: ...
    def receive(self) -> list[bytes]: ...
    def wait(self, seconds: float) -> None: ...
    def now(self) -> float: ...
    def close(self) -> None: ...


class Wire(Line):
    """To a board in this process, in stepped time."""

    def __init__(self, board: Board, clock: SteppedClock) -> None:
        self.board, self._clock = board, clock
        clock.follow(board.run)

    def send(self, message: bytes) -> None:
        """To the board."""
        self.board.receive(message, self._clock.now())

    def receive(self) -> list[bytes]:
        """What the board has said."""
        return self.board.transmit(self._clock.now())

    def wait(self, seconds: float) -> None:
        """Time passes only by this."""
        self._clock.sleep_until(self._clock.now() + seconds)

    def now(self) -> float:
        """The clock's seconds."""
        return self._clock.now()

    def close(self) -> None:
        """Nothing is open."""


class Socket(Line):
    """To the process of a `Served` robot."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((HOST, port))
        self._socket.setblocking(False)

    def send(self, message: bytes) -> None:
        """A datagram. Nobody may be there."""
        try:
            self._socket.send(message)
        except (BlockingIOError, ConnectionError) as error:
            raise RobotError(f"the robot does not answer: {error}") from None

    def receive(self) -> list[bytes]:
        """All datagrams that have come."""
        found = []
        try:
            while True:
                found.append(self._socket.recv(_MOST))
        except BlockingIOError:
            return found
        except ConnectionError as error:
            raise RobotError(f"the robot does not answer: {error}") from None

    def wait(self, seconds: float) -> None:
        """Until something comes."""
        select.select([self._socket], [], [], seconds)

    def now(self) -> float:
        """The machine's monotonic clock, which the robot's process shares."""
        return time.monotonic()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Simulated:
    """A driver of a simulated robot (`envs.robot.Robot`).

    Args:
        body: "arm" or "quadruped", with its `options`.
        clock: a SteppedClock: the robot is in this process. None or a RealClock: it is in its own.
        port: of a `Served` robot.
        faults: what goes wrong, of a robot that is started here.
        seed: of all that is random in it.

    >>> clock = SteppedClock()
    >>> robot = Simulated("arm", clock=clock)
    >>> robot.connect()
    >>> before = robot.get_observation()["joint_1.pos"]
    >>> for _ in range(40):
    ...     sent = robot.send_action(
    ...         {
    ...             **{n: robot.get_observation()[n] for n in robot.action_features},
    ...             "joint_1.pos": 0.1,
    ...         }
    ...     )
    ...     clock.sleep_until(clock.now() + 0.05)
    >>> round(robot.get_observation()["joint_1.pos"] - before, 2)
    0.1
    """

    def __init__(
        self,
        body: str,
        *,
        clock: Any = None,
        port: int | None = None,
        faults: Faults | None = None,
        seed: int = 0,
        options: dict[str, Any] | None = None,
    ) -> None:
        if clock is not None and not isinstance(clock, (SteppedClock, RealClock)):
            raise RobotError(
                f"clock: expected a SteppedClock, a RealClock or None, got {type(clock).__name__}"
            )
        self._name, self._options, self._port = body, options or {}, port
        self._body = make_body(body, self._options)
        self._faults, self._seed = faults or Faults(), seed
        self._served: Served | None = None
        self._line: Line | None = None
        self.board: Board | None = None
        if isinstance(clock, SteppedClock):
            self.board = Board(self._body, now=clock.now(), faults=self._faults, seed=seed)
            self._wire = Wire(self.board, clock)
        self.observation_features: dict[str, Any] = dict.fromkeys(self._body.sensors, float)
        self.action_features: dict[str, Any] = dict.fromkeys(self._body.actions, float)
        if hasattr(self._body, "forward"):
            self.forward = self._body.forward
        self._session = self._serial = 0
        self._newest: Packet | None = None
        self.observed_at = 0.0
        self.is_connected = False

    def connect(self) -> None:
        """Say hello until the robot answers. Raises RobotError if it does not."""
        line = self._open()
        end = line.now() + _HELLO
        before = 0 if self._newest is None else self._newest.session
        self._session = (
            max(before, self._session) + 1
            if self.board is not None
            else time.monotonic_ns() // 1000
        )
        self._serial, self._newest = 1, None
        while line.now() < end:
            self._send(line, HELLO, np.empty(0), serial=1)
            line.wait(_WAIT)
            self._take(line)
            if self._newest is not None:
                self.is_connected = True
                return
        raise RobotError(
            f"connect: expected an answer of the robot within {_HELLO:g} s, got none; "
            f"is its process there?"
        )

    def get_observation(self) -> dict[str, float]:
        """The newest measurements; `observed_at` says of when they are."""
        self._take(self._connected())
        if self._newest is None:
            raise RobotError(
                "get_observation: expected a measurement, none has come since connect()"
            )
        self.observed_at = self._newest.time
        return dict(zip(self._body.sensors, self._newest.values.tolist(), strict=True))

    def send_action(self, action: Mapping[str, float]) -> dict[str, float]:
        """Setpoints of the servos."""
        if set(action) != set(self._body.actions):
            raise RobotError(
                f"send_action: expected {list(self._body.actions)}, got {list(action)}"
            )
        line = self._connected()
        self._serial += 1
        self._send(
            line,
            COMMAND,
            np.array([action[name] for name in self._body.actions]),
            serial=self._serial,
        )
        return {name: float(action[name]) for name in self._body.actions}

    def stop(self) -> None:
        """Hold the pose, until connected again. Said again until it is answered."""
        if self._line is None:
            return
        end = self._line.now() + _STOP
        while self._line.now() < end:
            self._send(self._line, STOP, np.empty(0), serial=self._serial)
            self._line.wait(_WAIT)
            self._take(self._line)
            if self._newest is not None and self._newest.flags & STOPPED:
                return

    def disconnect(self) -> None:
        """Hang up; a robot that was started here ends."""
        self.is_connected = False
        if self._line is not None and self.board is None:
            self._line.close()
            self._line = None
        if self._served is not None:
            self._served.close()
            self._served = None

    def restart(self, seed: int) -> None:
        """Of a robot in this process: switch it off and on again, where a person has put it at
        rest.
        """
        if self.board is None:
            raise RobotError("restart: expected a robot in this process, got one in its own")
        self.board.restart(self._wire.now(), seed, self._faults)
        self._newest, self._session, self.is_connected = None, 0, False

    def state(self) -> dict[str, Any]:
        """Of a robot in this process: all that later measurements depend on, as plain data."""
        assert self.board is not None
        newest = None if self._newest is None else list(self._newest)
        own = [self._session, self._serial, self.observed_at, self.is_connected, newest]
        return {"board": self.board.state(), "driver": own}

    def load_state(self, state: Any) -> None:
        """Go on from `state()`."""
        assert self.board is not None
        self.board.load_state(state["board"])
        self._session, self._serial, self.observed_at, self.is_connected, newest = state["driver"]
        self._newest = None if newest is None else Packet(*newest)
        if self.is_connected:
            self._open()

    def switch(self, **changes: Any) -> None:
        """Switch faults: `switch(stuck="joint_2.pos", loss=0.1)`. It is the bench that does this,
        not the link.
        """
        self._faults = replace(self._faults, **changes)
        told = json.dumps(vars(self._faults)).encode()
        self._send(
            self._connected(), FAULTS, np.frombuffer(told, np.uint8).astype(np.float64), serial=0
        )

    # ---------------------------------------------------------------- parts

    def _open(self) -> Line:
        if self._line is None:
            if self.board is not None:
                self._line = self._wire
            else:
                if self._port is None:
                    self._served = Served(
                        self._name, options=self._options, faults=self._faults, seed=self._seed
                    )
                self._line = Socket(
                    self._served.port if self._served is not None else int(self._port or 0)
                )
        return self._line

    def _connected(self) -> Line:
        if self._line is None or not self.is_connected:
            raise RobotError("expected a connected robot; call connect() first")
        return self._line

    def _send(self, line: Line, kind: int, values: Any, serial: int) -> None:
        line.send(pack(Packet(kind, self._session, serial, line.now(), values)))

    def _take(self, line: Line) -> None:
        """Keep the newest of what has come."""
        for message in line.receive():
            packet = unpack(message)
            if packet is None or packet.kind != STATE or packet.session != self._session:
                continue
            if len(packet.values) == len(self._body.sensors) and (
                self._newest is None or packet.serial > self._newest.serial
            ):
                self._newest = packet


class SimulatedArm(Simulated):
    """The simulated arm (`envs.robot.models.Arm`); see `Simulated`.

    >>> arm = SimulatedArm(joints=3, clock=SteppedClock())
    >>> round(arm.forward({"joint_1.pos": 0.0, "joint_2.pos": 3.6, "joint_3.pos": 1.4})["tip.z"], 2)
    0.45
    """

    def __init__(self, joints: int = 6, **options: Any) -> None:
        super().__init__("arm", options={"joints": joints}, **options)


class SimulatedQuadruped(Simulated):
    """The simulated quadruped (`envs.robot.models.Quadruped`); see `Simulated`.

    >>> len(SimulatedQuadruped(clock=SteppedClock()).action_features)
    12
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("quadruped", **options)
