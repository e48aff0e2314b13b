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

from torch import Tensor, nn

from pixyz.distributions import Distribution, Scan
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.alignment import SCALES, Projection, build_alignment
from worldmodels.change import Before, ChangeReconstruction, Now
from worldmodels.decoder import STATE, Reconstruction
from worldmodels.heads import ContinueHead, NormalHead, ScalarHead
from worldmodels.networks import check_keys
from worldmodels.own_terms import Terms
from worldmodels.rssm_config import RSSMConfig
from worldmodels.rssm_parts import CategoricalLatent, Dynamics, Encoder, GaussianLatent
from worldmodels.scaling import Scaling, scalings
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State


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

    >>> import torch
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
        self.decoder = self._build_decoder(steps)
        self.projection: Projection | None = None
        if self.decoder is None:
            past = c.representation == "next_embedding"
            state = STATE[:1] if past else STATE
            self.projection = Projection(state, c.deter if past else size, self.encoder.out)
            self.alignment = build_alignment(c.representation, c.redundancy)
        memory: list[Distribution] = []
        if steps is not None and self.encoder.scaling is not None:
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
            generation=math.prod(
                memory if self.decoder is None else [self.decoder, *memory],
                start=self.dynamics * self.prior,
            ),
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
        heads = LogProb(self.reward) + LogProb(self.cont)
        if self.decoder is not None:
            heads = LogProb(self.decoder) + heads
        weight = E(self.step, heads + LogProb(p) - LogProb(q))
        self._express(
            self._write_objective(),
            IterativeLoss(E(self.step, KullbackLeibler(q, p) - heads), **self.filter_options),
            IterativeLoss(weight, **self.filter_options),
            IterativeLoss(weight, reduction=None, returns=list(self.carry), **self.filter_options),
        )

    def _build_decoder(self, steps: nn.ModuleDict | None) -> Reconstruction | None:
        c = self.config
        if c.representation != "reconstruction":
            return None
        sizes = (self.shapes, c.features, c.units, c.decoder_layers, c.depth)
        if steps is None:
            return Reconstruction(*sizes, c.vectors, strided=c.strided)
        if self.encoder.scaling is None or not self.encoder.vectors:
            raise PixyzError(
                'predicts="change" needs vectors among the observations, and vectors="gaussian"'
            )
        return ChangeReconstruction(*sizes, steps, c.strided)

    def _write_objective(self) -> Loss:
        if self.decoder is None:
            return E(self.scan(), self.cost())
        return IterativeLoss(
            E(self.step, self.terms()),
            reduction="frame",
            returns=["deter", "stoch"],
            **self.filter_options,
        )

    # ---------------------------------------------------------------- expressions

    @property
    def transition(self) -> Distribution:
        """One step without an observation: ``p(s|h) f(h|...)``."""
        return self.pieces.transition

    def heads(self, reward: float = 1.0) -> Loss:
        """What a step costs without its KL: reconstruction, reward (so many times), continuation
        and own terms, each named; no reconstruction without a decoder.
        """
        return self._with_own(self._heads(reward))

    def _heads(self, reward: float = 1.0) -> Loss:
        rew = (-LogProb(self.reward)).named("rew")
        rest = (rew if reward == 1.0 else reward * rew) + (-LogProb(self.cont)).named("con")
        return rest if self.decoder is None else (-LogProb(self.decoder)).named("rec") + rest

    def terms(self) -> Loss:
        """What a step costs: reconstruction, reward, continuation, the two KL terms and own terms,
        each named.
        """
        c, q, p = self.config, self.posterior, self.prior
        dyn = KullbackLeibler(q.detach(), p).clamp(min=c.free_nats).named("dyn")
        rep = KullbackLeibler(q, p.detach()).clamp(min=c.free_nats).named("rep")
        return self._with_own(self._heads() + c.dyn_scale * dyn + c.rep_scale * rep)

    def cost(self) -> Loss:
        """What sequences cost, under :meth:`scan`: :meth:`terms`, a mean over frames, and what
        aligns states with embeddings where there is no decoder.
        """
        return self.aligned(self.terms().mean())

    def aligned(self, cost: Loss) -> Loss:
        """``cost``, and ``align``, where there is no decoder."""
        if self.projection is None:
            return cost
        c = self.config
        scale = SCALES[c.representation] if c.align_scale is None else c.align_scale
        align = Parameter("align").named("align_cost").mean()
        return cost + scale * E(self.alignment * self.projection, align)

    @property
    def objective(self) -> Loss:
        """The negative evidence bound with balanced KL, a mean over frames; without a decoder, the
        alignment in the place of the observations' density.

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
        parts = [(self.encoder.scaling, units)]
        parts += [] if self.decoder is None else [(self.decoder.scaling, units)]
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
