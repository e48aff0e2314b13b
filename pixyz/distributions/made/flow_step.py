"""A flow as a step of a plan, and a flow whose weights are constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pixyz.distributions.core.constant_weights import constant_copy
from pixyz.flows.flow import Condition, Flow, conditions
from pixyz.plan.graph.formula import Network
from pixyz.plan.run.probe import Probe


@dataclass(frozen=True)
class FlowStep(Network):
    """One direction of a flow as a step of a plan: ``(value, *conditions)`` to value and
    log-determinant.
    """

    flow: Flow
    inverse: bool

    def __call__(self, value: Tensor, *y: Tensor) -> tuple[Tensor, Tensor]:
        given: Condition = None if not y else y[0] if len(y) == 1 else y
        return (self.flow.inverse_and_logdet if self.inverse else self.flow.forward_and_logdet)(
            value, given
        )

    def probe(self, rows: Sequence[bool], named: bool) -> Probe:
        """The call where its step has left a loop."""
        held = self.flow.flow if isinstance(self.flow, FixedFlow) else self.flow
        return Probe(held, self, self, self, [self.flow], rows)


class FixedFlow(Flow):
    """A flow with its weights as constants; they share memory with the flow's, so it follows the
    optimiser.

    Args:
        flow: the flow.
        detach: no gradient to the conditions either.
    """

    def __init__(self, flow: Flow, detach: bool) -> None:
        super().__init__(flow.in_features)
        self.flow, self.detached = flow, detach

    def _condition(self, y: Condition) -> Condition:
        return (
            y if y is None or not self.detached else tuple(part.detach() for part in conditions(y))
        )

    def forward_and_logdet(self, x: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return constant_copy(self.flow, {}).forward_and_logdet(x, self._condition(y))  # type: ignore[operator, no-any-return]

    def inverse_and_logdet(self, z: Tensor, y: Condition = None) -> tuple[Tensor, Tensor]:
        return constant_copy(self.flow, {}).inverse_and_logdet(z, self._condition(y))  # type: ignore[operator, no-any-return]
