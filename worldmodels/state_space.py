"""StateSpaceModel: what models of series have in common, from the pieces that each of them
declares.

A model declares three distributions: what one step of inference draws, what one step of generation
draws, and the density of the observations.  Filtering, smoothing, prediction, imagination, sampling
and reconstruction are scans of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from pixyz.distributions import Distribution, Scan
from pixyz.types import PixyzError, ShapeError, VariableError
from worldmodels.declared import REC, Declared, Dreamt, plain
from worldmodels.doors import FIRST, beginnings
from worldmodels.imagination import NEXT
from worldmodels.pretrained import from_pretrained, save_pretrained
from worldmodels.types import Policy, State


class StateSpaceModel(Declared):
    r"""Abstract: a model of series over states that are carried from frame to frame.

    .. math::
        p(x_{1:T}, z_{1:T}) = \prod_t p(x_t|z_t)\, p(z_t|z_{t-1}), \quad
        q(z_{1:T}|x_{1:T}) = \prod_t q(z_t|z_{t-1}, x)

    A subclass calls :meth:`_declare` and :meth:`_express` once its distributions exist.  Series are
    time-major; ``mask [T, B]`` marks valid frames and may be left out where all are.  Flags may
    come as ``[T, B, 1]``, one feature as ``[T, B]``; any other shape than the declared one is
    refused (:mod:`worldmodels.doors`).

    **Episodes.**  Where ``is_first [T, B]`` is set an episode begins: nothing before it is read. So
    it is in filters of frames (VRNN, RSSM, SLAC, MRSSM, NewtonianVAE), whose recurrence has a
    ``reset_var``.  Those that read whole sequences (DMM, HRSSM, TD-VAE) take one episode a
    sequence: they refuse a batch where the flag is set behind a sequence's first valid frame, with
    a :class:`pixyz.types.PixyzError` on a CPU, with NaN on a device, which is not waited for.  Step
    by step, :meth:`observe` and :meth:`filter` begin anew at their first frame in every model.

    **Own terms.**  ``terms`` of a model's constructor are further losses of a step, by name, or a
    function of the model that makes them of its distributions.  They are read under the draw of the
    model's own filter (it filters once), added with the weights that they are given, and returned
    under their names, as the model's own are.  Their networks become parts of the model.  What they
    read of a step: what the model draws and carries, and any series ``[T, B, ...]`` that is then
    expected in the batch; a :class:`pixyz.losses.Parameter` in them is a weight, not a series.

    >>> from pixyz.distributions import Normal
    >>> from pixyz.losses import LogProb
    >>> from worldmodels import VRNN, VRNNConfig
    >>> class Heat(Normal):
    ...     def __init__(self):
    ...         super().__init__("heat", ["h"], "p_heat", features_shape=[1])
    ...         self.net = torch.nn.Linear(4, 1)
    ...
    ...     def forward(self, h):
    ...         return {"loc": self.net(h), "scale": torch.ones_like(h[:, :1])}
    >>> model = VRNN(
    ...     3, VRNNConfig(latent=2, rnn=4, hidden=4), terms={"warmth": -0.1 * LogProb(Heat())}
    ... )
    >>> batch = {"x": torch.zeros(5, 2, 3), "heat": torch.zeros(5, 2, 1)}
    >>> value, found = model.objective.eval(batch, return_dict=True)
    >>> found["warmth"].shape, model.filter(batch)["h"].shape
    (torch.Size([5, 2]), torch.Size([5, 2, 4]))
    """

    # ---------------------------------------------------------------- files

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors``; see
        :func:`worldmodels.pretrained.save_pretrained`.
        """
        return save_pretrained(self, folder)

    @classmethod
    def from_pretrained(cls, source: str | Path, *, terms: Any = None, device: str = "cpu") -> Self:
        """The model of such a folder; see :func:`worldmodels.pretrained.from_pretrained`."""
        found: Self = from_pretrained(source, cls, terms=terms, device=device)
        return found

    # ---------------------------------------------------------------- states

    def initial(self, batch: int) -> State:
        """The state before the first frame, ``[B, ...]``."""
        raise NotImplementedError

    def filter(
        self, batch: Mapping[str, Tensor], state: State | None = None, mean: bool = False
    ) -> State:
        """The state at each frame given the frames up to it, ``[T, B, ...]``; held where a frame is
        masked.

        Args:
            batch: observations (and actions, ``mask``, ``is_first``), ``[T, B, ...]``;
                ``action_prev`` is the action before the first of them.
            state: the state before the first frame; :meth:`initial` if None.
            mean: means instead of draws.

        Raises:
            PixyzError: ``is_first`` is set behind the first frame, and the model takes one episode
                a sequence.
        """
        batch = self.door(batch)
        rows = self._rows(batch)
        begun = state = state or self.initial(rows)
        if FIRST in batch and not self.recurrence["reset_var"]:
            begun = self._begun(batch[FIRST], batch.get("mask"), state, rows)
        given = self._inputs(batch, begun)
        if self.pieces.context is not None:
            given.update(self._filter_context(batch, begun))
        return self._held(_draw(self.pieces.filtering, given, mean), given, batch, state)

    def smooth(self, batch: Mapping[str, Tensor], mean: bool = False) -> State:
        """The state at each frame given all frames, ``[T, B, ...]``; held where a frame is masked.

        Raises:
            PixyzError: the model is no smoother.
        """
        if not self.smooths:
            raise PixyzError(f"{type(self).__name__} filters and does not smooth; use filter()")
        batch = self.door(batch)
        state = self.initial(self._rows(batch))
        given = self._inputs(batch, state)
        given.update(self.read_context(batch))
        return self._held(_draw(self.pieces.filtering, given, mean), given, batch, state)

    def observe(self, state: State, step: Mapping[str, Tensor], mean: bool = False) -> State:
        """One step of filtering: the state after an observation; ``step`` holds what a batch does,
        ``[B, ...]``.
        """
        step = self.door.frame(step)
        batch = {k: v.unsqueeze(0) for k, v in step.items() if k != "action_prev"}
        if self.acts:
            # of this length, and not read: action_prev is
            batch["action"] = step["action_prev"].unsqueeze(0)
            batch["action_prev"] = step["action_prev"]
        return {k: v[0] for k, v in self.filter(batch, state, mean).items()}

    def predict(
        self, state: State, step: Mapping[str, Tensor] | None = None, mean: bool = False
    ) -> State:
        """One step without an observation; ``step`` holds ``action_prev`` where the model reads
        actions.
        """
        given = self._starts(state)
        if self.acts:
            if step is None or "action_prev" not in step:
                raise PixyzError(
                    f"{type(self).__name__} reads actions: predict needs step={{'action_prev': "
                    f"...}}"
                )
            given["action_prev"] = step["action_prev"]
        drawn = _draw(self.pieces.transition, given, mean)
        return {**state, **{k: drawn[v] for k, v in self.drawn.items() if v in drawn}}

    def imagine(
        self, state: State, policy: Policy | Distribution, horizon: int, chunk: int = 0
    ) -> State:
        """``horizon`` steps of a policy: the states and the ``action`` before each, ``[H, B,
        ...]``.

        Gradients flow along the path, to the policy among others, but within ``torch.no_grad()``.

        Args:
            state: where it begins, ``[B, ...]``.
            policy: a distribution of ``action`` given variables of the state, or a function of the
                state.
            horizon: how many steps.
            chunk: compile this many steps together (a distribution only; see
                :meth:`pixyz.losses.Loss.compile`).

        Raises:
            PixyzError: the model reads no actions, or the horizon is no step.
        """
        if horizon < 1:
            raise PixyzError(f"an imagined path has a horizon of at least one step, got {horizon}")
        if isinstance(policy, Distribution):
            found = self._dream(policy, horizon, chunk).sample(
                state, reparam=True, return_all=False
            )
            # what no step draws
            held = {k: v.expand(horizon, *v.shape) for k, v in state.items() if k in self.drawn}
            ahead = {k: v + NEXT for k, v in self.drawn.items() if v + NEXT in found}
            return {
                **held,
                **{k: found[v] for k, v in ahead.items()},
                "action": found["action_prev"],
            }
        if not self.acts:
            raise PixyzError(
                f"{type(self).__name__} reads no actions: no policy acts in it; sample(state, "
                f"steps) predicts"
            )
        if chunk:
            raise PixyzError(
                "only a policy that is a distribution can be compiled; "
                "make it a Deterministic of 'action'"
            )
        rows: list[State] = []
        for _ in range(horizon):
            action = policy(state)
            state = self.predict(state, {"action_prev": action})
            rows.append({**state, "action": action})
        return {k: torch.stack([row[k] for row in rows]) for k in rows[0]}

    # ---------------------------------------------------------------- series

    def sample(
        self,
        state: State,
        steps: int | None = None,
        action: Tensor | None = None,
        mean: bool = False,
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
            name = type(self).__name__
            raise PixyzError(f"{name} reads actions: give action, [T, B, A], one before each step")
        steps = steps if steps is not None else len(action) if action is not None else None
        if steps is None or (action is not None and len(action) != steps):
            raise PixyzError(
                f"sample needs a number of steps that agrees with the actions', got steps={steps}"
            )
        if (key := None if self.acts else steps) not in self._samplers:
            self._samplers[key] = Scan(
                self.pieces.generation,
                ["action_prev"] if self.acts else (),
                self.recurrence["update_value"],
                steps=key,
                fission=self.recurrence["fission"],
            )
        given = self._starts(state)
        if action is not None:
            given["action_prev"] = action
        drawn = _draw(self._samplers[key], given, mean)
        return {
            **{k: drawn[v] for k, v in self.drawn.items() if v in drawn},
            **{k: drawn[k] for k in self.keys if k in drawn},
        }

    def reconstruct(self, batch: Mapping[str, Tensor], mean: bool = True) -> dict[str, Tensor]:
        """Observations drawn again from the inferred states: smoothed ones where the model smooths,
        ``[T, B, ...]``.

        Raises:
            PixyzError: the model has no density of observations.
        """
        if self.pieces.reconstruction is None:
            raise PixyzError(
                f"this {type(self).__name__} was built without a decoder and draws no observations"
            )
        batch = self.door(batch)
        state = self.initial(self._rows(batch))
        given = self._inputs(batch, state)
        if self.pieces.context is not None:
            given.update(
                self.read_context(batch) if self.smooths else self._filter_context(batch, state)
            )
        drawn = _draw(self.pieces.reconstruction, given, mean)
        return {k: drawn[k + REC] for k in self.keys}

    def read_context(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What inference reads of whole sequences, ``[T, B, ...]``; empty for a model without such
        a network.
        """
        context = self.pieces.context
        if context is None:
            return {}
        batch = self.door(batch)
        given = {k: batch[k] for k in [*context.cond_var, "mask"] if k in batch}
        return context.sample(given, return_all=False, reparam=True)

    # ---------------------------------------------------------------- internals

    def _rows(self, batch: Mapping[str, Tensor]) -> int:
        missing = [k for k in [*self.keys, *(["action"] if self.acts else [])] if k not in batch]
        if missing:
            raise VariableError(
                f"{type(self).__name__} needs the series {missing}, got {sorted(batch)}"
            )
        return batch[self.keys[0]].shape[1]

    def _starts(self, state: State, rows: int | None = None) -> dict[str, Tensor]:
        missing = [k for k in self.drawn if k not in state]
        if missing:
            raise VariableError(
                f"a state of {type(self).__name__} holds {list(self.drawn)}, got {sorted(state)}"
            )
        rows = rows if rows is not None else state[next(iter(self.drawn))].shape[0]
        if any(state[k].shape[0] != rows for k in self.drawn):
            shapes = {k: list(state[k].shape) for k in self.drawn}
            raise ShapeError(
                f"expected a state of {rows} sequences, [{rows}, ...] each, got {shapes}; "
                f"use initial({rows})"
            )
        return {prev: state[plain(prev)] for prev in self.carried}

    def _inputs(self, batch: Mapping[str, Tensor], state: State) -> dict[str, Tensor]:
        more = ["mask", *(["action", "action_prev"] if self.acts else [])]
        found = {k: batch[k] for k in [*self.keys, *more] if k in batch}
        for flag in self.flags:
            like = batch[self.keys[0]]
            found[flag] = batch[flag] if flag in batch else like.new_ones(like.shape[:2])
        reset = self.recurrence["reset_var"]
        if reset in batch:
            found[reset] = batch[reset]
        elif reset and reset not in self.recurrence["optional_var"]:
            like = batch[self.keys[0]]
            found[reset] = like.new_zeros(like.shape[:2], dtype=torch.bool)
        return {**found, **self._starts(state, batch[self.keys[0]].shape[1])}

    def _begun(self, flag: Tensor, mask: Tensor | None, state: State, rows: int) -> State:
        """The state before the first frame, at the beginning where that frame begins an episode."""
        self._starts(state, rows)  # it is a state of this model
        anew = beginnings(flag, mask)[0]
        first = self.initial(rows)
        return {
            k: torch.where(anew.reshape(-1, *[1] * (v.ndim - 1)), first[k], v) if k in first else v
            for k, v in state.items()
        }

    def _dream(self, policy: Distribution, horizon: int, chunk: int) -> Scan:
        """The dream of these settings; the last one is kept, with its plan."""
        kept, settings = self._dreamt, (horizon, chunk, torch.is_grad_enabled())
        if kept is None or kept.policy is not policy or kept.settings != settings:
            scan = self.dream(policy, horizon, grad=torch.is_grad_enabled()).compile(chunk)
            self._dreamt = kept = Dreamt(policy, settings, scan)
        return kept.scan

    def _filter_context(self, batch: Mapping[str, Tensor], state: State) -> dict[str, Tensor]:
        """What a context reads up to each frame: of the forward network, or of each frame alone."""
        context = self.pieces.context
        assert context is not None
        x, name = batch[context.cond_var[0]], context.var[0]
        with torch.no_grad():
            if context.reads == "left":
                return {name: context.read(x, batch.get("mask"), state[name])}
            return {name: context.read_each(x)}

    def _held(
        self,
        drawn: Mapping[str, Tensor],
        given: Mapping[str, Tensor],
        batch: Mapping[str, Tensor],
        state: State,
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
            held[k] = whole.gather(
                0, last.reshape(*last.shape, *[1] * (series.ndim - 2)).expand_as(series)
            )
        return held


def _draw(distribution: Distribution, given: Mapping[str, Tensor], mean: bool) -> dict[str, Tensor]:
    return distribution.sample(given, return_all=False, sample_mean=mean)
