r"""MRSSM: a recurrent state-space model of several modalities, any of which may be missing at any
frame.

.. math::
    h_t = f(h_{t-1}, s_{t-1}, a_{t-1}), \quad
    q(s_t|h_t, x_t) \propto p(s_t|h_t) \prod_m q_m(s_t|h_t, x^m_t)^{g^m_t}

    L = \frac{1}{\sum_i T_i} \sum_t -\mathbb{E}_q \sum_m g^m_t \log p(x^m_t|h_t,
        s_t) + \beta D_{KL}[q \| p]

The posterior is a product of normal experts (Wu and Goodman 2018; Ichiwara et al. 2022 for world
models), the prior among them: a missing modality (:math:`g^m_t = 0`) adds neither precision nor a
term, and with none left the posterior is the prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixyz.distributions import Deterministic, Distribution, Normal
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.emission import Gaussian, Observation, emission_of, relu_network
from worldmodels.networks import check_keys
from worldmodels.own_terms import Terms
from worldmodels.ranges import check_ranges
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State

RESERVED = ("h", "s")


@dataclass(frozen=True)
class Held:
    """A module that another one holds: its weights are not registered here."""

    module: nn.Module


@dataclass(frozen=True)
class MRSSMConfig:
    """Sizes of an MRSSM.

    Args:
        deter, stoch: the sizes of ``h`` and ``s``.
        hidden: units of the networks' hidden layers.
        observation: the density of all modalities, ``"bernoulli"`` or ``"gaussian"``.
        min_scale: the smallest standard deviation.

    >>> model = MRSSM({"x": 3}, 2, MRSSMConfig(deter=4, stoch=2, hidden=4))
    >>> {k: v.shape for k, v in model.initial(5).items()}
    {'h': torch.Size([5, 4]), 's': torch.Size([5, 2])}
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "deter stoch hidden",
        "(0, 1e3]": "min_scale",
    }

    deter: int = 128
    stoch: int = 32
    hidden: int = 128
    observation: Observation = "gaussian"
    min_scale: float = 1e-2

    def __post_init__(self) -> None:
        check_ranges(self)


class Encoder(Deterministic):
    """Features of a modality; missing frames are read as zeros."""

    def __init__(self, key: str, size: int, config: MRSSMConfig) -> None:
        super().__init__([f"{key}_feature"], [key, f"{key}_given"], name="enc")
        self.key = key
        self.net = relu_network([size, config.hidden, config.hidden], last=True)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        x, there = given[self.key], given[f"{self.key}_given"]
        return {f"{self.key}_feature": self.net(present(x, there))}


def present(x: Tensor, given: Tensor) -> Tensor:
    """``x [..., D]`` where ``given [...]`` is set, else 0, whatever it held."""
    return torch.where(given.unsqueeze(-1) != 0, x, torch.zeros((), dtype=x.dtype, device=x.device))


class Dynamics(Deterministic):
    """``h_t = f(h_{t-1}, s_{t-1}, a_{t-1})``: a GRU."""

    def __init__(self, action: int, config: MRSSMConfig) -> None:
        super().__init__(
            "h", ["h_prev", "s_prev", "action_prev"], name="f", features_shape=[config.deter]
        )
        self.inner = relu_network([config.stoch + action, config.hidden], last=True)
        self.cell = nn.GRUCell(config.hidden, config.deter)

    def forward(self, h_prev: Tensor, s_prev: Tensor, action_prev: Tensor) -> dict[str, Tensor]:
        return {"h": self.cell(self.inner(torch.cat([s_prev, action_prev], -1)), h_prev)}


class Experts(Normal):
    r"""The product of the prior and one expert a modality that is there: precisions add, means are
    weighted by them.
    """

    def __init__(self, prior: Gaussian, shapes: Mapping[str, int], config: MRSSMConfig) -> None:
        features, flags = [f"{k}_feature" for k in shapes], [f"{k}_given" for k in shapes]
        super().__init__("s", ["h", *features, *flags], "q", features_shape=[config.stoch])
        self.keys, self.min_scale = list(shapes), config.min_scale
        self.nets = nn.ModuleDict(
            {
                k: relu_network([config.deter + config.hidden, config.hidden, 2 * config.stoch])
                for k in shapes
            }
        )
        self.prior = Held(prior)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        first = self.prior.module(h=given["h"])
        precision = first["scale"].square().reciprocal()
        weighted = first["loc"] * precision
        for k in self.keys:
            loc, scale = self.nets[k](torch.cat([given["h"], given[f"{k}_feature"]], -1)).chunk(
                2, -1
            )
            expert = (F.softplus(scale) + self.min_scale).square().reciprocal() * (
                given[f"{k}_given"].unsqueeze(-1) != 0
            )
            precision, weighted = precision + expert, weighted + loc * expert
        return {"loc": weighted / precision, "scale": precision.rsqrt()}


class Cleaned(Deterministic):
    """A modality with missing frames set to zero, as the target of its density."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key}_clean", [key, f"{key}_given"], name="c")
        self.key = key

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {f"{self.key}_clean": present(given[self.key], given[f"{self.key}_given"])}


class MRSSM(StateSpaceModel):
    """An RSSM of several vectors, each with a flag ``KEY_given [T, B]`` that says where it was
    observed.

    Its state is ``h`` and ``s``.  Values of missing frames are never read.

    Args:
        shapes: modality -> its size.
        action_size: the size of an action.
        config: sizes.
        fission: split the time loop; False is the reference in tests.
        terms: own terms of the objective, by name; see :class:`worldmodels.StateSpaceModel`.

    >>> model = MRSSM({"x": 3, "y": 2}, 2, MRSSMConfig(deter=4, stoch=2, hidden=4))
    >>> batch = {
    ...     "x": torch.zeros(5, 2, 3),
    ...     "y": torch.full((5, 2, 2), float("nan")),
    ...     "action": torch.zeros(5, 2, 2),
    ... }
    >>> batch |= {
    ...     "x_given": torch.ones(5, 2),
    ...     "y_given": torch.zeros(5, 2),
    ...     "is_first": torch.zeros(5, 2),
    ... }
    >>> bool(model.objective.eval(batch).isfinite())
    True
    """

    acts = True

    def __init__(
        self,
        shapes: Mapping[str, int],
        action_size: int,
        config: MRSSMConfig | None = None,
        fission: bool = True,
        terms: Terms | None = None,
    ) -> None:
        super().__init__()
        config = c = config or MRSSMConfig()
        if not shapes or min(shapes.values()) < 1 or action_size < 1:
            raise PixyzError(
                f"modalities and actions have at least one feature, "
                f"got {dict(shapes)} and {action_size}"
            )
        check_keys(shapes, "modalities", RESERVED, ("_given", "_feature", "_clean"))
        self.config, self.shapes, self.action_size = config, dict(shapes), action_size
        self.encoders = nn.ModuleList([Encoder(k, size, c) for k, size in shapes.items()])
        self.dynamics = Dynamics(action_size, c)
        self.prior = Gaussian("s", ["h"], "p", [c.deter, c.hidden, c.stoch], c.min_scale)
        self.posterior = Experts(self.prior, shapes, c)
        layers = [c.deter + c.stoch, c.hidden, c.hidden]
        self.emissions = nn.ModuleList(
            [
                emission_of(c.observation, k, ["h", "s"], [*layers, size], c.min_scale)
                for k, size in shapes.items()
            ]
        )
        self.cleaned = nn.ModuleList([Cleaned(k) for k in shapes])
        emission = _product(list(self.emissions))
        inference = _product([*self.encoders, *self.cleaned, self.dynamics, self.posterior])
        self._declare(
            keys=list(shapes),
            inference=inference,
            generation=self.dynamics * self.prior * emission,
            emission=emission,
            carry={"h": "h_prev", "s": "s_prev"},
            init={"h_prev": 0, "s_prev": 0},
            reset_var="is_first",
            flags=[f"{k}_given" for k in shapes],
            fission=fission,
            shapes={**{k: [n] for k, n in shapes.items()}, "action": [action_size]},
            terms=terms,
        )
        there = [
            Parameter(f"{k}_given") * LogProb(p.replace_var(**{k: f"{k}_clean"}))  # type: ignore[operator]
            for k, p in zip(shapes, self.emissions, strict=True)
        ]
        seen: Loss = there[0]
        for term in there[1:]:
            seen = seen + term

        def over_time(term: Loss, reduction: str | None) -> Loss:
            return IterativeLoss(
                E(inference, term), reduction=reduction, returns=["h", "s"], **self.recurrence
            )

        kl = KullbackLeibler(self.posterior, self.prior).named("kl")
        weight = LogProb(self.prior) - LogProb(self.posterior)
        self._express(
            over_time(self._with_own(-seen + Parameter("beta", default=1.0) * kl), "frame"),
            over_time(-seen + kl, "sum"),
            over_time(seen + weight, "sum"),
            over_time(seen + weight, None),
        )

    def initial(self, batch: int) -> State:
        """Zeros: ``h [B, H]``, ``s [B, S]``."""
        like = next(self.parameters())
        return {
            "h": like.new_zeros(batch, self.config.deter),
            "s": like.new_zeros(batch, self.config.stoch),
        }


def _product(factors: list[nn.Module]) -> Distribution:
    total = factors[0]
    for factor in factors[1:]:
        total = total * factor  # type: ignore[operator]
    return total  # type: ignore[return-value]
