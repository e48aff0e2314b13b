"""Formulas of networks and densities against numpy in float64, written from the papers and the
published recipes.

DreamerV3: Hafner et al. 2023 (block GRU, symlog, two-hot, free nats, unimix).  DMM: Krishnan et al.
2017 (eq. 7-9, combiner). Nothing here is computed by the code that it looks at: weights are read,
and every formula is written again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worldmodels.decoder import Reconstruction
from worldmodels.dmm import Combiner, GatedTransition
from worldmodels.heads import ContinueHead, ScalarHead
from worldmodels.images import ConvDecoder, ConvEncoder
from worldmodels.networks import (
    MLP,
    BlockGRU,
    BlockLinear,
    GRUCore,
    gated,
    linear,
)
from worldmodels.normalization import RMSNorm
from worldmodels.rssm import RSSM
from worldmodels.rssm_config import RSSMConfig
from worldmodels.rssm_parts import Encoder, GaussianLatent

Array = NDArray[np.float64]
LOG_2PI = 1.8378770664093453


def shaken(module: nn.Module, seed: int = 0) -> Any:
    """The module in float64 with no weight at 0 or 1."""
    torch.manual_seed(seed)
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return module


def a(x: Tensor) -> Array:
    return x.detach().double().numpy()


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(found: Tensor, wanted: Array) -> None:
    np.testing.assert_allclose(a(found), wanted, rtol=1e-9, atol=1e-11)


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def softplus(x: Array) -> Array:
    return np.log1p(np.exp(x))


def symlog(x: Array) -> Array:
    return np.sign(x) * np.log(1 + np.abs(x))


def rms(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-4) * weight


def dense(layer: Any, x: Array) -> Array:
    out: Array = x @ a(layer.weight).T + a(layer.bias)
    return out


def layer(part: Any, x: Array) -> Array:
    """Linear, RMS norm, SiLU."""
    return silu(rms(dense(part[0], x), a(part[1].weight)))


def mlp(net: Any, x: Array) -> Array:
    for part in net:
        x = layer(part, x) if isinstance(part, nn.Sequential) else dense(part, x)
    return x


def log_softmax(x: Array) -> Array:
    return (
        x
        - x.max(-1, keepdims=True)
        - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True))
    )


# --------------------------------------------------------------------------------------------
# layers


def test_rms_norm() -> None:
    norm, x = shaken(RMSNorm(5)), draw(4, 5)
    close(norm(x), rms(a(x), a(norm.weight)))
    unit = RMSNorm(4).double()
    close(
        unit(torch.tensor([[3.0, 4.0, 0.0, 0.0]]).double()),
        np.array([[3.0, 4.0, 0.0, 0.0]]) / np.sqrt(25 / 4 + 1e-4),
    )


def test_an_mlp_is_linear_norm_silu_and_a_last_linear_layer() -> None:
    net, x = shaken(MLP(7, 5, 2, 3)), draw(4, 7)
    close(net(x), mlp(net, a(x)))
    close(net(x[:, :3], x[:, 3:]), mlp(net, a(x)))


def test_the_gated_update_leans_to_the_old_state() -> None:
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    # 1 - sigmoid(-1)
    assert gated(zero, zero, zero, one).item() == pytest.approx(0.7310585786300049)
    assert gated(zero, zero, one, one).item() == pytest.approx(0.5)
    # tanh(1/2 2)
    assert gated(zero, 2 * one, zero, zero).item() == pytest.approx(
        0.2689414213699951 * 0.7615941559557649
    )


def gru(reset: Array, candidate: Array, update: Array, old: Array) -> Array:
    share = sigmoid(update - 1)
    return share * np.tanh(sigmoid(reset) * candidate) + (1 - share) * old


def test_the_block_gru() -> None:
    """Each block sees its own part of the state and all of the inputs, as one layer ``[h_k, x]
    W_k``.
    """
    deter, hidden, blocks = 6, 3, 2
    core = shaken(BlockGRU(deter, 4, 2, hidden, blocks))
    h, s, action = draw(5, deter, seed=1), draw(5, 4, seed=2), 3 * draw(5, 2, seed=3)
    assert (action.abs() > 1).any() and (action.abs() < 1).any()
    act = a(action) / np.maximum(1, np.abs(a(action)))
    x = np.concatenate(
        [layer(core.deter_in, a(h)), layer(core.stoch_in, a(s)), layer(core.action_in, act)], -1
    )
    own, common, bias = a(core.own.weight), a(core.common.weight).T, a(core.own.bias)
    width = deter // blocks
    y = np.concatenate(
        [
            np.concatenate([a(h)[:, k * width : (k + 1) * width], x], -1)
            @ np.concatenate([own[k], common[:, k * width : (k + 1) * width]])
            + bias[k * width : (k + 1) * width]
            for k in range(blocks)
        ],
        -1,
    )
    y = silu(rms(y, a(core.norm.weight)))
    new = []
    for k in range(blocks):
        part = slice(k * width, (k + 1) * width)
        gates = (
            y[:, part] @ a(core.gates.weight)[k]
            + a(core.gates.bias)[3 * k * width : 3 * (k + 1) * width]
        )
        new.append(gru(*np.split(gates, 3, -1), a(h)[:, part]))
    close(core(h, s, action), np.concatenate(new, -1))


def test_the_plain_gru() -> None:
    core = shaken(GRUCore(6, 4, 2, 3))
    h, s, action = draw(5, 6, seed=1), draw(5, 4, seed=2), 3 * draw(5, 2, seed=3)
    x = layer(core.inputs, np.concatenate([a(s), a(action) / np.maximum(1, np.abs(a(action)))], -1))
    gates = rms(dense(core.gates, np.concatenate([x, a(h)], -1)), a(core.norm.weight))
    close(core(h, s, action), gru(*np.split(gates, 3, -1), a(h)))


def made(weight: Tensor, fan_in: int) -> None:
    """A truncated normal, at two deviations of the normal before truncation, of variance ``1 /
    fan_in``.
    """
    unit = weight.detach().double().flatten() * fan_in**0.5
    assert unit.numel() >= 10_000
    assert unit.std().item() == pytest.approx(
        1.0, abs=0.03
    ) and unit.mean().item() == pytest.approx(0.0, abs=0.04)
    largest = 2 * 1.1368
    assert 0.97 * largest < unit.abs().max().item() <= largest * (1 + 1e-6)


def test_weights_begin_as_truncated_normals_of_variance_one_over_inputs() -> None:
    torch.manual_seed(0)
    made(linear(150, 100).weight, 150)
    made(MLP(150, 100, 1)[0][0].weight, 150)
    made(BlockLinear(400, 200, 4).weight, 400)
    core = BlockGRU(512, 128, 2, 64, 8)
    made(core.own.weight, 512 + 3 * 64 * 8)
    made(core.common.weight, 512 + 3 * 64 * 8)
    made(core.gates.weight, 512)
    made(core.deter_in[0].weight, 512)
    made(GRUCore(128, 64, 2, 64).gates.weight, 128 + 64)
    stages = ConvEncoder((32, 32, 3), 16).stages
    made(stages[3].weight, 32 * 25)
    made(ConvEncoder((32, 32, 3), 16, strided=True).stages[2].weight, 32 * 16)
    made(ConvDecoder(8, (32, 32, 3), 16, strided=True).stages[0].weight, 64 * 4)
    for module in (core, MLP(150, 100, 1, 3), stages):
        biases = [p for k, p in module.named_parameters() if k.endswith("bias")]
        assert biases and not any(p.any() for p in biases)
    assert all(
        bool((p == 1).all())
        for k, p in core.named_parameters()
        if "norm" in k or k.endswith("_in.1.weight")
    )


# --------------------------------------------------------------------------------------------
# images


def conv(x: Array, layer: Any) -> Array:
    """A 5x5 convolution that keeps the size, of ``[N, H, W, C]``."""
    weight, (n, height, width, _) = a(layer.weight), x.shape
    wide = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    out = np.zeros((n, height, width, weight.shape[0])) + a(layer.bias)
    for i in range(5):
        for j in range(5):
            out += wide[:, i : i + height, j : j + width] @ weight[:, :, i, j].T
    return out


def test_the_encoder_of_images() -> None:
    net = shaken(ConvEncoder((16, 32, 3), 1))
    image = torch.randint(
        0, 256, (2, 16, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    x = image.double().numpy() / 255 - 0.5
    for i in range(0, 12, 3):
        x = conv(x, net.stages[i])
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
        x = silu(rms(x, a(net.stages[i + 2].norm.weight)))
    close(net(image.double() / 255), x.transpose(0, 3, 1, 2).reshape(2, -1))


def test_the_decoder_of_images() -> None:
    net, x = shaken(ConvDecoder(7, (16, 32, 3), 1)), draw(2, 7)
    found = dense(net.first, a(x)).reshape(2, -1, 1, 2).transpose(0, 2, 3, 1)
    found = silu(rms(found, a(net.norm.norm.weight)))
    for part in net.stages:
        if isinstance(part, nn.Upsample):
            found = found.repeat(2, 1).repeat(2, 2)
        else:
            found = (
                conv(found, part)
                if isinstance(part, nn.Conv2d)
                else silu(rms(found, a(part.norm.weight)))
            )
    close(net(x), sigmoid(found))


def halved(x: Array, layer: Any) -> Array:
    """A 4x4 convolution at every second pixel, of ``[N, H, W, C]``."""
    weight, (n, height, width, _) = a(layer.weight), x.shape
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((n, height // 2, width // 2, weight.shape[0])) + a(layer.bias)
    for i in range(4):
        for j in range(4):
            out += wide[:, i : i + height : 2, j : j + width : 2] @ weight[:, :, i, j].T
    return out


def doubled(x: Array, layer: Any) -> Array:
    """Each pixel is spread over the 4x4 around its place in an image of twice the sides."""
    weight, (n, height, width, _) = a(layer.weight), x.shape
    wide = np.zeros((n, 2 * height + 2, 2 * width + 2, weight.shape[1]))
    for i in range(4):
        for j in range(4):
            wide[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += x @ weight[:, :, i, j]
    return wide[:, 1:-1, 1:-1] + a(layer.bias)


def test_the_strided_encoder_of_images() -> None:
    net, image = shaken(ConvEncoder((16, 32, 3), 1, strided=True)), draw(2, 16, 32, 3)
    x = a(image) - 0.5
    for i in range(0, 8, 2):
        x = silu(rms(halved(x, net.stages[i]), a(net.stages[i + 1].norm.weight)))
    assert x.shape == (2, 1, 2, 4)
    close(net(image), x.transpose(0, 3, 1, 2).reshape(2, -1))


def test_the_strided_decoder_of_images() -> None:
    net, x = shaken(ConvDecoder(7, (16, 32, 3), 1, strided=True)), draw(2, 7)
    found = dense(net.first, a(x)).reshape(2, -1, 1, 2).transpose(0, 2, 3, 1)
    found = silu(rms(found, a(net.norm.norm.weight)))
    for i in range(0, 8, 2):
        found = doubled(found, net.stages[i])
        if i < 6:
            found = silu(rms(found, a(net.stages[i + 1].norm.weight)))
    assert found.shape == (2, 16, 32, 3)
    close(net(x), sigmoid(found))


# -------------------------------------------------------------------------------------------- RSSM


def config(**changes: Any) -> RSSMConfig:
    sizes = {
        "deter": 8,
        "hidden": 6,
        "groups": 3,
        "classes": 4,
        "blocks": 2,
        "units": 6,
        "bins": 11,
        "depth": 1,
    }
    return RSSMConfig(**{**sizes, **changes})


FAR = torch.tensor([[0.0, -5.0, 1e4], [1e-3, 2.0, -1e6]], dtype=torch.float64)


def test_vectors_are_read_through_symlog() -> None:
    encoder = shaken(Encoder({"x": (3,)}, config()))
    read = np.array(
        [
            [0.0, -1.791759469228055, 9.210440366976517],
            [9.995003330835332e-4, 1.0986122886681098, -13.815511557963774],
        ]
    )
    np.testing.assert_allclose(symlog(a(FAR)), read, rtol=1e-12)
    close(encoder(x=FAR)["embed"], mlp(encoder.mlp, read))


def test_two_vectors_are_read_side_by_side() -> None:
    encoder = shaken(Encoder({"x": (3,), "y": (3,)}, config()))
    close(
        encoder(x=FAR, y=2 * FAR)["embed"],
        mlp(encoder.mlp, symlog(np.concatenate([a(FAR), 2 * a(FAR)], -1))),
    )


def test_a_decoded_vector_comes_in_its_own_units() -> None:
    decoder = shaken(Reconstruction({"x": (3,)}, 12, 6, 2, 1))
    state = {"deter": draw(2, 8, seed=1), "stoch": draw(2, 4, seed=2)}
    loc = dense(
        decoder.heads["x"],
        mlp(decoder.mlp, np.concatenate([a(state["deter"]), a(state["stoch"])], -1)),
    )
    assert np.abs(loc).max() > 0.4
    close(decoder.sample(state)["x"], np.sign(loc) * (np.exp(np.abs(loc)) - 1))
    close(decoder.get_log_prob({**state, "x": FAR}), -((symlog(a(FAR)) - loc) ** 2).sum(-1))


def test_a_normal_vector_has_its_units_and_its_deviation() -> None:
    decoder = shaken(Reconstruction({"x": (3,)}, 12, 6, 2, 1, vectors="gaussian"))
    unit, scale = np.array([1.0, -2.0, 0.5]), np.array([2.0, 3.0, 0.1])
    decoder.scaling["x"].set(unit.tolist(), scale.tolist())
    state, x = {"deter": draw(2, 8, seed=1), "stoch": draw(2, 4, seed=2)}, draw(2, 3, seed=3)
    unit, scale = a(decoder.scaling["x"].loc), a(decoder.scaling["x"].scale)
    loc = dense(
        decoder.heads["x"],
        mlp(decoder.mlp, np.concatenate([a(state["deter"]), a(state["stoch"])], -1)),
    )
    loc, sigma = loc * scale + unit, np.exp(a(decoder.log_scale["x"])) * scale
    close(decoder.sample(state)["x"], loc)
    nats = -0.5 * ((a(x) - loc) / sigma) ** 2 - np.log(sigma) - 0.5 * LOG_2PI
    close(decoder.get_log_prob({**state, "x": x}), nats.sum(-1))


def two_hot(value: float, bins: Array) -> Array:
    """The weight of the two bins around a number, by distance."""
    out = np.zeros(len(bins))
    value = float(np.clip(value, bins[0], bins[-1]))
    above = int(np.searchsorted(bins, value))
    if bins[above] == value:
        out[above] = 1.0
    else:
        out[above] = (value - bins[above - 1]) / (bins[above] - bins[above - 1])
        out[above - 1] = 1.0 - out[above]
    return out


def test_the_reward_is_two_hot_over_255_symexp_bins() -> None:
    head = shaken(ScalarHead("reward", "p_r", 12, 6, 1, RSSMConfig().bins))
    points = np.linspace(-20, 20, 255)
    bins = np.sign(points) * (np.exp(np.abs(points)) - 1)
    np.testing.assert_allclose(a(head.bins), bins, rtol=2e-6)  # kept in float32
    bins, values = a(head.bins), [0.0, 0.3, -7.5, 1e5, 1e12]
    state = {"deter": draw(5, 8, seed=1), "stoch": draw(5, 4, seed=2)}
    logits = mlp(head.net, np.concatenate([a(state["deter"]), a(state["stoch"])], -1))
    nats = [two_hot(v, bins) @ row for v, row in zip(values, log_softmax(logits), strict=True)]
    close(
        head.get_log_prob(
            {**state, "reward": torch.tensor(values, dtype=torch.float64).unsqueeze(-1)}
        ),
        np.array(nats),
    )
    np.testing.assert_allclose(
        a(head.sample_mean(state))[:, 0], np.exp(log_softmax(logits)) @ bins, rtol=1e-6
    )
    assert not ScalarHead("reward", "p_r", 12, 6, 1, 255).net[-1].weight.any()  # begins at 0


def test_the_continuation_is_a_bernoulli_with_soft_targets() -> None:
    head = shaken(ContinueHead(12, 6, 1))
    state = {"deter": draw(2, 8, seed=1), "stoch": draw(2, 4, seed=2)}
    p = sigmoid(mlp(head.net, np.concatenate([a(state["deter"]), a(state["stoch"])], -1)))
    target = np.array([[0.0], [0.997]])
    nats = target * np.log(p) + (1 - target) * np.log(1 - p)
    close(head.get_log_prob({**state, "cont": torch.from_numpy(target)}), nats.sum(-1))


def test_a_gaussian_latent() -> None:
    latent = shaken(GaussianLatent(["deter"], "p", 8, 2, config(latent="gaussian")))
    deter = draw(4, 8)
    loc, raw = np.split(mlp(latent.net, a(deter)), 2, -1)
    found = latent.get_params({"deter": deter})
    close(found["loc"], loc)
    close(found["scale"], softplus(raw) + 0.1)


def series() -> dict[str, Tensor]:
    steps, count = 6, 5
    return {
        "x": 3 * draw(steps, count, 3),
        "action": torch.tanh(draw(steps, count, 2, seed=2)),
        "reward": draw(steps, count, 1, seed=3),
        "cont": torch.full((steps, count, 1), 0.997, dtype=torch.float64),
        "is_first": torch.zeros(steps, count, dtype=torch.bool),
    }


def divergence(model: RSSM, deter: Array, x: Array) -> Array:
    """KL of posterior and prior, a sum over the latent's variables, ``[T, B]``."""
    embed = mlp(model.encoder.mlp, symlog(x))
    q, p = mlp(model.posterior.net, np.concatenate([deter, embed], -1)), mlp(model.prior.net, deter)
    c = model.config
    if c.latent == "gaussian":
        (m, s), (n, r) = np.split(q, 2, -1), np.split(p, 2, -1)
        s, r = softplus(s) + 0.1, softplus(r) + 0.1
        total: Array = (np.log(r / s) + (s * s + (m - n) ** 2) / (2 * r * r) - 0.5).sum(-1)
        return total
    mix = [
        0.99 * np.exp(log_softmax(v.reshape(*v.shape[:-1], c.groups, c.classes))) + 0.01 / c.classes
        for v in (q, p)
    ]
    total = (mix[0] * np.log(mix[0] / mix[1])).sum((-1, -2))
    return total


@pytest.mark.parametrize("latent", ["categorical", "gaussian"])
def test_free_nats_hold_both_divergences_and_the_weights_are_the_published_ones(
    latent: str,
) -> None:
    """``L = rec + rew + con + 1.0 max(1, KL[sg q | p]) + 0.1 max(1, KL[q | sg p])``, KLs on both
    sides of one nat.
    """
    model = shaken(RSSM({"x": (3,)}, 2, config(latent=latent)), seed=3)
    with torch.no_grad():  # divergences around one nat
        for p in [*model.posterior.net[-1].parameters(), *model.prior.net[-1].parameters()]:
            p.mul_({"categorical": 0.9, "gaussian": 0.7}[latent])
    x = series()
    torch.manual_seed(0)
    value, found = model.objective.eval(x, return_dict=True)
    kl = divergence(model, a(found["deter"]), a(x["x"]))
    assert (kl < 0.95).sum() > 3 and (kl > 1.05).sum() > 3
    close(found["dyn"], np.maximum(1.0, kl))
    close(found["rep"], np.maximum(1.0, kl))
    parts = {k: a(found[k]).mean() for k in ("rec", "rew", "con", "dyn", "rep")}
    wanted = parts["rec"] + parts["rew"] + parts["con"] + parts["dyn"] + 0.1 * parts["rep"]
    assert value.item() == pytest.approx(wanted, rel=1e-10)
    state = np.concatenate([a(found["deter"]), a(found["stoch"])], -1)
    loc = dense(model.decoder.heads["x"], mlp(model.decoder.mlp, state))
    close(found["rec"], ((symlog(a(x["x"])) - loc) ** 2).sum(-1))
    below = torch.from_numpy(kl < 0.95)
    for term, net, still in (
        ("dyn", model.prior, model.posterior),
        ("rep", model.posterior, model.prior),
    ):
        weights = list(net.parameters())
        gone = torch.autograd.grad(
            found[term][below].sum(), weights, retain_graph=True, allow_unused=True
        )
        # a divergence below one nat moves nothing
        assert all(g is None or not g.any() for g in gone), term
        moved = torch.autograd.grad(
            found[term].sum(), weights, retain_graph=True, allow_unused=True
        )
        assert any(g is not None and g.any() for g in moved), term
        other = list(still.net[-1].parameters())
        if term == "rep":  # the prior's last layer is read by it alone
            assert all(
                g is None
                for g in torch.autograd.grad(
                    found[term].sum(), other, retain_graph=True, allow_unused=True
                )
            )


def test_the_published_recipe_by_name() -> None:
    c = RSSMConfig()
    published = {
        "latent": "categorical",
        "core": "block_gru",
        "vectors": "symlog",
        "deter": 512,
        "hidden": 64,
        "classes": 4,
        "groups": 32,
        "blocks": 8,
        "units": 64,
        "depth": 4,
        "bins": 255,
        "free_nats": 1.0,
        "dyn_scale": 1.0,
        "rep_scale": 0.1,
        "unimix": 0.01,
        "encoder_layers": 3,
        "decoder_layers": 3,
        "prior_layers": 2,
        "posterior_layers": 1,
        "reward_layers": 1,
        "continue_layers": 1,
    }
    assert {k: getattr(c, k) for k in published} == published


# -------------------------------------------------------------------------------------------- DMM


@pytest.mark.parametrize("networks", [1, 2])
def test_the_combiner_averages_the_last_latent_and_the_networks(networks: int) -> None:
    q = shaken(Combiner(3, 4, networks))
    z, h = draw(5, 3, seed=1), draw(5, 4, seed=2)
    both = (np.tanh(dense(q.inner, a(z))) + a(h)) / (1 + networks)
    loc, raw = np.split(dense(q.outer, both), 2, -1)
    found = q.get_params({"z_q_prev": z, "h": h})
    close(found["loc"], loc)
    close(found["scale"], softplus(raw))


def test_the_gated_transition_is_linear_where_the_gate_is_closed() -> None:
    """``g = s(MLP(z)), h = MLP(z), mu = (1 - g) (W z + b) + g h, sigma = softplus(W' relu(h) +
    b')``.
    """
    p = shaken(GatedTransition(3, 4))
    z = draw(5, 3)
    gate, hidden = np.split(np.maximum(0, dense(p.first, a(z))), 2, -1)
    g, proposed = sigmoid(dense(p.gate, gate)), dense(p.proposed, hidden)
    found = p.get_params({"z_prev": z})
    close(found["loc"], (1 - g) * dense(p.linear, a(z)) + g * proposed)
    close(found["scale"], softplus(dense(p.scale, np.maximum(0, proposed))))
    closed = GatedTransition(3, 4).double()
    with torch.no_grad():
        closed.gate.bias.fill_(-50.0)
    close(closed.get_params({"z_prev": z})["loc"], a(z))  # W begins as the identity
