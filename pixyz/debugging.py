"""Whether plans check what they compute.

It stands beside the plan, so that ``import pixyz`` alone loads none of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch

_debug: ContextVar[bool] = ContextVar("pixyz_debug", default=False)


@contextlib.contextmanager
def debug(enabled: bool = True) -> Iterator[None]:
    """Check every value that a plan computes; slow.

    Within the context a value that is not finite raises a ``PixyzError`` that names the step it
    came from.  What is looked at when a plan runs on new shapes (that nothing broadcasts by
    accident, that scales are positive, that bits and classes, which may be soft, lie in the
    support) is looked at in each run.

    >>> import torch, pixyz
    >>> from pixyz.distributions import Normal
    >>> p = Normal(var="x", loc=0.0, scale=torch.tensor([1e-30]), name="p")
    >>> with pixyz.debug():
    ...     p.log_prob().eval({"x": torch.ones(2, 1)})
    Traceback (most recent call last):
        ...
    pixyz.types.PixyzError: log p(x) is not finite (2 of 2 values); look at what it is computed from
    """
    token = _debug.set(enabled)
    try:
        yield
    finally:
        _debug.reset(token)


def debugging() -> bool:
    """Whether plans check what they compute."""
    # dynamo cannot read a context variable
    return not torch.compiler.is_compiling() and _debug.get()
