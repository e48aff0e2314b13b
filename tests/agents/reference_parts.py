"""What the reference numbers of DreamerV3 are computed with, in numpy: weights, data, draws,
networks.

See ``make_reference_dreamer.py``; nothing of this library is used.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = dict[str, Array]

UNIMIX, NORM_EPS = 0.01, 1e-4


@dataclass(frozen=True)
class Case:
    """One agent and one batch.

    Args:
        discrete: actions are choices.
        sharpness: of the latents' logits: the KL terms grow with it.
        bounds: the running percentiles before the first update.
        lr, warmup: of the optimizer.
        updates: how many, on the same batch and the same draws.
    """

    seed: int
    discrete: bool
    sharpness: float
    bounds: tuple[float, float]
    lr: float
    warmup: int
    updates: int = 3
    steps: int = 5
    batch: int = 3
    horizon: int = 4
    actions: int = 2
    deter: int = 8
    blocks: int = 2
    hidden: int = 4
    groups: int = 3
    classes: int = 3
    units: int = 4
    bins: int = 21

    @property
    def stoch(self) -> int:
        return self.groups * self.classes


KEYS = {"orient": 3, "velocity": 2}
CASES = {
    "continuous": Case(1, False, 1.6, (-2.0, 3.0), 4e-5, 1000),
    "discrete": Case(2, True, 0.3, (0.0, 0.0), 1e-2, 2),
}


# ---------------------------------------------------------------- weights, data, draws


def numbers(name: str, shape: tuple[int, ...]) -> Array:
    """Numbers in [-1, 1) that are the same in every version of Python and numpy."""
    drawn = random.Random(name)
    return np.array([2 * drawn.random() - 1 for _ in range(math.prod(shape))]).reshape(shape)


def shapes_of(c: Case) -> dict[str, tuple[int, ...]]:
    """Every trained weight; dense ones are ``[in, out]``."""
    found: dict[str, tuple[int, ...]] = {}

    def mlp(name: str, size: int, units: int, layers: int, out: int | None = None) -> None:
        for i in range(layers):
            found[f"{name}.{i}.w"] = (size, units)
            found.update({f"{name}.{i}.{kind}": (units,) for kind in ("b", "scale")})
            size = units
        if out is not None:
            found.update({f"{name}.out.w": (size, out), f"{name}.out.b": (out,)})

    features, part = c.deter + c.stoch, c.deter // c.blocks
    mlp("encoder", sum(KEYS.values()), c.units, 2)
    for name, size in (("deter", c.deter), ("stoch", c.stoch), ("action", c.actions)):
        mlp(f"core.{name}", size, c.hidden, 1)
    # the block layer's weight is [blocks, part + 3 hidden, part]; its two halves are clipped each
    # by itself
    found.update(
        {"core.own.w": (c.blocks, part, part), "core.common.w": (c.blocks, 3 * c.hidden, part)}
    )
    found.update({"core.b": (c.deter,), "core.scale": (c.deter,)})
    found.update({"core.gates.w": (c.blocks, part, 3 * part), "core.gates.b": (3 * c.deter,)})
    mlp("posterior", c.deter + c.units, c.hidden, 1, c.stoch)
    mlp("prior", c.deter, c.hidden, 2, c.stoch)
    mlp("decoder", features, c.units, 2)
    for key, size in KEYS.items():
        found.update({f"decoder.{key}.w": (c.units, size), f"decoder.{key}.b": (size,)})
    mlp("reward", features, c.units, 1, c.bins)
    mlp("cont", features, c.units, 1, 1)
    mlp("policy", features, c.units, 2, c.actions if c.discrete else 2 * c.actions)
    mlp("value", features, c.units, 2, c.bins)
    return found


def weights_of(c: Case) -> tuple[Weights, Weights]:
    """The trained weights, and those of the slow critic."""
    found, slow = {}, {}
    for name, shape in shapes_of(c).items():
        w = numbers(f"{c.seed} {name}", shape)
        if name.endswith(".w"):
            w = w * 1.5 / math.sqrt(shape[-2])
        elif name.endswith(".scale"):
            w = 1 + 0.3 * w
        else:
            w = 0.3 * w
        if name in ("posterior.out.w", "prior.out.w"):
            w = w * c.sharpness
        if name in ("reward.out.b", "value.out.b"):  # most of the mass near 0: the last bin is 5e8
            w = w - 2.5 * np.abs(np.arange(c.bins) - c.bins // 2)
        found[name] = w
        if name.startswith("value."):
            slow[name] = w + 0.1 * numbers(f"{c.seed} slow {name}", shape)
    return found, slow


def batch_of(c: Case) -> dict[str, Array]:
    """A recorded batch ``[T + 1, B, ...]``: its first step holds the stored state.

    The first sequence ends at step 3 by termination, the second by truncation, and both begin again
    at step 4; the third begins a new episode at step 2, and the end of the one before was not
    recorded.
    """
    t, b = c.steps + 1, c.batch
    x = {key: 3 * numbers(f"{c.seed} {key}", (t, b, size)) for key, size in KEYS.items()}
    x["action"] = 1.4 * numbers(f"{c.seed} actions", (t, b, c.actions))
    if c.discrete:
        x["action"] = np.eye(c.actions)[x["action"].argmax(-1)]
    x["reward"] = 2 * numbers(f"{c.seed} rewards", (t, b))
    x["deter"] = numbers(f"{c.seed} stored deter", (t, b, c.deter))
    chosen = numbers(f"{c.seed} stored stoch", (t, b, c.groups, c.classes)).argmax(-1)
    x["stoch"] = np.eye(c.classes)[chosen].reshape(t, b, -1)
    flags = {
        "is_first": [(4, 0), (4, 1), (2, 2)],
        "is_last": [(3, 0), (3, 1)],
        "is_terminal": [(3, 0)],
    }
    for flag, at in flags.items():
        x[flag] = np.zeros((t, b), bool)
        for place in at:
            x[flag][place] = True
    return x


def draws_of(c: Case) -> dict[str, Array]:
    """Uniform numbers (they choose the first class whose cumulative probability is larger) and
    normal ones.
    """
    n = c.steps * c.batch
    shape = (c.horizon, n, 1, 1) if c.discrete else (c.horizon, n, c.actions)
    noise = numbers(f"{c.seed} draws of actions", shape)
    return {
        "posterior": (
            numbers(f"{c.seed} draws of the posterior", (c.steps, c.batch, c.groups, 1)) + 1
        )
        / 2,
        "action": (noise + 1) / 2 if c.discrete else 1.7 * noise,
        "prior": (numbers(f"{c.seed} draws of the prior", (c.horizon, n, c.groups, 1)) + 1) / 2,
    }


# ---------------------------------------------------------------- networks


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def symlog(x: Array) -> Array:
    return np.sign(x) * np.log(1 + np.abs(x))


def normed(x: Array, scale: Array) -> Array:
    """RMS norm, then SiLU."""
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + NORM_EPS) * scale
    return x * sigmoid(x)


def mlp(w: Weights, name: str, x: Array) -> Array:
    layer = 0
    while f"{name}.{layer}.w" in w:
        x = normed(x @ w[f"{name}.{layer}.w"] + w[f"{name}.{layer}.b"], w[f"{name}.{layer}.scale"])
        layer += 1
    return x @ w[f"{name}.out.w"] + w[f"{name}.out.b"] if f"{name}.out.w" in w else x


def core(w: Weights, c: Case, deter: Array, stoch: Array, action: Array) -> Array:
    """The block GRU: every block reads its own part of the state, and all of the three input
    layers.
    """
    action = action / np.maximum(1.0, np.abs(action))
    inputs = [
        mlp(w, f"core.{k}", v) for k, v in (("deter", deter), ("stoch", stoch), ("action", action))
    ]
    parts = np.split(deter, c.blocks, -1)
    block = np.concatenate([w["core.own.w"], w["core.common.w"]], 1)
    hidden = [np.concatenate([part, *inputs], -1) @ block[i] for i, part in enumerate(parts)]
    y = normed(np.concatenate(hidden, -1) + w["core.b"], w["core.scale"])
    new = []
    for i, part in enumerate(np.split(y, c.blocks, -1)):
        gates = part @ w["core.gates.w"][i] + np.split(w["core.gates.b"], c.blocks)[i]
        reset, candidate, update = np.split(gates, 3, -1)
        candidate = np.tanh(sigmoid(reset) * candidate)
        update = sigmoid(update - 1)
        new.append(update * candidate + (1 - update) * parts[i])
    return np.concatenate(new, -1)


def log_softmax(x: Array) -> Array:
    x = x - x.real.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def mixed(logits: Array, groups: int) -> Array:
    """Class probabilities ``[..., groups, classes]`` with a share of the uniform distribution."""
    probs = np.exp(log_softmax(logits.reshape(*logits.shape[:-1], groups, -1)))
    return (1 - UNIMIX) * probs + UNIMIX / probs.shape[-1]


def flat(x: Array) -> Array:
    return x.reshape(*x.shape[:-2], -1)


def choose(u: Array, probs: Array) -> Array:
    edges = probs.cumsum(-1)
    assert np.abs(edges[..., :-1] - u).min() > 1e-6, "a draw lies on an edge: take another seed"
    return np.eye(probs.shape[-1])[(u >= edges[..., :-1]).sum(-1)]


def bins_of(count: int) -> Array:
    """Equal steps of the symlog in [-20, 20], in single precision as published."""
    half = np.linspace(-20.0, 0.0, count // 2 + 1)
    low = (-np.expm1(-half)).astype(np.float32).astype(float)
    return np.concatenate([low, -low[-2::-1]])


def two_hot_loss(x: Array, logits: Array, bins: Array) -> Array:
    """Minus the log-density of numbers ``x [...]``, each shared by the two bins beside it."""
    shares = np.stack([np.interp(x, bins, row) for row in np.eye(len(bins))], -1)
    return -(shares * log_softmax(logits)).sum(-1)


def two_hot_mean(logits: Array, bins: Array) -> Array:
    return (np.exp(log_softmax(logits)) * bins).sum(-1)
