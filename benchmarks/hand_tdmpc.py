"""TD-MPC's loss written by hand, without pixyz: the reference of tests and the contender of
benchmarks.

The best eager form that a good engineer would write: all observations that are targets in one call
of the encoder, heads batched over time, no gradient where none is wanted, the critics' weights
detached for the policy.  It calls the agent's networks and draws its noise in the plan's order, so
that values and gradients can be compared.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from hand_dreamer import LOG_SQRT_2PI, two_hot_log_prob
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F


def symlog(x: Tensor) -> Tensor:
    return torch.sign(x) * torch.log1p(x.abs())


def symexp(x: Tensor) -> Tensor:
    return torch.sign(x) * torch.expm1(x.abs())


def mean(logits: Tensor, bins: Tensor) -> Tensor:
    """``[..., K] -> [...]``."""
    return symexp(torch.softmax(logits, -1) @ bins)


def drawn(agent: Any, z: Tensor) -> tuple[Tensor, Tensor]:
    """A squashed action ``[..., A]`` and minus its log-density ``[...]``."""
    policy = agent.policy
    loc, raw = policy.net(z).chunk(2, -1)
    log_scale = policy.low + 0.5 * (policy.high - policy.low) * (torch.tanh(raw) + 1.0)
    noise = torch.randn_like(loc)
    u = torch.addcmul(loc, log_scale.exp(), noise)
    inside = torch.addcmul(log_scale + LOG_SQRT_2PI, noise, noise, value=0.5)
    surprise = inside + 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))
    return torch.tanh(u), surprise.sum(-1)


def tdmpc_loss(agent: Any, x: dict[str, Tensor]) -> Tensor:
    """The whole objective of :class:`agents.tdmpc.TDMPC`, from what its ``prepare`` gives."""
    c = agent.config
    steps, rows = x["on"].shape
    z = agent.encoder.forward(**{k: x[k] for k in agent.keys})["z"]
    path = [z]
    for action in x["action"].unbind(0):
        path.append(agent.dynamics.net(path[-1], action))
    states = torch.stack(path)
    before, after = states[:-1].flatten(0, 1), states[1:].flatten(0, 1)
    action = x["action"].flatten(0, 1)

    with torch.no_grad():
        ends = ("_next", "_later")
        seen = {k: torch.cat([x[k + end].flatten(0, 1) for end in ends]) for k in agent.keys}
        target, later = agent.encoder.forward(**seen)["z"].chunk(2)
        following, _ = drawn(agent, later)
        value = mean(agent.slow_critics.net(later, following), agent.critics.bins)
        value = torch.lerp(value.mean(1), value.amin(1), c.pessimism)
        y = torch.addcmul(x["reward_n"].flatten(), x["discount_n"].flatten(), value)
        powers = c.rho ** torch.arange(steps + 1, dtype=z.dtype).unsqueeze(1)
        unbroken = torch.cat([torch.ones_like(x["on"][:1]), x["on"].cumprod(0)])
        weight, weight_pi = powers[:-1] * unbroken[1:], powers * unbroken

    scale = math.sqrt(c.latent / 2.0)
    gap = (target - after) / scale
    consistency = 0.5 * (gap * gap).sum(-1) + c.latent * (math.log(scale) + LOG_SQRT_2PI)
    bins = agent.reward.bins
    reward = torch.log_softmax(agent.reward.net(before, action), -1)
    reward_loss = -two_hot_log_prob(symlog(x["reward"].flatten(0, 1)), reward, bins)
    values = torch.log_softmax(agent.critics.net(before, action), -1)
    aim = symlog(y).unsqueeze(-1).expand(-1, c.critics).unsqueeze(-1)
    value_loss = -two_hot_log_prob(aim.contiguous(), values, bins).sum(-1)
    cont_loss = F.binary_cross_entropy_with_logits(
        agent.cont.net(after), x["cont"].flatten(0, 1), reduction="none"
    ).squeeze(-1)
    model = c.consistency * consistency + c.reward * reward_loss
    model = model + c.value / c.critics * value_loss + c.cont * cont_loss
    loss = (weight * model.unflatten(0, (steps, rows))).mean()

    free = states.detach().flatten(0, 1)
    acted, surprise = drawn(agent, free)
    frozen = {k: v.detach() for k, v in agent.critics.net.named_parameters()}
    logits = functional_call(agent.critics.net, frozen, (free, acted))
    q = mean(logits, bins).mean(-1).unflatten(0, (steps + 1, rows))
    q = q / agent.scaled.scale(q[0])
    policy = q + c.entropy * surprise.unflatten(0, (steps + 1, rows))
    return loss - (weight_pi * policy).mean()
