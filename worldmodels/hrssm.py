r"""HRSSM: a recurrent state-space model in two time scales with learned boundaries (VTA, Kim, Ahn
and Bengio 2019).

.. math::
    m_t \sim p(m_t|s_{t-1}), \quad c_t = m_t f_c(z_{t-1}, c_{t-1}) + (1 - m_t)\, c_{t-1}, \quad
    z_t = m_t \tilde z_t + (1 - m_t)\, z_{t-1},\ \tilde z_t \sim p(\tilde z_t|c_t)

    h_t = m_t f_0(z_t) + (1 - m_t) f_h(s_{t-1}, z_t, h_{t-1}), \quad s_t \sim p(s_t|h_t), \quad
        x_t \sim p(x_t|s_t, z_t)

    L = \frac{1}{\sum_i T_i} \sum_t -\mathbb{E}_q \log p(x_t|s_t,
        z_t) + \beta \big(m_t D_{KL}[q(\tilde z_t|c_t, g_t) \| p]
        + D_{KL}[q(s_t|h_t, e_t) \| p] + D_{KL}[q(m_t|g_t) \| p]\big)

(their eq. 2-9, with ``m_t`` for their :math:`m_{t-1}`.)  ``g`` is a recurrent network over the
whole sequence in both directions, ``e`` are features of the frame.  Boundaries are one-hot pairs
with straight-through gradient.  The first frame of a sequence always opens a segment.

Two parts of the paper are different here: its backward network is reset at boundaries, ``g`` is
not; and its prior of boundaries is bounded in their number and distance, this one is learned from a
rate that ``length`` gives at the start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pixyz.distributions import Deterministic, Gate, GroupedOneHot
from pixyz.expression import E, LogProb, Loss, Parameter
from pixyz.losses import IterativeLoss, KullbackLeibler
from pixyz.types import PixyzError
from worldmodels.context import Context
from worldmodels.emission import Gaussian, Observation, emission_of, relu_network
from worldmodels.own_terms import Terms
from worldmodels.ranges import check_ranges
from worldmodels.state_space import StateSpaceModel
from worldmodels.types import State


@dataclass(frozen=True)
class HRSSMConfig:
    """Sizes of an HRSSM.

    Args:
        abstract: the size of ``z``.
        stoch: the size of ``s``.
        deter: the sizes of ``c`` and ``h``.
        hidden: units of the networks' hidden layers, and the size of ``e``.
        rnn: the size of ``g``.
        length: frames between two boundaries that the prior expects at the start of training.
        observation: ``"bernoulli"`` or ``"gaussian"``.
        min_scale: the smallest standard deviation.

    >>> model = HRSSM(3, HRSSMConfig(abstract=2, stoch=3, deter=4, hidden=4, rnn=4))
    >>> model.initial(5)["s"].shape
    torch.Size([5, 3])
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 65536]": "abstract stoch deter hidden rnn",
        "(1, 1e6]": "length",
        "(0, 1e3]": "min_scale",
    }

    abstract: int = 8
    stoch: int = 8
    deter: int = 64
    hidden: int = 64
    rnn: int = 64
    length: float = 8.0
    observation: Observation = "gaussian"
    min_scale: float = 1e-2

    def __post_init__(self) -> None:
        check_ranges(self)


class Features(Deterministic):
    """``e = phi(x)``."""

    def __init__(self, size: int, config: HRSSMConfig) -> None:
        super().__init__("e", ["x"], name=r"\phi")
        self.net = relu_network([size, config.hidden, config.hidden], last=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"e": self.net(x)}


class Boundary(GroupedOneHot):
    """Whether a frame opens a segment, as a one-hot pair: ``b = (no, yes)``."""

    def __init__(self, cond_var: str, name: str, size: int, config: HRSSMConfig) -> None:
        super().__init__(1, 2, "b", [cond_var], name)
        self.net = relu_network([size, config.hidden, 2])
        with torch.no_grad():
            self.net[-1].bias.copy_(torch.tensor([math.log(config.length - 1.0), 0.0]))  # type: ignore[operator,union-attr]

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(given[self.cond_var[0]])}


class Opening(Deterministic):
    """``m``: 1 where a segment begins, ``[B]``; ``n``: frames so far; ``later``: 1 from the second
    frame on, ``[B]``.
    """

    def __init__(self) -> None:
        super().__init__(["m", "n", "later"], ["b", "n_prev"], name="o", features_shape=[1])

    def forward(self, b: Tensor, n_prev: Tensor) -> dict[str, Tensor]:
        first = (n_prev == 0).squeeze(-1)
        m = b.flatten(1)[:, 1]
        return {
            "m": torch.where(first, torch.ones_like(m), m),
            "n": n_prev + 1,
            "later": (~first).to(m.dtype),
        }


class Cell(Deterministic):
    """A GRU: ``var`` from its inputs and the state before, in that order."""

    def __init__(self, var: str, inputs: list[str], prev: str, size: int, deter: int) -> None:
        super().__init__(var, [*inputs, prev], name="f", features_shape=[deter])
        self.inputs, self.prev = inputs, prev
        self.cell = nn.GRUCell(size, deter)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {
            self.var[0]: self.cell(torch.cat([given[v] for v in self.inputs], -1), given[self.prev])
        }


class Begin(Deterministic):
    """``h_begin = f_0(z)``: the recurrent state at the first frame of a segment."""

    def __init__(self, config: HRSSMConfig) -> None:
        super().__init__("h_begin", ["z"], name="f_0", features_shape=[config.deter])
        self.net = relu_network([config.abstract, config.hidden, config.deter])

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"h_begin": torch.tanh(self.net(z))}


class HRSSM(StateSpaceModel):
    """An HRSSM of vectors ``x [T, B, D]``, ragged where ``mask [T, B]`` is given; one episode a
    sequence.

    Its state is ``z``, ``c``, ``h``, ``s`` and ``n``.  It smooths; it filters by the posterior that
    sees each frame alone.

    Args:
        size: the size of a frame.
        config: sizes.
        fission: split the time loop; False is the reference in tests.
        terms: own terms of the objective, by name; see :class:`worldmodels.StateSpaceModel`.
        action_size: the size of actions, which both recurrent cells then read (batches hold
            ``action``); 0 if there are none.

    >>> model = HRSSM(3, HRSSMConfig(2, 2, 4, 4, 4))
    >>> model.objective.eval({"x": torch.zeros(5, 2, 3)}).shape
    torch.Size([])
    """

    causal = False
    smooths = True

    def __init__(
        self,
        size: int,
        config: HRSSMConfig | None = None,
        fission: bool = True,
        terms: Terms | None = None,
        action_size: int = 0,
    ) -> None:
        super().__init__()
        config = c = config or HRSSMConfig()
        if size < 1 or c.length <= 1 or action_size < 0:
            raise PixyzError(
                "a frame has at least one feature and a segment more than one frame, got "
                f"{size}, {c.length} (and action_size={action_size})"
            )
        self.config = config
        self.size = size
        self.action_size = action_size
        self.acts = action_size > 0
        action = ["action_prev"] if self.acts else []
        self.context = Context(size, c.rnn, "both", var="g")
        self.encoder = Features(size, c)
        self.opening = Opening()
        self.boundary_q = Boundary("g", "q", c.rnn, c)
        self.boundary_p = Boundary("s_prev", "p", c.stoch, c)
        self.abstract_cell = Cell(
            "c_new", ["z_prev", *action], "c_prev", c.abstract + action_size, c.deter
        )
        inputs = c.stoch + c.abstract + action_size
        self.state_cell = Cell("h_next", ["s_prev", "z", *action], "h_prev", inputs, c.deter)
        self.begin = Begin(c)
        gates = [
            Gate("c", "c_new", "c_prev", "m", features_shape=[c.deter]),
            Gate("z", "z_new", "z_prev", "m", features_shape=[c.abstract]),
            Gate("h", "h_begin", "h_next", "m", features_shape=[c.deter]),
        ]
        self.gates = nn.ModuleList(gates)
        layers = [c.hidden, c.abstract]
        self.abstract_q = Gaussian(
            "z_new", ["c", "g"], "q", [c.deter + c.rnn, *layers], c.min_scale
        )
        self.abstract_p = Gaussian("z_new", ["c"], "p", [c.deter, *layers], c.min_scale)
        layers = [c.hidden, c.stoch]
        self.state_q = Gaussian("s", ["h", "e"], "q", [c.deter + c.hidden, *layers], c.min_scale)
        self.state_p = Gaussian("s", ["h"], "p", [c.deter, *layers], c.min_scale)
        self.emission = emission_of(
            c.observation,
            "x",
            ["s", "z"],
            [c.stoch + c.abstract, c.hidden, c.hidden, size],
            c.min_scale,
        )
        frame = (
            self.opening
            * self.abstract_cell
            * gates[0]
            * gates[1]
            * self.begin
            * self.state_cell
            * gates[2]
        )
        inference = self.encoder * self.boundary_q * frame * self.abstract_q * self.state_q
        self._declare(
            keys=["x"],
            inference=inference,
            context=self.context,
            emission=self.emission,
            generation=self.boundary_p * frame * self.abstract_p * self.state_p * self.emission,
            carry={"z": "z_prev", "c": "c_prev", "h": "h_prev", "s": "s_prev", "n": "n_prev"},
            init={"z_prev": 0, "c_prev": 0, "h_prev": 0, "s_prev": 0, "n_prev": 0},
            fission=fission,
            shapes={"x": [size], **({"action": [action_size]} if self.acts else {})},
            features=["z", "c", "h", "s"],
            terms=terms,
        )
        m, later = Parameter("m"), Parameter("later")

        def over_time(term: Loss, reduction: str | None) -> Loss:
            return IterativeLoss(
                E(inference, term), reduction=reduction, returns=["z", "s"], **self.recurrence
            )

        cost = -LogProb(self.emission)
        kl = (
            m * KullbackLeibler(self.abstract_q, self.abstract_p)
            + KullbackLeibler(self.state_q, self.state_p)
            + later * KullbackLeibler(self.boundary_q, self.boundary_p)
        )
        weight = (
            LogProb(self.emission)
            + m * (LogProb(self.abstract_p) - LogProb(self.abstract_q))
            + (LogProb(self.state_p) - LogProb(self.state_q))
            + later * (LogProb(self.boundary_p) - LogProb(self.boundary_q))
        )
        self._express(
            E(
                self.context,
                over_time(self._with_own(cost + Parameter("beta", default=1.0) * kl), "frame"),
            ),
            E(self.context, over_time(cost + kl, "sum")),
            E(self.context, over_time(weight, "sum")),
            over_time(weight, None),
        )

    def initial(self, batch: int) -> State:
        """No frame so far: zeros."""
        like, c = next(self.parameters()), self.config
        sizes = {"z": c.abstract, "c": c.deter, "h": c.deter, "s": c.stoch, "n": 1}
        return {k: like.new_zeros(batch, size) for k, size in sizes.items()}
