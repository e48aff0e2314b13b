"""Formulas of normals whose parameters are constants, as priors are: shorter where they are 0 and
1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pixyz.plan import Slot, rules

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def constant(params: Mapping[str, Slot]) -> bool:
    """Whether ``loc`` and ``scale`` are values that a module holds, not results of a network."""
    return all(isinstance(params[n].fn, rules.Attribute) for n in ("loc", "scale"))


class StandardCheck:
    """Whether ``loc`` and ``scale`` are 0 and 1, and of the type and features of a value ``[B,
    ...]``.

    They are looked at again when they are other tensors or were written to: a device is waited for
    then.
    """

    __slots__ = ("_seen", "_shape", "_standard", "_values")

    def __init__(self) -> None:
        self._seen: tuple[object, ...] = (None, None, 0, 0)
        self._shape: torch.Size | None = None
        self._standard = self._values = False

    def __call__(self, x: Tensor, loc: Tensor, scale: Tensor) -> bool:
        if torch.compiler.is_compiling():  # versions and values cannot be looked at then
            return False
        shape = x.shape
        a, b, a_version, b_version = self._seen
        if (
            loc is not a
            or scale is not b
            or loc._version != a_version
            or scale._version != b_version
        ):
            self._seen, self._shape = (loc, scale, loc._version, scale._version), None
            self._values = loc.shape == scale.shape and bool(((loc == 0) & (scale == 1)).all())
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
