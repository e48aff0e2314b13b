"""Space: on the disk it is there before rows come, so that a full one is met when a replay is made
and not hours later; in memory it is asked for only where rows differ from the disk.
"""

from __future__ import annotations

import errno
import mmap
import os
import platform
import shutil
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.replay.errors import ReplayError

UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
ZEROS = bytes(1 << 20)
_USUAL = 0x4000 if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else 0
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", _USUAL)  # older Pythons lack the name


def check_space(folder: Path, size: int) -> None:
    """Refuse what the disk of ``folder`` (or of its first parent that is there) has no room for.

    Raises:
        ReplayError: fewer than ``size`` bytes are free.
    """
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < size:
        raise ReplayError(
            f"{folder}: expected {_readable(size)} free for the replay, got {_readable(free)}; "
            "give a smaller capacity, or another folder"
        )


def reserve(path: Path, size: int) -> None:
    """Make a file of ``size`` zeros whose space is taken on the disk.

    Zeros are written where the file system, or Python on this system, cannot reserve.

    Raises:
        OSError: there is not enough.
    """
    with path.open("xb") as file:
        allocate = getattr(os, "posix_fallocate", None)
        if allocate is not None:
            try:
                allocate(file.fileno(), 0, size)
                return
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
        for first in range(0, size, len(ZEROS)):
            file.write(ZEROS[: size - first])


def map_privately(path: Path, size: int) -> NDArray[np.uint8]:
    """The bytes of a file, as an array; what is written to it stays in memory.

    Files larger than the memory can be mapped, as with a common map: Linux is told not to set
    memory aside for all of it.

    Raises:
        OSError: it cannot be opened or mapped.
    """
    with path.open("rb") as file:
        if sys.platform == "win32":
            return np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY), np.uint8)
        flags, protection = mmap.MAP_PRIVATE | NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE
        return np.frombuffer(mmap.mmap(file.fileno(), size, flags=flags, prot=protection), np.uint8)


def _readable(size: int) -> str:
    power = min(3, max(0, size.bit_length() - 1) // 10)
    return f"{size / 1024**power:.3g} {('bytes', 'KiB', 'MiB', 'GiB')[power]}"
