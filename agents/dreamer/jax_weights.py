"""Weights of the published DreamerV3 (danijar/dreamerv3, the revision of 2024) in an agent of this
library.

    load_jax(agent, "agent.npz")

A checkpoint there is a pickle, which is code that runs when it is read; here none is opened. Its
owner writes its arrays as ``.npz`` or ``.safetensors``, under the names that they have there
(``dyn/dynin0/kernel``): docs/tutorials/from_dreamerv3.md has the three lines.

What differs between the two layouts:

* a dense kernel is ``[in, out]`` there; a convolution's ``[height, width, in, out]``;
* vectors enter the encoder in the order of their names; the decoder reads the latent first;
* an image's features are flattened with the channels last;
* the block layer over ``h`` and its inputs is one kernel, which is two weights here;
* mean and deviation of a policy are two layers there and one here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor, nn

from agents.dreamer.v3 import DreamerV3
from agents.errors import UsageError
from worldmodels.images import ConvEncoder, ImageNorm
from worldmodels.networks import MLP, BlockGRU, Layer

Array = NDArray[Any]
Arrays = Mapping[str, Array]

MODULES = ("enc", "dyn", "dec", "rew", "con", "pol", "val", "slowval")
"""Networks of the published agent; whatever else a checkpoint holds is not read."""
HOW = "write its arrays with numpy first: docs/tutorials/from_dreamerv3.md has the three lines"
AT_MOST = 12
"""Mismatches that an error names."""

SIZES = {
    "agent.model.deter": ("dyn/dynhid0/bias", 0),
    "agent.model.blocks": ("dyn/dynhid0/kernel", 0),
    "agent.model.hidden": ("dyn/dynin0/kernel", 1),
    "agent.model.stoch": ("dyn/priorlogit/bias", 0),
    "agent.model.units": ("rew/mlp/linear0/bias", 0),
    "agent.model.bins": ("rew/head/logits/bias", 0),
    "agent.units": ("pol/mlp/linear0/bias", 0),
    "agent.bins": ("val/head/logits/bias", 0),
}
"""A setting here -> the array whose length it is there, and along which dimension."""
LAYERS = {
    "agent.model.encoder_layers": r"enc/mlp\d+/kernel",
    "agent.model.decoder_layers": r"dec/mlp/linear\d+/kernel",
    "agent.model.posterior_layers": r"dyn/obs\d+/kernel",
    "agent.model.prior_layers": r"dyn/prior\d+/kernel",
    "agent.model.reward_layers": r"rew/mlp/linear\d+/kernel",
    "agent.model.continue_layers": r"con/mlp/linear\d+/kernel",
    "agent.actor_layers": r"pol/mlp/linear\d+/kernel",
    "agent.critic_layers": r"val/mlp/linear\d+/kernel",
}
"""A setting here -> the arrays there that it counts."""


@dataclass(frozen=True)
class Entry:
    """Where an array of the published layout goes.

    Args:
        key, shape: its name and its shape there.
        place: a weight here, or a part of one.
        arrange: from its shape to that of the place.
    """

    key: str
    shape: tuple[int, ...]
    place: Tensor
    arrange: Callable[[Tensor], Tensor] = lambda x: x


def load_jax(
    agent: DreamerV3, source: str | Path | Arrays, *, skip: Sequence[str] = ()
) -> DreamerV3:
    """Put the weights of a published DreamerV3 into ``agent``: all of them, or none.

    Model, policy, value, slow value and the range of returns are read; the optimizer's state is
    not, so that training goes on with a fresh one. Choices have no share of the uniform
    distribution there: ``agent.unimix=0`` gives the same probabilities.

    Args:
        agent: of the same sizes.
        source: ``.npz`` or ``.safetensors`` of flat names, or the arrays by name.
        skip: beginnings of names that are not read, such as ``dec``; what they would fill keeps
            its weights. The published decoder of images has another form than the one here, so an
            agent that sees images is loaded with ``skip=["dec"]``: it acts the same, and decodes
            after it has learned to.

    Returns:
        ``agent``.

    Raises:
        UsageError: it is no such file; or names, shapes or sizes do not fit: the error names them.
    """
    if type(agent) is not DreamerV3:
        raise UsageError(f"load_jax expected an agent of dreamer_v3, got {type(agent).__name__}")
    of = "the arrays" if isinstance(source, Mapping) else str(source)
    arrays = _named(source if isinstance(source, Mapping) else read_arrays(source), of)
    found = [e for e in entries(agent, arrays) if not e.key.startswith(tuple(skip))]
    wrong = [*_settings(agent, arrays), *_misfits(found, arrays, tuple(skip))]
    if wrong:
        more = f"; and {len(wrong) - AT_MOST} more" if len(wrong) > AT_MOST else ""
        raise UsageError(f"{of} does not fit the agent: {'; '.join(wrong[:AT_MOST])}{more}")
    with torch.no_grad():
        for entry in found:
            given = torch.from_numpy(np.array(arrays[entry.key], order="C"))
            entry.place.detach().copy_(entry.arrange(given))
    return agent


def read_arrays(path: str | Path) -> dict[str, Array]:
    """The arrays of a ``.npz`` or ``.safetensors`` file by name; nothing is unpickled.

    Raises:
        UsageError: it is not there, of another kind, or damaged.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise UsageError(f"{path}: expected a .npz or .safetensors of a checkpoint's arrays; {HOW}")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with np.load(path, allow_pickle=False) as file:
            return {k: file[k] for k in file.files}
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except (OSError, ValueError, KeyError, BadZipFile, SafetensorError) as error:
        raise UsageError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); {HOW}"
        ) from None


def _named(arrays: Arrays, of: str) -> dict[str, Array]:
    """Without what a checkpoint has around its parameters."""
    found = {re.sub(r"^(agent/)?(params/)?", "", k): np.asarray(v) for k, v in arrays.items()}
    if any(k.startswith(("wm/", "task_behavior/")) for k in found):
        raise UsageError(
            f"{of} is of the revision of 2023 (its names begin with wm/), whose model is another "
            f"one; expected the revision of 2024, whose names begin with {', '.join(MODULES)}"
        )
    if not any(k.startswith("dyn/") for k in found):
        raise UsageError(
            f"{of}: expected names such as dyn/dynin0/kernel, got {sorted(found)[:3]}; {HOW}"
        )
    return found


def _settings(agent: DreamerV3, arrays: Arrays) -> Iterator[str]:
    """Sizes that the file tells and that the agent has not."""
    c = agent.config
    have = {"agent": c, "agent.model": c.model}
    told = {k: arrays[key].shape[d] for k, (key, d) in SIZES.items() if _deep(arrays, key, d)}
    told |= {k: sum(re.fullmatch(p, key) is not None for key in arrays) for k, p in LAYERS.items()}
    for setting, there in told.items():
        owner, _, name = setting.rpartition(".")
        here = getattr(have[owner], name)
        if there and there != here:
            setting = setting.replace("stoch", "groups times agent.model.classes")
            yield f"{setting} is {there} there and {here} here"


def _deep(arrays: Arrays, key: str, dimension: int) -> bool:
    return key in arrays and arrays[key].ndim > dimension


def _misfits(found: Sequence[Entry], arrays: Arrays, skip: tuple[str, ...]) -> Iterator[str]:
    """What is missing, of another shape or type, or without a place."""
    for key, shape in {e.key: e.shape for e in found}.items():
        if key not in arrays:
            yield f"{key} is missing"
        elif arrays[key].shape != shape:
            yield f"{key}: expected {shape}, got {arrays[key].shape}"
        elif not np.issubdtype(arrays[key].dtype, np.floating):
            yield f"{key}: expected numbers such as float32, got {arrays[key].dtype}"
        elif not np.isfinite(arrays[key]).all():
            yield f"{key} holds NaN or infinity"
    known = {e.key for e in found}
    for key in arrays:
        if key.split("/")[0] in MODULES and key not in known and not key.startswith(skip):
            yield f"{key} {arrays[key].shape} has no place here"


# ---------------------------------------------------------------- the layout


def entries(agent: DreamerV3, arrays: Arrays) -> Iterator[Entry]:
    """Every weight of the agent; the action's name is taken from ``arrays``.

    Raises:
        UsageError: the agent has parts that the published one has not.
    """
    model, c = agent.model, agent.config.model
    own: dict[str, object] = {"latent": "categorical", "core": "block_gru", "vectors": "symlog"}
    own |= {"representation": "reconstruction", "rewards": "two_hot", "strided": False}
    odd = [f"agent.model.{k}={v}" for k, v in own.items() if getattr(c, k) != v]
    odd += ["agent.curiosity=0"] if agent.ensemble is not None else []
    odd += ["one image"] if len(model.encoder.images) > 1 else []
    if odd:
        raise UsageError(f"load_jax: the published agent has {', '.join(odd)}; build this one so")
    yield from _encoder(agent)
    yield from _core(cast("BlockGRU", model.dynamics.core))
    yield from _mlp(model.posterior.net, "dyn/obs{}", "dyn/obs{}norm", "obslogit", _tokens(agent))
    yield from _mlp(model.prior.net, "dyn/prior{}", "dyn/prior{}norm", "priorlogit")
    yield from _decoder(agent)
    yield from _head(model.reward.net, "rew", "head/logits")
    yield from _head(model.cont.net, "con", "head/logit")
    yield from _policy(agent, arrays)
    yield from _head(agent.value.net, "val", "head/logits")
    yield from _head(agent.slow_value.net, "slowval", "head/logits")
    for i, name in enumerate(("lo", "hi")):
        yield Entry(f"retnorm/{name}/value", (), agent.imagined.scale.bounds[i])


def _dense(layer: nn.Linear, path: str, rows: Tensor | None = None) -> Iterator[Entry]:
    """A dense layer; its inputs are ``rows`` of those there."""
    size, out = layer.in_features, layer.out_features
    order = torch.arange(size) if rows is None else rows
    yield Entry(f"{path}/kernel", (size, out), layer.weight, lambda x: x[order].T)
    yield Entry(f"{path}/bias", (out,), layer.bias)


def _mlp(
    net: MLP, linear: str, norm: str, last: str | None = None, rows: Tensor | None = None
) -> Iterator[Entry]:
    """Layers of the patterns ``linear`` and ``norm``; the last one, where it has a name."""
    for i, layer in enumerate(net):
        if isinstance(layer, Layer):
            yield from _dense(cast("nn.Linear", layer[0]), linear.format(i), rows)
            weight = cast("Tensor", layer[1].weight)
            yield Entry(f"{norm.format(i)}/scale", tuple(weight.shape), weight)
        elif last is not None:
            yield from _dense(cast("nn.Linear", layer), f"{linear.split('/')[0]}/{last}", rows)
        rows = None


def _head(net: MLP, name: str, last: str | None) -> Iterator[Entry]:
    return _mlp(net, f"{name}/mlp/linear{{}}", f"{name}/mlp/norm{{}}", last)


def _encoder(agent: DreamerV3) -> Iterator[Entry]:
    encoder, shapes = agent.model.encoder, agent.model.shapes
    if encoder.mlp is not None:
        at, places = 0, dict[str, Tensor]()
        for key in sorted(encoder.vectors):
            places[key] = torch.arange(at, at + shapes[key][0])
            at += shapes[key][0]
        rows = torch.cat([places[key] for key in encoder.vectors])
        yield from _mlp(encoder.mlp, "enc/mlp{}", "enc/mlp{}norm", None, rows)
    for net in encoder.cnn.values():
        stages = list(cast("ConvEncoder", net).stages)
        convs = [m for m in stages if isinstance(m, nn.Conv2d)]
        norms = [m for m in stages if isinstance(m, ImageNorm)]
        for i, (conv, norm) in enumerate(zip(convs, norms, strict=True)):
            out, size, *kernel = conv.weight.shape
            shape = (*kernel, size, out)
            yield Entry(f"enc/cnn{i}/kernel", shape, conv.weight, lambda x: x.permute(3, 2, 0, 1))
            yield Entry(f"enc/cnn{i}/bias", (out,), cast("Tensor", conv.bias))
            yield Entry(f"enc/cnn{i}norm/scale", (out,), norm.norm.weight)


def _tokens(agent: DreamerV3) -> Tensor:
    """Where the inputs of the posterior lie there: an image's features have the channels last."""
    encoder, deter = agent.model.encoder, agent.config.model.deter
    places = [torch.arange(deter + (agent.config.model.units if encoder.vectors else 0))]
    for key, net in encoder.cnn.items():
        height, width = (side // 16 for side in agent.model.shapes[key][:2])
        here = torch.arange(int(cast("ConvEncoder", net).out)).reshape(height, width, -1)
        places.append(len(places[0]) + here.permute(2, 0, 1).flatten())
    return torch.cat(places)


def _core(core: BlockGRU) -> Iterator[Entry]:
    for i, layer in enumerate((core.deter_in, core.stoch_in, core.action_in)):
        yield from _dense(cast("nn.Linear", layer[0]), f"dyn/dynin{i}")
        weight = cast("Tensor", layer[1].weight)
        yield Entry(f"dyn/dynin{i}norm/scale", tuple(weight.shape), weight)
    blocks, part, _ = core.own.weight.shape
    deter, common = core.common.weight.shape
    key, shape = "dyn/dynhid0/kernel", (blocks, part + common, part)
    yield Entry(key, shape, core.own.weight, lambda x: x[:, :part])
    yield Entry(
        key, shape, core.common.weight, lambda x: x[:, part:].transpose(1, 2).reshape(deter, common)
    )
    yield Entry("dyn/dynhid0/bias", (deter,), core.own.bias)
    yield Entry("dyn/dynhid0norm/scale", (deter,), core.norm.weight)
    yield Entry("dyn/dyngru/kernel", (blocks, part, 3 * part), core.gates.weight)
    yield Entry("dyn/dyngru/bias", (3 * deter,), core.gates.bias)


def _decoder(agent: DreamerV3) -> Iterator[Entry]:
    decoder, c = agent.model.decoder, agent.config.model
    if decoder is None or decoder.mlp is None:
        return
    rows = torch.cat([c.stoch + torch.arange(c.deter), torch.arange(c.stoch)])
    pattern = "dec/mlp/{}{{}}"
    yield from _mlp(decoder.mlp, pattern.format("linear"), pattern.format("norm"), None, rows)
    for key, layer in decoder.heads.items():
        yield from _dense(cast("nn.Linear", layer), f"dec/vec/{key}/pred")


def _policy(agent: DreamerV3, arrays: Arrays) -> Iterator[Entry]:
    net = agent.policy.net
    pattern = r"pol/head/([^/]+)/.*"
    names = sorted({m[1] for m in (re.fullmatch(pattern, k) for k in arrays) if m} or {"action"})
    if len(names) > 1:
        raise UsageError(f"load_jax expected one action, got {names} in the file")
    yield from _head(net, "pol", None)
    last, path = cast("nn.Linear", net[-1]), f"pol/head/{names[0]}"
    if agent.action.discrete:
        yield from _dense(last, f"{path}/logits")
        return
    for i, name in enumerate(("mean", "stddev")):
        size, part = last.in_features, slice(i * agent.action.size, (i + 1) * agent.action.size)
        shape = (size, agent.action.size)
        yield Entry(f"{path}/{name}/kernel", shape, last.weight[part], lambda x: x.T)
        yield Entry(f"{path}/{name}/bias", shape[1:], last.bias[part])
