r"""NewtonianVAE: positions from images, with Newton's dynamics in the latent space, Jaques, Burke
and Hospedales 2021.

.. math::
    x_t \sim q(x_t|I_t), \quad v_t = (x_t - x_{t-1}) / \Delta, \quad
    v_{t+1} = v_t + \Delta\, (A x_t + B v_t + C u_t), \quad [A, \log(-B),
        \log C] = \mathrm{diag}(f(x_t, v_t, u_t))

    p(x_{t+1}|x_t, u_t; v_{t+1}) = \mathcal N(x_t + \Delta\, v_{t+1}, \sigma^2)

    L = \sum_t \mathbb{E}_{q(x_t|I_t) q(x_{t-1}|I_{t-1})}\Big[
        -\mathbb{E}_{p(x_{t+1}|x_t, u_t; v_{t+1})} \log p(I_{t+1}|x_{t+1})
        + \beta D_{KL}[q(x_{t+1}|I_{t+1}) \| p(x_{t+1}|x_t, u_t; v_{t+1})]\Big]

(their eq. 5-9.)  The velocity needs two positions: the first two frames of a sequence have no term,
and a count ``n`` of frames, carried and reset with the state, says which they are.  ``bound`` is of
all frames, with a standard normal for the first position and no velocity before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Deterministic, Normal
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.emission import Gaussian, Observation, emission_of, relu_network
from worldmodels.own_terms import Terms
from worldmodels.ranges import check_ranges
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State


@dataclass(frozen=True)
class NewtonianVAEConfig:
    """Sizes of a NewtonianVAE.

    Args:
        hidden: units of the networks' hidden layers.
        dynamics: units of the network of ``A``, ``B`` and ``C``.
        interval: the time between two frames, :math:`\\Delta`.
        observation: ``"bernoulli"`` or ``"gaussian"``.
        min_scale: the smallest standard deviation.

    >>> model = NewtonianVAE(3, 2, NewtonianVAEConfig(hidden=4, dynamics=4, interval=0.05))
    >>> sorted(model.initial(5))
    ['n', 'v', 'x']
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "hidden dynamics",
        "(0, 1e6]": "interval",
        "(0, 1e3]": "min_scale",
    }

    hidden: int = 128
    dynamics: int = 16
    interval: float = 0.1
    observation: Observation = "gaussian"
    min_scale: float = 1e-3

    def __post_init__(self) -> None:
        check_ranges(self)


class Count(Deterministic):
    """``n_t = n_{t-1} + 1`` frames so far; ``later`` is 1 from the third on."""

    def __init__(self) -> None:
        super().__init__(["n", "later"], ["n_prev"], name="c", features_shape=[1])

    def forward(self, n_prev: Tensor) -> dict[str, Tensor]:
        n = n_prev + 1
        return {"n": n, "later": (n > 2).to(n.dtype).squeeze(-1)}


class Velocity(Deterministic):
    r"""``v_t = (x_t - x_{t-1}) / \Delta``; 0 at the first frame."""

    def __init__(self, size: int, interval: float) -> None:
        super().__init__("v", ["x", "x_prev", "n"], name="d", features_shape=[size])
        self.interval = interval

    def forward(self, x: Tensor, x_prev: Tensor, n: Tensor) -> dict[str, Tensor]:
        return {"v": torch.where(n == 1, torch.zeros_like(x), (x - x_prev) / self.interval)}


class Newton(Deterministic):
    r"""``v_next = v + \Delta (A x + B v + C u)``, with diagonal ``A``, negative ``B`` and positive
    ``C``.
    """

    def __init__(self, size: int, config: NewtonianVAEConfig) -> None:
        super().__init__("v_next", ["x_prev", "v_prev", "action_prev"], name="f")
        self.net = relu_network([3 * size, config.dynamics, config.dynamics, 3 * size])
        self.interval = config.interval

    def forward(self, x_prev: Tensor, v_prev: Tensor, action_prev: Tensor) -> dict[str, Tensor]:
        a, b, c = self.net(torch.cat([x_prev, v_prev, action_prev], -1)).chunk(3, -1)
        force = a * x_prev - torch.exp(b) * v_prev + torch.exp(c) * action_prev
        return {"v_next": v_prev + self.interval * force}


class Transition(Normal):
    r"""``p(x_t|x_{t-1}, u_{t-1}; v_t)``, around ``x_{t-1} + \Delta v_t``; a standard normal at the
    first frame.
    """

    def __init__(self, size: int, config: NewtonianVAEConfig) -> None:
        super().__init__("x", ["x_prev", "v_next", "n"], "p", features_shape=[size])
        self.raw_scale, self.interval = nn.Parameter(torch.zeros(size)), config.interval
        self.min_scale = config.min_scale

    def forward(self, x_prev: Tensor, v_next: Tensor, n: Tensor) -> dict[str, Tensor]:
        loc, scale = x_prev + self.interval * v_next, F.softplus(self.raw_scale) + self.min_scale
        first = (n == 1).expand_as(loc)
        return {
            "loc": loc.masked_fill(first, 0.0),
            "scale": scale.expand_as(loc).masked_fill(first, 1.0),
        }


class NewtonianVAE(StateSpaceModel):
    """A NewtonianVAE of flat images ``I [T, B, D]`` and actions ``action [T, B, P]``, one for each
    axis of motion.

    Its state is the position ``x``, the velocity ``v`` and ``n``.

    Args:
        size: the size of a flat image.
        axes: the number ``P`` of axes of motion: the size of positions, velocities and actions.
        config: sizes.
        fission: split the time loop; False is the reference in tests.
        terms: own terms of the objective, by name; see :class:`worldmodels.StateSpaceModel`.

    >>> model = NewtonianVAE(3, 2, NewtonianVAEConfig(hidden=4, dynamics=4))
    >>> batch = {
    ...     "I": torch.zeros(5, 2, 3),
    ...     "action": torch.zeros(5, 2, 2),
    ...     "is_first": torch.zeros(5, 2),
    ... }
    >>> model.objective.eval(batch).shape
    torch.Size([])
    """

    acts = True

    def __init__(
        self,
        size: int,
        axes: int,
        config: NewtonianVAEConfig | None = None,
        fission: bool = True,
        terms: Terms | None = None,
    ) -> None:
        super().__init__()
        config = c = config or NewtonianVAEConfig()
        if size < 1 or axes < 1:
            raise PixyzError(
                f"images and positions have at least one feature, got size={size}, axes={axes}"
            )
        self.config, self.size, self.axes = config, size, axes
        layers: Sequence[int] = [c.hidden, c.hidden]
        self.encoder = Gaussian("x", ["I"], "q", [size, *layers, axes], c.min_scale)
        self.emission = emission_of(c.observation, "I", ["x"], [axes, *layers, size], c.min_scale)
        self.velocity, self.newton = Velocity(axes, c.interval), Newton(axes, c)
        self.transition, self.count = Transition(axes, c), Count()
        q, p, p_i = self.encoder, self.transition, self.emission
        inference = self.count * q * self.velocity * self.newton
        self._declare(
            keys=["I"],
            inference=self.count * q * self.velocity,
            generation=self.count * self.newton * p * self.velocity * p_i,
            emission=p_i,
            carry={"x": "x_prev", "v": "v_prev", "n": "n_prev"},
            init={"x_prev": 0, "v_prev": 0, "n_prev": 0},
            reset_var="is_first",
            fission=fission,
            shapes={"I": [size], "action": [axes]},
            features=["x", "v"],
            targets=["v_next", "later"],
            terms=terms,
        )

        def over_time(term: Loss, reduction: str | None) -> Loss:
            return IterativeLoss(
                E(inference, term), reduction=reduction, returns=["x", "v"], **self.recurrence
            )

        kl, predicted = KullbackLeibler(q, p).named("kl"), p.at(x="x_next")
        paper = E(predicted, -LogProb(p_i.at(x="x_next"))) + Parameter("beta", default=1.0) * kl
        weight = LogProb(p_i) + LogProb(p) - LogProb(q)
        self._express(
            over_time(self._with_own(Parameter("later") * paper), "frame"),
            over_time(kl - LogProb(p_i), "sum"),
            over_time(weight, "sum"),
            over_time(weight, None),
        )

    def initial(self, batch: int) -> State:
        """No frame so far: zeros ``x [B, P]``, ``v [B, P]``, ``n [B, 1]``."""
        like = next(self.parameters())
        return {
            "x": like.new_zeros(batch, self.axes),
            "v": like.new_zeros(batch, self.axes),
            "n": like.new_zeros(batch, 1),
        }
