"""Scales of a density are positive; a draw may do with 0, which is what rounds to it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pixyz.plan.looks import Seen, true
from pixyz.types import PixyzError


@dataclass(frozen=True)
class Scales:
    """Parameters of which 0 has no density: scales, rates, concentrations, degrees of freedom.

    Args:
        of: the distribution.
        family: its family.
        variable: of the value that is scored.
        names: of the parameters.
        matrices: those whose diagonal it is.
    """

    of: str
    family: str
    variable: str
    names: tuple[str, ...]
    matrices: tuple[bool, ...]
    __name__ = "look_scales"

    def __call__(self, *seen: Seen) -> None:
        for name, matrix, (x, _) in zip(self.names, self.matrices, seen, strict=True):
            if not isinstance(x, Tensor):
                continue
            zero = (x.detach().diagonal(dim1=-2, dim2=-1) if matrix else x.detach()) == 0
            if true(zero.any()):
                where = f"{'the diagonal of ' * matrix}{name!r} {list(x.shape)} of {self.family}"
                raise PixyzError(
                    f"{self.of}: {where} must be positive where {self.variable!r} is scored, it is "
                    f"0 in {int(zero.sum())} places; a network may return softplus(x) + 1e-6"
                )
