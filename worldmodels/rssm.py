r"""RSSM: the recurrent state-space model of PlaNet and Dreamer, with Gaussian or categorical
latents.

.. math::
    h_t = f(h_{t-1}, s_{t-1}, a_{t-1}), \quad s_t \sim q(s_t|h_t, e_t), \quad
        \hat s_t \sim p(s_t|h_t), \quad
    e_t = \mathrm{enc}(x_t)

    L = \mathbb{E}_q \sum_t -\log p(x_t, r_t, c_t|h_t, s_t) + \beta_{dyn} \max(1, D_{KL}[\bar q\|p])
        + \beta_{rep} \max(1, D_{KL}[q\|\bar p])

(Hafner et al. 2019, 2023 eq. 4-5; the bar stops gradients.)  The pieces are distributions, and the
objective is an expression over them: what prints is what trains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Deterministic, Distribution, GroupedOneHot, Normal, Scan
from pixyz.expression import E, LogProb, Loss
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.change import Before, ChangeReconstruction, Now, moved
from worldmodels.decoder import STATE, Reconstruction, Vectors, symlog
from worldmodels.heads import ContinueHead, NormalHead, Numbers, ScalarHead
from worldmodels.networks import MLP, PIXELS, BlockGRU, ConvEncoder, GRUCore, check_keys
from worldmodels.own_terms import Terms
from worldmodels.ranges import check_ranges
from worldmodels.scaling import Scaling, scalings
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State


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
        depth: channels of the convolutions, in units of :data:`worldmodels.networks.MULTIPLIERS`.
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
        rewards: their density: ``"two_hot"`` (DreamerV3), or ``"normal"`` with the variance 1
            (PlaNet, Dreamer V1 and V2).
        free_nats: each KL below this many nats a frame costs nothing.
        dyn_scale, rep_scale: weights of the two KL terms.
        unimix: the share of the uniform distribution in a categorical latent.
        min_scale: the smallest standard deviation of a Gaussian latent.

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
        "[0, 1e6]": "free_nats dyn_scale rep_scale",
        "[0, 1)": "unimix",
        "(0, 1e3]": "min_scale",
    }

    latent: Literal["categorical", "gaussian"] = "categorical"
    core: Literal["block_gru", "gru"] = "block_gru"
    vectors: Vectors = "symlog"
    predicts: Literal["value", "change"] = "value"
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

    @property
    def stoch(self) -> int:
        """The size of the stochastic state."""
        return self.groups * self.classes if self.latent == "categorical" else self.groups

    @property
    def features(self) -> int:
        """The size of what heads read."""
        return self.deter + self.stoch


def join(*parts: Tensor) -> Tensor:
    """Concatenate features."""
    return torch.cat(parts, -1)


class Encoder(Deterministic):
    """``e = enc(x)``: vectors through symlog or a scaling and an MLP, images (``[H, W, C]``, uint8
    or in [0, 1]) through convolutions.

    Where changes are predicted it reads how far vectors moved since the last frame, too; ``steps``
    has the units of that.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        config: RSSMConfig,
        steps: nn.ModuleDict | None = None,
    ) -> None:
        super().__init__(
            "embed", [*shapes, *(["now_prev"] if steps is not None else [])], name="enc"
        )
        self.__dict__["steps"] = steps  # held by the decoder
        self.images = [k for k, s in shapes.items() if len(s) == 3]
        self.domains = dict.fromkeys(self.images, PIXELS)
        self.vectors = [k for k, s in shapes.items() if len(s) == 1]
        size = self.size = sum(shapes[k][0] for k in self.vectors)
        self.mlp = (
            MLP(size * (1 if steps is None else 2), config.units, config.encoder_layers)
            if self.vectors
            else None
        )
        self.scaling = scalings(shapes) if config.vectors == "gaussian" else None
        self.cnn = nn.ModuleDict(
            {k: ConvEncoder(tuple(shapes[k]), config.depth) for k in self.images}
        )
        self.out = (config.units if self.vectors else 0) + sum(c.out for c in self.cnn.values())  # type: ignore[misc]

    def forward(self, **obs: Tensor) -> dict[str, Tensor]:
        parts = []
        if self.mlp is not None:
            parts.append(self.mlp(self._units(obs)))
        parts += [self.cnn[k](obs[k]) for k in self.images]
        return {"embed": parts[0] if len(parts) == 1 else join(*parts)}

    def _units(self, obs: Mapping[str, Tensor]) -> Tensor:
        if self.scaling is None:
            return symlog(join(*[obs[k] for k in self.vectors]))
        units, steps = (
            join(*[self.scaling[k](obs[k]) for k in self.vectors]),
            self.__dict__["steps"],
        )
        return units if steps is None else join(units, moved(units, obs["now_prev"], steps))


class Dynamics(Deterministic):
    """``h = f(h_prev, s_prev, a_prev)``."""

    def __init__(self, action_size: int, config: RSSMConfig) -> None:
        super().__init__(
            "deter",
            ["deter_prev", "stoch_prev", "action_prev"],
            name="f",
            features_shape=[config.deter],
        )
        self.core: nn.Module
        if config.core == "block_gru":
            self.core = BlockGRU(
                config.deter, config.stoch, action_size, config.hidden, config.blocks
            )
        else:
            self.core = GRUCore(config.deter, config.stoch, action_size, config.hidden)

    def forward(
        self, deter_prev: Tensor, stoch_prev: Tensor, action_prev: Tensor
    ) -> dict[str, Tensor]:
        return {"deter": self.core(deter_prev, stoch_prev, action_prev)}


class CategoricalLatent(GroupedOneHot):
    """``s``: one-hot groups from an MLP."""

    def __init__(
        self, cond_var: list[str], name: str, size: int, layers: int, config: RSSMConfig
    ) -> None:
        super().__init__(
            config.groups, config.classes, "stoch", cond_var, name, unimix=config.unimix
        )
        self.net = MLP(size, config.hidden, layers, config.stoch)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(*[given[v] for v in self.cond_var])}


class GaussianLatent(Normal):
    """``s``: a diagonal normal from an MLP."""

    def __init__(
        self, cond_var: list[str], name: str, size: int, layers: int, config: RSSMConfig
    ) -> None:
        super().__init__("stoch", cond_var, name, features_shape=[config.stoch])
        self.net = MLP(size, config.hidden, layers, 2 * config.stoch)
        self.min_scale = config.min_scale

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        loc, scale = self.net(*[given[v] for v in self.cond_var]).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale) + self.min_scale}


class RSSM(StateSpaceModel):
    """A recurrent state-space model of dict observations, rewards and continuation.

    Args:
        shapes: observation key -> shape of one observation: ``[D]`` for vectors, ``[H, W, C]`` for
            images.
        action_size: the size of an action (one-hot for discrete ones).
        config: sizes and weights.
        fission: split the time loop; False is the reference in tests.
        terms: own terms of the objective, by name; see :class:`worldmodels.StateSpaceModel`.

    Raises:
        PixyzError: an observation key is one of the model's own names, or a shape is neither vector
            nor image.

    >>> config = RSSMConfig(latent="gaussian", core="gru", deter=8, groups=3, units=8)
    >>> model = RSSM({"x": (4,)}, action_size=2, config=config)
    >>> batch = {
    ...     "x": torch.zeros(5, 2, 4),
    ...     "action": torch.zeros(5, 2, 2),
    ...     "reward": torch.zeros(5, 2),
    ... }
    >>> batch |= {
    ...     k: torch.zeros(5, 2, dtype=torch.bool) for k in ("is_first", "is_last", "is_terminal")
    ... }
    >>> model.filter(batch)["deter"].shape
    torch.Size([5, 2, 8])
    """

    acts = True

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        action_size: int,
        config: RSSMConfig | None = None,
        fission: bool = True,
        terms: Terms | None = None,
    ) -> None:
        super().__init__()
        config = config or RSSMConfig()
        check_keys(shapes)
        odd = {k: tuple(s) for k, s in shapes.items() if len(s) not in (1, 3)}
        if odd:
            raise PixyzError(f"observations are vectors [D] or images [H, W, C], got {odd}")
        self.config, self.keys, self.action_size = config, list(shapes), action_size
        self.shapes = {k: tuple(s) for k, s in shapes.items()}
        latent = CategoricalLatent if config.latent == "categorical" else GaussianLatent
        size, c = config.features, config
        steps = scalings(shapes) if c.predicts == "change" else None
        self.encoder = Encoder(shapes, c, steps)
        self.dynamics = Dynamics(action_size, c)
        self.posterior = latent(
            ["deter", "embed"], "q", c.deter + self.encoder.out, c.posterior_layers, c
        )
        self.prior = latent(["deter"], "p", c.deter, c.prior_layers, c)
        self.decoder: Reconstruction
        memory: list[Distribution] = []
        if steps is None:
            self.decoder = Reconstruction(
                shapes, size, c.units, c.decoder_layers, c.depth, c.vectors
            )
        else:
            if self.encoder.scaling is None or not self.encoder.vectors:
                raise PixyzError(
                    'predicts="change" needs vectors among the observations, and vectors="gaussian"'
                )
            self.decoder = ChangeReconstruction(
                shapes, size, c.units, c.decoder_layers, c.depth, steps
            )
            memory = [Now(self.encoder.scaling), Before(self.encoder.size + 1)]
        self.reward: ScalarHead | NormalHead
        if c.rewards == "two_hot":
            self.reward = ScalarHead("reward", "p_r", size, c.units, c.reward_layers, c.bins)
        else:
            self.reward = NormalHead("reward", "p_r", size, c.units, c.reward_layers)
        self.cont = ContinueHead(size, c.units, c.continue_layers)
        self.carry = {v: f"{v}_prev" for v in (*STATE, *(m.var[0] for m in memory))}
        self._declare(
            keys=self.keys,
            inference=math.prod(memory, start=self.encoder * self.dynamics * self.posterior),
            generation=math.prod(memory, start=self.dynamics * self.prior * self.decoder),
            emission=self.decoder,
            carry=self.carry,
            init=dict.fromkeys(self.carry.values(), 0),
            features=STATE,
            reset_var="is_first",
            fission=fission,
            shapes={**shapes, "action": [action_size], "reward": [1], "cont": [1]},
            targets=["reward", "cont"],
            terms=terms,
        )
        self.filter_options = {
            **self.recurrence,
            "series_var": [*self.keys, "reward", "cont", *self.own.reads],
        }
        q, p = self.posterior, self.prior
        heads = LogProb(self.decoder) + LogProb(self.reward) + LogProb(self.cont)
        weight = E(self.step, heads + LogProb(p) - LogProb(q))
        self._express(
            IterativeLoss(
                E(self.step, self.terms()),
                reduction="frame",
                returns=["deter", "stoch"],
                **self.filter_options,
            ),
            IterativeLoss(E(self.step, KullbackLeibler(q, p) - heads), **self.filter_options),
            IterativeLoss(weight, **self.filter_options),
            IterativeLoss(weight, reduction=None, returns=list(self.carry), **self.filter_options),
        )

    # ---------------------------------------------------------------- expressions

    @property
    def transition(self) -> Distribution:
        """One step without an observation: ``p(s|h) f(h|...)``."""
        return self.pieces.transition

    def heads(self) -> Loss:
        """What a step costs without its KL: reconstruction, reward, continuation and own terms,
        each named.
        """
        return self._with_own(self._heads())

    def _heads(self) -> Loss:
        return (
            (-LogProb(self.decoder)).named("rec")
            + (-LogProb(self.reward)).named("rew")
            + (-LogProb(self.cont)).named("con")
        )

    def terms(self) -> Loss:
        """What a step costs: reconstruction, reward, continuation, the two KL terms and own terms,
        each named.
        """
        c, q, p = self.config, self.posterior, self.prior
        dyn = KullbackLeibler(q.detach(), p).clamp(min=c.free_nats).named("dyn")
        rep = KullbackLeibler(q, p.detach()).clamp(min=c.free_nats).named("rep")
        return self._with_own(self._heads() + c.dyn_scale * dyn + c.rep_scale * rep)

    @property
    def objective(self) -> Loss:
        """The negative evidence bound with balanced KL, a mean over frames.

        Its variables: the observation keys, ``action``, ``reward [T, B, 1]``, ``cont [T, B, 1]``,
        ``is_first [T, B]``. The state before the first step may be given as ``deter_prev``,
        ``stoch_prev`` and ``action_prev``.
        """
        return super().objective

    def scan(self) -> Scan:
        """The filter over a sequence as a distribution over states."""
        return Scan(self.step, **self.filter_options)

    # ---------------------------------------------------------------- units

    @property
    def steps(self) -> nn.ModuleDict | None:
        """The units of changes, which filtering reads too; None where values are predicted."""
        return self.decoder.steps if isinstance(self.decoder, ChangeReconstruction) else None

    def standardize(
        self,
        units: Mapping[str, tuple[Tensor, Tensor]],
        changes: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        """Take mean and standard deviation ``[D]`` of each vector; they are saved with the weights.

        Args:
            units: of :func:`worldmodels.open_loop.moments`.
            changes: of :func:`worldmodels.open_loop.changes`, where changes are predicted.

        Raises:
            PixyzError: the model reads vectors by symlog, keys differ, or changes are given and not
                predicted.
        """
        if self.encoder.scaling is None:
            raise PixyzError(
                'an RSSM with vectors="symlog" has no units; build it with '
                'RSSMConfig(vectors="gaussian")'
            )
        parts: list[tuple[nn.ModuleDict | None, Mapping[str, tuple[Tensor, Tensor]]]]
        parts = [(self.encoder.scaling, units), (self.decoder.scaling, units)]
        if changes is not None:
            if not isinstance(self.decoder, ChangeReconstruction):
                raise PixyzError(
                    'this RSSM predicts values; build it with RSSMConfig(predicts="change")'
                )
            parts.append((self.decoder.steps, changes))
        for part, given in parts:
            if set(given) != set(self.encoder.vectors):
                raise PixyzError(
                    f"standardize expected the vectors {self.encoder.vectors}, got {sorted(given)}"
                )
            for key, (loc, scale) in given.items():
                scaling = part[key]  # type: ignore[index]
                assert isinstance(scaling, Scaling)
                scaling.set(loc, scale)

    # ---------------------------------------------------------------- states

    def initial(self, batch: int) -> State:
        """Zeros: ``deter [B, D]``, ``stoch [B, S]``; also ``now`` and ``before`` where changes are
        predicted.
        """
        like = next(self.parameters())
        sizes = {"deter": self.config.deter, "stoch": self.config.stoch}
        sizes |= {v: self.encoder.size + 1 for v in ("now", "before")}
        return {v: like.new_zeros(batch, sizes[v]) for v in self.carry}

    def observe(self, state: State, step: Mapping[str, Tensor], mean: bool = False) -> State:
        """The state after an observation; ``step`` holds the observation keys, ``action_prev`` and
        maybe ``is_first``.
        """
        step = self.door.frame(step)
        given = {f"{k}_prev": v for k, v in state.items()} | {"action_prev": step["action_prev"]}
        if "is_first" in step:  # not a product: an old state may hold NaN
            first = step["is_first"].bool().unsqueeze(-1)
            given = {k: v.masked_fill(first, 0.0) for k, v in given.items()}
        drawn = self.step.sample(
            {**given, **{k: step[k] for k in self.keys}}, return_all=False, sample_mean=mean
        )
        return {v: drawn[v] for v in self.carry}
