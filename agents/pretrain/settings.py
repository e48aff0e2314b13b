"""What a pretraining run is made of: one dataclass a model over what all have in common;
``configs/pretrain`` has the defaults of the command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from agents.process import check_device, check_threads
from worldmodels.data.check import OnBad
from worldmodels.dmm import DMMConfig
from worldmodels.one_step_config import OneStepConfig
from worldmodels.ranges import check_ranges
from worldmodels.rssm_config import RSSMConfig
from worldmodels.td_vae import TDVAEConfig
from worldmodels.vrnn import VRNNConfig

LEAST_SEEN = 5
"""Rows that the report reads at least."""
WANTED = 50
"""Rows that it reads, and rows that it predicts, where nothing else is said and the log has them.
"""
NORMAL = {"rssm": "vectors", "dmm": "observation", "vrnn": "observation", "tdvae": "observation"}
"""Kind -> the setting of its model that says what density vectors have."""


@dataclass(frozen=True)
class PretrainSettings:
    """Abstract: the data, the training and the judgement; a final class adds the model.

    Args:
        kind: the model.
        data: a file or folder of episodes.
        format: of the data; found out if ``auto``.
        keys: the observations to learn; all if empty.
        on_bad: what to do with episodes that hold bad values: refuse the data, drop them, or cut
            such rows out of them.
        split: whether the validation and the test part are the last rows of each episode, or whole
            episodes; ``auto``: what leaves the report room (:func:`agents.pretrain.fit.fitted`).
        valid, test: their shares.
        seed: of weights, draws and the split.
        device: such as ``cpu`` or ``cuda``.
        threads: of torch; 0 leaves them alone.
        updates: at most so many.
        batch, length: windows of ``length`` rows in an update.
        lr, final_lr: the rate falls from ``lr`` to the share ``final_lr`` of it over ``updates``,
            along a cosine.
        warmup: updates over which the rate rises from 0.
        weight_decay: decoupled (AdamW).
        clip: the largest norm of the gradient.
        anneal: updates over which the weight of the divergence rises to 1, where the objective has
            one.
        eval_every: updates between validations.
        patience: validations without a better bound after which training ends; 0: never.
        checkpoint_every: updates between checkpoints.
        checkpoint_minutes: minutes between checkpoints, beside those; 0: none.
        seen, horizon: rows that are read, and rows that are predicted, in the open-loop report; 0:
            50 each, or as many as the longest test episode has.
        stride: rows between the starts of the report's windows.
        draws: samples that a prediction is the mean of.
        predicts: what is predicted of vectors, their ``value`` or their ``change`` from the last
            two rows on (:mod:`worldmodels.change`); ``auto``: what suits the training part, see
            :func:`agents.pretrain.choice.chosen`. A run's config holds what was chosen.

    >>> from agents.pretrain.settings import DMMSettings
    >>> settings = DMMSettings(updates=100)
    >>> settings.kind, settings.updates, settings.split
    ('dmm', 100, 'auto')
    """

    RANGES: ClassVar[dict[str, str]] = {
        "(0, 1)": "valid test",
        "[0, 4294967295]": "seed",
        "[0, 1e9]": "threads seen horizon",
        "[1, 1e12]": "updates eval_every checkpoint_every",
        "[0, 1e12]": "warmup anneal patience",
        "[1, 65536]": "batch draws",
        "[2, 65536]": "length",
        "(0, 1]": "lr final_lr",
        "[0, 1]": "weight_decay",
        "(0, 1e9]": "clip",
        "[0, 1e6]": "checkpoint_minutes",
        "[1, 1e9]": "stride",
    }

    kind: str = "rssm"
    data: str = field(default="", metadata={"as_is": True})
    format: Literal["auto", "npz", "store", "csv", "minari", "lerobot", "replay"] = "auto"
    keys: tuple[str, ...] = ()
    on_bad: OnBad = "refuse"
    split: Literal["auto", "time", "episode"] = "auto"
    valid: float = 0.1
    test: float = 0.1
    seed: int = 0
    device: str = "cpu"
    threads: int = 0
    updates: int = 5000
    batch: int = 16
    length: int = 64
    lr: float = 1e-3
    final_lr: float = 0.05
    warmup: int = 100
    weight_decay: float = 1e-4
    clip: float = 10.0
    anneal: int = 500
    eval_every: int = 250
    patience: int = 8
    checkpoint_every: int = 1000
    checkpoint_minutes: float = 10.0
    seen: int = 0
    horizon: int = 0
    stride: int = 1
    draws: int = 16
    predicts: Literal["auto", "value", "change"] = "auto"

    def __post_init__(self) -> None:
        own = type(self).__dataclass_fields__["kind"].default
        if self.kind != own:
            raise ValueError(
                f"kind {self.kind!r} is not that of these settings, {own!r}; take another config"
            )
        check_ranges(self)
        check_threads(self.threads)
        if 0 < self.seen < LEAST_SEEN:
            raise ValueError(
                f"seen must be at least {LEAST_SEEN}, or 0 for what fits the log; got {self.seen}"
            )
        if not self.valid + self.test < 1:
            raise ValueError(
                f"valid and test must together be below 1, got {self.valid} and {self.test}"
            )
        if self.predicts == "change" and not self.has_normal:
            raise ValueError(
                f"predicts=change needs normal densities; give model.{NORMAL[self.kind]}=gaussian, "
                f"or predicts=value"
            )
        check_device(self.device)

    @property
    def has_normal(self) -> bool:
        """Whether the model has normal densities of vectors: such a one can predict changes."""
        return getattr(getattr(self, "model", None), NORMAL[self.kind], None) == "gaussian"


@dataclass(frozen=True)
class RSSMSettings(PretrainSettings):
    """An RSSM; it reads the actions of the log.

    Args:
        action_scale: what the log's actions are divided by, one number or one for each: the action
            that an agent calls 1, such as the bound of the environment. The largest of the log (at
            least 1) if empty; an agent can then start from the model only if the log's actions lie
            in [-1, 1].
    """

    kind: str = "rssm"
    model: RSSMConfig = field(default_factory=RSSMConfig)
    action_scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 < scale < float("inf") for scale in self.action_scale):
            raise ValueError(f"action_scale must be above 0 and finite, got {self.action_scale}")
        if self.predicts == "value" and self.model.predicts == "change":
            raise ValueError("predicts=value and model.predicts=change differ; give predicts alone")


@dataclass(frozen=True)
class DMMSettings(PretrainSettings):
    """A DMM of real vectors in standard units (``observation="gaussian"``), or of binary ones as
    they are; it reads no actions.
    """

    kind: str = "dmm"
    model: DMMConfig = field(default_factory=lambda: DMMConfig(observation="gaussian"))


@dataclass(frozen=True)
class VRNNSettings(PretrainSettings):
    """A VRNN of real vectors in standard units (``observation="gaussian"``), or of binary ones as
    they are; it reads no actions.
    """

    kind: str = "vrnn"
    model: VRNNConfig = field(default_factory=lambda: VRNNConfig(observation="gaussian"))


@dataclass(frozen=True)
class TDVAESettings(PretrainSettings):
    """A TD-VAE; it reads no actions."""

    kind: str = "tdvae"
    model: TDVAEConfig = field(default_factory=TDVAEConfig)


@dataclass(frozen=True)
class OneStepSettings(PretrainSettings):
    """An ensemble of one-step predictors; it reads actions, and predicts changes alone."""

    kind: str = "one_step"
    model: OneStepConfig = field(default_factory=OneStepConfig)
    predicts: Literal["auto", "value", "change"] = "change"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.predicts != "change":
            raise ValueError(
                f"one_step predicts changes, got predicts={self.predicts}; leave it out"
            )

    @property
    def has_normal(self) -> bool:
        """It has."""
        return True


KINDS: dict[str, type[PretrainSettings]] = {
    "rssm": RSSMSettings,
    "dmm": DMMSettings,
    "vrnn": VRNNSettings,
    "tdvae": TDVAESettings,
    "one_step": OneStepSettings,
}
