"""Sizes and weights of an RSSM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pixyz.types import PixyzError
from worldmodels.alignment import Representation
from worldmodels.decoder import Vectors
from worldmodels.heads import Numbers
from worldmodels.ranges import check_ranges


@dataclass(frozen=True)
class RSSMConfig:
    """Sizes and weights of an RSSM; the defaults are DreamerV3's smallest published size
    (``size1m``).

    Args:
        deter: the size of the deterministic state ``h``.
        hidden: units of what reads and writes it, and of the layers of the two latents.
        groups, classes: of the stochastic state ``s``.
        units: of the layers of encoder, decoder and heads.
        encoder_layers, decoder_layers, prior_layers: of each network.
        posterior_layers, reward_layers, continue_layers: of each network.
        depth: channels of the convolutions, in units of :data:`worldmodels.images.MULTIPLIERS`.
        strided: convolutions of 4x4 at every second pixel (DreamerV1 to V3 of 2023), a sixth of the
            work; else of 5x5 at every pixel (2024).
        bins: of the two-hot reward.
        latent: categorical (``groups`` one-hot variables of ``classes``) or gaussian (``groups``
            numbers).
        core: a GRU of ``blocks`` blocks, or a plain one.
        blocks: of it; ``deter`` is a multiple.
        vectors: how vectors are seen and predicted: ``"symlog"`` (DreamerV3: squared errors after
            symlog) or ``"gaussian"`` (in the units of :meth:`RSSM.standardize`, with a learned
            standard deviation a feature).
        predicts: what the decoder predicts of vectors, given ``vectors="gaussian"``: their
            ``"value"``, or their ``"change"`` from the last two frames on
            (:mod:`worldmodels.change`), for logs that are sampled fast. The state then holds
            ``now`` and ``before``, too.
        representation: what states learn of observations from: ``"reconstruction"``, through a
            decoder; or, without one, ``"barlow"`` (R2-Dreamer) or ``"infonce"``, the agreement of
            a state with its frame's embedding, or ``"next_embedding"``, that of ``h``, which has
            not seen the frame (:mod:`worldmodels.alignment`).
        align_scale: the weight of the three; the published one if None.
        redundancy: what two features that are alike cost in ``"barlow"`` and ``"next_embedding"``.
        rewards: their density: ``"two_hot"`` (DreamerV3), or ``"normal"`` with the variance 1
            (PlaNet, Dreamer V1 and V2).
        free_nats: each KL below this many nats a frame costs nothing.
        dyn_scale, rep_scale: weights of the two KL terms.
        unimix: the share of the uniform distribution in a categorical latent.
        min_scale: the smallest standard deviation of a Gaussian latent.

    >>> from worldmodels.rssm import RSSM
    >>> model = RSSM(
    ...     {"x": (4,)}, 2, RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8)
    ... )
    >>> model.features(model.initial(5)).shape
    torch.Size([5, 11])
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "deter hidden groups units depth",
        "[2, 65536]": "classes bins",
        "[1, 1024]": "blocks",
        "[1, 64]": "encoder_layers decoder_layers prior_layers posterior_layers "
        "reward_layers continue_layers",
        "[0, 1e6]": "free_nats dyn_scale rep_scale align_scale redundancy",
        "[0, 1)": "unimix",
        "(0, 1e3]": "min_scale",
    }

    latent: Literal["categorical", "gaussian"] = "categorical"
    core: Literal["block_gru", "gru"] = "block_gru"
    vectors: Vectors = "symlog"
    predicts: Literal["value", "change"] = "value"
    representation: Representation = "reconstruction"
    align_scale: float | None = None
    redundancy: float = 5e-4
    rewards: Numbers = "two_hot"
    deter: int = 512
    hidden: int = 64
    groups: int = 32
    classes: int = 4
    blocks: int = 8
    units: int = 64
    encoder_layers: int = 3
    decoder_layers: int = 3
    prior_layers: int = 2
    posterior_layers: int = 1
    reward_layers: int = 1
    continue_layers: int = 1
    depth: int = 4
    strided: bool = False
    bins: int = 255
    free_nats: float = 1.0
    dyn_scale: float = 1.0
    rep_scale: float = 0.1
    unimix: float = 0.01
    min_scale: float = 0.1

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.core == "block_gru" and self.deter % self.blocks:
            raise PixyzError(
                f"deter must be a multiple of blocks, got {self.deter} and {self.blocks}; "
                f"change one, or core=gru"
            )
        if self.predicts == "change" and self.representation != "reconstruction":
            raise PixyzError(
                f'predicts="change" is of a decoder, and representation="{self.representation}" '
                'has none; take predicts="value", or representation="reconstruction"'
            )

    @property
    def stoch(self) -> int:
        """The size of the stochastic state."""
        return self.groups * self.classes if self.latent == "categorical" else self.groups

    @property
    def features(self) -> int:
        """The size of what heads read."""
        return self.deter + self.stoch
