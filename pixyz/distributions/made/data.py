"""The data as a distribution."""

from __future__ import annotations

from pixyz.distributions.core.base import Distribution
from pixyz.expression.protocol import DRAW, Draw
from pixyz.plan import Scope, Slot
from pixyz.types import VarSpec


class EmpiricalDistribution(Distribution):
    r"""The data: a sample is what was given.

    :math:`x \sim p_{data}(x)`.

    >>> import torch
    >>> EmpiricalDistribution("x").sample({"x": torch.ones(1, 2)})
    {'x': tensor([[1., 1.]])}
    """

    def __init__(self, var: VarSpec, name: str = "p_{data}") -> None:
        super().__init__(var, (), name)

    @property
    def distribution_name(self) -> str:
        return "Data distribution"

    @property
    def is_data(self) -> bool:
        return True

    @property
    def input_var(self) -> list[str]:
        return self.var

    def lower_sample(self, scope: Scope, how: Draw = DRAW) -> dict[str, Slot]:
        return {v: scope.lookup(v) for v in self._var}

    def detach(self) -> Distribution:
        return self  # it has no parameters
