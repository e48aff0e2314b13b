"""A network that left its time loop, run on some rows at a time: less memory, the same results.

Split loops call decoders and heads once on ``[T*B, ...]``, so the activations of all steps are
there together.  In slabs only results are kept; what is between is computed again in the backward
pass, one slab at a time (Chen et al., 2016)::

    rows = 1000, max_rows = 256:   four calls; a backward pass holds the activations of 256 rows
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def count_rows(values: Sequence[object], has_rows: Sequence[bool]) -> int:
    """How many rows the arguments of a network have; 0 if none has any."""
    return max(
        [
            0,
            *(
                len(x)
                for x, has in zip(values, has_rows, strict=True)
                if has and isinstance(x, Tensor) and x.ndim
            ),
        ]
    )


def cut_rows(
    values: Sequence[object], has_rows: Sequence[bool], rows: int, part: slice
) -> list[Any]:
    """The arguments with only a ``part`` of their ``rows``."""
    return [
        x[part] if has and isinstance(x, Tensor) and x.ndim and len(x) == rows else x
        for x, has in zip(values, has_rows, strict=True)
    ]


def in_slabs(
    network: Callable[..., Sequence[Tensor]],
    has_rows: Sequence[bool],
    max_rows: int,
    *values: object,
) -> tuple[Tensor, ...]:
    """``network(*values)``, at most ``max_rows`` rows at a time.

    Args:
        network: returns a tuple of tensors, each with the rows of its arguments or without any.
        has_rows: which arguments have rows.
        max_rows: of a call.
        *values: the arguments.
    """
    rows = count_rows(values, has_rows)
    if rows <= max_rows:
        return tuple(network(*values))
    from torch.utils.checkpoint import checkpoint  # in torch 2.6 it pulls in sympy

    found: list[Sequence[Tensor]] = []
    sizes, start = uneven_sizes(rows, max_rows), 0
    for size in sizes:
        cut = cut_rows(values, has_rows, rows, slice(start, start + size))
        start += size
        if torch.is_grad_enabled():
            found.append(checkpoint(network, *cut, use_reentrant=False))
        else:
            found.append(network(*cut))
    return tuple(
        torch.cat(parts) if have_rows(parts, sizes) else parts[0]
        for parts in zip(*found, strict=True)
    )


def have_rows(parts: Sequence[Tensor], sizes: Sequence[int]) -> bool:
    """Whether a result of slabs of unequal ``sizes`` has as many rows as they; else it is the same
    for all.
    """
    return all(p.ndim and len(p) == n for p, n in zip(parts, sizes, strict=True))


def uneven_sizes(rows: int, max_rows: int) -> list[int]:
    """Rows of each slab, not all the same: a result that has them all has rows.

    >>> uneven_sizes(8, 3), uneven_sizes(9, 3)
    ([3, 3, 2], [3, 3, 2, 1])
    """
    whole, rest = divmod(rows, max_rows)
    return (
        [max_rows] * whole + [rest]
        if rest
        else [max_rows] * (whole - 1) + [(max_rows + 1) // 2, max_rows // 2]
    )
