r"""SLAC: the latent variable model of stochastic latent actor-critic, Lee et al. 2020.

.. math::
    q(z^1_1|x_1), \quad q(z^1_t|x_t, z^2_{t-1}, a_{t-1}), \qquad p(z^1_1), \quad p(z^1_t|z^2_{t-1},
        a_{t-1}), \qquad
    p(z^2_1|z^1_1), \quad p(z^2_t|z^1_t, z^2_{t-1}, a_{t-1})

    L = \frac{1}{\sum_i T_i} \sum_t -\mathbb{E}_q \log p(x_t|z^1_t, z^2_t)
        + \beta D_{KL}[q(z^1_t|\ldots) \| p(z^1_t|\ldots)]

(their eq. 5-7.)  The second latent has one distribution in inference and in generation, so that its
divergence is 0.  The first frame of a sequence has networks of its own: a carried count ``n`` of
frames, reset with the state, says which it is. Rewards, where they are modelled, are one more
feature of ``x``.
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
from worldmodels.emission import Observation, emission_of, relu_network
from worldmodels.own_terms import Terms
from worldmodels.ranges import check_ranges
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State


@dataclass(frozen=True)
class SLACConfig:
    """Sizes of a SLAC model; the defaults are the paper's.

    Args:
        latent1, latent2: the sizes of the two latents.
        hidden: units of the networks' two hidden layers.
        features: the size of what inference reads of a frame.
        observation: ``"bernoulli"`` or ``"gaussian"``.
        min_scale: the smallest standard deviation.

    >>> model = SLAC(3, 2, SLACConfig(latent1=2, latent2=3, hidden=4, features=4))
    >>> sorted(model.initial(5))
    ['n', 'z1', 'z2']
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "latent1 latent2 hidden features",
        "(0, 1e3]": "min_scale",
    }

    latent1: int = 32
    latent2: int = 256
    hidden: int = 256
    features: int = 256
    observation: Observation = "gaussian"
    min_scale: float = 1e-3

    def __post_init__(self) -> None:
        check_ranges(self)


class Features(Deterministic):
    """``e = phi(x)``."""

    def __init__(self, size: int, config: SLACConfig) -> None:
        super().__init__("e", ["x"], name=r"\phi")
        self.net = relu_network([size, config.hidden, config.features], last=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"e": self.net(x)}


class Count(Deterministic):
    """``n_t = n_{t-1} + 1``: frames of the sequence so far."""

    def __init__(self) -> None:
        super().__init__("n", ["n_prev"], name="c", features_shape=[1])

    def forward(self, n_prev: Tensor) -> dict[str, Tensor]:
        return {"n": n_prev + 1}


class Latent(Normal):
    """A normal by one network at the first frame of a sequence (of the conditions in ``first``) and
    another one later.

    Args:
        var, name: the latent and the letter.
        sizes: the size of each condition.
        first: which of them the first frame reads; without any, its parameters are learned
            constants.
        size: the size of the latent.
    """

    def __init__(
        self,
        var: str,
        name: str,
        sizes: dict[str, int],
        first: Sequence[str],
        size: int,
        config: SLACConfig,
    ) -> None:
        super().__init__(var, [*sizes, "n"], name, features_shape=[size])
        self.first_var, self.later_var, self.min_scale = list(first), list(sizes), config.min_scale
        hidden = [config.hidden, config.hidden, 2 * size]
        self.later = relu_network([sum(sizes.values()), *hidden])
        self.first = relu_network([sum(sizes[v] for v in first), *hidden]) if first else None
        self.constant = nn.Parameter(torch.zeros(2 * size)) if not first else None

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        later = self.later(torch.cat([given[v] for v in self.later_var], -1))
        if self.first is not None:
            begin = self.first(torch.cat([given[v] for v in self.first_var], -1))
        else:
            assert self.constant is not None
            begin = self.constant.expand_as(later)
        loc, scale = torch.where(given["n"] == 1, begin, later).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale) + self.min_scale}


class SLAC(StateSpaceModel):
    """SLAC's model of vectors ``x [T, B, D]`` and actions ``action [T, B, A]``; its state is
    ``z2``, ``z1`` and ``n``.

    Args:
        size: the size of a frame.
        action_size: the size of an action.
        config: sizes.
        fission: split the time loop; False is the reference in tests.
        terms: own terms of the objective, by name; see :class:`worldmodels.StateSpaceModel`.

    >>> model = SLAC(3, 2, SLACConfig(latent1=2, latent2=3, hidden=4, features=4))
    >>> flags = torch.zeros(5, 2, dtype=torch.bool)
    >>> batch = {"x": torch.zeros(5, 2, 3), "action": torch.zeros(5, 2, 2), "is_first": flags}
    >>> model.objective.eval(batch).shape
    torch.Size([])
    """

    acts = True

    def __init__(
        self,
        size: int,
        action_size: int,
        config: SLACConfig | None = None,
        fission: bool = True,
        terms: Terms | None = None,
    ) -> None:
        super().__init__()
        config = c = config or SLACConfig()
        if size < 1 or action_size < 1:
            raise PixyzError(
                f"frames and actions have at least one feature, got size={size}, "
                f"action_size={action_size}"
            )
        self.config, self.size, self.action_size = config, size, action_size
        past = {"z2_prev": c.latent2, "action_prev": action_size}
        self.encoder, self.count = Features(size, c), Count()
        self.posterior = Latent("z1", "q", {"e": c.features, **past}, ["e"], c.latent1, c)
        self.prior = Latent("z1", "p", past, [], c.latent1, c)
        self.second = Latent("z2", "p", {"z1": c.latent1, **past}, ["z1"], c.latent2, c)
        layers = [c.latent1 + c.latent2, c.hidden, c.hidden, size]
        self.emission = emission_of(c.observation, "x", ["z1", "z2"], layers, c.min_scale)
        q, p, p_x = self.posterior, self.prior, self.emission
        inference = self.encoder * self.count * q * self.second
        self._declare(
            keys=["x"],
            inference=inference,
            generation=self.count * p * self.second * p_x,
            emission=p_x,
            carry={"z2": "z2_prev", "n": "n_prev"},
            init={"z2_prev": 0, "n_prev": 0},
            also=["z1"],
            reset_var="is_first",
            fission=fission,
            shapes={"x": [size], "action": [action_size]},
            features=["z1", "z2"],
            terms=terms,
        )

        def over_time(term: Loss, reduction: str | None) -> Loss:
            return IterativeLoss(
                E(inference, term), reduction=reduction, returns=["z1", "z2"], **self.recurrence
            )

        cost, kl = (-LogProb(p_x)).named("rec"), KullbackLeibler(q, p).named("kl")
        weight = LogProb(p_x) + LogProb(p) - LogProb(q)
        self._express(
            over_time(self._with_own(cost + Parameter("beta", default=1.0) * kl), "frame"),
            over_time(cost + kl, "sum"),
            over_time(weight, "sum"),
            over_time(weight, None),
        )

    def initial(self, batch: int) -> State:
        """Zeros, and no frame so far: ``z2 [B, Z2]``, ``z1 [B, Z1]``, ``n [B, 1]``."""
        like, c = next(self.parameters()), self.config
        return {
            "z2": like.new_zeros(batch, c.latent2),
            "n": like.new_zeros(batch, 1),
            "z1": like.new_zeros(batch, c.latent1),
        }
