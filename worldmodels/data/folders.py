"""What readers and writers of folders share.

A folder is written whole or not at all, and never over another.  Nothing outside of a folder is
read.
"""

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
    """A folder to write into; it gets its name when all is written and on the disk.

    Raises:
        DataError: the folder is there and not empty, or cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"{folder} exists and is not empty; nothing was written, choose another folder"
        )
    # what a killed writer left is removed by the next
    temporary = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            _sync(path)
        if folder.exists():
            folder.rmdir()
        os.rename(temporary, folder)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def reading(expected: str) -> Iterator[None]:
    """Parsers of damaged files raise anything: it becomes a :class:`DataError` that begins with
    ``expected``.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{expected}: {type(error).__name__}: {error}") from error


def need(package: str, what: str) -> Any:
    """A package of the extra ``data``.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        name = package.partition(".")[0]
        raise DataError(
            f"{what} needs the package {name}, which is not installed: pip install {name}"
        ) from None


def inside(file: Path, folder: Path) -> Path:
    """``file``, which is in ``folder`` itself: no link, no path leads out of it, and it is no pipe
    or device.

    Raises:
        DataError: it is not.
    """
    with reading(f"{file}: expected a file in {folder}"):
        found, root = file.resolve(), folder.resolve()
        if not found.is_relative_to(root):
            raise DataError(
                f"{file}: leads to {found}, out of the folder {folder}, and is not read; "
                f"put the file itself there"
            )
        if found.exists() and not found.is_file():
            raise DataError(f"{file}: expected a regular file")
    return file


def files_of(folder: Path, *endings: str) -> list[Path]:
    """The files of a folder with one of these endings, in lower case (``".csv"``), however they
    write it; by name.

    Raises:
        DataError: one leads out of the folder.
    """
    if not folder.is_dir():
        return []
    return [
        inside(file, folder) for file in sorted(folder.iterdir()) if file.suffix.lower() in endings
    ]
