"""The process that holds environments for a vector elsewhere. Started by `envs.process`; loads no
torch.

    from the parent   {"recipes": [[id, options], ...]}, once; then [serial, [[place, request],
                      ...]]
    to the parent     [serial, place, kind, value, said, trace, name], for each request, when it is
                      done

It ends when its parent does, also while an environment hangs.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from envs.host import Holder, Recipe, Reply
from envs.wire import WireError, receive, send

_PR_SET_PDEATHSIG = 1
_EVERY = 0.5  # seconds between two looks at who the parent is


def main(descriptor: int, parent: int, with_thread: bool) -> None:
    """Answer requests until the parent closes its end.

    `with_thread`: the thread that started this process lives as long as the parent, so that the
    kernel may be asked to end this process with it.
    """
    # sent to the whole group; the parent decides, and saves first
    for name in (
        "SIGINT",
        "SIGTERM",
        "SIGHUP",
    ):
        signal.signal(getattr(signal, name), _ignore)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    _end_with(parent, with_thread)
    connection = socket.socket(fileno=descriptor)
    holders: list[Holder] = []
    with suppress(EOFError):
        holders += [
            Holder(Recipe(env_id, options)) for env_id, options in receive(connection)["recipes"]
        ]
        while True:
            serial, requests = receive(connection)
            for place, request in requests:
                _send(connection, [serial, place], holders[place].answer(tuple(request)))
    for holder in holders:
        holder.close()
    os._exit(0)  # threads of environments are not waited for


def _ignore(*_: Any) -> None:
    """Unlike SIG_IGN, not passed on to processes that an environment starts."""


def _end_with(parent: int, with_thread: bool) -> None:
    if with_thread and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_EVERY)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _send(connection: socket.socket, head: list[Any], reply: Reply) -> None:
    try:
        try:
            send(connection, [*head, *reply[:5]])
        except WireError as error:
            said = f"expected plain data from the environment: {error}"
            send(connection, [*head, "broken", None, said, "", "EnvError"])
    except OSError:  # the parent is gone
        os._exit(1)
