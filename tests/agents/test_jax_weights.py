"""Weights of the published DreamerV3 are read, and compute its numbers
(``make_reference_jax.py``).
"""

import json
import pickle
import re
import sys
from pathlib import Path

import make_reference_jax as reference
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import agents
from agents.dreamer import DreamerV3, DreamerV3Config
from agents.dreamer.jax_weights import entries
from agents.errors import UsageError
from agents.spaces import ActionSpec
from pixyz.distributions import Mean
from worldmodels import RSSMConfig

KNOWN = json.loads(reference.FILE.read_text())
PARTS = [("vectors", ()), ("image", ("dec/sp", "dec/conv", "dec/imgout"))]
"""A case, and what of it has no place here."""


def agent_of(name, **changed):
    c = reference.CASES[name]
    sizes = {k: getattr(c, k) for k in ("deter", "hidden", "classes", "blocks", "units", "depth")}
    model = RSSMConfig(**{**sizes, "groups": c.stoch, "bins": c.bins, **changed})
    config = DreamerV3Config(model, units=c.units, bins=c.bins, batch=2, length=4)
    shapes = {k: (n,) for k, n in c.vectors.items()} | ({"image": c.image} if c.image else {})
    return DreamerV3(shapes, ActionSpec(c.actions, c.discrete), config)


def weights_of(name):
    return {k: np.asarray(v) for k, v in reference.weights_of(reference.CASES[name]).items()}


def as_seen(name):
    return {k: torch.tensor(v) for k, v in reference.inputs_of(reference.CASES[name]).items()}


@pytest.fixture
def exactly():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def means(head, state, name):
    """The mean of what a head reads off the state."""
    return Mean(head, name).sample(state)[name].squeeze(-1)


@pytest.mark.parametrize(("name", "skip"), PARTS)
def test_one_step_has_the_published_numbers(name, skip, exactly):
    agent, x = agent_of(name), as_seen(name)
    agents.load_jax(agent, weights_of(name), skip=skip)
    model, known = agent.model, KNOWN[name]
    before = {k: x[k].masked_fill(x["is_first"][:, None], 0.0) for k in ("deter", "stoch")}
    before["action"] = x["action"].masked_fill(x["is_first"][:, None], 0.0)
    found = {"embed": model.encoder.sample({k: x[k] for k in model.keys})["embed"]}
    found["deter"] = model.dynamics.core(*before.values())
    given = {"deter": found["deter"], "embed": found["embed"]}
    found["posterior"] = model.posterior(**given)["logits"]
    found["prior"] = model.prior(deter=found["deter"])["logits"]
    state = {"deter": found["deter"], "stoch": torch.tensor(known["stoch"], dtype=torch.float64)}
    found["reward"], found["value"] = (
        means(head, state, "m") for head in (model.reward, agent.value)
    )
    found["slow value"] = means(agent.slow_value, state, "m")
    found["continue"] = means(model.cont, state, "m")
    decoded = model.decoder(*state.values())
    found |= {f"decoded {k}": decoded[k] for k in reference.CASES[name].vectors}
    out = agent.policy(**state)
    if agent.action.discrete:
        found["policy logits"] = out["logits"]
    else:
        found["policy mean"] = agent.policy.derive_bounded_loc(out["loc"])
        found["policy deviation"] = agent.policy.derive_bounded_scale(out["scale"])
    order = embedding_order(name)
    wanted = {k: np.array(v) for k, v in known.items() if k != "stoch"}
    wanted["embed"] = wanted["embed"][:, order]
    assert found.keys() == wanted.keys()
    for k, v in wanted.items():
        np.testing.assert_allclose(found[k].detach().numpy(), v, rtol=1e-9, atol=1e-12, err_msg=k)


def embedding_order(name):
    """Where the features of the encoder lie there: those of an image with the channels last."""
    c = reference.CASES[name]
    if not c.image:
        return np.arange(c.units)
    height, width = c.image[0] // 16, c.image[1] // 16
    image = np.arange(height * width * 4 * c.depth).reshape(height, width, -1)
    return np.concatenate([np.arange(c.units), c.units + image.transpose(2, 0, 1).ravel()])


@pytest.mark.parametrize(("name", "skip"), PARTS)
def test_every_weight_is_read(name, skip):
    agent = agent_of(name)
    own = {**dict(agent.named_parameters()), "bounds": agent.imagined.scale.bounds}
    with torch.no_grad():
        for weight in own.values():
            weight.fill_(torch.nan)
    agents.load_jax(agent, weights_of(name), skip=skip)
    left = {k for k, v in own.items() if not v.isfinite().all()}
    assert left == {k for k in own if k.startswith("model.decoder.cnn")}
    assert agent.imagined.scale.bounds.tolist() == pytest.approx(
        [weights_of(name)[f"retnorm/{k}/value"].item() for k in ("lo", "hi")], rel=1e-6
    )


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_file_is_read_and_the_agent_acts(kind, tmp_path):
    weights = {k: v.astype(np.float32) for k, v in weights_of("vectors").items()}
    path = tmp_path / f"agent.{kind}"
    if kind == "npz":
        np.savez(path, **{f"params/{k}": v for k, v in weights.items()}, counter=3)
    else:
        save_file({**weights, "opt/state/mu": np.ones(3)}, path)
    one, two = agent_of("vectors"), agent_of("vectors")
    assert agents.load_jax(one, path) is one
    agents.load_jax(two, weights)
    x = {k: v.float() for k, v in as_seen("vectors").items()}
    x["is_first"] = torch.ones(3, dtype=torch.bool)
    acted = []
    for agent in (one, two):
        torch.manual_seed(0)
        acted.append(agent.act(x, agent.initial(3))[0])
    assert torch.equal(*acted) and acted[0].abs().max() > 0.01


def refused(match, agent, source, **more):
    before = {k: v.clone() for k, v in agent.state_dict().items()}
    with pytest.raises(UsageError, match=match) as caught:
        agents.load_jax(agent, source, **more)
    assert all(torch.equal(v, before[k]) for k, v in agent.state_dict().items())
    return str(caught.value)


def test_sizes_that_differ_are_named_as_settings():
    agent = agent_of("vectors", deter=32, groups=2)
    said = refused("agent.model.deter is 16 there and 32 here", agent, weights_of("vectors"))
    assert "agent.model.groups times agent.model.classes is 12 there and 8 here" in said
    said = refused(
        "encoder_layers is 3 there and 2",
        agent_of("vectors", encoder_layers=2),
        weights_of("vectors"),
    )
    assert "enc/mlp2/kernel (6, 6) has no place here" in said


def test_arrays_that_do_not_fit_are_named():
    weights = weights_of("vectors")
    lacking = {k: v for k, v in weights.items() if not k.startswith("dec/vec/height")}
    said = refused("dec/vec/height/pred/kernel is missing", agent_of("vectors"), lacking)
    assert "dec/vec/height/pred/bias is missing" in said and "expected" not in said
    key = "dyn/obslogit/kernel"
    said = refused(
        r"obslogit/kernel: expected \(5, 12\), got \(12, 5\)",
        agent_of("vectors"),
        {**weights, key: weights[key].T},
    )
    assert "more" not in said
    bad = weights[key].copy()
    bad[0, 0] = np.nan
    refused("obslogit/kernel holds NaN", agent_of("vectors"), {**weights, key: bad})
    refused(
        "expected numbers such as float32, got",
        agent_of("vectors"),
        {**weights, key: weights[key].astype("V2")},
    )
    refused(
        "enc/mlp0norm/shift .* no place",
        agent_of("vectors"),
        {**weights, "enc/mlp0norm/shift": np.zeros(6)},
    )
    refused("dec/sp0/kernel .* no place here", agent_of("image"), weights_of("image"))
    two = {**weights, "pol/head/grip/mean/kernel": np.zeros((6, 1))}
    refused(r"one action, got \['action', 'grip'\]", agent_of("vectors"), two)


def test_agents_and_layouts_of_another_kind_are_told():
    weights = weights_of("vectors")
    refused(
        "model.core=block_gru, agent.model.vectors=symlog",
        agent_of("vectors", core="gru", vectors="gaussian"),
        weights,
    )
    refused("model.strided=False", agent_of("image", strided=True), weights_of("image"))
    refused("revision of 2023", agent_of("vectors"), {"agent/wm/rssm/gru/kernel": np.zeros(3)})
    refused("such as dyn/dynin0/kernel", agent_of("vectors"), {"arr_0": np.zeros(3)})
    with pytest.raises(UsageError, match="an agent of dreamer_v3, got Linear"):
        agents.load_jax(torch.nn.Linear(1, 1), weights)


def test_the_lines_of_the_tutorial_write_what_is_read(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs/tutorials/from_dreamerv3.md"
    found = re.search(r'title="convert.py"\n(.*?)```', page.read_text(encoding="utf-8"), re.S)
    weights = {k: v.astype(np.float32) for k, v in weights_of("vectors").items()}
    (tmp_path / "agent.pkl").write_bytes(
        pickle.dumps({"params": weights, "counters": {"updates": 1}})
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["convert.py", "agent.pkl"])
    exec(compile(found[1], "convert.py", "exec"), {"__name__": "__main__"})
    agent = agents.load_jax(agent_of("vectors"), "agent.npz")
    kernel = agent.model.prior.net[-1].weight.detach().numpy().T
    assert np.array_equal(kernel, weights["dyn/priorlogit/kernel"])


def test_no_pickle_is_opened(tmp_path):
    path = tmp_path / "agent.pkl"
    path.write_bytes(pickle.dumps({"params": {"dyn/x": 1}}))
    refused("three lines", agent_of("vectors"), path)
    path.rename(tmp_path / "agent.npz")
    refused("cannot be read .*three lines", agent_of("vectors"), tmp_path / "agent.npz")
    np.savez(tmp_path / "objects.npz", agent=np.array({"dyn/x": 1}, dtype=object))
    refused("cannot be read", agent_of("vectors"), tmp_path / "objects.npz")
    refused("no such file", agent_of("vectors"), tmp_path / "nothing.npz")


def test_no_array_is_read_twice_and_names_are_those_of_the_layout():
    for name, skip in PARTS:
        weights = weights_of(name)
        keys = [e.key for e in entries(agent_of(name), weights)]
        twice = {k for k in keys if keys.count(k) > 1}
        assert twice == {"dyn/dynhid0/kernel"}
        assert set(weights) - set(keys) == {k for k in weights if skip and k.startswith(skip)}
