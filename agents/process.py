"""Settings of the whole process, made by commands and never on import."""

from __future__ import annotations

import ctypes
import sys

import torch


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
