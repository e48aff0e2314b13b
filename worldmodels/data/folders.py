"""What readers and writers of folders share: a folder is written whole or not at all, and never over another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from worldmodels.data.errors import DataError


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into; it gets its name when all is written.

    Raises:
        DataError: the folder is there and not empty, or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not empty; nothing was written, choose another folder")
    temporary = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            folder.rmdir()
        os.rename(temporary, folder)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def need(package: str, what: str) -> Any:
    """A package of the extra ``data``.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise DataError(f"{what} needs the package {package.split('.')[0]}: pip install 'pixyz-worldmodels[data]'") from None
