"""Columns of parquet files as arrays: numbers, and vectors of one length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels.data.episodes import Array
from worldmodels.data.errors import DataError
from worldmodels.data.folders import need, reading


def read_table(file: Path, columns: Sequence[str] | None = None, leave: str = "") -> Any:
    """Some columns of a file (those that are there), or all whose names do not begin with
    ``leave``.

    Raises:
        DataError: it cannot be read.
    """
    parquet = need("pyarrow.parquet", "reading LeRobot's data sets")
    with reading(f"{file}: expected a parquet file"):
        there = parquet.read_schema(file).names
        wanted = [
            c
            for c in there
            if (c in columns if columns is not None else not (leave and c.startswith(leave)))
        ]
        return parquet.ParquetFile(file, page_checksum_verification=True).read(columns=wanted)


def numbers(table: Any, name: str, shape: Sequence[int], where: str) -> Array:
    """``[T]`` numbers, or ``[T, D]``: lists (of lists) of one length, as ``shape`` says.

    Raises:
        DataError: a value is missing, of another length, or no number; names ``where`` and the
            step.
    """
    compute = need("pyarrow.compute", "reading LeRobot's data sets")
    steps, values = len(table), table[name].combine_chunks()
    rows = np.arange(steps)
    while True:
        with reading(f"{where}: expected numbers, got the type {values.type}"):
            empty = np.flatnonzero(np.asarray(values.is_null()))
        if len(empty):
            raise DataError(f"{where}, step {rows[empty[0]]}: expected a value, got none")
        if not (hasattr(values, "flatten") and hasattr(values.type, "value_type")):
            break
        with reading(f"{where}: expected numbers, got the type {values.type}"):
            lengths = np.asarray(compute.list_value_length(values))
            values = values.flatten()
        uneven = np.flatnonzero(lengths != lengths[0]) if len(lengths) else lengths
        if len(uneven):
            raise DataError(
                f"{where}, step {rows[uneven[0]]}: expected vectors of one length, "
                f"{lengths[0]} as in step 0, got "
                f"{lengths[uneven[0]]}"
            )
        rows = np.repeat(rows, lengths)
    with reading(f"{where}: expected numbers, got the type {values.type}"):
        found: Array = values.to_numpy(zero_copy_only=False)
    if found.dtype.kind not in "fiub" or len(found) != steps * int(np.prod(shape or (1,))):
        raise DataError(
            f"{where}: expected {list(shape)} numbers a frame, "
            f"got {len(found) / max(1, steps):g} of type "
            f"{found.dtype}"
        )
    return found.reshape(steps, -1) if np.prod(shape) > 1 else found
