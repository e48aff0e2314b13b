"""Settings of the whole process, made by commands and never on import."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from agents.errors import UsageError


def prepare_process(threads: int = 0) -> None:
    """Threads of torch (0: as they are), an allocator that keeps large blocks, and a folder that
    keeps what is compiled (:func:`keep_compiled`).

    On Linux with glibc freed blocks above 128 KiB go back to the kernel, and every large tensor is
    paid for again in page faults; with small models on a CPU that is a fifth of the time.
    """
    keep_compiled()
    if threads:
        torch.set_num_threads(threads)
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL("libc.so.6").mallopt
        except (OSError, AttributeError):  # another C library
            return
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 1 << 30)
        mallopt(m_trim_threshold, (1 << 31) - 1)


def keep_compiled() -> None:
    """Let later runs find what ``torch.compile`` has made: in ``pixyz/compiled`` of the user's
    cache folder, unless the environment names another (``TORCHINDUCTOR_CACHE_DIR``).

    torch's own default lies among temporary files, which a restart of the machine removes.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(cache, "pixyz", "compiled"))


def check_threads(count: int) -> None:
    """Refuse a number of threads that is negative, or far above what the machine has cores for."""
    most = 4 * (os.cpu_count() or 1)
    if not 0 <= count <= most:
        raise ValueError(
            f"threads must be at least 0 and at most {most} (four a core of this machine), "
            f"got {count}"
        )


class Weighed(TorchFunctionMode):
    """Within the context weights that would fill half of this machine's memory are refused before
    they are made.

    Raises:
        UsageError: says how much they would take.

    >>> with Weighed(memory=1e6):
    ...     torch.nn.Linear(1000, 1000)
    Traceback (most recent call last):
        ...
    agents.errors.UsageError: the weights alone would take 0.004 GB or more, of this machine's 0.001; choose smaller sizes
    """  # noqa: E501

    def __init__(self, memory: float | None = None) -> None:
        super().__init__()
        self.memory, self.taken = physical_memory() if memory is None else memory, 0

    def __torch_function__(
        self,
        function: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is torch.empty:
            sizes = args[0] if args and isinstance(args[0], (tuple, list)) else args
            self.taken += 4 * math.prod(sizes)
            if self.taken > self.memory / 2:
                raise UsageError(
                    f"the weights alone would take {self.taken / 1e9:.3g} GB or more, "
                    f"of this machine's "
                    f"{self.memory / 1e9:.3g}; choose smaller sizes"
                )
        return function(*args, **(kwargs or {}))

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        super().__exit__(kind, error, traceback)
        if isinstance(error, (RuntimeError, MemoryError)) and "alloc" in str(error).lower():
            raise UsageError(
                f"there is no memory for the weights ({error}); choose smaller sizes"
            ) from None


def physical_memory() -> float:
    """Bytes of this machine; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def check_device(name: str) -> None:
    """Refuse a device that is not named right, or not there."""
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise ValueError(f"device must be cpu, cuda, cuda:N or mps, got {name!r}")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }[kind]
    if int(index or 0) >= there:
        raise ValueError(
            f"device {name!r} is not there: this machine has {there} of {kind}; take device=cpu"
        )


def check_plots() -> None:
    """Refuse before anything is written what would be missed at the end."""
    if find_spec("matplotlib") is None:
        raise UsageError(
            "the report draws curves with matplotlib, which is not installed: "
            "pip install matplotlib"
        )
