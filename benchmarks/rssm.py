"""Time of an RSSM's training step and of imagination: loops written by hand, the declared
objective, compiled chunks.

Contenders of the training step (losses, backward, LaProp), in turn in one process, CPU seconds on
one thread:

* ``naive``: everything in the loop over time, as an equation would be typed;
* ``dreamer``: encoder and heads batched over time, the prior and its KL in the loop, ``x[t]``;
* ``hand``: the best eager form (``hand_dreamer.world_model``);
* ``pixyz``: the objective of :class:`worldmodels.RSSM`; ``pixyz_loop`` the same with
  ``fission=False``;
* ``pixyz_chunk``: the same with ``loss.compile(chunk=8)``.

Ratios are to ``hand``, round by round; the seconds of compiling are beside them.

    python benchmarks/rssm.py --rounds 15
    python benchmarks/rssm.py --rounds 15 --chunk 8     # compiles for some minutes first
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from hand_dreamer import (
    draw_one_hot,
    latent,
    mixed,
    straight_through,
    two_hot_log_prob,
    world_model,
)
from timing import compiling, contend, prepare, record
from torch import Tensor
from torch.nn import functional as F

from agents.dreamer.optimizer import LaProp
from pixyz.distributions import Deterministic
from worldmodels import RSSM, RSSMConfig

RESULTS = Path(__file__).parent / "results" / "rssm.jsonl"
SHAPES = {"position": (3,), "velocity": (2,)}
STEPS, BATCH, HORIZON = 64, 16, 15
SIZES = {
    "size1m": RSSMConfig(),
    "small": RSSMConfig(
        deter=128,
        hidden=64,
        groups=8,
        classes=8,
        blocks=4,
        units=64,
        encoder_layers=2,
        decoder_layers=2,
        prior_layers=1,
        bins=63,
    ),
}


def build(size: str, kind: str, fission: bool = True) -> tuple[RSSM, dict[str, Tensor]]:
    """A model and a batch of made data, ``[64, 16, ...]`` (``[64, 4]`` for the small size)."""
    torch.manual_seed(0)
    model = RSSM(SHAPES, 1, RSSMConfig(**{**vars(SIZES[size]), "latent": kind}), fission=fission)
    batch = BATCH if size == "size1m" else 4
    x = {k: torch.randn(STEPS, batch, *s) for k, s in SHAPES.items()}
    x |= {
        "action": torch.rand(STEPS, batch, 1) * 2 - 1,
        "reward": torch.rand(STEPS, batch, 1),
        "cont": torch.ones(STEPS, batch, 1),
        "is_first": torch.rand(STEPS, batch) < 0.002,
    }
    return model, x


def in_loop(model: RSSM, x: dict[str, Tensor], heads: bool) -> Tensor:
    """The loss with the prior in the loop; ``heads``: encoder, decoder, reward and continuation
    too.
    """
    c = model.config
    categorical = c.latent == "categorical"
    steps, batch = x["is_first"].shape
    zeros = x["action"].new_zeros(batch, 1)
    deter, stoch, action = (
        zeros.expand(-1, c.deter),
        zeros.expand(-1, c.stoch),
        torch.zeros_like(x["action"][0]),
    )
    if not heads:
        embed = model.encoder(**{k: x[k].flatten(0, 1) for k in model.keys})["embed"].unflatten(
            0, (steps, batch)
        )
    deters, stochs, total = [], [], torch.zeros(())
    for t in range(steps):
        keep = (~x["is_first"][t]).unsqueeze(-1)
        deter = model.dynamics.core(deter * keep, stoch * keep, action * keep)
        e = model.encoder(**{k: x[k][t] for k in model.keys})["embed"] if heads else embed[t]
        post, prior = model.posterior.net(deter, e), model.prior.net(deter)
        if categorical:
            post, prior = mixed(post, c.groups, c.unimix), mixed(prior, c.groups, c.unimix)
            stoch = straight_through(torch.rand(batch, c.groups, 1), post)
            a, b = post.log(), prior.log()
            dyn = (post.detach() * (a.detach() - b)).sum((-1, -2))
            rep = (post * (a - b.detach())).sum((-1, -2))
        else:
            (qloc, qscale), (ploc, pscale) = latent(model, post), latent(model, prior)
            stoch = torch.addcmul(qloc, qscale, torch.randn(batch, c.stoch))
            q, p = (
                torch.distributions.Normal(qloc, qscale),
                torch.distributions.Normal(ploc, pscale),
            )
            q_, p_ = (torch.distributions.Normal(d.loc.detach(), d.scale.detach()) for d in (q, p))
            dyn = torch.distributions.kl_divergence(q_, p).sum(-1)
            rep = torch.distributions.kl_divergence(q, p_).sum(-1)
        total = (
            total
            + c.dyn_scale * dyn.clamp(min=c.free_nats)
            + c.rep_scale * rep.clamp(min=c.free_nats)
        )
        if heads:
            total = total + reconstruct(model, {k: v[t] for k, v in x.items()}, deter, stoch)
        deters.append(deter)
        stochs.append(stoch)
        action = x["action"][t]
    if not heads:
        rows = {k: v.flatten(0, 1) for k, v in x.items()}
        found = reconstruct(
            model, rows, torch.stack(deters).flatten(0, 1), torch.stack(stochs).flatten(0, 1)
        )
        total = total + found.unflatten(0, (steps, batch)).sum(0)
    return total.mean() / steps


def reconstruct(model: RSSM, x: dict[str, Tensor], deter: Tensor, stoch: Tensor) -> Tensor:
    """Minus log of all heads, ``[N]``."""
    means = model.decoder(deter, stoch)
    total = torch.zeros(())
    for key in model.keys:
        total = total + (torch.sign(x[key]) * torch.log1p(x[key].abs()) - means[key]).square().sum(
            -1
        )
    reward = torch.log_softmax(model.reward.net(deter, stoch), -1)
    cont = model.cont.net(deter, stoch)
    total = total - two_hot_log_prob(x["reward"], reward, model.reward.bins)
    return total + F.binary_cross_entropy_with_logits(cont, x["cont"], reduction="none").squeeze(-1)


def training(size: str, kind: str, chunk: int) -> tuple[dict[str, Callable[[], None]], float]:
    """One training step of each contender, and the seconds that compiling took."""
    model, x = build(size, kind)
    looped, _ = build(size, kind, fission=False)
    optimizers = {id(m): LaProp(m.parameters()) for m in (model, looped)}

    def step(value: Callable[[], Tensor], owner: RSSM = model) -> Callable[[], None]:
        def run() -> None:
            loss = value()
            optimizers[id(owner)].zero_grad(set_to_none=True)
            loss.backward()
            optimizers[id(owner)].step()

        return run

    tasks = {
        "naive": step(lambda: in_loop(model, x, heads=True)),
        "dreamer": step(lambda: in_loop(model, x, heads=False)),
        "hand": step(lambda: world_model(model, x)["loss"]),
        "pixyz": step(lambda: model.objective.eval(x)),
        "pixyz_loop": step(lambda: looped.objective.eval(x), looped),
    }
    seconds = 0.0
    if chunk:
        compiled, _ = build(size, kind)
        optimizers[id(compiled)] = LaProp(compiled.parameters())
        compiled.objective.compile(chunk=chunk)
        tasks["pixyz_chunk"] = step(lambda: compiled.objective.eval(x), compiled)
        seconds = compiling(tasks["pixyz_chunk"])
    return tasks, seconds


class Policy(Deterministic):
    """An action from the state, by one layer."""

    def __init__(self, size: int) -> None:
        super().__init__("action", ["deter", "stoch"], name="pi", features_shape=[1])
        self.net = torch.nn.Linear(size, 1)

    def forward(self, deter: Tensor, stoch: Tensor) -> dict[str, Tensor]:
        return {"action": torch.tanh(self.net(torch.cat([deter, stoch], -1)))}


def imagination(size: str, kind: str, chunk: int) -> tuple[dict[str, Callable[[], None]], float]:
    """15 steps of a policy without gradient from every state of a batch."""
    model, x = build(size, kind)
    c = model.config
    rows = x["is_first"].numel()
    policy = Policy(c.features)
    start = {"deter": torch.tanh(torch.randn(rows, c.deter)), "stoch": torch.rand(rows, c.stoch)}

    @torch.no_grad()
    def hand() -> None:
        deter, stoch = start["deter"], start["stoch"]
        categorical = c.latent == "categorical"
        noise = (
            torch.rand(HORIZON, rows, c.groups, 1)
            if categorical
            else torch.randn(HORIZON, rows, c.stoch)
        )
        deters, stochs, actions = [], [], []
        for u in noise.unbind(0):
            action = policy(deter, stoch)["action"]
            deter = model.dynamics.core(deter, stoch, action)
            out = model.prior.net(deter)
            if categorical:
                stoch = draw_one_hot(u, mixed(out, c.groups, c.unimix)).flatten(-2)
            else:
                loc, scale = latent(model, out)
                stoch = torch.addcmul(loc, scale, u)
            deters.append(deter)
            stochs.append(stoch)
            actions.append(action)
        torch.stack(deters), torch.stack(stochs), torch.stack(actions)

    dream = model.dream(policy, HORIZON)
    tasks: dict[str, Callable[[], None]] = {
        "hand": hand,
        "pixyz": lambda: void(dream.sample(start)),
    }
    seconds = 0.0
    if chunk:
        compiled = model.dream(policy, HORIZON).compile(chunk=chunk)
        tasks["pixyz_chunk"] = lambda: void(compiled.sample(start))
        seconds = compiling(tasks["pixyz_chunk"])
    return tasks, seconds


def void(_: object) -> None:
    """A result that nobody reads."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--latents", nargs="+", default=["categorical", "gaussian"])
    parser.add_argument(
        "--chunk", type=int, default=0, help="also compile, this many steps at a time"
    )
    given = parser.parse_args()
    prepare()
    for size in given.sizes:
        for kind in given.latents:
            for what, make in (("training_step", training), ("imagination", imagination)):
                tasks, seconds = make(size, kind, given.chunk)
                shape = {
                    "size": size,
                    "latent": kind,
                    "batch": [BATCH if size == "size1m" else 4, STEPS],
                }
                extra = {"chunk": given.chunk, "compile_seconds": seconds} if given.chunk else {}
                record(
                    RESULTS,
                    f"rssm_{what}",
                    {**shape, **extra},
                    contend(tasks, given.rounds),
                    baseline="hand",
                )


if __name__ == "__main__":
    main()
