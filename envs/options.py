"""Check the options that several constructors share."""

from __future__ import annotations

from typing import Any

from envs.errors import EnvError


def check_count(name: str, value: Any, least: int = 1) -> int:
    """`value` if it is an integer of at least `least`. Raises EnvError otherwise."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < least:
        raise EnvError(f"{name}: expected an integer of at least {least}, got {value!r}; count in whole steps")
    return int(value)
