"""What a row is, and the check at the door: nothing that fails it is ever written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.replay.codecs import Codec
from agents.replay.errors import ReplayError

Array = NDArray[Any]
Spec = Mapping[str, Any]
"""key -> (shape, numpy type), an example row (``[*shape]``), or a codec (agents.replay.codecs)."""

FLAGS = ("is_first", "is_last", "is_terminal")
REQUIRED = ("action", "reward", *FLAGS)
RESERVED = ("index", "counters")  # what a sample and a saved store hold besides


class RowSpec:
    """Keys, shapes and types of a row.

    Reward and flags of a row arrive with its observation; the action is taken after it.

    Args:
        spec: key -> (shape, numpy type), an example row, or a codec that says how the key is
            packed. Holds ``action``, ``reward`` (one float32) and the flags ``is_first``,
            ``is_last``, ``is_terminal`` (one bool each); all others are observations and stored
            latents.

    Attributes:
        keys: key -> shape and type of what lies in a store.
        codecs: key -> how it is packed, where it is.

    Raises:
        ReplayError: a required key is missing or has another shape or type, or a key cannot be
            stored.

    >>> flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), np.bool_))
    >>> spec = RowSpec(
    ...     {
    ...         "x": ((3,), np.float32),
    ...         "action": ((1,), np.float32),
    ...         "reward": ((), np.float32),
    ...         **flags,
    ...     }
    ... )
    >>> spec.fingerprint()["x"]
    [[3], '<f4']
    """

    def __init__(self, spec: Spec) -> None:
        self.codecs = {key: value for key, value in spec.items() if isinstance(value, Codec)}
        self.keys = {key: _entry(key, value) for key, value in spec.items()}
        missing = [key for key in REQUIRED if key not in self.keys]
        if missing:
            raise ReplayError(
                f"expected the keys {list(REQUIRED)} in the spec, "
                f"{missing} missing in {list(self.keys)}"
            )
        for key, dtype in {
            "reward": np.dtype(np.float32),
            **dict.fromkeys(FLAGS, np.dtype(np.bool_)),
        }.items():
            if self.keys[key] != ((), dtype):
                shape, got = self.keys[key]
                raise ReplayError(
                    f"{key!r}: expected the shape () and {dtype}, got {shape} and {got}; "
                    f"declare ((), {dtype})"
                )

    def fingerprint(self) -> dict[str, list[Any]]:
        """The same as plain data, key -> [shape, type, codec if any]; equal for equal specs."""
        return {
            k: [list(shape), dtype.str, *([self.codecs[k].name] if k in self.codecs else [])]
            for k, (shape, dtype) in self.keys.items()
        }

    def given(self, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of a key as it is given and sampled."""
        codec = self.codecs.get(key)
        return self.keys[key] if codec is None else (codec.shape, np.dtype(np.float32))

    def decode(self, packed: dict[str, Array]) -> dict[str, Array]:
        """What lies in a store, as it was given."""
        return {k: self.codecs[k].decode(v) if k in self.codecs else v for k, v in packed.items()}

    def check(
        self,
        rows: Mapping[str, Any],
        lead: tuple[int, ...],
        where: Callable[[tuple[int, ...]], str],
        keys: Iterable[str] | None = None,
    ) -> dict[str, Array]:
        """``rows`` as arrays ``[*lead, *shape]`` of the declared types.

        Args:
            rows: key -> value ``[*lead, *shape]``.
            lead: the leading dimensions, such as ``(N,)``.
            where: the name of a leading index, for errors.
            keys: the keys that must be there; all if None.

        Raises:
            ReplayError: an unknown or missing key, a wrong shape or type, a number that is not
                finite.
        """
        wanted = list(self.keys) if keys is None else list(keys)
        if rows.keys() != set(wanted) or not self.keys.keys() >= rows.keys():
            self._raise_keys(rows, wanted)
        return {key: self._value(key, rows[key], lead, where) for key in wanted}

    def _raise_keys(self, rows: Mapping[str, Any], wanted: Sequence[str]) -> None:
        for key in rows:
            if key not in self.keys:
                near = get_close_matches(str(key), list(self.keys), n=1)
                hint = (
                    f"did you mean {near[0]!r}?" if near else "add it to the spec, or leave it out"
                )
                raise ReplayError(
                    f"expected the keys {list(self.keys)}, got the unknown key {key!r}; {hint}"
                )
        if more := [key for key in rows if key not in wanted]:
            raise ReplayError(
                f"expected the keys {list(wanted)}, got {more} too, which the replay keeps itself; "
                "leave them out"
            )
        missing = [key for key in wanted if key not in rows]
        raise ReplayError(
            f"expected the keys {list(wanted)}, {missing} missing in {list(rows)}; "
            f"give every key of the spec"
        )

    def _value(
        self, key: str, value: Any, lead: tuple[int, ...], where: Callable[[tuple[int, ...]], str]
    ) -> Array:
        codec, (shape, dtype) = self.codecs.get(key), self.given(key)
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ReplayError(
                f"{key!r}: expected an array of shape {(*lead, *shape)}, got nested values: {error}"
            ) from error
        if array.shape != (*lead, *shape):
            raise ReplayError(
                f"{key!r}: expected the shape {(*lead, *shape)}, "
                f"leading dimensions {lead} and then the spec's {shape}, "
                f"got {array.shape}; reshape it, or declare another shape in the spec"
            )
        if array.dtype != dtype:
            array = _cast(key, array, dtype)
        if dtype.kind == "f":
            finite = np.isfinite(array)
            if not finite.all():
                at = tuple(int(i) for i in np.argwhere(~finite)[0])
                inner = f", index {list(at[len(lead) :])}" if shape else ""
                raise ReplayError(
                    f"{where(at[: len(lead)])}, key {key!r}: expected finite numbers in {dtype}, "
                    f"got {array[at]}{inner}; "
                    "nothing was written, look at where it comes from"
                )
        return array if codec is None else _encoded(key, codec, array)


def _encoded(key: str, codec: Codec, array: Array) -> Array:
    try:
        return codec.encode(array)
    except ReplayError as error:
        raise ReplayError(f"{key!r}: {error}") from None


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """What differs between two fingerprints, in words; empty if nothing does."""
    parts = [f"{k!r} only there" for k in found if k not in expected]
    parts += [f"{k!r} only here" for k in expected if k not in found]
    both = (k for k in expected if k in found and list(found[k]) != list(expected[k]))
    return ", ".join([*parts, *(f"{k!r} is {found[k]} there and {expected[k]} here" for k in both)])


def _entry(key: Any, value: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """One key of a spec: from (shape, type) or from an example ``[*shape]``; Python's floats mean
    float32.
    """
    if not isinstance(key, str) or not key or key in RESERVED:
        raise ReplayError(
            f"expected text as a key, not one of {list(RESERVED)}, got {key!r}; choose another name"
        )
    if isinstance(value, Codec):
        return value.packed
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], (tuple, list)):
        try:
            shape, dtype = tuple(int(n) for n in value[0]), np.dtype(value[1])
        except (TypeError, ValueError) as error:
            raise ReplayError(f"{key!r}: expected (shape, numpy type), got {value!r}") from error
    else:
        example: Array = np.array(value, np.float32 if type(value) is float else None)
        shape, dtype = example.shape, example.dtype
    if dtype.kind not in "fiub" or any(n < 0 for n in shape):
        raise ReplayError(
            f"{key!r}: expected a shape and a type of numbers or bools, got {shape} and {dtype}"
        )
    return shape, dtype


def _cast(key: str, array: Array, dtype: np.dtype[Any]) -> Array:
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise ReplayError(
            f"{key!r}: expected {dtype}, got {array.dtype}; cast it where its meaning is known"
        )
    with np.errstate(over="ignore"):  # the check for finite numbers sees the overflow
        result = array.astype(dtype)
    if dtype.kind in "iu" and not (result == array).all():
        raise ReplayError(
            f"{key!r}: expected numbers that {dtype} can hold, got {array[result != array][0]}"
        )
    return result
