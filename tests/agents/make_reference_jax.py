"""One step of the published DreamerV3 in numpy, on weights in the layout of its checkpoints.

Names and shapes are those of danijar/dreamerv3 (the revision of 2024; PyPI: dreamer 3.3.1); nothing
of this library and none of that code is used.  On 30 November 2026 both were run side by side: that
code made these names and shapes, and its numbers in single precision were these up to 1e-6.
By hand::

    python tests/agents/make_reference_jax.py       writes reference_jax.json
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from reference_parts import Array, bins_of, normed, numbers, sigmoid, symlog, two_hot_mean

FILE = Path(__file__).with_name("reference_jax.json")
Weights = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """Sizes of an agent, under the names of the published configuration.

    Args:
        vectors, image: what it sees; an image is ``(H, W, C)`` or nothing.
        discrete: actions are choices.
    """

    vectors: dict[str, int]
    image: tuple[int, int, int] | None
    discrete: bool
    actions: int = 3
    deter: int = 16
    blocks: int = 8
    hidden: int = 5
    stoch: int = 3
    classes: int = 4
    units: int = 6
    depth: int = 1
    bins: int = 21
    rows: int = 3

    @property
    def latent(self) -> int:
        return self.stoch * self.classes


# the order of the vectors is not that of their names, which is the one in which they are read
CASES = {
    "vectors": Case({"position": 3, "height": 1, "velocity": 2}, None, False),
    "image": Case({"speed": 2}, (48, 64, 2), True, depth=2),
}
MULTS, KERNEL = (2, 3, 4, 4), 5
ENC, DEC, OBS, IMG, HEAD, ACTOR = 3, 3, 1, 2, 1, 3
"""Numbers of layers, as published."""


def shapes_of(c: Case) -> dict[str, tuple[int, ...]]:
    """Every array of a checkpoint that a network or the range of returns has."""
    found: dict[str, tuple[int, ...]] = {}

    def linear(path: str, size: int, out: int) -> None:
        found.update({f"{path}/kernel": (size, out), f"{path}/bias": (out,)})

    def layers(path: str, pattern: tuple[str, str], size: int, units: int, count: int) -> None:
        for i in range(count):
            linear(f"{path}/{pattern[0].format(i)}", size if i == 0 else units, units)
            found[f"{path}/{pattern[1].format(i)}/scale"] = (units,)

    def head(path: str, count: int, outs: dict[str, int]) -> None:
        layers(f"{path}/mlp", ("linear{}", "norm{}"), c.deter + c.latent, c.units, count)
        for name, size in outs.items():
            linear(f"{path}/head/{name}", c.units, size)

    layers("enc", ("mlp{}", "mlp{}norm"), sum(c.vectors.values()), c.units, ENC)
    tokens = c.units
    if c.image:
        channels = [c.image[2], *(c.depth * m for m in MULTS)]
        for i, (a, b) in enumerate(itertools.pairwise(channels)):
            found[f"enc/cnn{i}/kernel"] = (KERNEL, KERNEL, a, b)
            found.update({f"enc/cnn{i}/bias": (b,), f"enc/cnn{i}norm/scale": (b,)})
        tokens += channels[-1] * c.image[0] // 16 * c.image[1] // 16
    for i, size in enumerate((c.deter, c.latent, c.actions)):
        layers("dyn", (f"dynin{i}", f"dynin{i}norm"), size, c.hidden, 1)
    part = c.deter // c.blocks
    found["dyn/dynhid0/kernel"] = (c.blocks, part + 3 * c.hidden, part)
    found.update({"dyn/dynhid0/bias": (c.deter,), "dyn/dynhid0norm/scale": (c.deter,)})
    found["dyn/dyngru/kernel"] = (c.blocks, part, 3 * part)
    found["dyn/dyngru/bias"] = (3 * c.deter,)
    layers("dyn", ("obs{}", "obs{}norm"), c.deter + tokens, c.hidden, OBS)
    linear("dyn/obslogit", c.hidden, c.latent)
    layers("dyn", ("prior{}", "prior{}norm"), c.deter, c.hidden, IMG)
    linear("dyn/priorlogit", c.hidden, c.latent)
    layers("dec/mlp", ("linear{}", "norm{}"), c.deter + c.latent, c.units, DEC)
    for key, size in c.vectors.items():
        linear(f"dec/vec/{key}/pred", c.units, size)
    if c.image:
        found.update(_image_decoder(c))
    head("rew", HEAD, {"logits": c.bins})
    head("con", HEAD, {"logit": 1})
    action = ("logits",) if c.discrete else ("mean", "stddev")
    head("pol", ACTOR, {f"action/{name}": c.actions for name in action})
    for name in ("val", "slowval"):
        head(name, ACTOR, {"logits": c.bins})
    return {**found, "retnorm/lo/value": (), "retnorm/hi/value": ()}


def _image_decoder(c: Case) -> dict[str, tuple[int, ...]]:
    """The decoder of images, which has another form than ours."""
    assert c.image is not None
    channels = [c.depth * m for m in MULTS]
    size = c.image[0] // 16 * c.image[1] // 16 * channels[-1]
    found: dict[str, tuple[int, ...]] = {
        "dec/sp0/kernel": (8, c.deter // 8, size // 8),
        "dec/sp0/bias": (size,),
        "dec/sp1/kernel": (c.latent, 2 * c.units),
        "dec/sp1/bias": (2 * c.units,),
        "dec/sp1norm/scale": (2 * c.units,),
        "dec/sp2/kernel": (2 * c.units, size),
        "dec/sp2/bias": (size,),
        "dec/spnorm/scale": (channels[-1],),
        "dec/imgout/kernel": (KERNEL, KERNEL, channels[0], c.image[2]),
        "dec/imgout/bias": (c.image[2],),
    }
    for i, out in enumerate(channels[:-1]):
        found[f"dec/conv{i}/kernel"] = (KERNEL, KERNEL, channels[i + 1], out)
        found.update({f"dec/conv{i}/bias": (out,), f"dec/conv{i}norm/scale": (out,)})
    return found


def weights_of(c: Case) -> Weights:
    """Numbers that are the same in every version of Python and numpy."""
    found = {}
    for key, shape in shapes_of(c).items():
        x = numbers(key, shape)
        if key.endswith("kernel"):
            x = x * 1.5 / math.sqrt(math.prod(shape[:-1]) / (shape[0] if len(shape) == 3 else 1))
        elif key.endswith("scale"):
            x = 1 + 0.3 * x
        else:
            x = 0.3 * x
        if key in ("rew/head/logits/bias", "val/head/logits/bias", "slowval/head/logits/bias"):
            x = x - 2.5 * np.abs(np.arange(c.bins) - c.bins // 2)  # the last bin is 5e8
        found[key] = x
    return found


def inputs_of(c: Case) -> dict[str, Array]:
    """What is seen, and the state before; the last row begins an episode."""
    x = {key: 4 * numbers(f"{key} seen", (c.rows, size)) for key, size in c.vectors.items()}
    if c.image:
        x["image"] = (127.5 * (numbers("image", (c.rows, *c.image)) + 1)).astype(np.uint8)
    x["deter"] = numbers("deter", (c.rows, c.deter))
    one = np.eye(c.classes)[numbers("stoch", (c.rows, c.stoch, c.classes)).argmax(-1)]
    x["stoch"] = one.reshape(c.rows, -1)
    x["action"] = 1.6 * numbers("action", (c.rows, c.actions))
    if c.discrete:
        x["action"] = np.eye(c.actions)[x["action"].argmax(-1)]
    x["is_first"] = np.arange(c.rows) == c.rows - 1
    return x


# ---------------------------------------------------------------- networks


def linear(w: Weights, path: str, x: Array) -> Array:
    return x @ w[f"{path}/kernel"] + w[f"{path}/bias"]


def layer(w: Weights, path: str, norm: str, x: Array) -> Array:
    return normed(linear(w, path, x), w[f"{norm}/scale"])


def head(w: Weights, name: str, count: int, x: Array) -> Array:
    for i in range(count):
        x = layer(w, f"{name}/mlp/linear{i}", f"{name}/mlp/norm{i}", x)
    return x


def block_linear(w: Weights, path: str, x: Array) -> Array:
    kernel = w[f"{path}/kernel"]
    parts = x.reshape(len(x), len(kernel), -1)
    out = np.stack([parts[:, i] @ kernel[i] for i in range(len(kernel))], 1)
    return out.reshape(len(x), -1) + w[f"{path}/bias"]


def convolved(w: Weights, path: str, x: Array) -> Array:
    """A convolution of ``[N, H, W, C]`` that keeps the size."""
    kernel, (_, height, width, _) = w[f"{path}/kernel"], x.shape
    wide = np.pad(x, ((0, 0), (KERNEL // 2,) * 2, (KERNEL // 2,) * 2, (0, 0)))
    out = sum(
        wide[:, i : i + height, j : j + width] @ kernel[i, j]
        for i in range(KERNEL)
        for j in range(KERNEL)
    )
    return out + w[f"{path}/bias"]


def encoded(w: Weights, c: Case, x: dict[str, Array]) -> Array:
    found = symlog(np.concatenate([x[key] for key in sorted(c.vectors)], -1))
    for i in range(ENC):
        found = layer(w, f"enc/mlp{i}", f"enc/mlp{i}norm", found)
    if not c.image:
        return found
    image = x["image"] / 255 - 0.5
    for i in range(len(MULTS)):
        image = convolved(w, f"enc/cnn{i}", image)
        n, height, width, channels = image.shape
        image = image.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))
        image = normed(image, w[f"enc/cnn{i}norm/scale"])
    return np.concatenate([found, image.reshape(len(image), -1)], -1)


def core(w: Weights, c: Case, deter: Array, stoch: Array, action: Array) -> Array:
    action = action / np.maximum(1, np.abs(action))
    given = enumerate((deter, stoch, action))
    inputs = [layer(w, f"dyn/dynin{i}", f"dyn/dynin{i}norm", x) for i, x in given]
    parts = [np.concatenate([p, *inputs], -1) for p in np.split(deter, c.blocks, -1)]
    hidden = block_linear(w, "dyn/dynhid0", np.concatenate(parts, -1))
    gates = block_linear(w, "dyn/dyngru", normed(hidden, w["dyn/dynhid0norm/scale"]))
    split = np.split(gates.reshape(len(deter), c.blocks, -1), 3, -1)
    reset, candidate, update = (x.reshape(len(deter), -1) for x in split)
    candidate = np.tanh(sigmoid(reset) * candidate)
    share = sigmoid(update - 1)
    return share * candidate + (1 - share) * deter


def step(w: Weights, c: Case) -> dict[str, Array]:
    """One step of the filter, and what is read off its state; the latent is its likeliest."""
    x = inputs_of(c)
    tokens = encoded(w, c, x)
    going = ~x["is_first"][:, None]
    deter = core(w, c, *(going * x[k] for k in ("deter", "stoch", "action")))
    posterior = np.concatenate([deter, tokens], -1)
    for i in range(OBS):
        posterior = layer(w, f"dyn/obs{i}", f"dyn/obs{i}norm", posterior)
    posterior, prior = linear(w, "dyn/obslogit", posterior), deter
    for i in range(IMG):
        prior = layer(w, f"dyn/prior{i}", f"dyn/prior{i}norm", prior)
    likeliest = posterior.reshape(c.rows, c.stoch, c.classes).argmax(-1)
    stoch = np.eye(c.classes)[likeliest].reshape(c.rows, -1)
    found = {"embed": tokens, "deter": deter, "posterior": posterior}
    found.update({"prior": linear(w, "dyn/priorlogit", prior), "stoch": stoch})
    seen = head(w, "dec", DEC, np.concatenate([stoch, deter], -1))
    found.update({f"decoded {k}": linear(w, f"dec/vec/{k}/pred", seen) for k in c.vectors})
    state, bins = np.concatenate([deter, stoch], -1), bins_of(c.bins)
    for name, count, what in (("rew", HEAD, "reward"), ("val", ACTOR, "value")):
        logits = linear(w, f"{name}/head/logits", head(w, name, count, state))
        found[what] = two_hot_mean(logits, bins)
    slow = linear(w, "slowval/head/logits", head(w, "slowval", ACTOR, state))
    found["slow value"] = two_hot_mean(slow, bins)
    found["continue"] = sigmoid(linear(w, "con/head/logit", head(w, "con", HEAD, state)))[:, 0]
    acting = head(w, "pol", ACTOR, state)
    if c.discrete:
        found["policy logits"] = linear(w, "pol/head/action/logits", acting)
    else:
        found["policy mean"] = np.tanh(linear(w, "pol/head/action/mean", acting))
        raw = linear(w, "pol/head/action/stddev", acting)
        found["policy deviation"] = 0.9 * sigmoid(raw + 2) + 0.1
    return found


def main() -> dict[str, Any]:
    return {
        name: {k: v.tolist() for k, v in step(weights_of(c), c).items()}
        for name, c in CASES.items()
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(main()) + "\n", encoding="utf-8")
