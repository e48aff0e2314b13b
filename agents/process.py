"""Settings of the whole process, made by commands and never on import."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.util import find_spec

import torch

from agents.errors import UsageError


def prepare_process(threads: int = 0) -> None:
    """Threads of torch (0: as they are), and an allocator that keeps large blocks.

    On Linux with glibc freed blocks above 128 KiB go back to the kernel, and every large tensor is paid for again in
    page faults; with small models on a CPU that is a fifth of the time.
    """
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


def check_threads(count: int) -> None:
    """Refuse a number of threads that is negative, or far above what the machine has cores for."""
    most = 4 * (os.cpu_count() or 1)
    if not 0 <= count <= most:
        raise ValueError(f"threads must be at least 0 and at most {most} (four a core of this machine), got {count}")


def check_device(name: str) -> None:
    """Refuse a device that is not named right, or not there."""
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise ValueError(f"device must be cpu, cuda, cuda:N or mps, got {name!r}")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(index or 0) >= there:
        raise ValueError(f"device {name!r} is not there: this machine has {there} of {kind}; take device=cpu")


def check_plots() -> None:
    """Refuse before anything is written what would be missed at the end."""
    if find_spec("matplotlib") is None:
        raise UsageError("the report draws curves with matplotlib, which is not installed: pip install matplotlib")
