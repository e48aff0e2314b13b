"""Words beside numbers."""

from __future__ import annotations


def counted(count: int, one: str) -> str:
    """So many of something.

    >>> counted(1, "episode"), counted(1200, "row")
    ('1 episode', '1,200 rows')
    """
    return f"{count:,} {one}{'' if count == 1 else 's'}"
