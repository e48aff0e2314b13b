"""The losses of PlaNet, Dreamer V1 and V2 by hand, from the papers: loops over time, plain torch,
no distribution.

The agents' networks are called (their formulas have tests of their own), and noise is drawn in the
order of a plan.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def normal_kl(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    (m, s), (n, r) = a, b
    return (torch.log(r / s) + (s**2 + (m - n) ** 2) / (2 * r**2) - 0.5).sum(-1)


def choice_kl(a: Tensor, b: Tensor) -> Tensor:
    return (a * (a.log() - b.log())).sum((-1, -2))


def half_square(x: Tensor, loc: Tensor) -> Tensor:
    """Minus the log of a normal of variance 1."""
    return (0.5 * (x - loc) ** 2 + LOG_SQRT_2PI).sum(-1)


def choose(u: Tensor, probs: Tensor) -> Tensor:
    """One-hot choices ``[..., groups, classes]``, with the gradient of the probabilities."""
    index = (u >= probs.detach().cumsum(-1)[..., :-1]).sum(-1)
    return F.one_hot(index, probs.shape[-1]).to(probs.dtype) + probs - probs.detach()


class ByHand:
    """An agent's losses.

    Args:
        agent: PlaNet, Dreamer V1 or V2, on the vectors ``orient`` and ``velocity``.
    """

    def __init__(self, agent: Any) -> None:
        self.agent, self.model, self.c = agent, agent.model, agent.config.model
        self.discrete = self.c.latent == "categorical"

    def call(self, net: Any, *given: Tensor, frozen: bool = False) -> Tensor:
        """A network on any leading dimensions; where it is frozen, its weights get no gradient."""
        lead, rows = given[0].shape[:-1], [x.flatten(0, -2) for x in given]
        weights = {k: p.detach() if frozen else p for k, p in net.named_parameters()}
        found: Tensor = functional_call(net, weights, tuple(rows))
        return found.unflatten(0, lead)

    def latent(self, out: Tensor) -> Any:
        if self.discrete:
            return torch.softmax(out.unflatten(-1, (self.c.groups, self.c.classes)), -1)
        loc, raw = out.chunk(2, -1)
        return loc, F.softplus(raw) + self.c.min_scale

    def noise(self, *rows: int) -> Tensor:
        if self.discrete:
            return torch.rand(*rows, self.c.groups, 1, dtype=torch.float64)
        return torch.randn(*rows, self.c.groups, dtype=torch.float64)

    def draw(self, noise: Tensor, parameters: Any) -> Tensor:
        if self.discrete:
            return choose(noise, parameters).flatten(-2)
        loc, scale = parameters
        return loc + scale * noise

    def kl(self, a: Any, b: Any) -> Tensor:
        return choice_kl(a, b) if self.discrete else normal_kl(a, b)

    @staticmethod
    def stopped(parameters: Any) -> Any:
        return (
            tuple(p.detach() for p in parameters)
            if isinstance(parameters, tuple)
            else parameters.detach()
        )

    def world(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """The filter: states ``[T, B, ...]``, costs ``[T, B]``, both forms of the KL."""
        m, (steps, batch) = self.model, x["is_first"].shape
        noise = self.noise(steps, batch)
        h = x.get("deter_prev", torch.zeros(batch, self.c.deter).double())
        s = x.get("stoch_prev", torch.zeros(batch, self.c.stoch).double())
        a = x.get("action_prev", torch.zeros_like(x["action"][0]))
        found: dict[str, list[Tensor]] = {
            k: [] for k in ("deter", "stoch", "rec", "rew", "con", "kl", "dyn", "rep")
        }
        for t in range(steps):
            on = (~x["is_first"][t]).double().unsqueeze(-1)
            h = m.dynamics.core(h * on, s * on, a * on)
            seen = torch.cat([x["orient"][t], x["velocity"][t]], -1)
            embed = m.encoder.mlp(seen.sign() * torch.log1p(seen.abs()))
            q, p = self.latent(m.posterior.net(h, embed)), self.latent(m.prior.net(h))
            s, a = self.draw(noise[t], q), x["action"][t]
            hidden = m.decoder.mlp(h, s)
            rec = torch.zeros(batch).double()
            for k in ("orient", "velocity"):
                target = x[k][t].sign() * torch.log1p(x[k][t].abs())
                rec = rec + ((target - m.decoder.heads[k](hidden)) ** 2).sum(-1)
            cont = torch.sigmoid(m.cont.net(h, s))
            con = -(x["cont"][t] * cont.log() + (1 - x["cont"][t]) * (1 - cont).log()).sum(-1)
            values = {
                "deter": h,
                "stoch": s,
                "rec": rec,
                "rew": half_square(x["reward"][t], m.reward.net(h, s)),
                "con": con,
                "kl": self.kl(q, p),
                "dyn": self.kl(self.stopped(q), p),
                "rep": self.kl(q, self.stopped(p)),
            }
            for k, v in values.items():
                found[k].append(v)
        return {k: torch.stack(v) for k, v in found.items()}

    # ---------------------------------------------------------------- imagination

    def act(self, h: Tensor, s: Tensor, noise: Tensor) -> Tensor:
        out = self.agent.policy.net(h, s)
        if self.agent.action.discrete:
            return choose(noise, torch.softmax(out, -1).unsqueeze(-2)).flatten(-2)
        loc, raw = out.chunk(2, -1)
        if type(self.agent).__name__ == "DreamerV1":
            return torch.tanh(
                5 * torch.tanh(loc / 5)
                + (F.softplus(raw + math.log(math.exp(5) - 1)) + 1e-4) * noise
            )
        return torch.tanh(loc) + (0.9 * torch.sigmoid(raw + 2) + 0.1) * noise

    def path(self, h: Tensor, s: Tensor, critic: Any) -> dict[str, Tensor]:
        """A path of ``H`` actions from states ``[N, ...]``; the model's weights are constants."""
        agent, m, steps = self.agent, self.model, self.agent.config.horizon
        shape = (
            (steps, len(h), 1, 1) if agent.action.discrete else (steps, len(h), agent.action.size)
        )
        chance = (torch.rand if agent.action.discrete else torch.randn)(*shape, dtype=torch.float64)
        noise = self.noise(steps, len(h))
        hs, ss, actions = [h], [s], []
        for t in range(steps):
            actions.append(self.act(hs[-1], ss[-1], chance[t]))
            hs.append(self.call(m.dynamics.core, hs[-1], ss[-1], actions[-1], frozen=True))
            ss.append(self.draw(noise[t], self.latent(self.call(m.prior.net, hs[-1], frozen=True))))
        at = torch.stack(hs), torch.stack(ss)
        r, v = (
            self.call(m.reward.net, *at, frozen=True)[..., 0],
            self.call(critic.net, *at, frozen=True)[..., 0],
        )
        c = torch.sigmoid(self.call(m.cont.net, *at, frozen=True))[..., 0]
        lam, returns = agent.config.lam, [v[-1]]
        for t in reversed(range(steps)):
            returns.insert(0, r[t + 1] + c[t + 1] * ((1 - lam) * v[t + 1] + lam * returns[0]))
        weight = torch.stack(
            [c[: t + 1].prod(0) / agent.config.discount for t in range(steps)]
        ).detach()
        return {
            "h": at[0].detach(),
            "s": at[1].detach(),
            "a": torch.stack(actions).detach(),
            "v": v.detach(),
            "gain": torch.stack(returns[:-1]),
            "weight": weight,
        }


def planet(agent: Any, x: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """PlaNet: free nats in each frame."""
    seen = ByHand(agent).world(x)
    kl = seen["kl"].clamp(min=agent.config.model.free_nats)
    terms = {k: seen[k].mean() for k in ("rec", "rew", "con")} | {"kl": kl.mean()}
    loss = sum(terms.values()) + (agent.config.reward - 1.0) * terms["rew"]
    return loss, terms  # type: ignore[return-value]


def dreamer_v1(agent: Any, x: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Dreamer: free nats on the mean, a pathwise policy."""
    hand = ByHand(agent)
    seen = hand.world(x)
    start = [seen[k].detach().flatten(0, 1) for k in ("deter", "stoch")]
    path = hand.path(*start, agent.value)
    terms = {k: seen[k].mean() for k in ("rec", "rew", "con")}
    terms["kl"] = seen["kl"].mean().clamp(min=agent.config.model.free_nats)
    terms["policy"] = -(path["weight"] * path["gain"]).mean()
    v = hand.call(agent.value.net, path["h"][:-1], path["s"][:-1])
    terms["value"] = (path["weight"] * half_square(path["gain"].detach().unsqueeze(-1), v)).mean()
    return sum(terms.values()), terms  # type: ignore[return-value]


def dreamer_v2(agent: Any, x: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """DreamerV2: a balanced KL, a policy by both gradients, a target critic."""
    hand, c = ByHand(agent), agent.config
    seen = hand.world(x)
    start = [seen[k].detach().flatten(0, 1) for k in ("deter", "stoch")]
    path = hand.path(*start, agent.slow_value)
    terms = {k: seen[k].mean() for k in ("rec", "rew", "con")}
    terms |= {k: seen[k].mean().clamp(min=c.model.free_nats) for k in ("dyn", "rep")}
    at = path["h"][:-1], path["s"][:-1]
    out = hand.call(agent.policy.net, *at)
    if agent.action.discrete:
        log = torch.log_softmax(out, -1)
        log_pi, entropy = (path["a"] * log).sum(-1), -(log.exp() * log).sum(-1)
    else:
        loc, scale = (
            torch.tanh(out.chunk(2, -1)[0]),
            0.9 * torch.sigmoid(out.chunk(2, -1)[1] + 2) + 0.1,
        )
        log_pi = -(0.5 * ((path["a"] - loc) / scale) ** 2 + scale.log() + LOG_SQRT_2PI).sum(-1)
        entropy = (0.5 + LOG_SQRT_2PI + scale.log()).sum(-1)
    advantage, rho = (path["gain"] - path["v"][:-1]).detach(), agent.reinforce
    score = rho * log_pi * advantage + (1 - rho) * path["gain"] + c.entropy * entropy
    terms["policy"] = -(path["weight"] * score).mean()
    terms["value"] = (
        path["weight"]
        * half_square(path["gain"].detach().unsqueeze(-1), hand.call(agent.value.net, *at))
    ).mean()
    total = sum(v for k, v in terms.items() if k not in ("dyn", "rep"))
    return total + 0.8 * terms["dyn"] + 0.2 * terms["rep"], terms
