"""A replay's capacity as rows, or as the space that they take: ``1000000``, ``2GB``, ``512MiB``."""

from __future__ import annotations

import re

import numpy as np

from agents.replay.errors import ReplayError
from agents.replay.rows import RowSpec

UNITS = {
    **{f"{p}B": 1000**i for i, p in enumerate(["", "k", "M", "G", "T"])},
    **{f"{p}iB": 1024**i for i, p in enumerate(["K", "M", "G", "T"], start=1)},
}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?i?B)")


def parse_size(text: str) -> int:
    """Bytes of a text such as ``2GB`` (1000^3) or ``2GiB`` (1024^3).

    Raises:
        ReplayError: it is none.

    >>> parse_size("1.5kB"), parse_size("2 MiB")
    (1500, 2097152)
    """
    found = SIZE.fullmatch(text.strip())
    if found is None or found[2] not in UNITS:
        raise ReplayError(
            f"capacity must be rows, or space such as 2GB or 512MiB ({', '.join(UNITS)}), "
            f"got {text!r}"
        )
    return int(float(found[1]) * UNITS[found[2]])


def row_bytes(spec: RowSpec) -> int:
    """Bytes that a row takes in a store.

    >>> flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
    >>> row_bytes(RowSpec({"action": ((2,), "f4"), "reward": ((), "f4"), **flags}))
    15
    """
    return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in spec.keys.values())


def rows_of(capacity: int | str, spec: RowSpec) -> int:
    """Rows of a capacity: a number of them, or as many as fit into a space.

    Raises:
        ReplayError: not one row fits.

    >>> flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
    >>> rows_of("150B", RowSpec({"action": ((2,), "f4"), "reward": ((), "f4"), **flags}))
    10
    """
    if isinstance(capacity, int):
        return capacity
    size, each = parse_size(capacity), row_bytes(spec)
    if size < each:
        raise ReplayError(f"expected space for a row of {each:,} bytes, got {capacity!r}")
    return size // each
