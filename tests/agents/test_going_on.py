"""What a run's folder holds when it goes on: an environment that is another is refused, and what
could be loaded before still can.
"""

import sys
import types

import gymnasium
import numpy as np
import pytest
from test_resume import AGENTS, SHORT_RUN

import agents
from agents.config import load_config
from agents.errors import RunError
from agents.pretrain import Pretrainer
from agents.pretrain.settings import VRNNSettings
from agents.run import Trainer
from agents.rundir import read_interface
from agents.settings import RunSettings
from worldmodels.data import Episodes, make_episode


class Arm(gymnasium.Env):
    """A point that stays where it is."""

    size, reach, bound = 3, 1.0, 1.0

    def __init__(self):
        box = gymnasium.spaces.Box
        self.observation_space = box(-self.bound, self.bound, (self.size,), np.float32)
        self.action_space = box(-self.reach, self.reach, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(self.size, np.float32), {}

    def step(self, action):
        return np.zeros(self.size, np.float32), float(action[0]), False, False, {}


SETTINGS = [*SHORT_RUN, *AGENTS["sac/small"], "env.id=my_arm:Arm", "eval_every=0"]


@pytest.fixture
def arm(monkeypatch):
    made = type("Arm", (Arm,), {})
    monkeypatch.setitem(sys.modules, "my_arm", types.SimpleNamespace(Arm=made))
    return made


def files(run):
    """What is kept of how a run began."""
    return {name: (run / name).read_bytes() for name in ("config.yaml", "interface.json", "starts")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 4}, r"its observation shape was \[3\], got \[4\]; give the one that"),
        ({"reach": 2.0}, r"its action low was -1.0, got -2.0"),
    ],
)
def test_another_environment_is_refused_and_the_run_loads_as_before(
    change, said, arm, tmp_path, monkeypatch
):
    run, settings = tmp_path / "run", load_config(RunSettings, "sac/small", SETTINGS)
    with Trainer(settings).begin(run) as begun:
        begun.train()
    before, seen = files(run), np.full(3, 0.5, np.float32)
    acts = agents.load(run).act(seen)
    for name, value in change.items():
        monkeypatch.setattr(arm, name, value)
    with Trainer(settings) as again, pytest.raises(RunError, match=said):
        again.resume(run)
    assert files(run) == before and np.array_equal(agents.load(run).act(seen), acts)


def test_wider_bounds_of_what_is_observed_are_no_other_environment(arm, tmp_path, monkeypatch):
    """They are what a run is told to look at, where observations lie outside."""
    run, settings = tmp_path / "run", load_config(RunSettings, "sac/small", SETTINGS)
    with Trainer(settings).begin(run) as begun:
        begun.run.save()
    monkeypatch.setattr(arm, "bound", 5.0)
    with Trainer(settings).resume(run):
        assert read_interface(run)["observation"]["low"] == -1.0


@pytest.mark.parametrize("content", [None, "{"])
def test_an_interface_that_is_lost_is_written_by_a_run_that_goes_on(content, arm, tmp_path):
    run, settings = tmp_path / "run", load_config(RunSettings, "sac/small", SETTINGS)
    with Trainer(settings).begin(run) as begun:
        begun.run.save()
    kept = read_interface(run)
    (run / "interface.json").unlink()
    if content:
        (run / "interface.json").write_text(content)
    with Trainer(settings).resume(run):
        assert read_interface(run) == kept


def test_a_log_of_other_shapes_is_refused_and_the_model_loads_as_before(tmp_path):
    def log(width):
        return Episodes(
            [make_episode("run", {"x": np.sin(np.arange(200.0))[:, None].repeat(width, 1)})]
        )

    small = ["model.latent=2", "model.rnn=8", "model.hidden=8", "split=time", "horizon=10"]
    short = ["updates=2", "eval_every=1", "batch=2", "length=8"]
    run, settings = tmp_path / "run", load_config(VRNNSettings, "pretrain/vrnn", [*small, *short])
    with Pretrainer(settings, log(1)).begin(run) as begun:
        begun.train()
    before = files(run)
    with (
        Pretrainer(settings, log(2)) as again,
        pytest.raises(RunError, match=r"its shapes x was \[1\], got \[2\]"),
    ):
        again.resume(run)
    assert files(run) == before and agents.load_model(run)
