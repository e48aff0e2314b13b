"""How an objective is lowered: what is shared, compiled and checked, and the contract of a pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from pixyz.plan.graph import Graph
from pixyz.types import PixyzError


class Pass(Protocol):
    """A rewriting of graphs: the same values, gradients and noise, in another way.

    It does not change what it is given; :meth:`pixyz.plan.Graph.but` makes another graph.

    >>> from pixyz.plan import PASSES
    >>> PASSES[0].name
    'fold'
    """

    @property
    def name(self) -> str:
        """What it is called in ``plan.after(name)``."""
        ...

    def applies(self, graph: Graph, options: Options) -> bool:
        """Whether there is anything to do."""
        ...

    def __call__(self, graph: Graph, options: Options) -> Graph:
        """The graph that does the same in another way."""
        ...


@dataclass(frozen=True)
class Options:
    """How plans are made.

    Args:
        sharing: compute the parameters of a distribution once for all terms that need them. False
            is for measurements of what that is worth.
        fission: split time loops; False keeps every loop whole, whatever its own setting.
        chunk: steps of a time loop that are compiled together; 0 compiles nothing.
        whole: compile what is around the loops, too.
        max_rows: of a call of a network that left a time loop; 0 calls it once on all.
        backend, mode: of ``torch.compile``.
        checked: check each value that is computed (:func:`debug`).
        passes: what is done to the graph of steps; :data:`pixyz.plan.PASSES` if None.

    >>> Options(chunk=8).fission
    True
    """

    sharing: bool = True
    fission: bool = True
    chunk: int = 0
    whole: bool = False
    max_rows: int = 0
    backend: Any = "inductor"
    mode: str | None = None
    checked: bool = False
    passes: tuple[Pass, ...] | None = None

    def __post_init__(self) -> None:
        if self.chunk < 0:
            raise PixyzError(
                f"chunk must be a number of steps, or 0 to compile nothing; got {self.chunk}"
            )
        if self.max_rows < 0 or self.max_rows == 1:
            raise PixyzError(
                f"max_rows must be a number of rows from 2 on, or 0 for all at once; "
                f"got {self.max_rows}"
            )


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
