r"""What the heads are to predict, and what a step counts, as distributions that an objective can name.

.. math::
    y_t = r_{t+1} + \gamma c_{t+1} \min_i Q_i(e_{t+1}, a), \quad a \sim \pi(a|e_{t+1}), \quad
    w_t = \rho^t \prod_{i \le t} o_{i+1}

``r``, ``c``: reward and continuation that arrived with an observation; ``o``: it is of the same episode as the one before.
(Hansen et al. 2024, eq. 4.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.dreamer.normalize import ReturnRange
from pixyz.distributions import Deterministic, SeriesFunction


class Target(Deterministic):
    """``y [N, critics, 1]``, for each critic the same, from ``reward [N, 1]``, ``cont [N, 1]`` and the slow critics' means
    ``q_e [N, critics, 1]``.

    The smallest of two critics, drawn anew at each call where there are more.
    """

    def __init__(self, discount: float) -> None:
        super().__init__("y", ["reward", "cont", "q_e"], name="y")
        self.discount = discount

    def forward(self, reward: Tensor, cont: Tensor, q_e: Tensor) -> dict[str, Tensor]:
        count = q_e.shape[1]
        if count > 2:
            q_e = q_e[:, torch.randperm(count, device=q_e.device)[:2]]
        y = torch.addcmul(reward, cont, q_e.amin(1), value=self.discount)
        return {"y": y.unsqueeze(1).expand(-1, count, 1)}


class StepWeights(SeriesFunction):
    """``w [H, N]`` for the terms of each step, ``w_pi [H + 1, N]`` for those of each state, from ``on [H, N]``.

    A state's weight is that of the step that leads to it, times ``rho``; the first one's is 1.
    """

    def __init__(self, rho: float) -> None:
        super().__init__(["w", "w_pi"], ["on"], "W", like={"w_pi": "z_all"})
        self.rho = rho

    def forward(self, on: Tensor) -> dict[str, Tensor]:
        powers = self.rho ** torch.arange(len(on) + 1, dtype=on.dtype, device=on.device).unsqueeze(1)
        unbroken = torch.cat([torch.ones_like(on[:1]), on.cumprod(0)])
        return {"w": powers[:-1] * unbroken[1:], "w_pi": powers * unbroken}


class Constant(Deterministic):
    """A series of latent states under another name; with ``.detach()`` it is one without gradient."""

    def __init__(self, var: str, cond_var: str) -> None:
        super().__init__(var, cond_var, name="sg")

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {self.var[0]: given[self.cond_var[0]].clone()}


class ScaledValue(SeriesFunction):
    """``q [H + 1, N]``: the mean of the critics' ``q_pi [H + 1, N, critics, 1]``, over the range of values at the first step."""

    def __init__(self, rate: float) -> None:
        super().__init__("q", "q_pi", "S")
        self.scale = ReturnRange(rate)

    def forward(self, q_pi: Tensor) -> dict[str, Tensor]:
        value = q_pi.squeeze(-1).mean(-1)
        return {"q": value / self.scale(value[0])}
