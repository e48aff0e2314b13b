"""Where values and parameters must lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def true(flag: Tensor) -> bool:
    """A flag of one element; False where it cannot be known (fake tensors,
    transformed functions).
    """
    try:
        return bool(flag)
    except Exception:
        return False


@dataclass(frozen=True)
class Domain:
    """Where values must lie.

    Args:
        low, high: the bounds, both included.
        total: of the last dimension, or of ``group`` values of it at a time.
        whole: whole numbers only.
        nonzero: not all of the last dimension are 0.
        advice: what to do about values outside.

    >>> Domain(0.0, 1.0).misfit(torch.tensor([0.5, 2.0]))
    'must lie between 0 and 1, got 2 and 0 more outside'
    """

    low: float = -float("inf")
    high: float = float("inf")
    total: float | None = None
    group: int | None = None
    whole: bool = False
    nonzero: bool = False
    advice: str = ""

    def misfit(self, x: Tensor) -> str:
        """What is wrong with ``x``, rounding aside; an empty string if nothing is. NaN is not
        looked at.
        """
        x = x.detach()
        slack = torch.finfo(x.dtype).eps ** 0.5 if x.is_floating_point() else 0.0
        below = x < self.low - (slack if self.high < float("inf") else 0.0)
        outside = below | (x > self.high + slack)
        if true(outside.any()):
            bounded = self.high < float("inf")
            where = (
                f"lie between {self.low:g} and {self.high:g}"
                if bounded
                else f"be at least {self.low:g}"
            )
            return self._say(where, x, outside, "outside")
        if self.whole and true((broken := (x - x.round()).abs() > slack).any()):
            return self._say("be whole numbers", x, broken, "that are none")
        if self.nonzero and x.ndim and true((x == 0).all(-1).any()):
            return f"must not be 0 for all classes{self._advice()}"
        if self.total is not None and x.ndim:
            sums = (x if self.group is None else x.unflatten(-1, (-1, self.group))).sum(-1)
            if true((wrong := (sums - self.total).abs() > 10 * slack).any()):
                return self._say(
                    f"sum to {self.total:g} along the last dimension", sums, wrong, "that do not"
                )
        return ""

    def _say(self, must: str, x: Tensor, where: Tensor, that: str) -> str:
        found = x[where].flatten()
        return (
            f"must {must}, got {found[0].item():g} and {len(found) - 1} more {that}{self._advice()}"
        )

    def _advice(self) -> str:
        return f"; {self.advice}" if self.advice else ""


POSITIVE = Domain(0.0, advice="a network may return softplus(x) or exp(x)")
BITS = Domain(0.0, 1.0, advice="give 'logits' where the network has no sigmoid")
WEIGHTS = Domain(0.0, nonzero=True, advice="give 'logits' where the network has no softmax")
_POSITIVE = (
    "scale",
    "rate",
    "df",
    "concentration",
    "concentration0",
    "concentration1",
    "alpha",
    "cov_diag",
    "scale_tril",
    "covariance_matrix",
)
CONSTRAINTS = {**dict.fromkeys(_POSITIVE, POSITIVE), "probs": BITS, "total_count": Domain(0.0)}
"""Where parameters must lie, by their names; of a matrix its diagonal.  0 is let through, as what
rounds to it is.
"""
