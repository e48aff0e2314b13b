r"""DMM: the Deep Markov Model (deep Kalman smoother), Krishnan, Shalit and Sontag, 2017.

.. math::
    p(x, z) = \prod_t p(x_t|z_t)\, p(z_t|z_{t-1}), \qquad
    q(z|x) = \prod_t q(z_t|z_{t-1}, h_t), \quad h_t = \mathrm{RNN}(x_{t:T})

    L = \frac{1}{\sum_i T_i} \sum_t -\mathbb{E}_q \log p(x_t|z_t)
        + \beta D_{KL}[q(z_t|z_{t-1}, h_t) \| p(z_t|z_{t-1})]

The negative evidence bound a frame (their eq. 6), with the gated transition (eq. 7-9), the combiner (section
"structured inference networks", ST-R) and a weight :math:`\beta` of the divergence that training anneals to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Bernoulli, Distribution, Normal, Scan
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.context import Context, Reads
from worldmodels.types import State


@dataclass(frozen=True)
class DMMConfig:
    """Sizes of a DMM; the defaults are those published for polyphonic music (Krishnan et al. 2017, appendix), but for
    an LSTM of 200.

    Args:
        latent: the size of ``z``.
        transition, emission: hidden units of the transition's and the emission's networks.
        rnn: the size of ``h``.
        reads: ``"right"``, the frames from ``t`` on (ST-R, a smoother); ``"left"``, those up to ``t`` (ST-L, a filter);
            ``"both"`` (ST-LR, a smoother).
        observation: ``"bernoulli"`` (binary or soft-binary features) or ``"gaussian"``.
        dropout: of the RNN's inputs, in training.
        min_scale: the smallest standard deviation.
    """

    latent: int = 100
    transition: int = 200
    emission: int = 100
    rnn: int = 200
    reads: Reads = "right"
    observation: Literal["bernoulli", "gaussian"] = "bernoulli"
    dropout: float = 0.1
    min_scale: float = 1e-3


class GatedTransition(Normal):
    r"""``p(z_t|z_{t-1})``, :math:`\mathcal N((1-g) \odot W z + g \odot h(z),\ \mathrm{softplus}(W' \mathrm{relu}(h)))`.

    :math:`g = \sigma(\mathrm{MLP}(z))`; ``W`` starts as the identity, so that the mean starts near a linear one.
    """

    def __init__(self, latent: int, hidden: int, min_scale: float = 0.0) -> None:
        super().__init__("z", ["z_prev"], "p", features_shape=[latent])
        self.first = nn.Linear(latent, 2 * hidden)
        self.gate, self.proposed = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.linear, self.scale = nn.Linear(latent, latent), nn.Linear(latent, latent)
        self.min_scale = min_scale
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(latent))
            self.linear.bias.zero_()

    def forward(self, z_prev: Tensor) -> dict[str, Tensor]:
        gate, hidden = F.relu(self.first(z_prev)).chunk(2, -1)
        gate, proposed = torch.sigmoid(self.gate(gate)), self.proposed(hidden)
        loc = torch.lerp(self.linear(z_prev), proposed, gate)
        return {"loc": loc, "scale": F.softplus(self.scale(F.relu(proposed))) + self.min_scale}


class Combiner(Normal):
    r"""``q(z_t|z_{t-1}, h_t)``: a normal by linear layers of :math:`\frac{1}{1+n}(\tanh(W z_{t-1} + b) + h_t)`.

    ``n`` is the number of networks that are summed in ``h``.
    """

    def __init__(self, latent: int, hidden: int, networks: int = 1, min_scale: float = 0.0) -> None:
        super().__init__("z", ["z_q_prev", "h"], "q", features_shape=[latent])
        self.inner, self.outer = nn.Linear(latent, hidden), nn.Linear(hidden, 2 * latent)
        self.share, self.min_scale = 1.0 / (1 + networks), min_scale

    def forward(self, z_q_prev: Tensor, h: Tensor) -> dict[str, Tensor]:
        both = self.share * (torch.tanh(self.inner(z_q_prev)) + h)
        loc, scale = self.outer(both).chunk(2, -1)
        return {"loc": loc, "scale": F.softplus(scale) + self.min_scale}


def emission_network(latent: int, hidden: int, out: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, out))


class BernoulliEmission(Bernoulli):
    """``p(x_t|z_t)`` of binary features."""

    def __init__(self, size: int, latent: int, hidden: int) -> None:
        super().__init__("x", ["z"], "p", features_shape=[size])
        self.net = emission_network(latent, hidden, size)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(z)}


class GaussianEmission(Normal):
    """``p(x_t|z_t)`` of real features, with one learned standard deviation a feature."""

    def __init__(self, size: int, latent: int, hidden: int, min_scale: float) -> None:
        super().__init__("x", ["z"], "p", features_shape=[size])
        self.net = emission_network(latent, hidden, size)
        self.raw_scale, self.min_scale = nn.Parameter(torch.zeros(size)), min_scale

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        loc = self.net(z)
        return {"loc": loc, "scale": (F.softplus(self.raw_scale) + self.min_scale).expand_as(loc)}


class DMM(nn.Module):
    """A Deep Markov Model of vectors ``x [T, B, D]`` in ragged batches (``mask [T, B]``, 1 where a frame is valid).

    Args:
        size: the size of a frame.
        config: sizes.
        fission: split the time loop; False is the reference in tests.

    >>> model = DMM(3, DMMConfig(latent=2, transition=4, emission=4, rnn=4))
    >>> batch = {"x": torch.zeros(5, 2, 3), "mask": torch.ones(5, 2)}
    >>> model.objective.eval({**batch, "beta": 0.5}).shape
    torch.Size([])
    """

    def __init__(self, size: int, config: DMMConfig | None = None, fission: bool = True) -> None:
        super().__init__()
        config = c = config or DMMConfig()
        if size < 1:
            raise PixyzError(f"a frame has at least one feature, got size={size}")
        self.config, self.size = config, size
        self.context = Context(size, c.rnn, c.reads, c.dropout)
        self.prior = GatedTransition(c.latent, c.transition, c.min_scale)
        self.posterior = Combiner(c.latent, c.rnn, len(self.context.cells), c.min_scale)
        self.emission: Distribution
        if c.observation == "gaussian":
            self.emission = GaussianEmission(size, c.latent, c.emission, c.min_scale)
        else:
            self.emission = BernoulliEmission(size, c.latent, c.emission)
        self.z_0, self.z_q_0 = nn.Parameter(torch.zeros(c.latent)), nn.Parameter(torch.zeros(c.latent))
        self.options: dict[str, Any] = {
            "series_var": ["x", "h"], "update_value": {"z": ["z_prev", "z_q_prev"]}, "mask_var": "mask",
            "init": {"z_prev": self.z_0, "z_q_prev": self.z_q_0}, "fission": fission,
        }
        # no submodules: their distributions are registered above, and the state dict shall hold them once
        self.__dict__["_objective"] = self._write(Parameter("beta"), "frame")
        self.__dict__["_bound"] = self._write(1.0, "sum")
        weight = LogProb(self.emission) + LogProb(self.prior) - LogProb(self.posterior)
        self.__dict__["_log_weight"] = E(self.context, IterativeLoss(E(self.posterior, weight), **self.options))

    def _write(self, beta: Loss | float, reduction: str) -> Loss:
        q, p_z, p_x = self.posterior, self.prior, self.emission
        kl = KullbackLeibler(q, p_z)
        step = E(q, -LogProb(p_x)).named("rec") + (kl if beta == 1.0 else beta * kl).named("kl")
        return E(self.context, IterativeLoss(step, reduction=reduction, **self.options))

    # ---------------------------------------------------------------- expressions

    @property
    def objective(self) -> Loss:
        """The negative evidence bound a valid frame; its variables: ``x``, ``mask``, ``beta``, the weight of the KL."""
        found: Loss = self.__dict__["_objective"]
        return found

    @property
    def bound(self) -> Loss:
        """The negative evidence bound of each sequence, ``[B]``: :math:`\beta = 1`, summed over valid frames."""
        found: Loss = self.__dict__["_bound"]
        return found

    @property
    def log_weight(self) -> Loss:
        """One draw of ``log p(x, z) - log q(z|x)`` of each sequence, ``[B]``, for :mod:`worldmodels.estimators`."""
        found: Loss = self.__dict__["_log_weight"]
        return found
