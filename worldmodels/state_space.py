"""StateSpaceModel: what models of series have in common, from the pieces that each of them declares.

A model declares three distributions: what one step of inference draws, what one step of generation draws, and the density
of the observations.  Filtering, smoothing, prediction, sampling and reconstruction are scans of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixyz.distributions import Distribution, Scan
from pixyz.expression import Loss
from pixyz.types import PixyzError, VariableError
from worldmodels.context import Context
from worldmodels.types import State

REC = "_rec"
"""Ends the names of reconstructed observations inside the model."""


class StateSpaceModel(nn.Module):
    r"""Abstract: a model of series over states that are carried from frame to frame.

    .. math::
        p(x_{1:T}, z_{1:T}) = \prod_t p(x_t|z_t)\, p(z_t|z_{t-1}), \quad q(z_{1:T}|x_{1:T}) = \prod_t q(z_t|z_{t-1}, x)

    A subclass calls :meth:`_declare` and :meth:`_express` once its distributions exist.  Series are time-major;
    ``mask [T, B]`` marks valid frames and may be left out where all are.

    >>> from worldmodels import VRNN, VRNNConfig
    >>> model = VRNN(3, VRNNConfig(latent=2, rnn=4, hidden=4))
    >>> model.filter({"x": torch.zeros(5, 2, 3)})["h"].shape
    torch.Size([5, 2, 4])
    """

    causal: bool = True
    """Whether the objective's posterior reads past and present only: then filtering and the objective agree."""
    smooths: bool = False
    """Whether :meth:`smooth` is offered: states given all frames."""
    acts: bool = False
    """Whether transitions read ``action_prev``; batches then hold ``action``."""

    def _declare(
        self, *, keys: Sequence[str], inference: Distribution, generation: Distribution, emission: Distribution,
        carry: Mapping[str, str | Sequence[str]], init: Mapping[str, Any], context: Context | None = None,
        also: Sequence[str] = (), reset_var: str | None = None, flags: Sequence[str] = (), fission: bool = True,
    ) -> None:
        """Say what the model is made of.

        Args:
            keys: the observed variables.
            inference: one step that draws the state, given the observations (or their context).
            generation: one step that draws state and observations, without data.
            emission: the density of the observations given the state.
            carry, init, reset_var, fission: as in :class:`pixyz.distributions.Scan`; what is carried under ``z_prev`` is
                ``z`` in a state.
            context: the network over whole sequences that inference reads, if there is one.
            also: variables of the state that inference draws and does not carry.
            flags: further series that inference reads, 1 everywhere where :meth:`filter` and the like are not given them.
        """
        self.keys, self.flags = list(keys), list(flags)
        lags: dict[str, tuple[str, int]] = {"action_prev": ("action", -1)} if self.acts else {}
        init = {**init, **({"action_prev": 0} if self.acts else {})}
        series = [*self.keys, *self.flags, *(context.var if context is not None else [])]
        self.recurrence: dict[str, Any] = {
            "series_var": series, "update_value": dict(carry), "init": init, "lags": lags, "reset_var": reset_var,
            "fission": fission,
        }
        self.drawn = {v: v for v in also}
        for name, prevs in carry.items():
            self.drawn.update({_plain(p): name for p in ([prevs] if isinstance(prevs, str) else prevs)})
        self.carried = [p for prevs in carry.values() for p in ([prevs] if isinstance(prevs, str) else prevs)]
        rec = emission.replace_var(**{k: k + REC for k in self.keys})
        read = [v for v in series if v in inference.cond_var]
        # no submodules: the distributions are registered by the subclass, and the state dict shall hold them once
        self.__dict__.update(
            _context=context, _inference=inference, _generation=generation,
            _filter=Scan(inference, **{**self.recurrence, "series_var": read}),
            _reconstruct=Scan(inference * rec, **{**self.recurrence, "series_var": read}), _samplers={},
        )

    def _express(self, objective: Loss, bound: Loss, log_weight: Loss, step_weight: Loss | None = None) -> None:
        self.__dict__.update(_objective=objective, _bound=bound, _log_weight=log_weight, _step_weight=step_weight)

    # ---------------------------------------------------------------- expressions

    @property
    def objective(self) -> Loss:
        """What is minimised: nats a valid frame.  The weight of the divergence may be given as ``beta``."""
        found: Loss = self.__dict__["_objective"]
        return found

    @property
    def bound(self) -> Loss:
        """The negative evidence bound of each sequence, ``[B]``: the weight is 1, summed over valid frames."""
        found: Loss = self.__dict__["_bound"]
        return found

    @property
    def log_weight(self) -> Loss:
        """One draw of ``log p(x, z) - log q(z|x)`` of each sequence, ``[B]``, for :mod:`worldmodels.estimators`."""
        found: Loss = self.__dict__["_log_weight"]
        return found

    @property
    def step_weight(self) -> Loss:
        """The part of the log-weight that each frame adds, ``[T, B]``, for :func:`worldmodels.particles.particle_filter`.

        It reads the context as a series where the model has one, and returns what is carried on after the last frame.
        """
        found: Loss | None = self.__dict__["_step_weight"]
        if found is None:
            raise PixyzError(f"the weight of {type(self).__name__} has no part for each frame that reads the state before it")
        return found

    @property
    def has_step_weight(self) -> bool:
        """Whether :attr:`step_weight` is there."""
        return self.__dict__["_step_weight"] is not None

    def read_context(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What inference reads of whole sequences, ``[T, B, ...]``; empty for a model without such a network."""
        context: Context | None = self.__dict__["_context"]
        if context is None:
            return {}
        given = {k: batch[k] for k in [*context.cond_var, "mask"] if k in batch}
        return context.sample(given, return_all=False, reparam=True)

    # ---------------------------------------------------------------- states

    def initial(self, batch: int) -> State:
        """The state before the first frame, ``[B, ...]``."""
        raise NotImplementedError

    def filter(self, batch: Mapping[str, Tensor], state: State | None = None, mean: bool = False) -> State:
        """The state at each frame given the frames up to it, ``[T, B, ...]``; held where a frame is masked.

        Args:
            batch: observations (and actions, ``mask``, ``is_first``), ``[T, B, ...]``; ``action_prev`` is the action
                before the first of them.
            state: the state before the first frame; :meth:`initial` if None.
            mean: means instead of draws.
        """
        state = state or self.initial(self._rows(batch))
        given = self._inputs(batch, state)
        if self.__dict__["_context"] is not None:
            given.update(self._filter_context(batch, state))
        return self._held(self._draw("_filter", given, mean), given, batch, state)

    def smooth(self, batch: Mapping[str, Tensor], mean: bool = False) -> State:
        """The state at each frame given all frames, ``[T, B, ...]``; held where a frame is masked.

        Raises:
            PixyzError: the model is no smoother.
        """
        if not self.smooths:
            raise PixyzError(f"{type(self).__name__} filters and does not smooth; use filter()")
        state = self.initial(self._rows(batch))
        given = self._inputs(batch, state)
        given.update(self.read_context(batch))
        return self._held(self._draw("_filter", given, mean), given, batch, state)

    def observe(self, state: State, step: Mapping[str, Tensor], mean: bool = False) -> State:
        """One step of filtering: the state after an observation; ``step`` holds what a batch does, ``[B, ...]``."""
        batch = {k: v.unsqueeze(0) for k, v in step.items() if k != "action_prev"}
        if self.acts:
            batch["action"] = step["action_prev"].unsqueeze(0)  # of this length, and not read: action_prev is
            batch["action_prev"] = step["action_prev"]
        return {k: v[0] for k, v in self.filter(batch, state, mean).items()}

    def predict(self, state: State, step: Mapping[str, Tensor] | None = None, mean: bool = False) -> State:
        """One step without an observation; ``step`` holds ``action_prev`` where the model reads actions."""
        action = step["action_prev"].unsqueeze(0) if step is not None and self.acts else None
        drawn = self.sample(state, 1, action, mean)
        return {**state, **{k: v[0] for k, v in drawn.items() if k in state}}

    # ---------------------------------------------------------------- series

    def sample(
        self, state: State, steps: int | None = None, action: Tensor | None = None, mean: bool = False
    ) -> dict[str, Tensor]:
        """States and observations of the steps after ``state``, without data, ``[T, B, ...]``.

        Args:
            state: where it begins; ``initial(batch)`` for sequences from the first frame on.
            steps: how many; the length of ``action`` if None.
            action: the action before each step, ``[T, B, A]``, for a model that reads actions.
            mean: means instead of draws.

        Raises:
            PixyzError: actions are missing, or not of the length asked for.
        """
        if self.acts and action is None:
            raise PixyzError(f"{type(self).__name__} reads actions: give action, [T, B, A], the action before each step")
        steps = steps if steps is not None else len(action) if action is not None else None
        if steps is None or (action is not None and len(action) != steps):
            raise PixyzError(f"sample needs a number of steps that agrees with the actions', got steps={steps}")
        samplers = self.__dict__["_samplers"]
        if (key := None if self.acts else steps) not in samplers:
            samplers[key] = Scan(
                self.__dict__["_generation"], ["action_prev"] if self.acts else (), self.recurrence["update_value"],
                steps=key, fission=self.recurrence["fission"],
            )
        given = self._starts(state)
        if action is not None:
            given["action_prev"] = action
        drawn = samplers[key].sample(given, return_all=False, sample_mean=mean)
        return {**{k: drawn[v] for k, v in self.drawn.items() if v in drawn}, **{k: drawn[k] for k in self.keys}}

    def reconstruct(self, batch: Mapping[str, Tensor], mean: bool = True) -> dict[str, Tensor]:
        """Observations drawn again from the inferred states: smoothed ones where the model smooths, ``[T, B, ...]``."""
        state = self.initial(self._rows(batch))
        given = self._inputs(batch, state)
        if self.__dict__["_context"] is not None:
            given.update(self.read_context(batch) if self.smooths else self._filter_context(batch, state))
        drawn = self._draw("_reconstruct", given, mean)
        return {k: drawn[k + REC] for k in self.keys}

    # ---------------------------------------------------------------- internals

    def _rows(self, batch: Mapping[str, Tensor]) -> int:
        missing = [k for k in [*self.keys, *(["action"] if self.acts else [])] if k not in batch]
        if missing:
            raise VariableError(f"{type(self).__name__} needs the series {missing}, got {sorted(batch)}")
        return batch[self.keys[0]].shape[1]

    def _starts(self, state: State) -> dict[str, Tensor]:
        missing = [k for k in self.drawn if k not in state]
        if missing:
            raise VariableError(f"a state of {type(self).__name__} holds {list(self.drawn)}, got {sorted(state)}")
        return {prev: state[_plain(prev)] for prev in self.carried}

    def _inputs(self, batch: Mapping[str, Tensor], state: State) -> dict[str, Tensor]:
        more = ["mask", *(["action", "action_prev"] if self.acts else [])]
        found = {k: batch[k] for k in [*self.keys, *more] if k in batch}
        for flag in self.flags:
            like = batch[self.keys[0]]
            found[flag] = batch[flag] if flag in batch else like.new_ones(like.shape[:2])
        if reset := self.recurrence["reset_var"]:
            like = batch[self.keys[0]]
            found[reset] = batch[reset] if reset in batch else like.new_zeros(like.shape[:2], dtype=torch.bool)
        return {**found, **self._starts(state)}

    def _draw(self, name: str, given: Mapping[str, Tensor], mean: bool) -> dict[str, Tensor]:
        scan: Scan = self.__dict__[name]
        return scan.sample(given, return_all=False, sample_mean=mean)

    def _filter_context(self, batch: Mapping[str, Tensor], state: State) -> dict[str, Tensor]:
        """What a context reads up to each frame: of the forward network, or of each frame alone."""
        context: Context = self.__dict__["_context"]
        x, name = batch[context.cond_var[0]], context.var[0]
        with torch.no_grad():
            if context.reads == "left":
                return {name: context.read(x, batch.get("mask"), state[name])}
            return {name: context.read_each(x)}

    def _held(
        self, drawn: Mapping[str, Tensor], given: Mapping[str, Tensor], batch: Mapping[str, Tensor], state: State
    ) -> State:
        found = {k: drawn[v] if v in drawn else given[v] for k, v in self.drawn.items()}
        if "mask" not in batch:
            return found
        mask = batch["mask"] != 0
        frame = torch.arange(mask.shape[0], device=mask.device).unsqueeze(1).expand(mask.shape)
        last = torch.where(mask, frame, -1).cummax(0).values + 1  # 0: no valid frame yet
        held = {}
        for k, series in found.items():
            whole = torch.cat([state[k].expand_as(series[0]).unsqueeze(0), series])
            held[k] = whole.gather(0, last.reshape(*last.shape, *[1] * (series.ndim - 2)).expand_as(series))
        return held


def _plain(carried: str) -> str:
    return carried.removesuffix("_prev")
