"""Protocols of world models. Everything is time-major: series are ``[T, B, ...]``.

``action[t]`` follows ``obs[t]``; ``reward[t]`` and the flags arrive with ``obs[t]``; a model's step reads the previous
action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from pixyz.expression import Loss

State = dict[str, Tensor]
"""A latent state: named tensors ``[B, ...]``."""

Policy = Callable[[State], Tensor]
"""A state -> an action ``[B, A]``."""


@runtime_checkable
class SequenceModel(Protocol):
    """A model of series."""

    @property
    def objective(self) -> Loss:
        """What is minimised; prints as the paper's equation."""
        ...

    def initial(self, batch: int) -> State:
        """The state before the first step."""
        ...

    def observe(self, state: State, step: Mapping[str, Tensor]) -> State:
        """One step of filtering: the state after an observation."""
        ...

    def predict(self, state: State, step: Mapping[str, Tensor]) -> State:
        """One step without an observation."""
        ...


@runtime_checkable
class LatentDynamics(SequenceModel, Protocol):
    """A model of series that an agent can act and imagine in."""

    def features(self, state: State) -> Tensor:
        """What heads read, ``[..., F]``."""
        ...

    def imagine(self, state: State, policy: Policy, horizon: int) -> State:
        """States and actions of ``horizon`` steps, ``[H, B, ...]``."""
        ...
