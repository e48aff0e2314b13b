"""Environments in a process of their own: it may raise, hang or die, and costs no more than its own
episodes.

The process is a fresh interpreter (not a copy of this one), which imports `envs` and what the
environments need, and talks over a socket in the plain form of `envs.wire`. What it writes to
stderr is kept in a file that vanishes with the vector; its end is part of the error when the
process dies, with Python's traceback after a crash or while it hangs.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

from envs.child import start_python
from envs.errors import EnvError
from envs.host import Recipe, Reply, Request
from envs.wire import WireError, decode, encode

_MAKING = 120.0  # seconds: making an environment imports simulators
_TAIL = 8000  # bytes of stderr that are shown
_MOST = 1 << 20  # bytes of stderr that are kept


class Process:
    """Some environments of a vector, in one worker process (a `Host`)."""

    def __init__(self, envs: tuple[int, ...], recipes: list[Recipe], step_timeout: float) -> None:
        if os.name != "posix":
            raise EnvError(
                "workers: expected a POSIX system (Linux, macOS), got another; leave workers at 0"
            )
        self.envs = envs
        self._step_timeout = step_timeout
        try:
            self._opening = _framed({"recipes": [[each.env_id, each.options] for each in recipes]})
        except WireError as error:
            raise EnvError(
                f"workers: expected options that are plain data, since they are sent; {error}"
            ) from error
        self._serial = 0
        self._buffer = bytearray()
        self._lost: str | None = None  # why nothing more comes from the process
        self._expected: dict[int, int] = {}
        self._replies: dict[int, Reply] = {}
        self._start()

    # ---------------------------------------------------------------- requests

    def begin(self, requests: dict[int, Request]) -> None:
        """Send requests. A process that is lost is noticed when an answer is asked for."""
        self._serial += 1
        for env in requests:
            self._expected[env] = self._serial
            self._replies.pop(env, None)
        making = any(request[0] == "make" for request in requests.values())
        self._allowed = max(_MAKING, self._step_timeout) if making else self._step_timeout
        self._due = time.monotonic() + self._allowed
        if os.fstat(self._errors.fileno()).st_size > _MOST:
            os.ftruncate(self._errors.fileno(), 0)
        places = [[self.envs.index(env), request] for env, request in requests.items()]
        self._send(_framed([self._serial, places]))

    def finish(self, env: int, request: Request) -> Reply:
        """Wait for the answer to a request that was begun; "lost" when the process hangs or has
        died. Who begins and does something else meanwhile still waits for as long as a step may
        take: an answer larger than the socket's buffer comes only while it is read.
        """
        if env not in self._replies:
            self._due = max(self._due, time.monotonic() + self._allowed)
        while env not in self._replies:
            if self._lost is None:
                self._read()
            if self._lost is not None:
                return Reply("lost", None, self._lost, self._tail())
        return self._replies.pop(env)

    def _send(self, message: bytes) -> None:
        if self._lost is not None:
            return
        self._socket.settimeout(self._step_timeout)
        try:
            self._socket.sendall(message)
        except TimeoutError:
            self._hangs()
        except OSError:
            self._died()

    def _read(self) -> None:
        """Take in what there is, and the replies that are complete."""
        self._socket.settimeout(max(self._due - time.monotonic(), 0.001))
        try:
            got = self._socket.recv(1 << 20)
        except TimeoutError:
            return self._hangs()
        except OSError:
            return self._died()
        if not got:
            return self._died()
        self._buffer += got
        while len(self._buffer) >= 8:
            end = 8 + int.from_bytes(self._buffer[:8], "little")
            if len(self._buffer) < end:
                return None
            message, self._buffer = self._buffer[8:end], self._buffer[end:]
            self._take(message)
        return None

    def _take(self, message: bytearray) -> None:
        try:
            serial, place, kind, value, said, trace, name = decode(message)
            env = self.envs[place]
        except (WireError, TypeError, ValueError, IndexError) as error:
            self._lost = f"its process sent what is no answer: {error}"
            return
        self._due = time.monotonic() + self._allowed
        if self._expected.get(env) == serial:  # else the answer to a request that was given up
            self._replies[env] = Reply(kind, value, said, trace, name)

    # ---------------------------------------------------------------- the process

    def restart(self) -> None:
        """End the process, whatever it does, and start another."""
        self._end()
        self._start()

    def hang_up(self) -> None:
        """Ask the process to close its environments and end."""
        self._socket.close()

    def close(self, deadline: float) -> None:
        """Wait for its end until `deadline` (of time.monotonic), then end it."""
        self._socket.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(deadline - time.monotonic(), 0.0))
        self._end()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in _end)
        os.set_inheritable(theirs.fileno(), True)
        main_thread = threading.current_thread() is threading.main_thread()
        try:
            self._process = start_python(
                "envs.worker",
                [theirs.fileno(), os.getpid(), main_thread],
                stderr=self._errors,
                pass_fds=[theirs.fileno()],
            )
        except OSError as error:
            ours.close()
            raise EnvError(
                f"workers: expected to start a process, got {error}; use fewer workers"
            ) from error
        finally:
            theirs.close()
        self._finalizer = weakref.finalize(self, _kill, self._process, os.getpid())
        self._socket, self._buffer, self._lost = ours, bytearray(), None
        self._expected.clear()
        self._replies.clear()
        self._allowed = self._step_timeout
        self._due = time.monotonic() + self._allowed
        self._send(self._opening)

    def _end(self) -> None:
        self._finalizer()
        self._socket.close()
        self._errors.close()

    def _hangs(self) -> None:
        """Note that no answer came; let the process write where it stands, unless it is stopped."""
        self._lost = f"its process did not answer within {self._allowed:g} s (step_timeout)"
        self._process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)

    def _died(self) -> None:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._lost = "its process closed its connection"
            return
        how = (
            f"by {signal.Signals(-code).name}"
            if -code in set(signal.Signals)
            else f"with exit code {code}"
        )
        self._lost = f"its process ended {how}"

    def _tail(self) -> str:
        """The end of what the process wrote to stderr."""
        size = os.fstat(self._errors.fileno()).st_size
        text = (
            os.pread(self._errors.fileno(), _TAIL, max(size - _TAIL, 0))
            .decode(errors="replace")
            .strip("\0\n ")
        )
        return (
            f"{self._lost}; the end of its stderr:\n{text}\n"
            if text
            else f"{self._lost}; it wrote nothing to stderr\n"
        )


def _framed(value: Any) -> bytes:
    body = encode(value)
    return len(body).to_bytes(8, "little") + body


def _kill(process: subprocess.Popen[bytes], parent: int) -> None:
    """End a process at once, and wait a moment until the system has it; a fork of its parent leaves
    it alone.
    """
    if os.getpid() != parent:
        return
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5.0)
