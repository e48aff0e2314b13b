"""How an agent's own state lies in a replay in fewer bytes: choices as numbers of classes, numbers
as bfloat16.

A codec stands in a spec where shape and type would. What goes in and what comes out are float32
arrays of its ``shape``; what lies in the store has its ``packed`` shape and type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agents.replay.errors import ReplayError

Array = NDArray[Any]


@runtime_checkable
class Codec(Protocol):
    """Packs float32 arrays.

    >>> isinstance(OneHot(2, 3), Codec) and isinstance(BFloat16((4,)), Codec)
    True
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a value."""
        ...

    @property
    def packed(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of a value in the store."""
        ...

    @property
    def name(self) -> str:
        """What tells it apart from others of the same packed shape and type."""
        ...

    def encode(self, value: Array) -> Array:
        """``[..., *shape]`` to ``[..., *packed shape]``."""
        ...

    def decode(self, packed: Array) -> Array:
        """Back."""
        ...


@dataclass(frozen=True)
class OneHot:
    """``groups`` choices of one of ``classes``, a byte each; exact. A choice that was not made,
    zeros, is kept too.

    Raises:
        ReplayError: there are more than 255 classes.

    >>> codec = OneHot(groups=2, classes=3)
    >>> packed = codec.encode(np.array([0, 1, 0, 0, 0, 0], np.float32))
    >>> packed.tolist(), codec.decode(packed).tolist()
    ([1, 3], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    """

    groups: int
    classes: int

    def __post_init__(self) -> None:
        if not 1 <= self.classes <= 255 or self.groups < 1:
            raise ReplayError(
                f"expected 1 to 255 classes, whose number is a byte, got {self.classes} "
                f"in {self.groups} groups"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.groups * self.classes,)

    @property
    def packed(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        return (self.groups,), np.dtype(np.uint8)

    @property
    def name(self) -> str:
        return f"one of {self.classes}"

    def encode(self, value: Array) -> Array:
        each = value.reshape(*value.shape[:-1], self.groups, self.classes)
        made = each.any(-1)
        found = np.where(made, each.argmax(-1), self.classes).astype(np.uint8)
        if not np.array_equal(self.decode(found), value):
            raise ReplayError(
                f"expected {self.groups} one-hot vectors of {self.classes}, or zeros, "
                "got other numbers; declare the key by shape and type"
            )
        return found

    def decode(self, packed: Array) -> Array:
        table = np.eye(self.classes + 1, self.classes, dtype=np.float32)
        return table[packed].reshape(*packed.shape[:-1], self.groups * self.classes)


@dataclass(frozen=True)
class BFloat16:
    """Numbers with the 8 leading bits of float32's fraction, rounded to nearest, ties to even: half
    the space.

    >>> codec = BFloat16((2,))
    >>> codec.decode(codec.encode(np.array([1.0, 3.14159], np.float32))).tolist()
    [1.0, 3.140625]
    """

    shape: tuple[int, ...]

    @property
    def packed(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        return self.shape, np.dtype(np.uint16)

    @property
    def name(self) -> str:
        return "bfloat16"

    def encode(self, value: Array) -> Array:
        bits = np.ascontiguousarray(value, np.float32).view(np.uint32)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        found: Array = ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)
        return found

    def decode(self, packed: Array) -> Array:
        found: Array = (packed.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return found


def named_codec(name: str, packed: tuple[int, ...]) -> Codec:
    """The codec of a name and a packed shape, as they stand in a replay's folder.

    Raises:
        ReplayError: there is none of this name.

    >>> named_codec("one of 3", (2,)), named_codec("bfloat16", (4,)).name
    (OneHot(groups=2, classes=3), 'bfloat16')
    """
    kind, _, classes = name.rpartition(" ")
    if kind == "one of" and classes.isdecimal() and len(packed) == 1:
        return OneHot(packed[0], int(classes))
    if name == "bfloat16":
        return BFloat16(packed)
    raise ReplayError(f"expected 'one of N' or 'bfloat16' as the name of a codec, got {name!r}")
