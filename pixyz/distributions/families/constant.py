"""Formulas of normals whose parameters are constants, as priors are: shorter where they are 0 and
1.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pixyz.plan import Slot, rules

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def constant(params: Mapping[str, Slot]) -> bool:
    """Whether ``loc`` and ``scale`` are values that a module holds, not results of a network."""
    return all(isinstance(params[n].fn, rules.Attribute) for n in ("loc", "scale"))


Memory = ctypes.Array[ctypes.c_char]
MOST_BYTES = 1024
"""How long a constant may be to be compared at each call."""


class StandardCheck:
    """Whether ``loc`` and ``scale`` are 0 and 1, and of the type and features of a value ``[B,
    ...]``.

    They are looked at again when they are other tensors or hold something else.  Of short ones on a
    CPU all bytes are compared.  Others tell that they were written to, unless it was through
    ``.data``: write to them under ``torch.no_grad()``.  Others that were made under
    ``torch.inference_mode()`` tell nothing, and count as any constants.
    """

    __slots__ = ("_place", "_seen", "_shape", "_standard", "_values")

    def __init__(self) -> None:
        self._seen: tuple[Tensor | None, Tensor | None, object, object] = (None, None, 0, 0)
        self._place: tuple[int, int, Memory, Memory] | None = None
        self._shape: torch.Size | None = None
        self._standard = self._values = False

    def __call__(self, x: Tensor, loc: Tensor, scale: Tensor) -> bool:
        if torch.compiler.is_compiling():  # versions and values cannot be looked at then
            return False
        shape = x.shape
        a, b, a_known, b_known = self._seen
        if loc is not a or scale is not b:
            self._look(loc, scale)
        elif self._place is None:
            if loc._version != a_known or scale._version != b_known:
                self._look(loc, scale)
        else:  # memory is read once it is known to be theirs
            a_at, b_at, a_held, b_held = self._place
            if (
                loc.data_ptr() != a_at
                or scale.data_ptr() != b_at
                or a_held.raw != a_known
                or b_held.raw != b_known
            ):
                self._look(loc, scale)
        if shape != self._shape:
            self._shape = shape
            self._standard = (
                self._values
                and len(shape) >= loc.ndim
                and shape[len(shape) - loc.ndim + 1 :] == loc.shape[1:]
            )
        return (
            self._standard
            and x.dtype is loc.dtype
            and not loc.requires_grad
            and not scale.requires_grad
        )

    def _look(self, loc: Tensor, scale: Tensor) -> None:
        """Compare all values: a device is waited for."""
        self._shape = None
        both = (loc, scale)
        if all([_short(t) for t in both]):
            a, b = [(ctypes.c_char * t.nbytes).from_address(t.data_ptr()) for t in both]
            self._place = (loc.data_ptr(), scale.data_ptr(), a, b)
            self._seen = (loc, scale, a.raw, b.raw)
        elif loc.is_inference() or scale.is_inference():
            self._seen, self._values = (None, None, 0, 0), False
            return
        else:
            self._place, self._seen = None, (loc, scale, loc._version, scale._version)
        self._values = loc.shape == scale.shape and bool(((loc == 0) & (scale == 1)).all())


def _short(x: Tensor) -> bool:
    """Whether all bytes of a tensor lie together, are few and can be read."""
    if x.device.type != "cpu" or not 0 < x.nbytes <= MOST_BYTES or not x.is_contiguous():
        return False
    try:
        return x.data_ptr() != 0
    except RuntimeError:  # what torch.func puts in the place of a tensor has no memory
        return False


class MinusLogNormal:
    r""":math:`-\log \mathcal{N}(x; \mu, \sigma^2)` for constants, features not summed."""

    __name__ = "minus_log_normal"
    reads = ("x", "loc", "scale")

    def __init__(self) -> None:
        self.standard = StandardCheck()
        self._bias: Tensor | None = None

    def __call__(self, x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        if self.standard(x, loc, scale):
            if (
                self._bias is None
                or self._bias.dtype is not loc.dtype
                or self._bias.device != loc.device
            ):
                self._bias = torch.full((), LOG_SQRT_2PI, dtype=loc.dtype, device=loc.device)
            return torch.addcmul(self._bias, x, x, value=0.5)
        gap = (x - loc) / scale
        return 0.5 * gap * gap + scale.log() + LOG_SQRT_2PI

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MinusLogNormal)

    def __hash__(self) -> int:
        return hash(MinusLogNormal)
