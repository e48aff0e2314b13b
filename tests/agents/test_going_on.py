"""What a run's folder holds when it goes on: the settings that it goes on with; an environment that
is another is refused, and what could be loaded before still can.
"""

import os
import signal
import sys
import types
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from test_reports import read
from test_resume import AGENTS, SHORT_RUN

import agents
from agents.cli import main
from agents.config import load_config
from agents.errors import RunError
from agents.pretrain import Pretrainer
from agents.pretrain.settings import VRNNSettings
from agents.reports.run import _longer
from agents.run import Trainer
from agents.rundir import create_run, keep_config, open_run, read_interface
from agents.sac import SAC
from agents.settings import RunSettings
from worldmodels.data import Episodes, make_episode, write_npz


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


def log(width=1):
    x = np.sin(np.arange(200.0))[:, None].repeat(width, 1)
    return Episodes([make_episode("run", {"x": x})])


MODEL = ["model.latent=2", "model.rnn=8", "model.hidden=8", "split=time", "seen=5", "horizon=5"]
MODEL += ["updates=2", "eval_every=1", "batch=2", "length=8", "draws=2"]


# ---------------------------------------------------------------- settings


def test_a_run_goes_on_with_what_it_was_told_when_it_last_went_on(tmp_path, monkeypatch, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "sac/small", *SETTINGS, "env.id=Pendulum-v1", "--run", run]) == 0
    assert main(["resume", run, "steps=500"]) == 0
    assert main(["resume", run, "eval_episodes=3"]) == 0, "at its end it is judged and reported"
    config, said = open_run(tmp_path / "run")[0], read(tmp_path / "run" / "report.html")
    assert (config["steps"], config["eval_episodes"]) == (500, 3)
    assert "500 of 500" in said and f"pixyz resume {run} steps=1000" in said
    assert main(["resume", run, "steps=450"]) == 2
    assert open_run(tmp_path / "run")[0] == config, "what is refused is not kept"

    learn = SAC.learn

    def stop(self, batch):
        os.kill(os.getpid(), signal.SIGINT)
        return learn(self, batch)

    monkeypatch.setattr(SAC, "learn", stop)
    assert main(["resume", run, "steps=3000000"]) == 130
    assert f"go on with: pixyz resume {run}" in capsys.readouterr().err
    assert main(["resume", run]) == 130, "as it was told"
    assert main(["report", run]) == 0
    said = read(tmp_path / "run" / "report.html")
    assert "of 3,000,000" in said and f"pixyz resume {run} pixyz" in said


def test_a_model_of_a_log_goes_on_so_too(tmp_path):
    run, data = str(tmp_path / "run"), str(tmp_path / "log")
    write_npz(log(), tmp_path / "log")
    assert main(["pretrain", "vrnn", *MODEL, "--data", data, "--run", run]) == 0
    assert main(["resume", run, "updates=4"]) == 0 and main(["resume", run]) == 0
    assert open_run(tmp_path / "run")[0]["updates"] == 4
    said = read(tmp_path / "run" / "report.html")
    assert "of 4 " in said and f"pixyz resume {run} updates=8" in said


@pytest.mark.parametrize(
    ("updates", "bounds", "more"),
    [(4, [3.0, 2.0], ""), (9, [3.0, 2.0], " updates=18"), (4, [1.0, 2.0, 2.0], " patience=4")],
)
def test_what_a_model_of_a_log_is_told_for_going_on(updates, bounds, more):
    settings = VRNNSettings(updates=9, patience=2)
    evaluations = [(i, [bound]) for i, bound in enumerate(bounds)]
    assert _longer({"updates": updates, "evaluations": evaluations}, settings) == more


def test_settings_are_kept_whole_with_where_a_run_started_from(tmp_path):
    run, began = tmp_path / "run", RunSettings(start="runs/offline")
    create_run(run, began, seed=0)
    kept = (run / "config.yaml").stat().st_mtime_ns
    keep_config(run, began)
    assert (run / "config.yaml").stat().st_mtime_ns == kept
    keep_config(run, replace(began, steps=7000, start=None))
    found = load_config(RunSettings, open_run(run)[0])
    assert found == replace(began, steps=7000)
    assert sorted(p.name for p in run.iterdir()) == ["config.yaml", "run.json"]


# ---------------------------------------------------------------- environment and log


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
    run, settings = tmp_path / "run", load_config(VRNNSettings, "pretrain/vrnn", MODEL)
    with Pretrainer(settings, log(1)).begin(run) as begun:
        begun.train()
    before = files(run)
    with (
        Pretrainer(settings, log(2)) as again,
        pytest.raises(RunError, match=r"its shapes x was \[1\], got \[2\]"),
    ):
        again.resume(run)
    assert files(run) == before and agents.load_model(run)
