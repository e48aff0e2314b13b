r"""What the heads are to predict, and what a step counts, as distributions that an objective can
name.

.. math::
    y_t = \sum_{j=1}^{k} \gamma^{j-1} r_{t+j} + \gamma^k c_{t+k} \min_i Q_i(e_{t+k}, a), \quad
        a \sim \pi(a|e_{t+k}), \quad
    w_t = \rho^t \prod_{i \le t} o_{i+1}

``r``, ``c``: reward and continuation that arrived with an observation; ``o``: it is of the same
episode as the one before; ``k`` is ``n_step``, or less where the episode ends before. (Hansen et
al. 2024, eq. 4, where ``k = 1``.)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.dreamer.normalize import ReturnRange
from pixyz.distributions import Deterministic, SeriesFunction


class Ahead(NamedTuple):
    """Of each step ``[H, N]``: the rewards before the bootstrap, its discount (0 after a
    termination), its row.
    """

    reward: Tensor
    discount: Tensor
    row: Tensor


def n_step(reward: Tensor, cont: Tensor, is_first: Tensor, steps: int, discount: float) -> Ahead:
    """Sum up to ``steps`` rewards ahead, fewer where an episode ends.

    Args:
        reward, cont, is_first: what arrived with each row, ``[H + steps, N]``.

    >>> reward, cont = (
    ...     torch.tensor([[9.0], [1.0], [2.0], [4.0]]),
    ...     torch.tensor([[1.0], [1.0], [0.0], [1.0]]),
    ... )
    >>> found = n_step(
    ...     reward, cont, torch.tensor([[1.0], [0.0], [0.0], [1.0]]).bool(), steps=2, discount=0.5
    ... )
    >>> (
    ...     found.reward.squeeze(1).tolist(),
    ...     found.discount.squeeze(1).tolist(),
    ...     found.row.squeeze(1).tolist(),
    ... )
    ([2.0, 2.0], [0.0, 0.0], [2, 2])
    """
    count = len(reward) - steps
    row = (
        torch.arange(1, count + 1, device=reward.device).unsqueeze(1).expand(count, reward.shape[1])
    )
    total = reward[1 : count + 1]
    factor = torch.full_like(reward[:count], discount)
    going = torch.ones_like(reward[:count])
    for j in range(2, steps + 1):
        going = (
            going * cont[j - 1 : j - 1 + count] * (1.0 - is_first[j : j + count].to(reward.dtype))
        )
        total = torch.addcmul(total, going * reward[j : j + count], factor)
        factor = factor * (1.0 - going * (1.0 - discount))
        row = row + going.to(row.dtype)
    return Ahead(total, factor * cont.gather(0, row), row)


class Target(Deterministic):
    """``y [N, critics, 1]``, for each critic the same, from what :func:`n_step` gives of the
    record, ``reward_n [N, 1]`` and ``discount_n [N, 1]``, and the slow critics' means ``q_e [N,
    critics, 1]``.

    Args:
        pessimism: of the way from the mean of all critics to the smallest of two, which are drawn
            anew at each call where there are more.
    """

    def __init__(self, pessimism: float = 1.0) -> None:
        super().__init__("y", ["reward_n", "discount_n", "q_e"], name="y")
        self.pessimism = pessimism

    def forward(self, reward_n: Tensor, discount_n: Tensor, q_e: Tensor) -> dict[str, Tensor]:
        count = q_e.shape[1]
        value = q_e.mean(1)
        if self.pessimism:
            if count > 2:
                q_e = q_e[:, torch.randperm(count, device=q_e.device)[:2]]
            value = torch.lerp(value, q_e.amin(1), self.pessimism)
        y = torch.addcmul(reward_n, discount_n, value)
        return {"y": y.unsqueeze(1).expand(-1, count, 1)}


class StepWeights(SeriesFunction):
    """``w [H, N]`` for the terms of each step, ``w_pi [H + 1, N]`` for those of each state, from
    ``on [H, N]``.

    A state's weight is that of the step that leads to it, times ``rho``; the first one's is 1.
    """

    def __init__(self, rho: float) -> None:
        super().__init__(["w", "w_pi"], ["on"], "W", like={"w_pi": "z_all"})
        self.rho = rho

    def forward(self, on: Tensor) -> dict[str, Tensor]:
        powers = self.rho ** torch.arange(len(on) + 1, dtype=on.dtype, device=on.device).unsqueeze(
            1
        )
        unbroken = torch.cat([torch.ones_like(on[:1]), on.cumprod(0)])
        return {"w": powers[:-1] * unbroken[1:], "w_pi": powers * unbroken}


class Constant(Deterministic):
    """A series of latent states under another name, without gradient."""

    def __init__(self, var: str, cond_var: str) -> None:
        super().__init__(var, cond_var, name="sg")

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {self.var[0]: given[self.cond_var[0]].detach()}


class ScaledValue(SeriesFunction):
    """``q [H + 1, N]``: the mean of the critics' ``q_pi [H + 1, N, critics, 1]``, over the range of
    values at the first step.
    """

    def __init__(self, rate: float) -> None:
        super().__init__("q", "q_pi", "S")
        self.scale = ReturnRange(rate)

    def forward(self, q_pi: Tensor) -> dict[str, Tensor]:
        value = q_pi.squeeze(-1).mean(-1)
        return {"q": value / self.scale(value[0])}
