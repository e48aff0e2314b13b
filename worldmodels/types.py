"""Protocols of world models. Everything is time-major: series are ``[T, B, ...]``.

``action[t]`` follows ``obs[t]``; ``reward[t]`` and the flags arrive with ``obs[t]``; a model's step
reads the previous action.
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
    """A model of series ``[T, B, ...]``; ``mask [T, B]`` marks valid frames where a batch is
    ragged.

    Three properties say which clauses of the contract a model takes on
    (:func:`worldmodels.check_model`).

    >>> from worldmodels import DMM, DMMConfig
    >>> isinstance(DMM(3, DMMConfig(latent=2, transition=4, emission=4, rnn=4)), SequenceModel)
    True
    """

    keys: list[str]
    """The observed variables."""
    causal: bool
    """The objective's posterior reads past and present only."""
    smooths: bool
    """It is a :class:`Smoother`."""
    acts: bool
    """Its transitions read ``action_prev``; batches hold ``action``, and ``action[t]`` follows
    ``x[t]``.
    """

    @property
    def objective(self) -> Loss:
        """What is minimised, a mean over valid frames; prints as the paper's equation."""
        ...

    @property
    def bound(self) -> Loss:
        """An upper bound of the nats of each sequence, ``[B]``."""
        ...

    @property
    def log_weight(self) -> Loss:
        """A draw of the log of an unbiased estimate of each sequence's likelihood, ``[B]``."""
        ...

    def initial(self, batch: int) -> State:
        """The state before the first step."""
        ...

    def observe(self, state: State, step: Mapping[str, Tensor], mean: bool = False) -> State:
        """One step of filtering: the state after an observation."""
        ...

    def predict(
        self, state: State, step: Mapping[str, Tensor] | None = None, mean: bool = False
    ) -> State:
        """One step without an observation."""
        ...

    def filter(
        self, batch: Mapping[str, Tensor], state: State | None = None, mean: bool = False
    ) -> State:
        """The state at each frame given the frames up to it."""
        ...

    def sample(
        self,
        state: State,
        steps: int | None = None,
        action: Tensor | None = None,
        mean: bool = False,
    ) -> dict[str, Tensor]:
        """States and observations of the steps after ``state``, without data."""
        ...

    def reconstruct(self, batch: Mapping[str, Tensor], mean: bool = True) -> dict[str, Tensor]:
        """Observations drawn again from the inferred states."""
        ...


@runtime_checkable
class Smoother(SequenceModel, Protocol):
    """A model of series whose posterior reads frames to come.

    >>> from worldmodels import DMM, DMMConfig
    >>> isinstance(DMM(3, DMMConfig(latent=2, transition=4, emission=4, rnn=4)), Smoother)
    True
    """

    def smooth(self, batch: Mapping[str, Tensor], mean: bool = False) -> State:
        """The state at each frame given all frames."""
        ...


@runtime_checkable
class LatentDynamics(SequenceModel, Protocol):
    """A model of series that an agent can act and imagine in, where it ``acts``.

    >>> from worldmodels import RSSM
    >>> model = RSSM({"x": (4,)}, action_size=2)
    >>> isinstance(model, LatentDynamics), model.acts, model.state_names
    (True, True, ('deter', 'stoch'))
    """

    @property
    def state_names(self) -> tuple[str, ...]:
        """The variables of a state."""
        ...

    def features(self, state: State) -> Tensor:
        """What heads read, ``[..., F]``."""
        ...

    def imagine(self, state: State, policy: Policy, horizon: int) -> State:
        """States of ``horizon`` steps and the action before each, ``[H, B, ...]``; a loop of
        ``predict``.
        """
        ...
