r"""DMM: the Deep Markov Model (deep Kalman smoother), Krishnan, Shalit and Sontag, 2017.

.. math::
    p(x, z) = \prod_t p(x_t|z_t)\, p(z_t|z_{t-1}), \qquad
    q(z|x) = \prod_t q(z_t|z_{t-1}, h_t), \quad h_t = \mathrm{RNN}(x_{t:T})

    L = \frac{1}{\sum_i T_i} \sum_t -\mathbb{E}_q \log p(x_t|z_t)
        + \beta D_{KL}[q(z_t|z_{t-1}, h_t) \| p(z_t|z_{t-1})]

The negative evidence bound a frame (their eq. 6), with the gated transition (eq. 7-9), the combiner
(section "structured inference networks", ST-R) and a weight :math:`\beta` of the divergence that
training anneals to 1.  With ``flows`` above 0 the posterior's draw goes through inverse
autoregressive flows (Kingma et al. 2016), and the divergence is an expectation over that draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Distribution, Normal, TransformedDistribution
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.flows import FlowList, InverseAutoregressive, Reverse
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.context import Context, Reads
from worldmodels.emission import Observation, emission_of
from worldmodels.own_terms import Terms
from worldmodels.ranges import check_ranges
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State


@dataclass(frozen=True)
class DMMConfig:
    """Sizes of a DMM; the defaults are those published for polyphonic music (Krishnan et al. 2017,
    appendix), but for a GRU of 200.

    Args:
        latent: the size of ``z``.
        transition, emission: hidden units of the transition's and the emission's networks.
        rnn: the size of ``h``.
        reads: ``"right"``, the frames from ``t`` on (ST-R, a smoother); ``"left"``, those up to
            ``t`` (ST-L, a filter); ``"both"`` (ST-LR, a smoother).
        observation: ``"bernoulli"`` (binary or soft-binary features) or ``"gaussian"``.
        dropout: of the RNN's inputs, in training.
        min_scale: the smallest standard deviation.
        flows: inverse autoregressive flows behind the posterior's normal; 0: none, and the
            divergence by its formula.
        flow_hidden: hidden units of each flow's network.

    >>> DMM(3, DMMConfig(latent=2, transition=4, emission=4, rnn=4)).initial(5)["z"].shape
    torch.Size([5, 2])
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "latent transition emission rnn flow_hidden",
        "[0, 64]": "flows",
        "[0, 1)": "dropout",
        "(0, 1e3]": "min_scale",
    }

    latent: int = 100
    transition: int = 200
    emission: int = 100
    rnn: int = 200
    reads: Reads = "right"
    observation: Observation = "bernoulli"
    dropout: float = 0.1
    min_scale: float = 1e-3
    flows: int = 0
    flow_hidden: int = 100

    def __post_init__(self) -> None:
        check_ranges(self)


ACTION = ["action_prev"]
"""What is read besides where there are actions."""


class GatedTransition(Normal):
    r"""``p(z_t|z_{t-1})``, :math:`\mathcal N((1-g) \odot W z + g \odot h(z),\ \mathrm{softplus}(W'
    \mathrm{relu}(h)))`.

    :math:`g = \sigma(\mathrm{MLP}(z))`; ``W`` starts as the identity, so that the mean starts near
    a linear one.
    """

    def __init__(
        self, latent: int, hidden: int, min_scale: float = 0.0, action_size: int = 0
    ) -> None:
        super().__init__("z", ["z_prev", *ACTION[:action_size]], "p", features_shape=[latent])
        self.first = nn.Linear(latent + action_size, 2 * hidden)
        self.gate, self.proposed = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.linear, self.scale = nn.Linear(latent, latent), nn.Linear(latent, latent)
        self.min_scale = min_scale
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(latent))
            self.linear.bias.zero_()

    def forward(self, z_prev: Tensor, **action: Tensor) -> dict[str, Tensor]:
        gate, hidden = F.relu(
            self.first(torch.cat([z_prev, *action.values()], -1) if action else z_prev)
        ).chunk(2, -1)
        gate, proposed = torch.sigmoid(self.gate(gate)), self.proposed(hidden)
        loc = torch.lerp(self.linear(z_prev), proposed, gate)
        return {"loc": loc, "scale": F.softplus(self.scale(F.relu(proposed))) + self.min_scale}


class Combiner(Normal):
    r"""``q(z_t|z_{t-1}, h_t)``: a normal by linear layers of :math:`\frac{1}{1+n}(\tanh(W z_{t-1} +
    b) + h_t)`.

    ``n`` is the number of networks that are summed in ``h``.
    """

    def __init__(
        self,
        latent: int,
        hidden: int,
        networks: int = 1,
        min_scale: float = 0.0,
        var: str = "z",
        name: str = "q",
        action_size: int = 0,
    ) -> None:
        super().__init__(
            var, ["z_q_prev", "h", *ACTION[:action_size]], name, features_shape=[latent]
        )
        self.inner = nn.Linear(latent + action_size, hidden)
        self.outer = nn.Linear(hidden, 2 * latent)
        self.share, self.min_scale = 1.0 / (1 + networks), min_scale

    def forward(self, z_q_prev: Tensor, h: Tensor, **action: Tensor) -> dict[str, Tensor]:
        past = torch.cat([z_q_prev, *action.values()], -1) if action else z_q_prev
        both = self.share * (torch.tanh(self.inner(past)) + h)
        loc, scale = self.outer(both).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale) + self.min_scale}


class DMM(StateSpaceModel):
    """A Deep Markov Model of vectors ``x [T, B, D]``, ragged where ``mask [T, B]`` is given (1
    where a frame is valid); one episode a sequence.

    Its state is ``z``, also as ``z_q`` (the two differ before the first frame only), and ``h``
    where inference reads the frames up to now.  A model whose inference reads frames to come
    (``reads="right"`` or ``"both"``) smooths; it filters by the posterior that sees the sequence
    end at each frame.

    Args:
        size: the size of a frame.
        config: sizes.
        fission: split the time loop; False is the reference in tests.
        terms: own terms of the objective, by name; see :class:`worldmodels.StateSpaceModel`.
        action_size: the size of actions, which transition and combiner then read (batches hold
            ``action``); 0 if there are none.

    >>> model = DMM(3, DMMConfig(latent=2, transition=4, emission=4, rnn=4))
    >>> batch = {"x": torch.zeros(5, 2, 3), "mask": torch.ones(5, 2)}
    >>> model.objective.eval({**batch, "beta": 0.5}).shape
    torch.Size([])
    """

    def __init__(
        self,
        size: int,
        config: DMMConfig | None = None,
        fission: bool = True,
        terms: Terms | None = None,
        action_size: int = 0,
    ) -> None:
        super().__init__()
        config = c = config or DMMConfig()
        if size < 1 or c.flows < 0 or action_size < 0:
            raise PixyzError(
                "a frame has at least one feature, flows and action_size are counts, got "
                f"size={size}, flows={c.flows}, action_size={action_size}"
            )
        self.config = config
        self.size = size
        self.action_size = action_size
        self.acts = action_size > 0
        self.causal, self.smooths = c.reads == "left", c.reads != "left"
        self.context = Context(size, c.rnn, c.reads, c.dropout)
        self.prior = GatedTransition(c.latent, c.transition, c.min_scale, action_size)
        self.posterior: Distribution = Combiner(
            c.latent, c.rnn, len(self.context.cells), c.min_scale, action_size=action_size
        )
        if c.flows:
            base = Combiner(
                c.latent,
                c.rnn,
                len(self.context.cells),
                c.min_scale,
                "z_base",
                "q_base",
                action_size,
            )
            steps = [
                f
                for _ in range(c.flows)
                for f in (InverseAutoregressive(c.latent, c.flow_hidden), Reverse(c.latent))
            ]
            self.posterior = TransformedDistribution(base, FlowList(steps), "z", name="q")
        layers = [c.latent, c.emission, c.emission, size]
        self.emission = emission_of(c.observation, "x", ["z"], layers, c.min_scale)
        self.z_0 = nn.Parameter(torch.zeros(c.latent))
        self.z_q_0 = nn.Parameter(torch.zeros(c.latent))
        self._declare(
            keys=["x"],
            inference=self.posterior,
            generation=self.prior * self.emission,
            emission=self.emission,
            carry={"z": ["z_prev", "z_q_prev"]},
            init={"z_prev": self.z_0, "z_q_prev": self.z_q_0},
            context=self.context,
            also=["h"] if self.causal else [],
            fission=fission,
            terms=terms,
            shapes={"x": [size], **({"action": [action_size]} if self.acts else {})},
        )
        q, p_z, p_x = self.posterior, self.prior, self.emission
        kl: Loss = E(q, LogProb(q) - LogProb(p_z)) if c.flows else KullbackLeibler(q, p_z)
        cost, kl = E(q, -LogProb(p_x)).named("rec"), kl.named("kl")
        weight = E(q, LogProb(p_x) + LogProb(p_z) - LogProb(q))

        def over_time(step: Loss, reduction: str) -> Loss:
            return E(
                self.context,
                IterativeLoss(step, reduction=reduction, returns="z", **self.recurrence),
            )

        beta = Parameter("beta", default=1.0)
        self._express(
            over_time(self._with_own(cost + beta * kl), "frame"),
            over_time(cost + kl, "sum"),
            over_time(weight, "sum"),
            IterativeLoss(weight, reduction=None, returns="z", **self.recurrence),
        )

    def initial(self, batch: int) -> State:
        """The learned ``z_0`` of the prior, ``z_q_0`` of inference (and the first ``h``)."""
        first = {
            "z": self.z_0.detach().expand(batch, -1),
            "z_q": self.z_q_0.detach().expand(batch, -1),
        }
        if self.causal:
            first["h"] = self.context.initial(batch).detach()
        return first
