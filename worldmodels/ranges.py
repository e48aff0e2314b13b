"""Ranges of settings, said where the settings are: a dataclass with ``RANGES`` refuses what lies
outside of them.

RANGES = {"[1, 4096]": "batch horizon", "(0, 1]": "lr"}   an interval -> names of numbers in it
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from pixyz.types import PixyzError

INTERVAL = re.compile(r"([\[(])\s*([^,\s]+)\s*,\s*([^,\s]+)\s*([\])])")


def ranges(cls: type[Any]) -> Iterator[tuple[str, str]]:
    """The intervals that a class and its bases declare: name and interval.

    >>> class Settings:
    ...     RANGES = {"[1, 8]": "batch length"}
    >>> dict(ranges(Settings))
    {'batch': '[1, 8]', 'length': '[1, 8]'}
    """
    for base in cls.__mro__:
        for interval, names in vars(base).get("RANGES", {}).items():
            yield from ((name, interval) for name in names.split())


def check_ranges(settings: Any, texts: Collection[str] = ()) -> None:
    """Refuse a number of ``settings`` that is outside of its interval, no number, or not finite;
    None is left alone.

    Args:
        texts: the names whose value may be a text, too, which is not looked at here.

    Raises:
        PixyzError: names the setting, what was expected and what came.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     RANGES = {"(0, 1]": "lr"}
    ...     lr: float = 0.1
    >>> check_ranges(Settings())
    >>> check_ranges(Settings(lr=0.0))
    Traceback (most recent call last):
        ...
    pixyz.types.PixyzError: lr must be above 0 and at most 1, got 0.0
    """
    for name, interval in ranges(type(settings)):
        value = getattr(settings, name)
        said = name in texts and isinstance(value, str)
        if value is not None and not said and not _within(value, interval):
            raise PixyzError(f"{name} must be {_said(interval)}, got {_shown(value)}")


def _within(value: Any, interval: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    left, low, high, right = _parts(interval)
    above = value >= low if left == "[" else value > low
    return above and (value <= high if right == "]" else value < high)  # NaN is neither


def _parts(interval: str) -> tuple[str, float, float, str]:
    found = INTERVAL.fullmatch(interval)
    assert found is not None, f"expected an interval such as '(0, 1]', got {interval!r}"
    left, low, high, right = found.groups()
    return left, float(low), float(high), right


def _said(interval: str) -> str:
    left, low, high, right = _parts(interval)
    return (
        f"{'at least' if left == '[' else 'above'} {low:.12g} and "
        f"{'at most' if right == ']' else 'below'} {high:.12g}"
    )


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python does not write a whole number of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
