"""Python's cyclic collector waits while a plan is written: of what is made then nearly all stays,
and it would go through that again and again.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_writing, _was_on = 0, False


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Within it nothing is collected, in any thread; after the last one as before the first."""
    global _writing, _was_on
    with _lock:
        if _writing == 0:
            _was_on = gc.isenabled()
        _writing += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _writing -= 1
            if _writing == 0 and _was_on:
                gc.enable()
