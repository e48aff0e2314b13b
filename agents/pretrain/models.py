"""The models of pretraining behind one face: an objective, a bound in nats a frame, a forecast.

RSSMModel     dict observations and images, actions, rewards
StepModel     an ensemble of one-step predictors of vectors, from actions
VectorModel   DMM, VRNN, TD-VAE: the vectors of a log side by side, in standard units or binary
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.errors import UsageError
from agents.pretrain.choice import NEAR, largest_actions
from agents.pretrain.model import Batch, PretrainModel
from agents.pretrain.settings import OneStepSettings, PretrainSettings, RSSMSettings
from agents.process import Weighed
from worldmodels.change import Changes
from worldmodels.data import Episodes
from worldmodels.dmm import DMM
from worldmodels.one_step import OneStep
from worldmodels.open_loop import changes, moments
from worldmodels.rssm import RSSM
from worldmodels.scaling import Scaling
from worldmodels.state_space import StateSpaceModel
from worldmodels.td_vae import TDVAE
from worldmodels.vrnn import VRNN

Builder = Callable[[PretrainSettings, Mapping[str, tuple[int, ...]], int], PretrainModel]


class RSSMModel(PretrainModel):
    """An RSSM of a log; actions are divided by a scale: one that is given, or their largest size in
    the log, at least 1.

    Args:
        model: the RSSM.
        action_size: of the log's actions; 0 if there are none (the model then reads one that is
            always 0).
        scale: one number or ``action_size`` of them; found in the log if empty.

    Raises:
        UsageError: another number of scales; an action of the log above the scale that is given; a
            model without a decoder.
    """

    action_scale: Tensor

    def __init__(self, model: RSSM, action_size: int, scale: Sequence[float] = ()) -> None:
        super().__init__(model)
        if not model.decodes:
            raise UsageError(
                f"an RSSM with representation={model.config.representation!r} has no decoder and "
                "predicts no observations, which its report is about; take 'reconstruction'"
            )
        self.action_size, self.scale_given = action_size, bool(scale)
        count = max(1, action_size)
        if len(scale) not in (0, 1, count):
            raise UsageError(
                f"action_scale: expected one number or {count}, as the log has actions, "
                f"got {len(scale)}"
            )
        self.register_buffer("action_scale", torch.ones(count) * torch.tensor(list(scale) or [1.0]))

    def fit_units(self, train: Episodes) -> None:
        """Take the units from the training part."""
        assert isinstance(self.model, RSSM)
        if self.model.config.vectors == "gaussian" and self.model.encoder.vectors:
            vectors = train.select(self.model.encoder.vectors)
            self.model.standardize(
                moments(vectors),
                changes(vectors) if self.model.config.predicts == "change" else None,
            )
        if self.action_size:
            largest = self.action_scale.new_tensor(largest_actions(train))
            if self.scale_given:
                if (largest > self.action_scale * (1 + NEAR)).any():
                    raise UsageError(
                        f"action_scale {self.action_scale.tolist()}: "
                        f"the log's actions reach {largest.tolist()}, "
                        "more than an agent's, which lie in [-1, 1] of it; "
                        "give the environment's bound"
                    )
                return
            self.action_scale.copy_(largest.clamp(min=1.0))

    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        """Observations, scaled actions, reward ``[T, B, 1]``, continuation ``[T, B, 1]``."""
        found = {k: batch[k] for k in (*self.model.keys, "is_first")}
        if "mask" in batch:
            found["mask"] = batch["mask"]
        steps, count = batch["is_first"].shape
        found["action"] = (
            batch["action"] / self.action_scale
            if self.action_size
            else found["is_first"].new_zeros((steps, count, 1), dtype=torch.get_default_dtype())
        )
        found["reward"] = batch["reward"].unsqueeze(-1)
        found["cont"] = (~batch["is_terminal"]).to(found["reward"].dtype).unsqueeze(-1)
        return found

    def observations(self, drawn: Batch, seen: Batch) -> dict[str, Tensor]:
        """As drawn; images that the log holds as uint8 become pixels from 0 to 255, those of
        floats stay between 0 and 1.
        """
        return {k: v * 255 if seen[k].dtype == torch.uint8 else v for k, v in drawn.items()}

    def actions(self, action: Tensor | None, steps: int, count: int, draws: int) -> Tensor | None:
        """The log's actions, scaled; zeros where there are none."""
        if action is None:
            return self.action_scale.new_zeros(steps, count * draws, 1)
        return (action / self.action_scale).repeat_interleave(draws, 1)


class VectorModel(PretrainModel):
    """A model of one vector ``x``: the vectors of a log side by side, in standard units, or what
    they change in those; binary ones as they are.

    Bounds are of the standard units, whichever is modelled; of the log's own where it is binary.

    Args:
        model: of ``x [T, B, D]``.
        sizes: key -> the size of the vector.
        predicts: the ``value``, or the ``change`` from the last two rows on
            (:class:`worldmodels.change.Changes`).
        binary: whether ``x`` has Bernoulli densities, and so lies in [0, 1].
    """

    def __init__(
        self,
        model: StateSpaceModel,
        sizes: Mapping[str, int],
        predicts: str = "value",
        binary: bool = False,
    ) -> None:
        super().__init__(model)
        self.sizes, self.binary = dict(sizes), binary
        self.scaling = Scaling(sum(sizes.values()))
        self.changes = Changes(sum(sizes.values())) if predicts == "change" else None

    def fit_units(self, train: Episodes) -> None:
        """Take the units from the training part; none where values are binary."""
        if self.binary:
            return
        train = train.select(list(self.sizes))
        self.scaling.set(*self._joined(moments(train)))
        if self.changes is not None:
            self.changes.steps.set(*self._joined(changes(train)))

    def accept(self, data: Episodes) -> None:
        """Refuse values outside of [0, 1] where they are binary."""
        for key in self.sizes if self.binary else ():
            low, high = (float(f([f(e[key]) for e in data])) for f in (np.min, np.max))
            if low < 0 or high > 1:
                raise UsageError(
                    f"model.observation=bernoulli is for features from 0 to 1; {key} of this log "
                    f"lies in [{low:.4g}, {high:.4g}]: give model.observation=gaussian, or "
                    f"keys=[...] that are binary"
                )

    def _joined(self, units: Mapping[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        first, second = (torch.cat([units[k][i] for k in self.sizes]) for i in (0, 1))
        return first, second

    def units(self, batch: Batch) -> Tensor:
        """The vectors of a log side by side in standard units, ``[T, B, D]``."""
        found: Tensor = self.scaling(torch.cat([batch[k] for k in self.sizes], -1))
        return found

    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        """``x`` and ``mask``."""
        x = self.units(batch)
        found: dict[str, Tensor] = {"x": x if self.changes is None else self.changes(x)}
        if "mask" in batch:
            found["mask"] = batch["mask"]
        return found

    @torch.no_grad()
    def bound(self, batch: Batch) -> Tensor:
        """The negative evidence bound of each sequence, ``[B]`` nats."""
        found = super().bound(batch)
        if self.changes is None:
            return found
        steps, count = batch["is_first"].shape
        rows = batch["mask"].sum(0) if "mask" in batch else found.new_full((count,), steps)
        return found - self.changes.log_det(rows)

    def terms(self, batch: Batch) -> Tensor:
        """All frames; of a TD-VAE, whose bound is of ``x_{2:T}`` given ``x_1``, all but the
        first.
        """
        found = super().terms(batch)
        return (found - 1).clamp(min=0) if isinstance(self.model, TDVAE) else found

    def observations(self, drawn: Batch, seen: Batch) -> dict[str, Tensor]:
        """The vectors by their keys."""
        x = drawn["x"]
        if self.changes is not None:
            x = self.changes.inverse(x, self.units({k: v[-2:] for k, v in seen.items()}))
        parts = self.scaling.inverse(x).split(list(self.sizes.values()), -1)
        return dict(zip(self.sizes, parts, strict=True))


class StepModel(PretrainModel):
    """An ensemble of one-step predictors; bounds are of changes in standard units.

    Args:
        model: the ensemble.

    >>> from worldmodels.one_step_config import OneStepConfig
    >>> StepModel(OneStep({"x": (3,)}, 2, OneStepConfig(units=8))).model.size
    3
    """

    model: OneStep  # type: ignore[assignment]

    def __init__(self, model: OneStep) -> None:
        super().__init__(model)  # type: ignore[arg-type]

    def fit_units(self, train: Episodes) -> None:
        """Take the units from the training part."""
        self.model.fit_units(train)

    def prepare(self, batch: Batch) -> dict[str, Tensor]:
        """As it is: steps are made of rows that follow each other."""
        return dict(batch)

    def loss(self, batch: Batch, beta: float = 1.0) -> Tensor:
        """Nats of a step, a number."""
        nats, made = self.model.nats(batch)
        return nats.sum() / made.sum().clamp(min=1)

    @torch.no_grad()
    def bound(self, batch: Batch) -> Tensor:
        """Nats of all steps of each sequence, ``[B]``."""
        return self.model.nats(batch)[0].sum(0)

    def terms(self, batch: Batch) -> Tensor:
        """The steps that were made: a first row has none, nor has one that begins an episode."""
        return self.model.made(batch).sum(0)

    def forecast(
        self, seen: Batch, action: Tensor | None, steps: int, draws: int = 1
    ) -> dict[str, Tensor]:
        """See :meth:`worldmodels.one_step.OneStep.forecast`; the mean needs no draws."""
        self.eval()
        return self.model.forecast(seen, action, steps)

    def drawn(
        self, seen: Batch, action: Tensor | None, steps: int, draws: int
    ) -> dict[str, Tensor]:
        """Paths of members, one drawn anew for each step, ``[steps, B, draws, D]``."""
        self.eval()
        if action is None:
            raise UsageError("an ensemble of steps reads actions, and the log has none")
        count = seen["is_first"].shape[1]
        obs = {k: seen[k][-1].repeat_interleave(draws, 0) for k in self.model.sizes}
        lately: Tensor | None = self.model.history(seen)[-1].repeat_interleave(draws, 0)
        found = []
        for now in action[:steps].repeat_interleave(draws, 1):
            step = self.model.imagine(obs, now, lately)
            obs, lately = step.obs, step.lately
            found.append(obs)
        series = {k: torch.stack([o[k] for o in found]) for k in self.model.sizes}
        return {k: v.unflatten(1, (count, draws)) for k, v in series.items()}

    def observations(self, drawn: Batch, seen: Batch) -> dict[str, Tensor]:
        """They are in the log's units."""
        return dict(drawn)


def _rssm(
    settings: PretrainSettings, shapes: Mapping[str, tuple[int, ...]], action_size: int
) -> RSSMModel:
    assert isinstance(settings, RSSMSettings)
    return RSSMModel(
        RSSM(shapes, max(1, action_size), settings.model), action_size, settings.action_scale
    )


def _one_step(
    settings: PretrainSettings, shapes: Mapping[str, tuple[int, ...]], action_size: int
) -> StepModel:
    assert isinstance(settings, OneStepSettings)
    return StepModel(OneStep(shapes, action_size, settings.model))


def _vectors(model: Callable[[int, Any], StateSpaceModel]) -> Builder:
    """A builder for a model of one vector."""

    def build(
        settings: Any, shapes: Mapping[str, tuple[int, ...]], action_size: int
    ) -> VectorModel:
        images = [k for k, s in shapes.items() if len(s) != 1]
        if images:
            raise UsageError(
                f"{settings.kind} models vectors; {images} are images: "
                f"choose others with keys=[...], or take rssm"
            )
        sizes = {k: s[0] for k, s in shapes.items()}
        binary = settings.model.observation == "bernoulli"
        made = model(sum(sizes.values()), settings.model)
        return VectorModel(made, sizes, settings.predicts, binary)

    return build


BUILDERS: dict[str, Builder] = {
    "rssm": _rssm,
    "dmm": _vectors(DMM),
    "vrnn": _vectors(VRNN),
    "tdvae": _vectors(TDVAE),
    "one_step": _one_step,
}
"""Kind of settings -> what makes its model; see :data:`agents.pretrain.settings.KINDS`."""


def build(
    settings: PretrainSettings, shapes: Mapping[str, tuple[int, ...]], action_size: int
) -> PretrainModel:
    """The model of a run.

    Args:
        settings: the run.
        shapes: observed key -> ``[D]`` or ``[H, W, C]``.
        action_size: of the log's actions; 0 if there are none.

    Raises:
        UsageError: images for a model of vectors; weights of more than half of the memory.
    """
    with Weighed():
        return BUILDERS[settings.kind](settings, shapes, action_size)
