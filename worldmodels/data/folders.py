"""What readers and writers of folders share: a folder is written whole or not at all, and never over another."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
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
        raise DataError(f"{folder} exists and is not empty; nothing was written, choose another folder")
    temporary = folder.with_name(f".{folder.name}.writing")  # what a killed writer left is removed by the next
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
    """Parsers of damaged files raise anything: it becomes a :class:`DataError` that begins with ``expected``."""
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
        raise DataError(f"{what} needs the package {name}, which is not installed: pip install {name}") from None


def variables(names: Iterable[str], where: str) -> dict[str, str]:
    """Names of a file -> names of variables: all but letters, digits and ``_`` becomes ``_``.

    Raises:
        DataError: two names become one.

    >>> variables(["arm.position", "arm/velocity"], "log")
    {'arm.position': 'arm_position', 'arm/velocity': 'arm_velocity'}
    """
    found: dict[str, str] = {}
    for name in names:
        key = re.sub(r"\W", "_", name, flags=re.ASCII)
        twin = next((n for n, k in found.items() if k == key), None)
        if twin is not None:
            raise DataError(f"{where}: {twin!r} and {name!r} would both be called {key!r}; rename one")
        found[name] = key
    return found
