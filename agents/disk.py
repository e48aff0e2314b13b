"""Waiting until files and their names lie on the disk."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import IO, Any

_NOTED: set[str] = set()  # folders that could not be synced


def sync_file(file: IO[Any]) -> None:
    """Wait until a file lies on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder lie on the disk; where that cannot be asked for, said once,
    nothing is done.

    Network shares refuse it, and Windows cannot open a folder.
    """
    if os.name != "posix":
        return
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if not _NOTED:
            warnings.warn(
                f"{path}: names of files cannot be synced here ({error.strerror or error}); "
                "after a power loss the newest checkpoint may be missing",
                stacklevel=2,
            )
        _NOTED.add(str(path))
