"""Check the options that several constructors share."""

from __future__ import annotations

from typing import Any

from envs.errors import EnvError


def check_count(name: str, value: Any, least: int = 1) -> int:
    """`value` if it is an integer of at least `least`. Raises EnvError otherwise."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < least:
        raise EnvError(
            f"{name}: expected an integer of at least {least}, got {value!r}; count in whole steps"
        )
    return int(value)


def check_seconds(name: str, value: Any) -> float:
    """`value` if it is a positive number of seconds. Raises EnvError otherwise."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 < value < float("inf")
    ):
        raise EnvError(
            f"{name}: expected a positive number of seconds, got {value!r}; give a finite one"
        )
    return float(value)
