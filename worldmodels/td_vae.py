r"""TD-VAE: the temporal difference variational auto-encoder, Gregor et al. 2019.

.. math::
    b_t = f(x_{1:t}), \quad t_2 = t_1 + \delta

    L = \mathbb{E}_{p_B(z_2|b_2)}\Big[\beta \big(\mathbb{E}_{q(z_1|z_2, b_1, b_2)}
        [\log p_B(z_2|b_2) - \log p_T(z_2|z_1)] + D_{KL}[q(z_1|z_2, b_1, b_2) \| p_B(z_1|b_1)]\big)
        - \log p_D(x_2|z_2)\Big]

(their eq. 6 and 8, a mean over all :math:`t_1` and all sequences; theirs is :math:`\beta = 1`.)
With :math:`\delta = 1` it is the sequential model, a bound of :math:`\log p(x_{2:T}|x_1)`; with
jumps drawn for each sequence, transitions learn to skip :math:`\delta` frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Normal, SeriesFunction
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.context import Context, reading_order
from worldmodels.emission import Gaussian, Observation, emission_of, relu_network
from worldmodels.own_terms import Terms
from worldmodels.ranges import check_ranges
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State


@dataclass(frozen=True)
class TDVAEConfig:
    """Sizes of a TD-VAE.

    Args:
        latent: the size of ``z``.
        rnn: the size of the belief ``b``.
        hidden: units of the networks' two hidden layers.
        jumps: ranges ``(first, last)`` of the frames that are skipped in training; ``((1, 1),)`` is
            sequential.
        shares: how often each range is taken; equally often if None.
        observation: ``"bernoulli"`` or ``"gaussian"``.
        pairs: how many pairs of ``z`` a transition rotates (:class:`Rotation`); 0 is a residual
            network.
        min_scale: the smallest standard deviation.

    >>> TDVAE(3, TDVAEConfig(latent=2, rnn=4, hidden=4, jumps=((1, 3),))).initial(5)["b"].shape
    torch.Size([5, 4])
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "latent rnn hidden",
        "[0, 32768]": "pairs",
        "(0, 1e3]": "min_scale",
    }

    latent: int = 16
    rnn: int = 50
    hidden: int = 50
    jumps: tuple[tuple[int, int], ...] = ((1, 1),)
    shares: tuple[float, ...] | None = None
    observation: Observation = "gaussian"
    pairs: int = 0
    min_scale: float = 1e-3

    def __post_init__(self) -> None:
        check_ranges(self)


class Rotation(Normal):
    r"""``p_T(z_2|z_1, delta)`` of a state that oscillates: pairs are rotated, the other latents
    stay where they are.

    .. math::
        (z_2^i, z_2^{P+i}) \sim \mathcal N\big(R(\delta\, \omega_i(s_1))\, (z_1^i, z_1^{P+i}),
            \sigma^2(z_1, \delta)\big),
        \quad s_2 \sim \mathcal N(s_1, \sigma^2(z_1, \delta))

    The frequencies are a network of the latents ``s`` behind the pairs, so that a jump of any
    length costs one rotation.
    """

    def __init__(self, latent: int, pairs: int, hidden: int, min_scale: float) -> None:
        if not 0 < 2 * pairs < latent:
            raise PixyzError(
                f"{pairs} pairs and at least one more latent need a latent size above {2 * pairs}, "
                f"got {latent}"
            )
        super().__init__("z_2", ["z_1", "delta"], "p_T", features_shape=[latent])
        self.pairs, self.min_scale = pairs, min_scale
        self.rate = relu_network([latent - 2 * pairs, hidden, pairs])
        nn.init.constant_(self.rate[-1].bias, -1.0)  # type: ignore[arg-type,union-attr]  # about 0.3 rad a frame
        self.width = relu_network([latent + 1, hidden, latent])

    def forward(self, z_1: Tensor, delta: Tensor) -> dict[str, Tensor]:
        pairs, still = z_1.split([2 * self.pairs, z_1.shape[-1] - 2 * self.pairs], -1)
        angle = delta * F.softplus(self.rate(still))
        a, b = pairs.chunk(2, -1)
        cos, sin = torch.cos(angle), torch.sin(angle)
        loc = torch.cat([cos * a - sin * b, sin * a + cos * b, still], -1)
        width = self.width(torch.cat([z_1, torch.log1p(delta)], -1))
        return {"loc": loc, "scale": F.softplus(width) + self.min_scale}


class Jump(SeriesFunction):
    r"""Pairs of frames :math:`t_1` and :math:`t_2 = t_1 + \delta`: beliefs at both, the observation
    at the second.

    ``x_2[t] = x[t + k]``, ``b_1[t] = b[t]``, ``b_2[t] = b[t + k]``; ``delta`` is ``k``, ``[T, B,
    1]``; ``valid [T, B]`` where both frames exist.  ``k`` is drawn for each sequence, unless ``jump
    [B]`` is given.  Masked frames are not there: ``k`` counts valid ones, as beliefs read them.

    Args:
        jumps, shares: see :class:`TDVAEConfig`.
        given: whether ``jump`` is read where a batch holds it.
    """

    def __init__(
        self,
        jumps: Sequence[tuple[int, int]],
        shares: Sequence[float] | None = None,
        given: bool = True,
    ) -> None:
        super().__init__(
            ["x_2", "b_1", "b_2", "delta", "valid"],
            ["x", "b"],
            name="t",
            series_var=["x", "b", "mask"],
            optional_var=["mask", "jump"] if given else ["mask"],
        )
        if (
            not jumps
            or any(low < 1 or high < low for low, high in jumps)
            or len(shares or jumps) != len(jumps)
        ):
            raise PixyzError(
                f"jumps are ranges (first, last) of 1 frame or more, each with a share, "
                f"got {jumps}, {shares}"
            )
        if shares is not None and (
            not all(0 <= share < float("inf") for share in shares) or not sum(shares) > 0
        ):
            raise PixyzError(
                f"shares are positive numbers, or 0 for a range that is not taken, "
                f"got {tuple(shares)}"
            )
        self.jumps, self.shares = list(jumps), None if shares is None else list(shares)

    def forward(
        self, x: Tensor, b: Tensor, mask: Tensor | None = None, jump: Tensor | None = None
    ) -> dict[str, Tensor]:
        steps, batch = b.shape[:2]
        k = self.draw(batch, b) if jump is None else jump.reshape(-1).long()
        frame = torch.arange(steps, device=b.device).unsqueeze(1) + k
        valid, frame = frame < steps, frame.clamp(max=steps - 1)
        if mask is not None:  # the k-th of the valid frames behind it
            there = mask != 0
            rank = there.cumsum(0) - 1 + k
            valid = there & (rank < there.sum(0))
            frame = reading_order(mask, backward=False).gather(0, rank.clamp(max=steps - 1))
        found = {"x_2": x, "b_2": b}
        found = {n: v.gather(0, frame.unsqueeze(-1).expand_as(v)) for n, v in found.items()}
        delta = k.to(b.dtype).expand(steps, batch).unsqueeze(-1)
        return {**found, "b_1": b, "delta": delta, "valid": valid}

    def draw(self, batch: int, like: Tensor) -> Tensor:
        """Jumps of ``batch`` sequences, drawn where they are used."""
        shares, (low, high) = self.shares or [1.0] * len(self.jumps), self.jumps[0]
        first = torch.full((batch,), low, device=like.device)
        count = torch.full_like(first, high - low + 1)
        chosen = sum(shares) * torch.rand(batch, device=like.device)
        for (low, high), below in zip(self.jumps[1:], itertools.accumulate(shares)):
            first, count = (
                torch.where(chosen < below, first, low),
                torch.where(chosen < below, count, high - low + 1),
            )
        return first + (torch.rand(batch, device=like.device) * count).long()


class TDVAE(StateSpaceModel):
    """A TD-VAE of vectors ``x [T, B, D]``, ragged where ``mask [T, B]`` is given, one episode a
    sequence; its state is ``z`` and the belief ``b``.

    The objective also takes ``jump [B]``, the frames to skip; drawn if it is not given.
    :meth:`jump` skips frames from a state.  ``bound`` and ``log_weight`` are of ``x_{2:T}`` given
    ``x_1``, frame after frame: they read no ``jump``.

    Args:
        size: the size of a frame.
        config: sizes and jumps.
        fission: as in the other models; there is no loop to split.
        terms: own terms, by name (:class:`worldmodels.StateSpaceModel`); they read ``x_2``,
            ``z_2``, ``b_1``, ``b_2``, ``delta``.

    >>> model = TDVAE(3, TDVAEConfig(latent=2, rnn=4, hidden=4))
    >>> model.objective.eval({"x": torch.zeros(5, 2, 3)}).shape
    torch.Size([])
    """

    def __init__(
        self,
        size: int,
        config: TDVAEConfig | None = None,
        fission: bool = True,
        terms: Terms | None = None,
    ) -> None:
        super().__init__()
        config = c = config or TDVAEConfig()
        if size < 1:
            raise PixyzError(f"a frame has at least one feature, got size={size}")
        self.config, self.size = config, size
        self.context = Context(size, c.rnn, "left", var="b")
        self.pairs = Jump(c.jumps, c.shares)
        hidden = [c.hidden, c.hidden, c.latent]
        self.belief = Gaussian("z", ["b"], "p_B", [c.rnn, *hidden], c.min_scale)
        self.smoother = Gaussian(
            "z_1",
            ["z_2", "b_1", "b_2", "delta"],
            "q",
            [c.latent + 2 * c.rnn + 1, *hidden],
            c.min_scale,
        )
        self.transition: Normal
        if c.pairs:
            self.transition = Rotation(c.latent, c.pairs, c.hidden, c.min_scale)
        else:
            self.transition = Gaussian(
                "z_2", ["z_1", "delta"], "p_T", [c.latent + 1, *hidden], c.min_scale, residual=True
            )
        layers = [c.latent, c.hidden, c.hidden, size]
        self.emission = emission_of(c.observation, "x", ["z"], layers, c.min_scale)
        self._declare(
            keys=["x"],
            inference=self.belief,
            generation=self.transition.at(z_1="z_prev", z_2="z") * self.emission,
            emission=self.emission,
            carry={"z": "z_prev"},
            init={"z_prev": 0},
            context=self.context,
            also=["b"],
            fission=fission,
            shapes={"x": [size]},
            terms=terms,
            binds=["x_2", "z_2", "b_1", "b_2", "delta"],
        )
        p_b1, p_b2 = self.belief.at(z="z_1", b="b_1"), self.belief.at(z="z_2", b="b_2")
        p_t, p_d, q = self.transition, self.emission.replace_var(x="x_2", z="z_2"), self.smoother

        def over_time(pairs: Jump, latent: Loss, reduction: str) -> Loss:
            step = E(p_b2, latent + (-LogProb(p_d)).named("rec"))
            pairwise = IterativeLoss(
                step,
                series_var=["x_2", "b_1", "b_2", "delta"],
                mask_var="valid",
                reduction=reduction,
                fission=fission,
            )
            return E(self.context, E(pairs, pairwise))

        # a bound is of the sequential model, whatever the objective is told to skip
        one, beta = Jump([(1, 1)], given=False), Parameter("beta", default=1.0)
        gap = LogProb(p_b2) - LogProb(p_t)
        kl = E(q, gap) + KullbackLeibler(q, p_b1)
        # one draw of z_1 for all: a weight is one path's
        sampled = E(q, gap + LogProb(q) - LogProb(p_b1))
        self._express(
            over_time(self.pairs, self._with_own(beta * kl), "frame"),
            over_time(one, kl, "sum"),
            -over_time(one, sampled, "sum"),
        )

    def initial(self, batch: int) -> State:
        """The learned belief before the first frame, and a draw of ``z`` from it."""
        b = self.context.initial(batch).detach()
        return {"z": self.belief.sample({"b": b})["z"], "b": b}

    def jump(self, state: State, frames: Tensor | int, mean: bool = False) -> State:
        """The state ``frames`` later, in one transition; ``frames`` is a number or ``[B]``."""
        z = state["z"]
        delta = (
            torch.as_tensor(frames, dtype=z.dtype, device=z.device).reshape(-1, 1).expand(len(z), 1)
        )
        drawn = self.transition.sample(
            {"z_1": z, "delta": delta}, return_all=False, sample_mean=mean
        )
        return {**state, "z": drawn["z_2"]}

    def _starts(self, state: State, rows: int | None = None) -> dict[str, Tensor]:
        return {**super()._starts(state, rows), "delta": state["z"].new_ones(len(state["z"]), 1)}
