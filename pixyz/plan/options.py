"""How an objective is lowered: what is shared, compiled and checked, and the contract of a pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

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
        checked: check each value that is computed (:func:`pixyz.debug`).
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
