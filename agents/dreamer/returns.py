"""Returns of imagined and of recorded series, as distributions that an objective can name.

Series here are time first: ``[H + 1, N, 1]`` on an imagined path (the start state included), ``[T,
N, ...]`` on a recorded sequence.  Reward and continuation at a step belong to the arrival at its
state.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from agents.dreamer.normalize import ReturnRange
from pixyz.distributions import Deterministic, SeriesFunction


def lambda_return(reward: Tensor, live: Tensor, value: Tensor, mix: Tensor | float) -> Tensor:
    r"""The lambda-return of each step but the last.

    .. math:: R_t = r_{t+1} + l_{t+1} ((1 - m_{t+1}) v_{t+1} + m_{t+1} R_{t+1}), \quad R_T = v_T

    (Hafner et al. 2023, eq. 8.)

    Args:
        reward, live, value: ``[T + 1, N, ...]``; ``live`` is continuation times discount.
        mix: lambda, a number, or a series where it ends at the end of an episode.

    Returns:
        ``[T, N, ...]``.
    """
    mix = mix[1:] if isinstance(mix, Tensor) else mix
    live = live[1:]
    base = (reward[1:] + live * (1.0 - mix) * value[1:]).unbind(0)
    pull = (live * mix).unbind(0)
    last = value[-1]
    found = []
    for t in reversed(range(len(base))):
        last = torch.addcmul(base[t], pull[t], last)
        found.append(last)
    return torch.stack(found[::-1])


def path_weight(live: Tensor, discount: float) -> tuple[Tensor, Tensor]:
    r"""Weights of an imagined path from continuation times discount, ``live [H + 1, N, 1]``.

    Returns:
        ``w_pi [H, N]``, :math:`\prod_{i \le t} c_i` (the start's included, without its discount),
            for what is at each
        action; and ``w [H + 1, N]`` for what is at each state: 0 at the last, which has no return,
            times ``(H + 1) / H`` so
        that a mean over ``H + 1`` is one over ``H``.
    """
    w_pi = (live.cumprod(0).squeeze(-1) / discount)[:-1]
    steps = len(w_pi)
    return w_pi, torch.cat([w_pi * ((steps + 1) / steps), torch.zeros_like(w_pi[:1])])


class ImaginedReturn(SeriesFunction):
    r"""Returns, advantages and weights on an imagined path.

    From ``r``, ``c`` and ``v`` at the ``H + 1`` states of a path it computes

    * ``ret [H + 1, N, 1]``: the lambda-return; the last, which has none, is 0 and has no weight;
    * ``w [H + 1, N]``, ``w_pi [H, N]``: see :func:`path_weight`;
    * ``adv [H, N]``: :math:`(R_t - v_t) / S` with the range ``S`` of :class:`ReturnRange`;
    * ``boot [N, 1]``: the return of the start.

    Args:
        lam: lambda.
        discount: a factor on ``c``; 1 where continuation is learned with the discount in it.
        scale: the range of returns.
    """

    def __init__(self, lam: float, discount: float, scale: ReturnRange) -> None:
        super().__init__(
            ["ret", "w", "adv", "w_pi", "boot"],
            ["r", "c", "v"],
            "R",
            like={"adv": "action_prev", "w_pi": "action_prev", "boot": None},
        )
        self.lam, self.discount, self.scale = lam, discount, scale

    def forward(self, r: Tensor, c: Tensor, v: Tensor) -> dict[str, Tensor]:
        live = c * self.discount
        ret = lambda_return(r, live, v, self.lam)
        w_pi, w = path_weight(live, self.discount)
        return {
            "ret": torch.cat([ret, torch.zeros_like(ret[:1])]),
            "w": w,
            "adv": ((ret - v[:-1]) / self.scale(ret)).squeeze(-1),
            "w_pi": w_pi,
            "boot": ret[0],
        }


class PathReturn(SeriesFunction):
    r"""Returns and weights on an imagined path along which gradients flow.

    From ``r``, ``c`` and ``v`` at the ``H + 1`` states of a path it computes

    * ``gain [H, N]``: the lambda-return at each action, the only result with a gradient;
    * ``ret [H + 1, N, 1]``: the same for each state; the last, which has none, is 0 and has no
      weight;
    * ``adv [H, N]``: :math:`R_t - v_t`;
    * ``w [H + 1, N]``, ``w_pi [H, N]``: see :func:`path_weight`.

    Args:
        lam: lambda.
        discount: what ``c`` has in it.
    """

    def __init__(self, lam: float, discount: float) -> None:
        at_actions = dict.fromkeys(["gain", "adv", "w_pi"], "action_prev")
        super().__init__(["gain", "ret", "adv", "w", "w_pi"], ["r", "c", "v"], "R", like=at_actions)
        self.lam, self.discount = lam, discount

    def forward(self, r: Tensor, c: Tensor, v: Tensor) -> dict[str, Tensor]:
        gain = lambda_return(r, c, v, self.lam)
        ret = gain.detach()
        w_pi, w = path_weight(c.detach(), self.discount)
        return {
            "gain": gain.squeeze(-1),
            "ret": torch.cat([ret, torch.zeros_like(ret[:1])]),
            "adv": (ret - v[:-1].detach()).squeeze(-1),
            "w": w,
            "w_pi": w_pi,
        }


class Stop(Deterministic):
    r"""Variables under other names, without gradient: :math:`\bar x = \mathrm{sg}(x)`.

    Args:
        names: the new name -> the old one.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__(list(names), list(dict.fromkeys(names.values())), name="sg")
        self.names = dict(names)

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        return {new: given[old].detach() for new, old in self.names.items()}


class Curious(SeriesFunction):
    r"""``r [H + 1, N, 1]``: the reward of the task and the model's uncertainty of the step that led
    to a state.

    .. math:: r_{t+1} \leftarrow (1 - w) r_{t+1} + w u(s_t, a_t)

    (Sekar et al. 2020, with w = 1.)

    Args:
        weight: w.
    """

    def __init__(self, weight: float) -> None:
        super().__init__("r", ["r_task", "u"], "r")
        self.weight = weight

    def forward(self, r_task: Tensor, u: Tensor) -> dict[str, Tensor]:
        arrived = torch.cat([torch.zeros_like(u[:1]), u])
        return {"r": torch.lerp(r_task, arrived, self.weight)}


class ReplayReturn(SeriesFunction):
    r"""Returns of a recorded sequence, bootstrapped by the imagined return of each of its states.

    * ``ret_seen [T, N, 1]``: the lambda-return, cut where an episode ends; the last is 0 and has no
      weight;
    * ``w_seen [T, N]``: 0 at the last step of an episode and of the sequence, times ``T / (T - 1)``
      so that a mean over ``T`` is one over ``T - 1``.

    Args:
        lam: lambda.
        discount: per step.
    """

    def __init__(self, lam: float, discount: float) -> None:
        super().__init__(
            ["ret_seen", "w_seen"], ["reward", "is_last", "is_terminal", "boot"], "R_s"
        )
        self.lam, self.discount = lam, discount

    def forward(
        self, reward: Tensor, is_last: Tensor, is_terminal: Tensor, boot: Tensor
    ) -> dict[str, Tensor]:
        on = 1.0 - is_last.to(reward.dtype).unsqueeze(-1)
        live = (1.0 - is_terminal.to(reward.dtype).unsqueeze(-1)) * self.discount
        ret = lambda_return(reward, live, boot, on * self.lam)
        weight = on[:-1].squeeze(-1)
        steps = len(weight)
        return {
            "ret_seen": torch.cat([ret, torch.zeros_like(ret[:1])]),
            "w_seen": torch.cat([weight * ((steps + 1) / steps), torch.zeros_like(weight[:1])]),
        }
