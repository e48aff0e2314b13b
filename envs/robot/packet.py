"""Datagrams of a simulated robot: a head of fixed size, numbers, a checksum. Nothing in them can be
executed.

"PXR1" | kind | flags | session | serial | answered | time | count | count float64 | CRC-32 of all
before
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

HELLO, COMMAND, STOP, STATE, FAULTS = 1, 2, 3, 4, 5
STOPPED = 1  # a flag
_HEAD = struct.Struct("<4sBBQQQdI")
_MAGIC = b"PXR1"
_MOST = 1000


class Packet(NamedTuple):
    """A message. `session` is that of the program that connected last, `serial` counts up within
    it.

    >>> unpack(pack(Packet(COMMAND, session=7, serial=1, time=0.5, values=np.array([0.25])))).values
    array([0.25])
    """

    kind: int
    session: int
    serial: int
    time: float
    values: NDArray[Any]
    answered: int = 0
    flags: int = 0


def pack(packet: Packet) -> bytes:
    """A packet as bytes."""
    p, values = packet, np.asarray(packet.values, "<f8")
    body = (
        _HEAD.pack(_MAGIC, p.kind, p.flags, p.session, p.serial, p.answered, p.time, values.size)
        + values.tobytes()
    )
    return body + zlib.crc32(body).to_bytes(4, "little")


def unpack(message: bytes) -> Packet | None:
    """The packet in a message; None for bytes that are none, whole and as they were sent."""
    if len(message) < _HEAD.size + 4 or zlib.crc32(message[:-4]) != int.from_bytes(
        message[-4:], "little"
    ):
        return None
    magic, kind, flags, session, serial, answered, time, count = _HEAD.unpack_from(message)
    if magic != _MAGIC or count > _MOST or len(message) != _HEAD.size + 8 * count + 4:
        return None
    values = np.frombuffer(message, "<f8", count, _HEAD.size).copy()
    return Packet(kind, session, serial, time, values, answered, flags)
