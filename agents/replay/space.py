"""Space on the disk that is there before rows come, so that a full disk is met when a replay is made and not hours later."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from agents.replay.errors import ReplayError

UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
ZEROS = bytes(1 << 20)


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


def _readable(size: int) -> str:
    power = min(3, max(0, size.bit_length() - 1) // 10)
    return f"{size / 1024**power:.3g} {('bytes', 'KiB', 'MiB', 'GiB')[power]}"
