"""A simulated robot in a process of its own, in real time, behind a UDP socket of this machine.

The process ends when its standard input does, that is: with whoever started it.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from envs.child import start_python
from envs.errors import EnvError
from envs.robot.board import Board
from envs.robot.errors import RobotError
from envs.robot.faults import Faults
from envs.robot.models import TIMESTEP, Arm, Body, Quadruped

BODIES = {"arm": Arm, "quadruped": Quadruped}
HOST = "127.0.0.1"
_STARTING = 60.0  # seconds
_MOST = 65536


def make_body(name: str, options: dict[str, Any] | None = None) -> Body:
    """A body by its name: "arm" or "quadruped"."""
    if name not in BODIES:
        raise RobotError(f"body: expected one of {', '.join(BODIES)}, got {name!r}")
    body: Body = BODIES[name](**(options or {}))
    return body


class Served:
    """A simulated robot in another process. It runs until `close`, whoever connects to it.

    Args:
        body: "arm" or "quadruped"; `options` are its own.
        faults: what goes wrong from the beginning; the driver's `switch` changes it.
        seed: of all that is random in it.
        trace: a file for what it was told and did (`envs.robot.board.read_trace`).
        port: 0: any.

    >>> with Served("arm", options={"joints": 3}) as robot:
    ...     robot.port > 0, robot.running
    (True, True)
    """

    def __init__(
        self,
        body: str,
        *,
        options: dict[str, Any] | None = None,
        faults: Faults | None = None,
        seed: int = 0,
        trace: Path | None = None,
        port: int = 0,
    ) -> None:
        told = {
            "body": body,
            "options": options or {},
            "faults": vars(faults or Faults()),
            "seed": seed,
            "trace": None if trace is None else str(trace),
            "port": port,
        }
        pipe = subprocess.PIPE
        self._process = start_python(
            "envs.robot.served", [told], stdin=pipe, stdout=pipe, start_new_session=True
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        ready = select.select([self._process.stdout], [], [], _STARTING)[0]
        line = self._process.stdout.readline().strip() if ready else b""
        if not line.isdigit():
            self.close()
            raise RobotError(
                f"simulated robot {body!r}: expected its process to start, it said {line!r}; "
                f"see its errors above"
            )
        self.port = int(line)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10.0)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def main(told: dict[str, Any]) -> None:
    """Be the robot until standard input closes."""
    trace = told["trace"]
    board = Board(
        make_body(told["body"], told["options"]),
        now=time.monotonic(),
        faults=Faults.read(told["faults"]),
        seed=told["seed"],
        trace=None if trace is None else Path(trace),
    )
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind((HOST, told["port"]))
    line.setblocking(False)
    print(line.getsockname()[1], flush=True)
    program: Any = None  # where the last hello came from
    due = time.monotonic()
    while True:
        due = max(due + TIMESTEP, time.monotonic() - TIMESTEP)
        ready = select.select([line, sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
            return
        now = time.monotonic()
        with suppress(BlockingIOError, ConnectionError):
            while True:
                message, sender = line.recvfrom(_MOST)
                with suppress(EnvError, ValueError):  # an order that means nothing
                    board.receive(message, now)
                    program = sender
        board.run(now)
        for message in board.transmit(now):
            if program is not None:
                with suppress(OSError):
                    line.sendto(message, program)
        while (left := due - time.monotonic()) > 0.0:
            time.sleep(left)
