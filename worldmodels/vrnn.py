r"""VRNN: the variational recurrent neural network, Chung et al. 2015.

.. math::
    p(x, z) = \prod_t p(x_t|z_t, h_{t-1})\, p(z_t|h_{t-1}), \quad q(z|x) = \prod_t q(z_t|x_t,
        h_{t-1}), \quad
    h_t = f(x_t, z_t, h_{t-1})

    L = \frac{1}{\sum_i T_i} \sum_t -\mathbb{E}_q \log p(x_t|z_t, h_{t-1})
        + \beta D_{KL}[q(z_t|x_t, h_{t-1}) \| p(z_t|h_{t-1})]

(their eq. 5-11; features of ``x`` are extracted by ``phi(x)``.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pixyz.distributions import Deterministic
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.emission import Gaussian, Observation, emission_of, relu_network
from worldmodels.own_terms import Terms
from worldmodels.ranges import check_ranges
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State


@dataclass(frozen=True)
class VRNNConfig:
    """Sizes of a VRNN.

    Args:
        latent: the size of ``z``.
        rnn: the size of ``h``.
        hidden: units of all networks' hidden layers.
        observation: ``"bernoulli"`` (binary or soft-binary features) or ``"gaussian"``.
        min_scale: the smallest standard deviation.

    >>> VRNN(3, VRNNConfig(latent=2, rnn=4, hidden=4)).initial(5)["h"].shape
    torch.Size([5, 4])
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "latent rnn hidden",
        "(0, 1e3]": "min_scale",
    }

    latent: int = 64
    rnn: int = 100
    hidden: int = 100
    observation: Observation = "bernoulli"
    min_scale: float = 1e-3

    def __post_init__(self) -> None:
        check_ranges(self)


ACTION = ["action_prev"]
"""What is read besides where there are actions."""


class Features(Deterministic):
    """``phi(x_t)``, what inference and recurrence read of a frame."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__("e", ["x"], name=r"\phi")
        self.net = relu_network([size, hidden, hidden], last=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"e": self.net(x)}


class Recurrence(Deterministic):
    """``h_t = f(x_t, z_t, h_{t-1})``: a GRU."""

    def __init__(self, latent: int, hidden: int, rnn: int, action_size: int = 0) -> None:
        super().__init__(
            "h", ["e", "z", "h_prev", *ACTION[:action_size]], name="f", features_shape=[rnn]
        )
        self.features = relu_network([latent, hidden], last=True)
        self.cell = nn.GRUCell(2 * hidden + action_size, rnn)

    def forward(self, e: Tensor, z: Tensor, h_prev: Tensor, **action: Tensor) -> dict[str, Tensor]:
        return {"h": self.cell(torch.cat([e, self.features(z), *action.values()], -1), h_prev)}


class VRNN(StateSpaceModel):
    """A VRNN of vectors ``x [T, B, D]``, ragged where ``mask [T, B]`` is given; its state is ``h``,
    which begins anew where ``is_first [T, B]`` is given and set.

    Args:
        size: the size of a frame.
        config: sizes.
        fission: split the time loop; False is the reference in tests.
        terms: own terms of the objective, by name; see :class:`worldmodels.StateSpaceModel`.
        action_size: the size of actions, which latents and recurrence then read (batches hold
            ``action`` and ``is_first``); 0 if there are none.

    >>> model = VRNN(3, VRNNConfig(latent=2, rnn=4, hidden=4))
    >>> model.objective.eval({"x": torch.zeros(5, 2, 3)}).shape
    torch.Size([])
    """

    def __init__(
        self,
        size: int,
        config: VRNNConfig | None = None,
        fission: bool = True,
        terms: Terms | None = None,
        action_size: int = 0,
    ) -> None:
        super().__init__()
        config = c = config or VRNNConfig()
        if size < 1 or action_size < 0:
            raise PixyzError(
                f"a frame has at least one feature, got size={size}, action_size={action_size}"
            )
        self.config, self.size, self.action_size = config, size, action_size
        self.acts, past = action_size > 0, ["h_prev", *ACTION[:action_size]]
        self.encoder = Features(size, c.hidden)
        self.prior = Gaussian(
            "z", past, "p", [c.rnn + action_size, c.hidden, c.latent], c.min_scale
        )
        layers = [c.hidden + c.rnn + action_size, c.hidden, c.latent]
        self.posterior = Gaussian("z", ["e", *past], "q", layers, c.min_scale)
        layers = [c.latent + c.rnn, c.hidden, c.hidden, size]
        self.emission = emission_of(c.observation, "x", ["z", "h_prev"], layers, c.min_scale)
        self.dynamics = Recurrence(c.latent, c.hidden, c.rnn, action_size)
        inference = self.encoder * self.posterior * self.dynamics
        self._declare(
            keys=["x"],
            inference=inference,
            generation=self.prior * self.emission * self.encoder * self.dynamics,
            emission=self.emission,
            carry={"h": "h_prev"},
            init={"h_prev": 0},
            fission=fission,
            shapes={"x": [size], **({"action": [action_size]} if self.acts else {})},
            terms=terms,
            reset_var="is_first",
            optional_var=[] if self.acts else ["is_first"],
        )
        q, p_z, p_x = self.posterior, self.prior, self.emission

        def over_time(term: Loss, reduction: str | None) -> Loss:
            return IterativeLoss(
                E(inference, term), reduction=reduction, returns="h", **self.recurrence
            )

        cost, kl = (-LogProb(p_x)).named("rec"), KullbackLeibler(q, p_z).named("kl")
        weight = LogProb(p_x) + LogProb(p_z) - LogProb(q)
        beta = Parameter("beta", default=1.0)
        self._express(
            over_time(self._with_own(cost + beta * kl), "frame"),
            over_time(cost + kl, "sum"),
            over_time(weight, "sum"),
            over_time(weight, None),
        )

    def initial(self, batch: int) -> State:
        """Zeros: ``h [B, H]``."""
        return {"h": next(self.parameters()).new_zeros(batch, self.config.rnn)}
