"""What a run learned leaves it as two files, and acts and predicts as in the run."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import agents
from agents.cli import main
from agents.commands.data import proposals
from agents.config import load_config
from agents.errors import ConfigError, UsageError
from agents.pretrain import KINDS, Pretrainer
from pixyz.types import PixyzError
from worldmodels import VRNN, VRNNConfig
from worldmodels.data import Episodes, make_episode


def test_a_policy_acts_as_in_its_run(trained, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["save", str(trained), str(out)]) == 0
    assert "agents.from_pretrained" in capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    one, two = agents.load(trained), agents.from_pretrained(out)
    rng = np.random.default_rng(0)
    for _ in range(5):
        x = rng.normal(size=3).astype(np.float32).clip(-1, 1)
        torch.manual_seed(0)
        expected = one.act(x)
        torch.manual_seed(0)
        assert np.array_equal(two.act(x), expected) and expected.shape == (1,)
    weights = one.actor.state_dict()
    assert all(torch.equal(v, weights[k]) for k, v in two.actor.state_dict().items())
    assert main(["save", str(trained), str(out)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_large_actions_are_told_with_a_scale_that_can_be_given():
    actions = np.outer(np.cos(np.arange(200.0)), [2.9, 0.5])
    actions[-1] = [-3.2, 0.1]  # in the part that tests
    log = Episodes([make_episode("run", {"x": actions[:, :1]}, action=actions)])
    settings = load_config(KINDS["rssm"], "pretrain/rssm", ["model.deter=8", "split=time"])
    with pytest.warns(UserWarning, match=r"such as action_scale=\[4\.0, 1\.0\]"):
        Pretrainer(settings, log)
    assert "action_scale=[4.0, 1.0]" in "\n".join(proposals(log)), "as `pixyz data check` says"
    told = replace(settings, action_scale=(4.0, 1.0))
    assert Pretrainer(told, log).model.action_scale.tolist() == [4.0, 1.0]


@pytest.mark.parametrize("kind", ["rssm", "vrnn"])
def test_a_model_of_a_log_predicts_as_in_its_run(kind, tmp_path):
    t = np.arange(200.0)
    log = Episodes(
        [make_episode("run", {"x": np.sin(t[:, None] / [5, 9])}, action=2 * np.cos(t)[:, None])]
    )
    small = {
        "rssm": [
            *(f"model.{k}=8" for k in ("deter", "hidden", "groups", "units")),
            "model.bins=11",
            "action_scale=[2.0]",
        ],
        "vrnn": ["model.latent=2", "model.rnn=8", "model.hidden=8"],
    }
    more = ["updates=1", "eval_every=1", "batch=2", "length=8", "predicts=change"]
    settings = load_config(KINDS[kind], f"pretrain/{kind}", [*small[kind], *more])
    with Pretrainer(settings, log).begin(tmp_path / "run") as run:
        run.train()
    agents.save_pretrained(tmp_path / "run", tmp_path / "out")
    one, two = agents.load_model(tmp_path / "run"), agents.from_pretrained(tmp_path / "out")
    flags = {k: torch.zeros(6, 1, dtype=torch.bool) for k in ("is_first", "is_last", "is_terminal")}
    seen = {
        "x": torch.randn(6, 1, 2),
        "action": torch.randn(6, 1, 1),
        "reward": torch.zeros(6, 1),
        **flags,
    }
    found = []
    for model in (one, two):
        torch.manual_seed(0)
        found.append(model.forecast(seen, torch.zeros(4, 1, 1), 4)["x"])
    assert torch.equal(*found) and found[0].shape == (4, 1, 2)


def test_a_pretraining_that_was_stopped_before_it_was_judged_goes_on(tmp_path, capsys):
    """After Ctrl+C there is a checkpoint, and no model that a validation chose."""
    log = Episodes([make_episode("run", {"x": np.sin(np.arange(200.0)[:, None])})])
    small = ["model.latent=2", "model.rnn=8", "model.hidden=8", "split=time", "horizon=10"]
    settings = load_config(KINDS["vrnn"], "pretrain/vrnn", small)
    run, out = tmp_path / "run", tmp_path / "out"
    with Pretrainer(settings, log).begin(run) as begun:
        begun.run.save()
    assert main(["save", str(run), str(out)]) == 2
    said = capsys.readouterr().err
    assert f"go on with 'pixyz resume {run}'" in said and "new run" not in said
    assert not out.exists()


def test_what_does_not_fit_is_refused(trained, tmp_path):
    out = agents.save_pretrained(trained, tmp_path / "out")
    about = json.loads((out / "config.json").read_text())

    def changed(**agent):
        (out / "config.json").write_text(
            json.dumps({**about, "agent": {**about["agent"], **agent}})
        )

    changed(kind="my_agents:Mine")
    with pytest.raises(
        UsageError, match=r"'my_agents:Mine', which would be imported; give own=True"
    ):
        agents.from_pretrained(out)
    with pytest.raises(ConfigError, match="cannot import my_agents"):
        agents.from_pretrained(out, own=True)
    changed(units=2 * about["agent"]["units"])
    with pytest.raises(UsageError, match=r"does not fit this version: .*size mismatch"):
        agents.from_pretrained(out)
    changed(unts=3)
    with pytest.raises(ConfigError, match=r"agent.unts \(nearest: agent.units\)"):
        agents.from_pretrained(out)
    VRNN(3, VRNNConfig(latent=2, rnn=4, hidden=4)).save_pretrained(tmp_path / "model")
    with pytest.raises(UsageError, match=r"got 'VRNN'; .*worldmodels.from_pretrained"):
        agents.from_pretrained(tmp_path / "model")
    with pytest.raises(PixyzError, match="it is neither"):
        agents.from_pretrained(tmp_path / "none")
    with pytest.raises(ValueError, match="none"):
        agents.save_pretrained(tmp_path / "none", tmp_path / "other")
