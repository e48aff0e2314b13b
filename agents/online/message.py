"""What actor and learner say to each other: plain data under a checksum. Nothing that is read is
executed.

    4 bytes "pxo1" | 4 bytes: CRC-32 of the rest | the message, as ``envs.wire`` writes it

A message is a dict with ``kind`` and the fields of :data:`FIELDS`. What is damaged, unknown or of
the wrong type is refused before anybody acts on it; what is refused is counted by the receiver and
otherwise ignored: it is said again.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.wire import WireError, decode, encode

MAGIC = b"pxo1"
LARGEST = 1 << 30
"""Bytes of a message, at most."""
_NUMBER = 1 << 62

FIELDS: dict[str, dict[str, type]] = {
    # actor -> learner
    "hello": {"actor": int, "log": str, "life": str, "first": int, "about": dict},
    "rows": {"actor": int, "log": str, "life": str, "session": str, "first": int, "rows": list},
    "want": {"actor": int, "log": str, "life": str, "session": str, "version": int},
    # learner -> actor
    "state": {"log": str, "session": str, "have": int, "safe": int},
    "weights": {"session": str, "version": int, "arrays": dict},
    "refused": {"log": str, "why": str, "again": bool},
}
"""What each kind of message holds."""


class DamagedError(ValueError):
    """Bytes that are no message of actor or learner.

    >>> raise DamagedError("expected a message")
    Traceback (most recent call last):
        ...
    agents.online.message.DamagedError: expected a message
    """


def pack(kind: str, **fields: Any) -> bytes:
    """A message as bytes.

    >>> unpack(pack("state", log="a", session="b", have=3, safe=0))["have"]
    3
    """
    body = encode({"kind": kind, **fields})
    return b"".join([MAGIC, zlib.crc32(body).to_bytes(4, "little"), body])


def unpack(frame: bytes) -> dict[str, Any]:
    """The message in a frame.

    Raises:
        DamagedError: its checksum, its form, a field's type or a number's range is not as expected.
    """
    if not 8 <= len(frame) <= LARGEST or frame[:4] != MAGIC:
        raise DamagedError(
            f"expected a message that begins with {MAGIC!r}, got {len(frame)} bytes: {frame[:8]!r}"
        )
    body = frame[8:]
    if zlib.crc32(body) != int.from_bytes(frame[4:8], "little"):
        raise DamagedError(
            f"a message of {len(frame)} bytes is not what was sent: its checksum differs"
        )
    try:
        message = decode(body)
    except (WireError, MemoryError) as error:
        raise DamagedError(str(error)) from None
    if not isinstance(message, dict):
        raise DamagedError(f"expected a message, got {type(message).__name__}")
    name = message.get("kind")
    fields = FIELDS.get(name) if isinstance(name, str) else None
    if fields is None or set(message) != {"kind", *fields}:
        raise DamagedError(
            f"expected one of {', '.join(FIELDS)} with its fields, got {sorted(message)[:9]}"
        )
    for key, kind in fields.items():
        value = message[key]
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value < _NUMBER):
            raise DamagedError(f"{name}: expected {key} as {kind.__name__}, got {value!r:.40}")
    return message


def as_array(data: bytes) -> NDArray[np.uint8]:
    """Bytes in the form that a message holds."""
    return np.frombuffer(data, np.uint8)


def as_bytes(value: Any) -> bytes:
    """The bytes of :func:`as_array`.

    Raises:
        DamagedError: it is none.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 1:
        raise DamagedError(f"expected bytes, got {type(value).__name__}")
    return value.tobytes()
