"""Plain data as bytes: what this process and its workers say to each other. Nothing that is read is
executed.

    8 bytes: the length of the text | text: JSON, in which arrays and tuples are marked | the bytes
    of all arrays

JSON keeps None, bools, integers of any size, floats (also those that are not finite), text, lists,
and dicts with text as keys; arrays and numpy's numbers keep dtype, shape and every bit.
"""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KINDS = "biuf"
_MARK = "__is__"


class WireError(ValueError):
    """Bytes that are not a message, or data that has no form in one."""


def encode(value: Any) -> bytes:
    """`value` as bytes. Raises WireError naming the place of what is not plain data.

    >>> decode(encode({"x": np.arange(3.0), "size": (64, 64)}))
    {'x': array([0., 1., 2.]), 'size': (64, 64)}
    """
    arrays: list[bytes] = []
    text = json.dumps(_marked(value, arrays, "")).encode()
    return b"".join([len(text).to_bytes(8, "little"), text, *arrays])


def decode(message: bytes | bytearray) -> Any:
    """The value in a message, in fresh memory.
    Raises WireError for what is not one whole message.
    """
    try:
        end = 8 + int.from_bytes(message[:8], "little")
        value, at = _unmarked(json.loads(message[8:end]), memoryview(message), end)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WireError(f"expected a whole message, got {len(message)} bytes: {error}") from error
    if at != len(message):
        raise WireError(f"expected a message of {at} bytes, got {len(message)}")
    return value


def send(connection: socket.socket, value: Any) -> None:
    """One message over a stream, its length first. Raises WireError before anything is sent."""
    connection.sendall(framed(value))


def framed(value: Any) -> bytes:
    """The bytes that `receive` reads as a message."""
    body = encode(value)
    return len(body).to_bytes(8, "little") + body


def receive(connection: socket.socket, until: float | None = None) -> Any:
    """One message from a stream. Raises EOFError when the other side is gone, and TimeoutError at
    `until` (of `time.monotonic`; None: never).
    """
    head = _exactly(connection, 8, until)
    return decode(_exactly(connection, int.from_bytes(head, "little"), until))


def _exactly(connection: socket.socket, count: int, until: float | None) -> bytearray:
    buffer = bytearray(count)
    view, at = memoryview(buffer), 0
    while at < count:
        if (
            until is not None
            and not select.select([connection], [], [], max(0.0, until - time.monotonic()))[0]
        ):
            raise TimeoutError(f"expected {count} bytes, got {at}")
        got = connection.recv_into(view[at:])
        if got == 0:
            raise EOFError(f"expected {count} bytes, got {at}")
        at += got
    return buffer


def _marked(value: Any, arrays: list[bytes], path: str) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in _KINDS:
        plain = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        arrays.append(plain.tobytes())
        kind = "array" if isinstance(value, np.ndarray) else "number"
        return {_MARK: kind, "dtype": plain.dtype.str, "shape": list(np.shape(value))}
    if type(value) is list:
        return [_marked(each, arrays, f"{path}/{i}") for i, each in enumerate(value)]
    if isinstance(value, tuple):
        return {
            _MARK: "tuple",
            "of": [_marked(each, arrays, f"{path}/{i}") for i, each in enumerate(value)],
        }
    if isinstance(value, dict) and all(type(key) is str for key in value) and _MARK not in value:
        return {key: _marked(each, arrays, f"{path}/{key}") for key, each in value.items()}
    raise WireError(
        f"{path.lstrip('/') or 'value'}: expected numbers, text, arrays of numbers, "
        f"or lists and dicts of "
        f"them, got {type(value).__name__}"
    )


def _unmarked(value: Any, buffer: memoryview, at: int) -> tuple[Any, int]:
    """The value, and where in `buffer` its arrays end."""
    if isinstance(value, list):
        return _list(value, buffer, at)
    if not isinstance(value, dict):
        return value, at
    kind = value.get(_MARK)
    if kind is None:
        found = {}
        for key, each in value.items():
            found[key], at = _unmarked(each, buffer, at)
        return found, at
    if kind == "tuple":
        parts, at = _list(value["of"], buffer, at)
        return tuple(parts), at
    array, at = _array(str(value["dtype"]), value["shape"], buffer, at)
    return (array if kind == "array" else array[()]), at


def _list(values: Any, buffer: memoryview, at: int) -> tuple[list[Any], int]:
    found = []
    for each in values:
        one, at = _unmarked(each, buffer, at)
        found.append(one)
    return found, at


def _array(dtype: str, shape: Any, buffer: memoryview, at: int) -> tuple[NDArray[Any], int]:
    kind = np.dtype(dtype)
    if kind.kind not in _KINDS or not all(type(side) is int and side >= 0 for side in shape):
        raise WireError(f"expected an array of numbers, got dtype {dtype!r} and shape {shape!r}")
    end = at + kind.itemsize * int(np.prod(shape, dtype=object))
    if end > len(buffer):
        raise WireError(f"expected {end} bytes, got {len(buffer)}")
    return np.frombuffer(buffer[at:end], kind).reshape(shape).copy(), end
