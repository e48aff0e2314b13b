"""What objectives make of a discriminator's output."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Term = Callable[[Tensor], Tensor]


def same(y: Tensor) -> Tensor:
    """The output itself."""
    return y


def _cross_entropy(y: Tensor, target: float) -> Tensor:
    """``-log y`` or ``-log(1 - y)``, at most 100, in full precision also under autocast."""
    with torch.autocast(y.device.type, enabled=False):
        y = y if y.dtype == torch.float64 else y.float()
        return F.binary_cross_entropy(y, torch.full_like(y, target), reduction="none")


def minus_log(y: Tensor) -> Tensor:
    """:math:`-\\log d`."""
    return _cross_entropy(y, 1.0)


def minus_log_not(y: Tensor) -> Tensor:
    """:math:`-\\log (1 - d)`."""
    return _cross_entropy(y, 0.0)


def minus_log_of_logits(y: Tensor) -> Tensor:
    """:math:`-\\log d` from logits."""
    return F.softplus(-y)


def minus_log_not_of_logits(y: Tensor) -> Tensor:
    """:math:`-\\log (1 - d)` from logits."""
    return F.softplus(y)


def log_odds(y: Tensor) -> Tensor:
    """:math:`\\log d - \\log(1 - d)`."""
    return _cross_entropy(y, 0.0) - _cross_entropy(y, 1.0)


def log_of(y: Tensor) -> Tensor:
    """:math:`\\log d`."""
    return -minus_log(y)


def log_not(y: Tensor) -> Tensor:
    """:math:`\\log (1 - d)`."""
    return -minus_log_not(y)


def log_of_logits(y: Tensor) -> Tensor:
    """:math:`\\log d` from logits."""
    return F.logsigmoid(y)


def log_not_of_logits(y: Tensor) -> Tensor:
    """:math:`\\log (1 - d)` from logits."""
    return F.logsigmoid(-y)


def surprises(logits: bool) -> tuple[Term, Term]:
    """:math:`-\\log d` and :math:`-\\log(1 - d)`."""
    return (minus_log_of_logits, minus_log_not_of_logits) if logits else (minus_log, minus_log_not)


def negated(logits: bool, target: int) -> Term:
    """:math:`\\log d` (target 1) or :math:`\\log(1 - d)`."""
    pair = (log_not_of_logits, log_of_logits) if logits else (log_not, log_of)
    return pair[target]
