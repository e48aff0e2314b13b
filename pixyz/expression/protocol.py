"""What an expression may ask of a distribution, and how it asks: Density, Draw, Score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pixyz.plan import Axis, Scope, Slot


@dataclass(frozen=True)
class Draw:
    """How a sample is asked for.  A further option of sampling is a field of a subclass.

    Args:
        reparam: keep pathwise gradients through random draws; functions always keep theirs.
        particles: leading axes of independent samples.
        mean: the mean in the place of a draw.

    >>> Draw(mean=True).reparam
    True
    """

    reparam: bool = True
    particles: tuple[Axis, ...] = ()
    mean: bool = False


@dataclass(frozen=True)
class Score:
    """How a log-density is asked for.

    Args:
        sum_features: sum over feature dimensions.
        dims: which of them, counted as in ``[B, ...]``; all behind the batch if None.

    >>> Score(dims=(-1,)).sum_features
    True
    """

    sum_features: bool = True
    dims: tuple[int, ...] | None = None


DRAW, SCORE = Draw(), Score()


@runtime_checkable
class Density(Protocol):
    """All that an expression may ask of a distribution."""

    @property
    def var(self) -> list[str]: ...

    @property
    def cond_var(self) -> list[str]: ...

    @property
    def input_var(self) -> list[str]: ...

    @property
    def prob_text(self) -> str: ...

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        """The slots of a sample."""
        ...

    def lower_log_prob(self, scope: Scope, how: Score = SCORE) -> Slot:
        """The slot of the log-density."""
        ...
