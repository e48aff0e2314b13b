"""Sockets for :mod:`agents.online.sending` and :mod:`agents.online.receiving`: a thread each, over
ZeroMQ.

The actor connects and the learner binds; either may come first, go away and come back. Queues are
bounded: what finds no room is dropped here, and said again there. Nothing is encrypted: bind to
this machine or to a network of your own, or go through ssh.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, Self

from agents.errors import UsageError
from agents.online.message import LARGEST
from agents.online.receiving import Receiving
from agents.online.sending import Sending

QUEUE = 64
"""Messages that wait in a socket, at most."""
WAIT = 0.01
"""Seconds that a thread waits for a message before it looks what there is to send."""
SYNC = 1.0
"""Seconds between the times that the actor's log is brought to the disk."""


class Link:
    """A thread with a socket. Abstract: a final class opens it and says what a turn does.

    Args:
        address: such as ``tcp://127.0.0.1:5555`` or ``ipc:///tmp/robot``.

    Raises:
        UsageError: pyzmq is not installed, or the address cannot be used.
    """

    def __init__(self, address: str) -> None:
        try:
            self._zmq = import_module("zmq")
        except ImportError:
            raise UsageError(
                "actors and learners talk by pyzmq, which is not installed: pip install pyzmq"
            ) from None
        self.error: BaseException | None = None
        self._ending = threading.Event()
        self._context = self._zmq.Context()
        try:
            self._socket = self._open()
            self.address = self._attach(address)
        except self._zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise UsageError(
                f"cannot use the address {address}: {error}; give one such as tcp://127.0.0.1:5555"
            ) from None
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self._thread.start()

    def _open(self) -> Any:
        raise NotImplementedError

    def _attach(self, address: str) -> str:
        raise NotImplementedError

    def _turn(self, ready: bool) -> None:
        raise NotImplementedError

    def _made(self, kind: int) -> Any:
        socket = self._context.socket(kind)
        socket.setsockopt(self._zmq.LINGER, 0)
        socket.setsockopt(self._zmq.SNDHWM, QUEUE)
        socket.setsockopt(self._zmq.RCVHWM, QUEUE)
        socket.setsockopt(self._zmq.MAXMSGSIZE, LARGEST)
        return socket

    def _send(self, parts: list[bytes]) -> None:
        """Send, or drop what finds no room."""
        try:
            self._socket.send_multipart(parts, flags=self._zmq.DONTWAIT)
        except self._zmq.ZMQError:  # a full queue, or a peer that has gone
            return

    def _news(self, ready: bool) -> Iterator[list[bytes]]:
        """The messages that have come, and not more than a queue of them."""
        for _ in range(QUEUE if ready else 0):
            try:
                yield self._socket.recv_multipart(flags=self._zmq.DONTWAIT)
            except self._zmq.ZMQError:
                return

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._turn(bool(self._socket.poll(1000 * WAIT)))
        except BaseException as error:
            self.error = error

    def close(self) -> None:
        """End the thread, and the socket."""
        self._ending.set()
        self._thread.join(5.0)
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


class ActorLink(Link):
    """An actor's socket.

    Args:
        sending: what is said and heard.
        address: of the learner.
        clock: seconds.
    """

    def __init__(
        self, sending: Sending, address: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.sending, self._clock = sending, clock
        self._synced = clock()
        super().__init__(address)

    def _open(self) -> Any:
        socket = self._made(self._zmq.DEALER)
        socket.setsockopt(self._zmq.RECONNECT_IVL, 50)
        socket.setsockopt(self._zmq.RECONNECT_IVL_MAX, 1000)
        return socket

    def _attach(self, address: str) -> str:
        self._socket.connect(address)
        return address

    def _turn(self, ready: bool) -> None:
        for parts in self._news(ready):
            if len(parts) == 1:
                self.sending.received(parts[0], self._clock())
        for frame in self.sending.due(self._clock()):
            self._send([frame])
        if self._clock() - self._synced >= SYNC:
            self._synced = self._clock()
            # a full disk: what is not written is held in memory, and tried again
            with suppress(OSError):
                self.sending.log.sync()


class LearnerLink(Link):
    """A learner's socket.

    Args:
        receiving: what is heard and said.
        address: where actors find it; port 0 is one that is free.
        clock: seconds.
    """

    def __init__(
        self, receiving: Receiving, address: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.receiving, self._clock = receiving, clock
        self.arrived = threading.Event()
        super().__init__(address)

    def _open(self) -> Any:
        return self._made(self._zmq.ROUTER)

    def _attach(self, address: str) -> str:
        self._socket.bind(address)
        found: bytes = self._socket.getsockopt(self._zmq.LAST_ENDPOINT)
        return found.rstrip(b"\0").decode()

    def _turn(self, ready: bool) -> None:
        for parts in self._news(ready):
            if len(parts) != 2:
                continue
            for answer in self.receiving.received(parts[1], self._clock()):
                self._send([parts[0], answer])
        if self.receiving.waiting:
            self.arrived.set()
