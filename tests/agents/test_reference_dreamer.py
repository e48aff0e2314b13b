"""DreamerV3's updates against independent numbers (``make_reference_dreamer.py``), in float64."""

import json
import math

import make_reference_dreamer as reference
import numpy as np
import pytest
import reference_parts as parts
import torch

from agents.dreamer import DreamerV3, DreamerV3Config
from agents.dreamer.heads import ActionSpec
from agents.dreamer.optimizer import LaProp
from pixyz.distributions.families.two_hot import symexp_bins
from worldmodels import RSSMConfig

KNOWN = json.loads(reference.FILE.read_text())
CASES = list(reference.CASES)
ROOTS = {
    "encoder": "model.encoder.mlp",
    "posterior": "model.posterior.net",
    "prior": "model.prior.net",
    "decoder": "model.decoder.mlp",
    "reward": "model.reward.net",
    "cont": "model.cont.net",
    "policy": "policy.net",
    "value": "value.net",
}
CORE = "model.dynamics.core"
SINGLE = {
    "core.own.w": f"{CORE}.own.weight",
    "core.common.w": f"{CORE}.common.weight",
    "core.b": f"{CORE}.own.bias",
    "core.scale": f"{CORE}.norm.weight",
    "core.gates.w": f"{CORE}.gates.weight",
    "core.gates.b": f"{CORE}.gates.bias",
}
TERMS = ("rec", "rew", "con", "dyn", "rep", "policy", "value", "replay_value")


def name_of(name, weights):
    """Our name of a weight of the reference."""
    if name in SINGLE:
        return SINGLE[name]
    *root, layer, kind = name.split(".")
    if root[0] == "core":
        return f"{CORE}.{root[1]}_in." + {"w": "0.weight", "b": "0.bias", "scale": "1.weight"}[kind]
    if layer in parts.KEYS:
        return f"model.decoder.heads.{layer}." + {"w": "weight", "b": "bias"}[kind]
    if layer == "out":
        layers = sum(f"{root[0]}.{i}.w" in weights for i in range(9))
        return f"{ROOTS[root[0]]}.{layers}." + {"w": "weight", "b": "bias"}[kind]
    return (
        f"{ROOTS[root[0]]}.{layer}." + {"w": "0.weight", "b": "0.bias", "scale": "1.weight"}[kind]
    )


def ours(weights):
    """The reference's weights (or their gradients) under our names, in our layout."""
    found = {}
    for name, value in weights.items():
        value = exact(value)
        if name == "core.common.w":  # [blocks, in, part] -> [blocks * part, in]
            value = value.transpose(1, 2).flatten(0, 1)
        elif value.ndim == 2:
            value = value.T
        found[name_of(name, weights)] = value
    return found


def exact(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def tensors(batch):
    return {k: exact(v).bool() if k.startswith("is_") else exact(v) for k, v in batch.items()}


def agent_of(name):
    """An agent of the reference's sizes and weights; every rate and weight of a loss is our
    default.
    """
    c = reference.CASES[name]
    model = RSSMConfig(
        deter=c.deter,
        hidden=c.hidden,
        groups=c.groups,
        classes=c.classes,
        blocks=c.blocks,
        units=c.units,
        encoder_layers=2,
        decoder_layers=2,
        bins=c.bins,
    )
    learning = {"lr": c.lr, "warmup": c.warmup} if name == "discrete" else {}  # else our defaults
    config = DreamerV3Config(
        model,
        units=c.units,
        actor_layers=2,
        critic_layers=2,
        bins=c.bins,
        batch=c.batch,
        length=c.steps,
        horizon=c.horizon,
        **learning,
    )
    shapes = {k: (n,) for k, n in parts.KEYS.items()}
    agent = DreamerV3(shapes, ActionSpec(c.actions, c.discrete), config).double()
    weights, slow = parts.weights_of(c)
    slow = {k.replace("value.", "slow_value.", 1): v for k, v in ours(slow).items()}
    missing = agent.load_state_dict(ours(weights) | slow, strict=False)
    assert not missing.unexpected_keys
    # what is left over are no weights: bins, the running percentiles
    assert not set(missing.missing_keys) & {n for n, _ in agent.named_parameters()}
    with torch.no_grad():
        agent.imagined.scale.bounds.copy_(torch.tensor(c.bounds))
    return agent


@pytest.fixture
def given_draws(monkeypatch):
    """``given_draws(name)``: torch draws the reference's numbers; which ones, their shape tells."""

    def give(name):
        draws = {np.shape(v): exact(v) for v in KNOWN[name]["draws"].values()}
        assert len(draws) == 3

        def drawn(*shape, **_):
            return draws[tuple(shape[0] if len(shape) == 1 else shape)].clone()

        for fn in ("rand", "randn"):
            monkeypatch.setattr(torch, fn, drawn)
            monkeypatch.setattr(torch, f"{fn}_like", lambda like, **_: drawn(*like.shape))

    return give


def assert_close(found, wanted, rtol=1e-9, what=""):
    found, wanted = torch.as_tensor(found).detach(), exact(wanted)
    assert found.shape == wanted.shape, what
    gap, size = (found - wanted).abs().max().item(), wanted.abs().max().item()
    assert gap <= rtol * max(size, 1e-12), (
        f"{what}: off by {gap:.3g} where the largest entry is {size:.3g}"
    )


def evaluated(agent, name):
    batch = tensors(KNOWN[name]["batch"])
    return agent.objective.eval(agent.prepare(batch), return_dict=True)


# ---------------------------------------------------------------- the reference itself


@pytest.mark.parametrize("name", CASES)
def test_the_file_is_what_the_script_computes(name):
    c = reference.CASES[name]
    weights, slow = parts.weights_of(c)
    found, met = reference.losses(
        weights,
        slow,
        c,
        parts.batch_of(c),
        parts.draws_of(c),
        np.array(c.bounds),
        reference.Stops(),
    )
    for k, v in KNOWN[name]["losses"][0].items():
        assert found[k] == pytest.approx(v, rel=1e-12)
    for k, v in KNOWN[name]["met"].items():
        np.testing.assert_allclose(met[k], v, rtol=1e-10)


def test_the_reference_holds_what_it_should():
    nats = np.array(KNOWN["continuous"]["met"]["dyn_nats"])
    assert (nats > 1.1).any() and (nats < 0.9).any()
    assert (np.array(KNOWN["discrete"]["met"]["dyn_nats"]) < 0.9).all()
    assert KNOWN["continuous"]["met"]["scale"] > 2 and KNOWN["discrete"]["met"]["scale"] == 1
    last, terminal = (
        np.array(KNOWN["continuous"]["batch"][k])[1:-1] for k in ("is_last", "is_terminal")
    )
    assert terminal.any() and (last & ~terminal).any()
    assert np.abs(KNOWN["continuous"]["batch"]["action"]).max() > 1


# ---------------------------------------------------------------- one update


@pytest.mark.parametrize("name", CASES)
def test_each_loss(name, given_draws):
    agent = agent_of(name)
    given_draws(name)
    loss, found = evaluated(agent, name)
    for term in TERMS:
        wanted = KNOWN[name]["losses"][0][term]
        assert found[term].mean().item() == pytest.approx(wanted, rel=1e-9), term
    assert loss.item() == pytest.approx(KNOWN[name]["losses"][0]["loss"], rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_states(name, given_draws):
    agent = agent_of(name)
    given_draws(name)
    _, found = evaluated(agent, name)
    for k in ("deter", "stoch"):
        assert_close(found[k], KNOWN[name]["met"][k], what=k)
    free = exact(KNOWN[name]["met"]["dyn_nats"]).clamp(min=1.0)
    assert_close(found["dyn"], free)
    assert_close(found["rep"], free)


@pytest.mark.parametrize("name", CASES)
def test_returns_weights_and_advantages(name, given_draws, monkeypatch):
    agent, met, found = agent_of(name), KNOWN[name]["met"], {}
    for function in (agent.imagined, agent.recorded):

        def spied(*series, forward=function.forward, **named):
            result = forward(*series, **named)
            found.update(result)
            return result

        monkeypatch.setattr(function, "forward", spied)
    given_draws(name)
    evaluated(agent, name)
    steps = len(met["weight"])
    assert_close(found["ret"][:-1].squeeze(-1), met["ret"], what="ret")
    assert_close(found["w_pi"], met["weight"], what="weight")
    assert_close(found["w"][:-1], (steps + 1) / steps * exact(met["weight"]), what="w")
    assert_close(found["boot"].flatten(), met["boot"], what="boot")
    assert_close(found["ret_seen"][:-1].squeeze(-1), met["ret_seen"], what="ret_seen")
    seen = len(met["w_seen"])
    assert_close(found["w_seen"][:-1], (seen + 1) / seen * exact(met["w_seen"]), what="w_seen")


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_all_weights(name, given_draws):
    agent, wanted = agent_of(name), ours(KNOWN[name]["gradient"])
    given_draws(name)
    evaluated(agent, name)[0].backward()
    trained = {n: p for n, p in agent.named_parameters() if p.requires_grad}
    assert trained.keys() == wanted.keys()
    largest = max(g.abs().max() for g in wanted.values())
    for n, p in trained.items():
        gradient = torch.zeros_like(p) if p.grad is None else p.grad
        assert (gradient - wanted[n]).abs().max() <= 1e-9 * max(
            wanted[n].abs().max(), 1e-6 * largest
        ), n


@pytest.mark.parametrize("name", CASES)
def test_updates(name, given_draws):
    """The losses of three updates, and what they moved: weights, slow critic,
    running percentiles.
    """
    agent, known = agent_of(name), KNOWN[name]
    before = {n: p.detach().clone() for n, p in agent.named_parameters()}
    given_draws(name)
    batch = tensors(known["batch"])
    for wanted in known["losses"]:
        found = agent.learn(batch).metrics
        for k in ("loss", *TERMS):
            # metrics are in single precision
            assert found[k] == pytest.approx(wanted[k], rel=1e-6), k
    after = dict(agent.named_parameters())
    slow = {k.replace("value.", "slow_value.", 1): v for k, v in ours(known["slow_after"]).items()}
    for n, wanted in (ours(known["after"]) | slow).items():
        assert_close(after[n] - before[n], wanted - before[n], rtol=1e-6, what=n)
    assert_close(agent.imagined.scale.bounds, known["bounds_after"])


# ---------------------------------------------------------------- pieces


@pytest.mark.parametrize("name", CASES)
def test_acting_is_the_filter_and_the_policy(name):
    """The latent is all but certain: acting gives the policy's mean in the
    reference's next state.
    """
    c = reference.CASES[name]
    agent = agent_of(name)
    weights, _ = parts.weights_of(c)
    weights["posterior.out.b"] = (
        weights["posterior.out.b"] + 40.0 * np.eye(c.classes)[[0, 2, 1]].ravel()
    )
    agent.load_state_dict(ours(weights), strict=False)
    x = parts.batch_of(c)
    obs = {k: torch.tensor(x[k][1]) for k in (*parts.KEYS, "is_first")}
    state = {k: torch.tensor(x[k][0]) for k in ("deter", "stoch", "action")}
    deter = parts.core(weights, c, x["deter"][0], x["stoch"][0], x["action"][0])
    chosen = np.tile(np.eye(c.classes)[[0, 2, 1]].ravel(), (c.batch, 1))
    out = parts.mlp(weights, "policy", np.concatenate([deter, chosen], -1))
    wanted = np.eye(c.actions)[out.argmax(-1)] if c.discrete else np.tanh(out[:, : c.actions])
    agent.model.posterior.unimix = 0.0  # certain
    action, new = agent.act(obs, state)
    assert_close(new["deter"], deter)
    assert_close(new["stoch"], chosen)
    assert_close(action, wanted)
    assert_close(new["action"], wanted)


def test_bins():
    for count, wanted in KNOWN["bins"].items():
        assert_close(symexp_bins(int(count)).double(), wanted, rtol=1e-15)


def test_laprop():
    known = KNOWN["laprop"]
    weights = [torch.nn.Parameter(exact(t["path"][0])) for t in known["tensors"]]
    optimizer = LaProp(weights, lr=known["lr"], warmup=known["warmup"])
    for update in range(4):
        for w, t in zip(weights, known["tensors"], strict=True):
            w.grad = exact(t["gradients"][update])
        optimizer.step()
        for w, t in zip(weights, known["tensors"], strict=True):
            assert_close(w, t["path"][update + 1], rtol=1e-12)
    assert all(math.isfinite(x) for w in weights for x in w.flatten().tolist())
