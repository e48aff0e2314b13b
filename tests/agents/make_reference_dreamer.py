"""Numbers of DreamerV3's updates in numpy, from the paper and the recipe of its published code.

Nothing of this library is used.  Hafner et al. 2023 and the revision of 2024 (Nature 2025): block
GRU, RMS norm, categorical latents with a uniform share, both KL terms with free nats, symlog and
two-hot, imagined and recorded lambda-returns, REINFORCE, LaProp with adaptive clipping.  Stopped
gradients are values of the unmoved weights, and a gradient is a complex step, ``Im L(w + ih) / h``
(exact to rounding; Squire and Trapp 1998).  By hand::

    python tests/agents/make_reference_dreamer.py       writes reference_dreamer.json, in ten
                                                        seconds
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from reference_parts import (
    CASES,
    KEYS,
    Array,
    Case,
    Weights,
    batch_of,
    bins_of,
    choose,
    core,
    draws_of,
    flat,
    mixed,
    mlp,
    numbers,
    sigmoid,
    symlog,
    two_hot_loss,
    two_hot_mean,
    weights_of,
)

FILE = Path(__file__).with_name("reference_dreamer.json")

# as published
DISCOUNT, LAMBDA, ENTROPY = 1 - 1 / 333, 0.95, 3e-4
FREE_NATS, DYN, REP, REPLAY_VALUE, SLOW_REGULARIZER = 1.0, 1.0, 0.1, 0.3, 1.0
SLOW_RATE, RANGE_RATE, RANGE_LIMIT = 0.02, 0.01, 1.0
CLIP, SMALLEST_NORM, BETA1, BETA2, EPS = 0.3, 1e-3, 0.9, 0.999, 1e-20
# numbers of single precision there
LEVELS = np.array([0.05, 0.95], np.float32).astype(float)


# ---------------------------------------------------------------- the losses


class Stops:
    """Stopped gradients: the values of the first run, in all later ones."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.place: int | None = None

    def rewind(self) -> None:
        self.place = 0

    def once(self, compute: Callable[[], Any]) -> Any:
        if self.place is None:
            self.kept.append(compute())
            return self.kept[-1]
        self.place += 1
        return self.kept[self.place - 1]

    def __call__(self, x: Array) -> Array:
        found: Array = self.once(x.copy)
        return found


def kl(a: Array, b: Array) -> Array:
    return (a * (np.log(a) - np.log(b))).sum((-1, -2))


def at_least(x: Array, low: float) -> Array:
    return np.where(x.real > low, x, low)


def lambda_return(reward: Array, live: Array, value: Array, mix: Array | float) -> Array:
    """``[T, ...]`` from series ``[T + 1, ...]``; reward and continuation belong to the arrival at a
    state.
    """
    mix = np.broadcast_to(mix, live.shape)
    found = [value[-1]]
    for t in range(len(reward) - 1, 0, -1):
        found.insert(0, reward[t] + live[t] * ((1 - mix[t]) * value[t] + mix[t] * found[0]))
    return np.stack(found[:-1])


def imagine(
    w: Weights, slow: Weights, c: Case, deter: Array, stoch: Array, draws: Weights, bounds: Array
) -> dict[str, Array]:
    """Paths from states ``[N, ...]``: returns, advantages and weights, and the new running
    percentiles.
    """
    deters, stochs, actions = [deter], [stoch], []
    for t in range(c.horizon):
        out = mlp(w, "policy", np.concatenate([deters[-1], stochs[-1]], -1))
        if c.discrete:
            actions.append(flat(choose(draws["action"][t], mixed(out, 1))))
        else:
            mean, spread = np.split(out, 2, -1)
            actions.append(np.tanh(mean) + (0.9 * sigmoid(spread + 2) + 0.1) * draws["action"][t])
        deters.append(core(w, c, deters[-1], stochs[-1], actions[-1]))
        stochs.append(flat(choose(draws["prior"][t], mixed(mlp(w, "prior", deters[-1]), c.groups))))
    path = np.concatenate([np.stack(deters), np.stack(stochs)], -1)
    bins = bins_of(c.bins)
    reward, value = (two_hot_mean(mlp(w, k, path), bins) for k in ("reward", "value"))
    cont = sigmoid(mlp(w, "cont", path)[..., 0])
    ret = lambda_return(reward, cont, value, LAMBDA)
    # linear between the two nearest, at places that are counted from 0
    ordered, places = np.sort(ret.ravel()), LEVELS * (ret.size - 1)
    new = bounds + RANGE_RATE * (np.interp(places, np.arange(ret.size), ordered) - bounds)
    scale = max(RANGE_LIMIT, new[1] - new[0])
    weight = cont.cumprod(0)[:-1]
    return {
        "path": path[:-1],
        "action": np.stack(actions),
        "ret": ret,
        "weight": weight,
        "boot": ret[0],
        "adv": (ret - value[:-1]) / scale,
        "slow": two_hot_mean(mlp(slow, "value", path), bins)[:-1],
        "bounds": new,
        "scale": np.array(scale),
    }


def losses(
    w: Weights, slow: Weights, c: Case, x: Weights, draws: Weights, bounds: Array, stop: Stops
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Each loss, a number, and what was met on the way."""
    x_prev, x = {k: v[0] for k, v in x.items()}, {k: v[1:] for k, v in x.items()}
    bins, met = bins_of(c.bins), {}
    # ---- the filter
    seen = symlog(np.concatenate([x[k] for k in KEYS], -1))
    tokens = mlp(w, "encoder", seen)
    deter, stoch, action = x_prev["deter"], x_prev["stoch"], x_prev["action"]
    deters, stochs, posts = [], [], []
    for t in range(c.steps):
        keep = 1.0 - x["is_first"][t][:, None]
        deter = core(w, c, deter * keep, stoch * keep, action * keep)
        post = mixed(mlp(w, "posterior", np.concatenate([deter, tokens[t]], -1)), c.groups)
        hard = stop(choose(draws["posterior"][t], post.real))
        stoch = flat(hard + post - stop(post))
        action = x["action"][t]
        deters.append(deter)
        stochs.append(stoch)
        posts.append(post)
    deter, stoch, post = np.stack(deters), np.stack(stochs), np.stack(posts)
    prior = mixed(mlp(w, "prior", deter), c.groups)
    state = np.concatenate([deter, stoch], -1)
    # ---- the world model
    hidden = mlp(w, "decoder", state)
    means = np.concatenate([hidden @ w[f"decoder.{k}.w"] + w[f"decoder.{k}.b"] for k in KEYS], -1)
    dyn, rep = kl(stop(post), prior), kl(post, stop(prior))
    chance, goal = mlp(w, "cont", state)[..., 0], (1.0 - x["is_terminal"]) * DISCOUNT
    found = {
        "rec": ((means - seen) ** 2).sum(-1),
        "rew": two_hot_loss(x["reward"], mlp(w, "reward", state), bins),
        "con": goal * np.log(1 + np.exp(-chance)) + (1 - goal) * np.log(1 + np.exp(chance)),
        "dyn": at_least(dyn, FREE_NATS),
        "rep": at_least(rep, FREE_NATS),
    }
    # ---- behaviour
    starts = [stop(v).real.reshape(-1, v.shape[-1]) for v in (deter, stoch)]
    dream = stop.once(lambda: imagine(w, slow, c, *starts, draws, bounds))
    out = mlp(w, "policy", dream["path"])
    if c.discrete:
        probs = mixed(out, 1)[..., 0, :]
        log_prob, entropy = (
            (dream["action"] * np.log(probs)).sum(-1),
            -(probs * np.log(probs)).sum(-1),
        )
    else:
        mean, spread = np.split(out, 2, -1)
        mean, spread = np.tanh(mean), 0.9 * sigmoid(spread + 2) + 0.1
        gap = (dream["action"] - mean) / spread
        log_prob = (-0.5 * gap * gap - np.log(spread) - 0.5 * math.log(2 * math.pi)).sum(-1)
        entropy = (0.5 * math.log(2 * math.pi * math.e) + np.log(spread)).sum(-1)
    found["policy"] = -dream["weight"] * (dream["adv"] * log_prob + ENTROPY * entropy)
    logits = mlp(w, "value", dream["path"])
    errors = [two_hot_loss(dream[k], logits, bins) for k in ("ret", "slow")]
    found["value"] = dream["weight"] * (errors[0] + SLOW_REGULARIZER * errors[1])
    # ---- the critic on the recorded sequence: an end by truncation bootstraps, one by termination
    # does not
    live, on = (1.0 - x["is_terminal"]) * DISCOUNT, 1.0 - x["is_last"]
    boot = dream["boot"].reshape(c.steps, c.batch)
    ret = lambda_return(x["reward"], live, boot, on * LAMBDA)
    old = stop(two_hot_mean(mlp(slow, "value", state[:-1]), bins)).real
    logits = mlp(w, "value", state[:-1])
    errors = [two_hot_loss(target, logits, bins) for target in (ret, old)]
    found["replay_value"] = on[:-1] * (errors[0] + SLOW_REGULARIZER * errors[1])
    met |= {"deter": deter, "stoch": stoch, "dyn_nats": dyn, "ret_seen": ret, "w_seen": on[:-1]}
    met |= {k: dream[k] for k in ("ret", "weight", "adv", "boot", "bounds", "scale")}
    found = {k: v.mean() for k, v in found.items()}
    shares = {"dyn": DYN, "rep": REP, "replay_value": REPLAY_VALUE}
    found["loss"] = sum(shares.get(k, 1.0) * v for k, v in found.items())
    return found, met


def gradient(run: Callable[[Weights], Any], w: Weights) -> Weights:
    """By complex steps, one weight at a time."""
    step, found = 1e-30, {}
    for name, value in w.items():
        found[name] = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[place] += 1j * step
            found[name][place] = run({**w, name: moved}).imag / step
    return found


# ---------------------------------------------------------------- the optimizer


def laprop(w: Array, grad: Array, state: dict[str, Any], lr: float, warmup: int) -> Array:
    """The weight after an update: clip to the weight's size, scale by the RMS, then average."""
    k = state["updates"] = state.get("updates", 0) + 1
    most = CLIP * max(SMALLEST_NORM, math.sqrt((w * w).sum()))
    grad = grad / max(1.0, math.sqrt((grad * grad).sum()) / most)
    state["square"] = BETA2 * state.get("square", 0.0) + (1 - BETA2) * grad * grad
    scaled = grad / (np.sqrt(state["square"] / (1 - BETA2**k)) + EPS)
    state["momentum"] = BETA1 * state.get("momentum", 0.0) + (1 - BETA1) * scaled
    new: Array = w - lr * min(1.0, k / warmup) * state["momentum"] / (1 - BETA1**k)
    return new


def run_case(c: Case) -> dict[str, Any]:
    """A few updates: the losses of each, all of the first one, the weights after the last."""
    w, slow = weights_of(c)
    x, draws, bounds = batch_of(c), draws_of(c), np.array(c.bounds)
    states: dict[str, dict[str, Any]] = {k: {} for k in w}
    found: dict[str, Any] = {"case": asdict(c), "batch": x, "draws": draws, "losses": []}
    for update in range(c.updates):
        stop = Stops()
        values, met = losses(w, slow, c, x, draws, bounds, stop)

        def total(
            moved: Weights, stop: Stops = stop, slow: Weights = slow, bounds: Array = bounds
        ) -> Any:
            stop.rewind()
            return losses(moved, slow, c, x, draws, bounds, stop)[0]["loss"]

        grads = gradient(total, w)
        found["losses"].append(values)
        if update == 0:
            found |= {"met": met, "gradient": grads}
        w = {k: laprop(v, grads[k], states[k], c.lr, c.warmup) for k, v in w.items()}
        slow = {k: (1 - SLOW_RATE) * v + SLOW_RATE * w[k] for k, v in slow.items()}
        bounds = met["bounds"]
    return {**found, "after": w, "slow_after": slow, "bounds_after": bounds}


def run_laprop() -> dict[str, Any]:
    """A large, a small and a zero tensor under gradients that are clipped and not, for four
    updates.
    """
    found: dict[str, Any] = {"lr": 0.1, "warmup": 3, "tensors": []}
    sizes = {1.0: (5.0, 0.01, 1.0, 30.0), 1e-5: (1e-3, 1e-6, 2.0, 1e-5), 0.0: (0.0, 1.0, 0.0, 1e-9)}
    for size, grow in sizes.items():
        w = size * numbers(f"laprop {size}", (3, 2))
        grads = [g * numbers(f"laprop {size} {i}", (3, 2)) for i, g in enumerate(grow)]
        state: dict[str, Any] = {}
        path = [w]
        for g in grads:
            path.append(laprop(path[-1], g, state, 0.1, 3))
        found["tensors"].append({"gradients": grads, "path": path})
    return found


def plain(x: Any) -> Any:
    """As JSON holds it."""
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    return x.tolist() if isinstance(x, (np.ndarray, np.generic)) else x


if __name__ == "__main__":
    everything = {name: run_case(c) for name, c in CASES.items()}
    everything |= {"laprop": run_laprop(), "bins": {"255": bins_of(255), "21": bins_of(21)}}
    FILE.write_text(json.dumps(plain(everything)) + "\n")
