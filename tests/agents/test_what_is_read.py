"""What a loaded agent, a resumed run, a forecast and a report read."""

import copy

import numpy as np
import pytest
import torch
from scripted import Corridor, Counting, CountingConfig
from test_dreamer_v3 import SHAPES, config, recorded
from test_pretrain import SHORT, SMALL, turning

from agents.cli import main
from agents.dreamer import DreamerV3
from agents.pretrain import Pretrainer, command
from agents.pretrain.models import RSSMModel
from agents.pretrain.trainer import best_weights
from agents.replay import ReplayBuffer
from agents.run import Driver
from agents.spaces import ActionSpec, Interface
from envs import VectorEnv, adapt
from worldmodels import RSSM, RSSMConfig
from worldmodels.data import write_npz


class Forgetful(Corridor):
    """An environment without a state that could be saved."""

    save_state = None
    load_state = None


def driver_of(replay=None):
    envs = VectorEnv([lambda: adapt(Forgetful(9))], seed=0)
    agent = Counting({"observation": (3,)}, ActionSpec(1), CountingConfig())
    replay = replay or ReplayBuffer(Interface.of(envs).spec(agent.stored), 50, 1, seed=0)
    return Driver(envs, agent, replay, seed=0), replay


def test_the_episode_that_was_running_is_closed_at_a_resume():
    driver, replay = driver_of()
    for _ in range(4):
        driver.step()
    again, _ = driver_of(replay)
    again.load_state(driver.state(), attempt=2)
    again.step()
    found = replay.sample(1, 5)
    assert found["is_last"][:, 0].tolist() == [False, False, False, True, False]
    assert not found["is_terminal"].any()  # cut short: its value is bootstrapped
    assert found["is_first"][:, 0].tolist() == [True, False, False, False, True]


def test_an_agent_that_was_loaded_learns_as_the_one_that_was_saved():
    """Weights, running percentiles, the optimizer's averages and its count of updates."""
    torch.manual_seed(0)
    saved, loaded = (DreamerV3(SHAPES, ActionSpec(2), config(lr=1e-2, warmup=5)) for _ in range(2))
    batch = recorded(7, 3, saved.config.model, dtype=torch.float32)
    for _ in range(2):
        saved.learn(batch)
    loaded.load_state(copy.deepcopy(saved.state()))
    for agent in (saved, loaded):
        torch.manual_seed(1)
        for _ in range(2):
            agent.learn(batch)
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in saved.state_dict().items())


def test_a_forecast_reads_actions_in_the_models_units():
    torch.manual_seed(0)
    config = RSSMConfig(deter=8, hidden=4, groups=2, classes=2, blocks=2, units=4, bins=5)
    model = RSSMModel(RSSM({"x": (3,)}, 2, config), 2)
    scale, found = torch.tensor([4.0, 10.0]), []
    seen = {"x": torch.randn(5, 2, 3), "reward": torch.zeros(5, 2)}
    seen |= {k: torch.zeros(5, 2, dtype=torch.bool) for k in ("is_first", "is_last", "is_terminal")}
    done, coming = torch.rand(5, 2, 2) - 0.5, torch.rand(6, 2, 2) - 0.5
    for units in (torch.ones(2), scale):  # the same actions, told in other units
        model.action_scale.copy_(units)
        torch.manual_seed(1)
        found.append(model.forecast({**seen, "action": done * units}, coming * units, 6)["x"])
    torch.testing.assert_close(*found)
    torch.manual_seed(1)
    other = model.forecast({**seen, "action": done * scale}, -coming * scale, 6)["x"]
    assert not torch.allclose(other, found[1])  # it reads them


@pytest.mark.parametrize("best", [0, 1])
def test_the_report_is_of_the_best_weights(best, tmp_path, monkeypatch):
    bounds, reported = iter([1.0 + (i != best) for i in range(3)]), []

    def note(directory, model, *given):
        reported.append({k: v.clone() for k, v in model.state_dict().items()})
        rmse = {"vrnn": {"all": [1.0]}}
        found = {"windows": 1, "seen": 1, "horizon": 1, "predicts": "value", "rmse": rmse}
        return {**found, "trust": {}}

    monkeypatch.setattr(Pretrainer, "bound", lambda self, *given: next(bounds))
    monkeypatch.setattr(command.report, "write", note)
    monkeypatch.setattr(command.report, "table", lambda found: "")
    monkeypatch.setattr(command.trust, "lines", lambda found: [])
    write_npz(turning(), tmp_path / "logs")
    options = ["--data", str(tmp_path / "logs"), "--run", str(tmp_path / "run")]
    assert main(["pretrain", "vrnn", *options, *SMALL["vrnn"], *SHORT]) == 0
    wanted = best_weights(tmp_path / "run")
    assert all(np.array_equal(reported[0][k], v) for k, v in wanted.items())
