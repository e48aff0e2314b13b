"""What PlaNet and the Dreamers share: an RSSM of recorded sequences, its state as memory, one
objective.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from agents.agent import Batch, Choose, Learned, State, Window
from agents.compiling import Beside
from agents.replay.codecs import BFloat16, Codec, OneHot
from agents.replay.priorities import Ranked
from agents.spaces import ActionSpec
from agents.torch_agent import TorchAgent
from pixyz.distributions import Distribution
from pixyz.expression import Loss
from pixyz.plan import Options
from worldmodels.own_terms import Terms
from worldmodels.rssm import RSSM
from worldmodels.rssm_config import RSSMConfig

ALIGN = "align_cost"
MODEL_COSTS = ("rec", "rew", "con", "dyn", "rep")
"""Terms of the model that a frame has by itself, where the objective has them so."""


@dataclass(frozen=True)
class LatentConfig:
    """Abstract: the settings that PlaNet and the Dreamers share.

    Args:
        model: the world model.
        batch, length: sequences of ``length`` steps in an update.
        stored_latents: start sequences from the states that were stored with them; else from zeros.
        latents: how stored states lie in the replay: choices take a byte each, exactly; numbers are
            ``float32``, or ``bfloat16`` in half the space.
        chunk: compile time loops, this many steps at a time; 0: do not.
        beside: compile in a process beside training, which begins at once and switches over when
            that is done, by the clock: two runs of one seed are equal up to rounding only. Else the
            first update compiles, in minutes.
        whole: with ``chunk``: compile the rest of an update, too (another one to two minutes). The
            first update of a process is not compiled, so a resumed run equals a straight one up to
            rounding only.
        max_rows: of a call of encoder, decoder and heads, for less memory at an update (a longer
            one: their activations are computed again in the backward pass); 0: all rows of a
            sequence, or of an imagined path, together.
        precision: of matrix products; ``bfloat16`` runs under autocast.
        kind: the agent's name in the table of :mod:`agents.build`, or ``module:Class``.
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "batch",
        "[2, 65536]": "length",
        "[0, 1e9]": "max_rows",
        "[0, 65536]": "chunk",
    }

    model: RSSMConfig = field(default_factory=RSSMConfig)
    batch: int = 16
    length: int = 64
    stored_latents: bool = False
    latents: Literal["float32", "bfloat16"] = "float32"
    chunk: int = 0
    beside: bool = True
    whole: bool = False
    max_rows: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    kind: str = ""

    def check_options(self) -> None:
        """Look at what is compiled.

        Raises:
            ValueError: ``whole`` without ``chunk``.
        """
        Options(chunk=self.chunk, max_rows=self.max_rows)  # raises where they are wrong
        if self.whole and not self.chunk:
            raise ValueError(
                "whole compiles what is around compiled loops, so it needs a chunk, such as 8"
            )

    @property
    def discount(self) -> float:
        """Per step; it is in the target of the continuation."""
        raise NotImplementedError


class LatentAgent(TorchAgent):
    """Abstract: an agent in the latent state of an RSSM. A final class adds its objective, and what
    moves the weights.

    It builds what it acts and learns with, and then calls :meth:`_begin`.

    Args:
        shapes: observation key -> shape of one observation, ``[D]`` or ``[H, W, C]``.
        action: what an action is.
        config: sizes, weights and rates.
        fission: split the time loops; False is the reference in tests.
        terms: own terms of the world model's objective, by name: losses over a step's variables, or
            a function of the model that gives them; see :class:`worldmodels.StateSpaceModel`. They
            see the draws that all terms see, and are in the log under their names.
    """

    names: ClassVar[tuple[str, ...]]
    """Terms of the objective that the log shows."""
    config: LatentConfig
    actor: Any
    """Acts in the model's state: :class:`agents.latent.LatentActor`, or a planner."""
    _policy: Distribution | None
    _compiling: Beside | None

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        action: ActionSpec,
        config: LatentConfig,
        fission: bool = True,
        terms: Terms | None = None,
    ) -> None:
        super().__init__()
        self.config, self.action = config, action
        self.model = RSSM(shapes, action.size, config.model, fission=fission, terms=terms)
        beside = config.chunk and config.beside and fission and terms is None
        there = replace(config, beside=False)
        self.__dict__["_compiling"] = (
            Beside(self.model.shapes, action, there, cure=", or with beside=false and it says more")
            if beside
            else None
        )

    def _begin(self, actor: Any, policy: Distribution | None = None) -> None:
        """Say who acts, and by which policy; write the objective."""
        self.actor = actor
        c = self.config
        # no submodules: their networks are registered by the final class, and the state dict shall
        # hold them once
        self.__dict__["_policy"] = policy
        self.__dict__["_objective"] = self._write_objective().in_slabs(c.max_rows)
        if self._compiling is None:
            self.objective.compile(c.chunk, whole=c.whole)

    # ---------------------------------------------------------------- the objective

    @property
    def objective(self) -> Loss:
        """All losses, one expression; its variables are those of :meth:`prepare`."""
        found: Loss = self.__dict__["_objective"]
        return found

    def _write_objective(self) -> Loss:
        raise NotImplementedError

    def parts(self) -> dict[str, Distribution]:
        """The distributions that it is made of, by what they are for."""
        found = {
            "a step of filtering": self.model.step,
            "a step of imagination": self.model.transition,
        }
        return found if self._policy is None else {**found, "acting": self._policy}

    # ---------------------------------------------------------------- acting

    @property
    def window(self) -> Window:
        """Sequences, with one row before them where that holds the state they start from."""
        return Window(self.config.batch, self.config.length, int(self.config.stored_latents))

    @property
    def stored(self) -> Mapping[str, tuple[int, ...]]:
        """The latent state."""
        return (
            {k: tuple(v.shape[1:]) for k, v in self.model.initial(1).items()}
            if self.config.stored_latents
            else {}
        )

    @property
    def packed(self) -> Mapping[str, Codec]:
        """Choices as bytes, and numbers as ``config.latents`` says."""
        c = self.config
        found: dict[str, Codec] = {}
        if c.latents == "bfloat16":
            found = {k: BFloat16(shape) for k, shape in self.stored.items()}
        if "stoch" in self.stored and c.model.latent == "categorical" and c.model.classes <= 255:
            found["stoch"] = OneHot(c.model.groups, c.model.classes)
        return found

    @property
    def ranks(self) -> Ranked:
        """Rows, by what a frame cost the model."""
        return "rows"

    @property
    def acting(self) -> nn.Module:
        """Encoder, dynamics, posterior and policy; the units of changes, where the model predicts
        those.
        """
        model = self.model
        parts = [model.encoder, model.dynamics, model.posterior, self._policy, model.steps]
        return nn.ModuleList([part for part in parts if part is not None])

    def initial(self, rows: int) -> State:
        """Zeros: the model's state and ``action``, the action before."""
        found: State = self.actor.initial(rows)
        return found

    @property
    def reads(self) -> list[str]:
        """The observations that acting needs; those of own terms alone it does not."""
        return list(self.model.keys)

    def act(
        self, obs: Mapping[str, Tensor], state: State, *, explore: bool = False
    ) -> tuple[Tensor, State]:
        """Actions ``[B, A]`` in [-1, 1] (one-hot for discrete spaces) after observations ``[B,
        ...]``.

        Args:
            obs: the observation keys and ``is_first [B]``.
            state: from :meth:`initial` or the last call.
            explore: draw as in training; else the best action.

        Raises:
            NotFinite: an observation is not finite.
        """
        found: tuple[Tensor, State] = self.actor.act(obs, state, explore=explore)
        return found

    @property
    def exports(self) -> dict[str, Choose]:
        """What acts on the filtered state: a policy, or a planner."""
        return {self.actor.what: self.actor.choose}

    # ---------------------------------------------------------------- learning

    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's variables from recorded sequences.

        With stored latents, the first step of the batch only gives the state that the rest starts
        from.
        """
        own = self.model.own.reads
        x = {
            k: batch[k]
            for k in (*self.model.keys, "action", "is_first", "is_last", "is_terminal", *own)
        }
        x["reward"] = batch["reward"].unsqueeze(-1)
        if self.config.stored_latents:
            start = {f"{k}_prev": batch[k][0] for k in (*self.stored, "action")}
            x = {k: v[1:] for k, v in x.items()} | start
        x["cont"] = (1.0 - x["is_terminal"].to(x["reward"].dtype)).unsqueeze(
            -1
        ) * self.config.discount
        return x

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective of a batch, its terms, and the states that are stored."""
        with self._precision():
            loss, found = self.objective.eval(
                self.prepare(batch), return_dict=True, return_all=False
            )
        return loss, {k: found[k] for k in (*self._shown, *self.stored)}

    @property
    def _shown(self) -> list[str]:
        """Terms that the log shows; without a decoder, alignment in place of reconstruction."""
        named = [ALIGN if k == "rec" and not self.model.decodes else k for k in self.names]
        return [*named, *self.model.own.losses]

    def _learned(
        self, batch: Batch, optimizer: Any, undo: Sequence[tuple[Tensor, Tensor]] = ()
    ) -> Learned:
        """One guarded step of the objective."""
        self.train()
        self._look_at_compiling(batch)
        loss, found = self.evaluate(batch)
        terms = {k: found[k] for k in self._shown}
        metrics = self.minimise(loss, optimizer, terms, batch, undo)
        return Learned(
            metrics, {k: found[k].detach() for k in self.stored}, self._surprise(found, batch)
        )

    def _look_at_compiling(self, batch: Batch) -> None:
        state = "running" if self._compiling is None else self._compiling.state(batch)
        if state == "running":
            return
        if state == "done":
            self.objective.compile(self.config.chunk, whole=self.config.whole)
        self.__dict__["_compiling"] = None

    def _surprise(self, found: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """What each frame cost the model, ``[T, B]`` (Kauvar et al. 2023, without their counts)."""
        frames = batch["reward"][self.window.lead :].shape
        costs = [found[k].detach().float() for k in MODEL_COSTS if k in found]
        return torch.stack([c for c in costs if c.shape == frames]).sum(0).abs()

    def _precision(self) -> AbstractContextManager[object]:
        if self.config.precision == "float32":
            return nullcontext()
        kind = next(self.parameters()).device.type
        # the cache would hand casts made without gradient (imagination) to the policy's loss
        return torch.autocast(kind, dtype=torch.bfloat16, cache_enabled=False)
