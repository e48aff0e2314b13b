"""Files of public data sets: downloaded once into a cache, and checked by SHA-256 whenever they are
used.

The cache is the folder that the environment variable ``PIXYZ_DATA`` names, or ``~/.cache/pixyz``.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from worldmodels.data.errors import DataError

SECONDS = 30.0  # without an answer


def file_sha256(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def unzipped_sha256(file: Path) -> str:
    """The SHA-256 of what a ``.gz`` file holds, which is the same in every mirror."""
    with gzip.open(file) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()  # type: ignore[arg-type]


@dataclass(frozen=True)
class Source:
    """A file that the public offers.

    Args:
        name: its path below the cache, ``"mnist/train-images-idx3-ubyte.gz"``.
        url: where it is.
        sha256: its checksum.
        licence: as the source states it.
        size: bytes, about.
        digest: what ``sha256`` is the checksum of; the whole file, if nothing is said.

    >>> Source("mnist/a.gz", "https://example.org/a.gz", "0" * 64, "MIT", 10).licence
    'MIT'
    """

    name: str
    url: str
    sha256: str
    licence: str
    size: int
    digest: Callable[[Path], str] = field(default=file_sha256, repr=False)


def cache_folder() -> Path:
    """Where downloads are kept."""
    return Path(os.environ.get("PIXYZ_DATA") or Path.home() / ".cache" / "pixyz").expanduser()


def fetch(source: Source, folder: str | Path | None = None) -> Path:
    """The file, checked.

    Args:
        source: which.
        folder: a folder that holds it; if None, it is taken from the cache, and downloaded where it
            is not there yet.

    Raises:
        DataError: it is not in the folder; it could not be downloaded; its checksum is another one.
    """
    base = Path(source.name).name
    if folder is not None:
        file = Path(folder).expanduser() / base
        if not file.is_file():
            raise DataError(f"{file}: no such file; it is to be had from {source.url}")
        return _checked(file, source, "give another folder, or none to download it")
    file = cache_folder() / source.name
    if not file.is_file():
        _download(source, file)
    return _checked(file, source, "delete it to have it downloaded again")


def _checked(file: Path, source: Source, advice: str) -> Path:
    try:
        found = source.digest(file)
    except Exception as error:  # a digest may parse the file
        found = f"{type(error).__name__}: {error}"
    if found != source.sha256:
        raise DataError(
            f"{file}: expected the SHA-256 {source.sha256}, got {found}; "
            f"it is damaged or another one: {advice}"
        )
    return file


def _download(source: Source, file: Path) -> None:
    local = f"or put the file there by hand, or give a folder that holds {file.name}"
    print(
        f"{source.url} ({source.size / 1e6:.1f} MB; licence: {source.licence}) -> {file}",
        file=sys.stderr,
    )
    partial: Path | None = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        partial = Path(name)
        request = Request(source.url, headers={"User-Agent": "pixyz"})
        with os.fdopen(handle, "wb") as out, urlopen(request, timeout=SECONDS) as given:
            while block := given.read(1 << 20):
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
        _checked(partial, source, local)
        os.replace(partial, file)
    except DataError as error:
        raise DataError(f"{source.url}, downloaded for {file}: {error}") from None
    except (URLError, OSError, ValueError) as error:
        raise DataError(
            f"{source.url} could not be downloaded to {file}: "
            f"{getattr(error, 'reason', None) or error}; try again, "
            f"{local}"
        ) from None
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
