"""Declared: what a model of series is made of, and the expressions that it offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixyz.distributions import Distribution, Scan
from pixyz.expression import Loss
from pixyz.types import PixyzError
from worldmodels.context import Context
from worldmodels.doors import FLAG, Door, ModelLoss
from worldmodels.imagination import dream, transition_of
from worldmodels.own_terms import OwnTerms, Terms, networks_of, own_terms
from worldmodels.types import State

REC = "_rec"
"""Ends the names of reconstructed observations inside the model."""


@dataclass(frozen=True)
class Pieces:
    """The distributions of a model as it was declared.

    No submodules (a dataclass is none): their networks are registered by the model, and a state
    dict holds them once.
    """

    inference: Distribution
    generation: Distribution
    transition: Distribution
    filtering: Scan
    reconstruction: Scan | None
    context: Context | None


@dataclass(frozen=True)
class Expressions:
    """The objectives of a model; no submodules, as :class:`Pieces`."""

    objective: Loss
    bound: Loss
    log_weight: Loss
    step_weight: Loss | None


@dataclass(frozen=True)
class Dreamt:
    """The last dream and what it was made for."""

    policy: Distribution
    settings: tuple[int, int, bool]
    scan: Scan


class Declared(nn.Module):
    """Abstract: a model whose distributions and expressions are declared;
    :class:`worldmodels.StateSpaceModel` has the states.

    A subclass calls :meth:`_declare` and :meth:`_express` once its distributions exist.
    """

    causal: bool = True
    """Whether the objective's posterior reads past and present only: then filtering and the
    objective agree.
    """
    smooths: bool = False
    """Whether :meth:`smooth` is offered: states given all frames."""
    acts: bool = False
    """Whether transitions read ``action_prev``; batches then hold ``action``."""

    pieces: Pieces
    expressions: Expressions
    own: OwnTerms

    def _declare(
        self,
        *,
        keys: Sequence[str],
        inference: Distribution,
        generation: Distribution,
        emission: Distribution | None,
        carry: Mapping[str, str | Sequence[str]],
        init: Mapping[str, Any],
        context: Context | None = None,
        also: Sequence[str] = (),
        reset_var: str | None = None,
        flags: Sequence[str] = (),
        fission: bool = True,
        shapes: Mapping[str, Sequence[int]] | None = None,
        features: Sequence[str] | None = None,
        targets: Sequence[str] = (),
        terms: Terms | None = None,
        binds: Sequence[str] | None = None,
        optional_var: Sequence[str] = (),
    ) -> None:
        """Say what the model is made of.

        Args:
            keys: the observed variables.
            inference: one step that draws the state, given the observations (or their context).
            generation: one step that draws state and observations, without data.
            emission: the density of the observations given the state; None of a model without one.
            carry, init, reset_var, fission, optional_var: as in
                :class:`pixyz.distributions.Scan`; what is carried under ``z_prev`` is ``z`` in a
                state.  Without ``reset_var`` each sequence is one episode.
            context: the network over whole sequences that inference reads, if there is one.
            also: variables of the state that inference draws and does not carry.
            flags: further series that inference reads, 1 everywhere where :meth:`filter` and the
                like are not given them.
            shapes: the shape of one frame of a series, by name: observations, ``action``, rewards.
            features: the variables of the state that :meth:`features` joins; those in ``carry`` if
                None.
            targets: further series that only the objective's step reads.
            terms: own terms of the objective; :meth:`_with_own` adds them.
            binds: all that a step of the objective holds, where it is not a step of inference.
        """
        self.keys, self.flags = list(keys), list(flags)
        lags: dict[str, tuple[str, int]] = {"action_prev": ("action", -1)} if self.acts else {}
        init = {**init, **({"action_prev": 0} if self.acts else {})}
        series = [*self.keys, *self.flags, *(context.var if context is not None else [])]
        self.drawn = {v: v for v in also}
        for name, prevs in carry.items():
            self.drawn.update(
                {plain(p): name for p in ([prevs] if isinstance(prevs, str) else prevs)}
            )
        self.carried = [
            p for prevs in carry.values() for p in ([prevs] if isinstance(prevs, str) else prevs)
        ]
        self.feature_names = tuple(features) if features is not None else tuple(carry)
        bound = (
            [*inference.var, *series, *targets, *self.carried, *lags]
            if binds is None
            else list(binds)
        )
        self.own = self._adopt(terms, bound, binds is not None)
        self.recurrence: dict[str, Any] = {
            "series_var": [*series, *self.own.reads],
            "update_value": dict(carry),
            "init": init,
            "lags": lags,
            "reset_var": reset_var,
            "fission": fission,
            "optional_var": list(optional_var),
        }
        self._bound = [*bound, *self.own.reads]
        known = {k: tuple(v) for k, v in (shapes or {}).items()}
        rows = {"action_prev": known["action"]} if "action" in known else {}
        looked_at = {**dict.fromkeys(self.keys), **self.own.shapes, **known}
        looked_at |= dict.fromkeys([*self.flags, "mask", *([reset_var] if reset_var else [])], FLAG)
        self.door = Door(self.keys[0], looked_at, rows, "" if reset_var else type(self).__name__)
        read = [v for v in series if v in inference.cond_var]
        over = {**self.recurrence, "series_var": read}
        transition = transition_of(generation, set(self.drawn.values()))
        reconstruction = None
        if emission is not None:
            rec = emission.replace_var(**{k: k + REC for k in self.keys})
            reconstruction = Scan(inference * rec, **over)
        filtering = Scan(inference, **over)
        self.pieces = Pieces(inference, generation, transition, filtering, reconstruction, context)
        self._samplers: dict[int | None, Scan] = {}
        self._dreamt: Dreamt | None = None

    def _adopt(self, terms: Terms | None, bound: Sequence[str], closed: bool) -> OwnTerms:
        """The own terms; their networks become submodules, each once."""
        if not terms:
            return OwnTerms()
        found = own_terms(terms(self) if callable(terms) else terms, bound, closed)
        held = set(map(id, self.modules()))
        self.own_networks = nn.ModuleDict(
            {
                f"term_{name}": nn.ModuleList(networks_of(loss, held))
                for name, loss in found.losses.items()
            }
        )
        return found

    def _with_own(self, cost: Loss) -> Loss:
        """The cost of a step with the own terms in it."""
        return self.own.added_to(cost, {*self._bound, *self.door.series})

    def _express(
        self, objective: Loss, bound: Loss, log_weight: Loss, step_weight: Loss | None = None
    ) -> None:
        """Say what is minimised and estimated: series that come in are looked at."""
        door = self.door
        self.expressions = Expressions(
            ModelLoss(objective, door, self.own.readers),
            ModelLoss(bound, door),
            ModelLoss(log_weight, door),
            None if step_weight is None else ModelLoss(step_weight, door),
        )

    # ---------------------------------------------------------------- expressions

    @property
    def objective(self) -> Loss:
        """What is minimised: nats a valid frame.  The weight of the divergence may be given as
        ``beta``.
        """
        return self.expressions.objective

    @property
    def bound(self) -> Loss:
        """The negative evidence bound of each sequence, ``[B]``: the weight is 1, summed over valid
        frames.
        """
        return self.expressions.bound

    @property
    def log_weight(self) -> Loss:
        """One draw of ``log p(x, z) - log q(z|x)`` of each sequence, ``[B]``, for
        :mod:`worldmodels.estimators`.
        """
        return self.expressions.log_weight

    @property
    def step_weight(self) -> Loss:
        """The part of the log-weight that each frame adds, ``[T, B]``, for
        :func:`worldmodels.particles.particle_filter`.

        It reads the context as a series where the model has one, and returns what is carried on
        after the last frame.
        """
        found = self.expressions.step_weight
        if found is None:
            raise PixyzError(
                f"the weight of {type(self).__name__} has no part for each frame "
                f"that reads the state before it"
            )
        return found

    @property
    def has_step_weight(self) -> bool:
        """Whether :attr:`step_weight` is there."""
        return self.expressions.step_weight is not None

    @property
    def step(self) -> Distribution:
        """One step of filtering, from ``NAME_prev``, ``action_prev`` and the observations (or their
        context).
        """
        return self.pieces.inference

    def scan(self) -> Scan:
        """The filter over a sequence as a distribution over states."""
        return self.pieces.filtering

    def dream(
        self,
        policy: Distribution,
        horizon: int,
        grad: bool = False,
        frozen: bool = False,
        start: Mapping[str, str] | None = None,
    ) -> Scan:
        """Imagination: policy and transition for ``horizon`` steps from a state, without data.

        For each ``NAME`` of the state it draws ``NAME_next`` and, once, ``action_prev``, the action
        taken before it; it reads the states before as ``NAME_prev``, and binds all states, the
        first included, as ``NAME_all``, ``[H + 1, ...]``.

        Args:
            policy: a distribution of ``action`` given variables of the state.
            horizon: how many steps.
            grad: whether gradients flow along the path, to the policy among others.
            frozen: the model's weights are constants: gradients flow through them, and not into
                them.
            start: ``NAME`` of the state -> the variable that it begins with, where that is not
                called ``NAME``.

        Raises:
            PixyzError: the model reads no actions, or the policy draws none.
        """
        if not self.acts:
            raise PixyzError(
                f"{type(self).__name__} reads no actions: no policy acts in it; sample(state, "
                f"steps) predicts"
            )
        transition = self.pieces.transition.frozen() if frozen else self.pieces.transition
        return dream(transition, policy, horizon, self.drawn, grad, start or {})

    @property
    def decodes(self) -> bool:
        """Whether it has a density of observations, that it can be asked to draw them."""
        return self.pieces.reconstruction is not None

    @property
    def state_names(self) -> tuple[str, ...]:
        """The variables of a state."""
        return tuple(self.drawn)

    def features(self, state: State) -> Tensor:
        """What heads read of a state, ``[..., F]``: ``feature_names`` side by side."""
        return torch.cat([state[name] for name in self.feature_names], -1)


def plain(carried: str) -> str:
    """``z`` of ``z_prev``."""
    return carried.removesuffix("_prev")
