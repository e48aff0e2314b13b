"""Files and folders that a command writes at its end: refused before its work where they cannot
be written.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from agents.errors import UsageError


def check_file(path: Path, option: str) -> None:
    """Refuse a file that could not be written.

    Args:
        path: of the file.
        option: that it was given by.

    Raises:
        UsageError: it is a folder, its folder is not there, or nothing can be written there.

    >>> check_file(Path(tempfile.gettempdir()) / "x.html", "--html")
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{option}: expected a file in a folder that is there, got {path}")
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(f"{option}: cannot write {path}: it may not be written to")
    _try(path.absolute().parent, path, option)


def check_folder(path: Path, option: str) -> None:
    """Refuse a folder that could not be made or written to.

    Raises:
        UsageError: it, or a folder that it would lie in, is a file or cannot be written to.

    >>> check_folder(Path(tempfile.gettempdir()) / "new" / "folder", "--out")
    """
    there = next(p for p in (path.absolute(), *path.absolute().parents) if os.path.lexists(p))
    if not there.is_dir():
        raise UsageError(
            f"{option}: expected a folder, new or there, got {path}: {there} is a file"
        )
    _try(there, path, option)


def _try(folder: Path, path: Path, option: str) -> None:
    """Make a file without a name."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = error.strerror or error
        raise UsageError(f"{option}: cannot write {path}: {why}; choose another place") from None
