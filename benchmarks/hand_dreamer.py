"""DreamerV3's losses written by hand, without pixyz: the reference of tests and the contender of
benchmarks.

The best eager form that a good engineer would write: the encoder before the loop, ``unbind``, noise
of all steps at once, heads and prior batched over time, imagination without gradient.  It calls the
agent's networks and draws its noise in the plan's order, so that values and gradients can be
compared.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pixyz.plan.once import once, one_run

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def mixed(logits: Tensor, groups: int, unimix: float) -> Tensor:
    probs = logits.unflatten(-1, (groups, -1))
    # below the floats of a vector softmax is vectorised only along another dimension
    probs = (
        probs.movedim(-1, 0).softmax(0).movedim(0, -1) if probs.shape[-1] < 8 else probs.softmax(-1)
    )
    size, dtype = probs.shape[-1], probs.dtype
    uniform = once((mixed, unimix, size, dtype), lambda: torch.tensor(unimix / size, dtype=dtype))
    return torch.add(uniform, probs, alpha=1.0 - unimix) if unimix else probs


def draw_one_hot(noise: Tensor, probs: Tensor) -> Tensor:
    with torch.no_grad():
        if probs.shape[-1] < 16:
            edges = probs.movedim(-1, 0).cumsum(0)
            below = probs.new_zeros(len(edges) + 1, *edges.shape[1:])
            below[0] = 1.0
            torch.le(edges[:-1], noise.squeeze(-1) * edges[-1], out=below[1:-1])
            return (below[:-1] - below[1:]).movedim(0, -1)
        edges = probs.cumsum(-1)
        index = (
            (edges <= noise * edges[..., -1:]).sum(-1, keepdim=True).clamp(max=probs.shape[-1] - 1)
        )
        hard = torch.zeros_like(probs).scatter_(-1, index, 1.0)
    return hard


def straight_through(noise: Tensor, probs: Tensor) -> Tensor:
    return (draw_one_hot(noise, probs) + (probs - probs.detach())).flatten(-2)


def two_hot_log_prob(x: Tensor, log_probs: Tensor, bins: Tensor) -> Tensor:
    """``x [..., 1]``, ``log_probs [..., K]`` -> ``[...]``."""
    bins = bins.to(x.dtype)
    above = torch.searchsorted(bins, x, right=True).clamp(1, len(bins) - 1)
    below = above - 1
    low, high = bins[below], bins[above]
    weight = ((x - low) / (high - low)).clamp(0.0, 1.0)
    return torch.lerp(log_probs.gather(-1, below), log_probs.gather(-1, above), weight).squeeze(-1)


def two_hot_mean(logits: Tensor, bins: Tensor) -> Tensor:
    probs, half = torch.softmax(logits, -1), (len(bins) - 1) // 2
    return (
        (probs[..., :half] * bins[:half])
        .flip(-1)
        .add(probs[..., -half:] * bins[-half:])
        .sum(-1, keepdim=True)
    )


def latent(model: Any, net_out: Tensor) -> tuple[Tensor, Tensor]:
    """Gaussian: loc and scale."""
    loc, scale = net_out.chunk(2, -1)
    return loc, F.softplus(scale) + model.config.min_scale


def world_model(model: Any, x: dict[str, Tensor]) -> dict[str, Tensor]:
    """The RSSM's loss (a mean over frames), its states ``deter``, ``stoch`` ``[T, B, ...]``."""
    c = model.config
    categorical = c.latent == "categorical"
    steps, batch = x["is_first"].shape
    keep = (~x["is_first"]).unsqueeze(-1)
    embed = model.encoder(**{k: x[k].flatten(0, 1) for k in model.keys})["embed"].unflatten(
        0, (steps, batch)
    )
    start = x.get("action_prev", torch.zeros_like(x["action"][0]))
    action = torch.cat([start.unsqueeze(0), x["action"][:-1]]) * keep
    zeros = embed.new_zeros(batch, 1)
    deter = x.get("deter_prev", zeros.expand(-1, c.deter))
    stoch = x.get("stoch_prev", zeros.expand(-1, c.stoch))
    shape = (steps, batch, c.groups, 1) if categorical else (steps, batch, c.stoch)
    noise = (torch.rand if categorical else torch.randn)(shape, dtype=embed.dtype)
    deters, stochs, posts = [], [], []
    for k, a, e, u in zip(
        keep.unbind(0), action.unbind(0), embed.unbind(0), noise.unbind(0), strict=True
    ):
        deter = model.dynamics.core(deter * k, stoch * k, a)
        out = model.posterior.net(deter, e)
        if categorical:
            post = mixed(out, c.groups, c.unimix)
            stoch = straight_through(u, post)
        else:
            post = torch.stack(latent(model, out))
            stoch = torch.addcmul(post[0], post[1], u)
        deters.append(deter)
        stochs.append(stoch)
        posts.append(post)
    deter, stoch, post = torch.stack(deters), torch.stack(stochs), torch.stack(posts)
    rows, latents = deter.flatten(0, 1), stoch.flatten(0, 1)
    prior = model.prior.net(rows).unflatten(0, (steps, batch))
    means = model.decoder(rows, latents)
    total = torch.zeros(())
    for key in model.keys:
        target = x[key].flatten(0, 1)
        target = (
            torch.sign(target) * torch.log1p(target.abs()) if target.ndim == 2 else target / 255
        )
        gap = target - means[key]
        total = total + (gap * gap).flatten(1).sum(-1)
    reward = torch.log_softmax(model.reward.net(rows, latents), -1).unflatten(0, (steps, batch))
    total = total.unflatten(0, (steps, batch)) - two_hot_log_prob(
        x["reward"], reward, model.reward.bins
    )
    cont = model.cont.net(rows, latents).unflatten(0, (steps, batch))
    total = total + F.binary_cross_entropy_with_logits(cont, x["cont"], reduction="none").squeeze(
        -1
    )
    if categorical:
        prior_log, post_log = mixed(prior, c.groups, c.unimix).log(), post.log()

        def kl(a: Tensor, a_log: Tensor, b_log: Tensor) -> Tensor:
            return (a * (a_log - b_log)).sum((-1, -2))

        dyn = kl(post.detach(), post_log.detach(), prior_log)
        rep = kl(post, post_log, prior_log.detach())
    else:
        ploc, pscale = latent(model, prior)
        qloc, qscale = post.unbind(1)

        def normal_kl(a: Tensor, s: Tensor, b: Tensor, r: Tensor) -> Tensor:
            ratio, gap = s / r, (a - b) / r
            return (0.5 * (ratio * ratio + gap * gap - 1.0) - ratio.log()).sum(-1)

        dyn = normal_kl(qloc.detach(), qscale.detach(), ploc, pscale)
        rep = normal_kl(qloc, qscale, ploc.detach(), pscale.detach())
    loss = (
        total + c.dyn_scale * dyn.clamp(min=c.free_nats) + c.rep_scale * rep.clamp(min=c.free_nats)
    )
    return {"loss": loss.mean(), "deter": deter, "stoch": stoch}


def returns(reward: Tensor, live: Tensor, value: Tensor, mix: Tensor | float) -> Tensor:
    last, found = value[-1], []
    mix = mix if isinstance(mix, Tensor) else torch.full_like(live, mix)
    for r, g, v, m in zip(
        *(s[1:].flip(0).unbind(0) for s in (reward, live, value, mix)), strict=True
    ):
        last = r + g * ((1 - m) * v + m * last)
        found.append(last)
    return torch.stack(found[::-1])


def dreamer_loss(agent: Any, x: dict[str, Tensor]) -> Tensor:
    """All of DreamerV3's losses; the networks' weights get their gradients once, as in a plan's
    run.
    """
    with one_run():
        return all_losses(agent, x)


def all_losses(agent: Any, x: dict[str, Tensor]) -> Tensor:
    """The same, as part of a run."""
    c, model, m = agent.config, agent.model, agent.config.model
    seen = world_model(model, x)
    steps, batch = x["is_first"].shape
    rows, horizon = steps * batch, c.horizon
    discrete, actions = agent.action.discrete, agent.action.size
    dtype = seen["deter"].dtype
    bins = agent.value.bins.to(dtype)

    def policy(*state: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        out = agent.policy.net(*state)
        if discrete:
            return mixed(out, 1, c.unimix)
        loc, scale = out.chunk(2, -1)
        return torch.tanh(loc), 0.9 * torch.sigmoid(scale + 2.0) + 0.1

    with torch.no_grad():
        deter, stoch = seen["deter"].flatten(0, 1), seen["stoch"].flatten(0, 1)
        if discrete:
            noise_a = torch.rand((horizon, rows, 1, 1), dtype=dtype)
        else:
            noise_a = torch.randn((horizon, rows, actions), dtype=dtype)
        categorical = m.latent == "categorical"
        noise_s = None
        deters, stochs, taken = [deter], [stoch], []
        for t in range(horizon):
            pi = policy(deter, stoch)
            action = (
                draw_one_hot(noise_a[t], pi).flatten(-2)
                if discrete
                else torch.addcmul(pi[0], pi[1], noise_a[t])
            )
            deter = model.dynamics.core(deter, stoch, action)
            out = model.prior.net(deter)
            if noise_s is None:
                shape = (horizon, rows, m.groups, 1) if categorical else (horizon, rows, m.stoch)
                noise_s = (torch.rand if categorical else torch.randn)(shape, dtype=dtype)
            if categorical:
                stoch = draw_one_hot(noise_s[t], mixed(out, m.groups, m.unimix)).flatten(-2)
            else:
                loc, scale = latent(model, out)
                stoch = torch.addcmul(loc, scale, noise_s[t])
            taken.append(action)
            deters.append(deter)
            stochs.append(stoch)
        deters, stochs, action = torch.stack(deters), torch.stack(stochs), torch.stack(taken)
    flat = deters.flatten(0, 1), stochs.flatten(0, 1)
    logits = agent.value.net(*flat).unflatten(0, (horizon + 1, rows))
    with torch.no_grad():
        slow = two_hot_mean(agent.slow_value.net(*flat), bins).unflatten(0, (horizon + 1, rows))
        reward = two_hot_mean(model.reward.net(*flat), model.reward.bins.to(dtype)).unflatten(
            0, (horizon + 1, rows)
        )
        live = torch.sigmoid(model.cont.net(*flat)).unflatten(0, (horizon + 1, rows))
        value = two_hot_mean(logits, bins)
        ret = returns(reward, live, value, c.lam)
        weight = live.cumprod(0)[:-1].squeeze(-1)
        advantage = ((ret - value[:-1]) / agent.imagined.scale(ret)).squeeze(-1)
    pi = policy(deters[:-1].flatten(0, 1), stochs[:-1].flatten(0, 1))
    if discrete:
        log_pi = pi.log()
        log_prob = (action.flatten(0, 1).unsqueeze(-2) * log_pi).sum((-1, -2))
        entropy = -(pi * log_pi).sum((-1, -2))
    else:
        loc, scale = pi
        log_scale = scale.log()
        gap = (action.flatten(0, 1) - loc) / scale
        log_prob = (-0.5 * gap * gap - log_scale - LOG_SQRT_2PI).sum(-1)
        entropy = (0.5 + LOG_SQRT_2PI + log_scale).sum(-1)
    log_prob, entropy = (
        log_prob.unflatten(0, (horizon, rows)),
        entropy.unflatten(0, (horizon, rows)),
    )
    actor = -(weight * (advantage * log_prob + c.entropy * entropy)).mean()
    log_value = torch.log_softmax(logits, -1)[:-1]
    critic = -(
        weight
        * (
            two_hot_log_prob(ret, log_value, bins)
            + c.slow_regularizer * two_hot_log_prob(slow[:-1], log_value, bins)
        )
    ).mean()

    with torch.no_grad():
        boot = ret[0].unflatten(0, (steps, batch))
        on = (~x["is_last"]).to(dtype).unsqueeze(-1)
        live = (~x["is_terminal"]).to(dtype).unsqueeze(-1) * c.discount
        target = returns(x["reward"], live, boot, on * c.lam)
        weight = on[:-1].squeeze(-1)
        real = [seen[k][:-1].flatten(0, 1) for k in ("deter", "stoch")]
        slow = two_hot_mean(agent.slow_value.net(*real), bins).unflatten(0, (steps - 1, batch))
    real = [seen[k][:-1].flatten(0, 1) for k in ("deter", "stoch")]
    log_value = torch.log_softmax(agent.value.net(*real), -1).unflatten(0, (steps - 1, batch))
    replay = -(
        weight
        * (
            two_hot_log_prob(target, log_value, bins)
            + c.slow_regularizer * two_hot_log_prob(slow, log_value, bins)
        )
    ).mean()
    return seen["loss"] + actor + critic + c.replay_value * replay
