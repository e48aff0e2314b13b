"""An agent that starts from another run: what the command asks for counts, or is refused by its
name.
"""

import pytest
from test_resume import AGENTS, SHORT_RUN

from agents.cli import main, read
from agents.commands import robot
from agents.config import load_config
from agents.errors import ConfigError, RunError
from agents.pretrain import start as of_start
from agents.pretrain.settings import RSSMSettings
from agents.pretrain.start import start_from, start_settings
from agents.run import Trainer
from agents.rundir import create_run, open_run
from agents.settings import RunSettings

SHORT = [*SHORT_RUN, "env.id=Pendulum-v1", "eval_every=0", "train_ratio=4"]


@pytest.fixture(scope="module")
def sac(tmp_path_factory):
    run = tmp_path_factory.mktemp("start") / "sac"
    assert main(["train", "sac/small", *SHORT, *AGENTS["sac/small"], "--run", str(run)]) == 0
    return run


@pytest.fixture
def rssm(tmp_path):
    """What is read of a run of `pixyz pretrain rssm` before its weights are."""
    settings = load_config(RSSMSettings, "pretrain/dreamer_v3", ["model.deter=16"])
    return create_run(tmp_path / "rssm", settings, seed=0)


def test_what_a_command_asks_of_the_agent_counts(sac, tmp_path):
    run = tmp_path / "run"
    changes = ["agent.lr=0.123", "agent.batch=8", "--from", str(sac), "--run", str(run)]
    assert main(["train", "sac/small", *SHORT, *changes]) == 0
    config = open_run(run)[0]
    agent = config["agent"]
    assert (agent["kind"], agent["lr"], agent["batch"], agent["units"]) == ("sac", 0.123, 8, 16)
    assert config["start"] == str(sac)
    settings = load_config(RunSettings, {**config, "start": None})
    with Trainer(settings) as made:
        start_from(made.agent, sac)  # as the run began


def test_another_agent_and_other_sizes_are_refused(sac, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "tdmpc/small", "agent.discount=0.5", "--from", str(sac)]) == 2
    said = capsys.readouterr().err
    assert f"{sac} has an agent of the kind 'sac', asked for is 'tdmpc'" in said
    assert main(["robot", "learn", "tdmpc/small", "--from", str(sac)]) == 2
    assert "asked for is 'tdmpc'" in capsys.readouterr().err
    wider = ["agent.units=8", "--from", str(sac)]
    assert main(["train", "sac/small", *SHORT, *wider]) == 2
    said = capsys.readouterr().err
    assert "what shapes weights must be as there, of agent.units (16 there, 8 here)" in said
    assert not list(tmp_path.iterdir())


def test_what_a_file_of_ones_own_says_counts_above_the_run_and_its_base_does_not(sac, tmp_path):
    mine, base = tmp_path / "mine.yaml", tmp_path / "base.yaml"
    base.write_text("base: sac/small\nagent: {batch: 7, discount: 0.5}\n")
    mine.write_text("base: base.yaml\nagent: {kind: sac, lr: 0.02, discount: 0.6}\n")

    def start(*changes):
        settings = load_config(RunSettings, mine, changes)
        return start_settings(settings, sac, changes, mine).agent

    found = load_config(RunSettings, open_run(sac)[0]).agent
    agent = start("agent.discount=0.7")
    assert (agent.lr, agent.discount, agent.units) == (0.02, 0.7, 16)
    assert agent.batch == found.batch != 7
    given = read(["train", str(mine), "--from", str(sac)])
    assert start_settings(load_config(RunSettings, mine), sac, (), given.config).agent.lr == 0.02
    assert start("agent.kind=sac") == start()
    mine.write_text("base: tdmpc/small\nagent: {horizon: 2, batch: 7}\n")
    assert start("agent.kind=sac") == found  # the file speaks of another agent


def test_a_robot_learns_with_what_the_command_asks_for(sac):
    given = read(["robot", "learner", "sac/small", "agent.lr=0.01", "--from", str(sac)])
    settings, _ = robot._settings(given)
    assert (settings.agent.lr, settings.agent.units) == (0.01, 16)


def test_of_a_world_model_its_costs_may_be_others_and_nothing_else(rssm):
    def start(*changes, config="dreamer_v3/fast"):
        return start_settings(load_config(RunSettings, config, changes), rssm, changes).agent

    plain = start("agent.lr=0.5")
    assert plain.model == load_config(RSSMSettings, open_run(rssm)[0]).model and plain.lr == 0.5
    found = start("agent.model.free_nats=0.25", "agent.model.deter=16")
    assert (found.model.free_nats, found.model.deter) == (0.25, 16)
    with pytest.raises(RunError, match=r"agent.model.deter=32: the world model of .* has 16"):
        start("agent.model.deter=32")
    with pytest.raises(RunError, match=r"agent.model.latent=gaussian"):
        start("agent.model={latent: gaussian}")
    with pytest.raises(RunError, match=r"world model of a Dreamer or PlaNet, asked for is"):
        start(config="sac/small")
    with pytest.raises(ConfigError, match=r"unknown key agent.model.detr"):
        start("agent.model.detr=16")


def test_what_is_no_run_to_start_from_is_told_what_is(tmp_path):
    settings = load_config(RSSMSettings, "pretrain/dreamer_v3")
    run = create_run(tmp_path / "run", settings, seed=0)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("kind: rssm", "kind: vrnn"))
    with pytest.raises(RunError, match="of `pixyz pretrain rssm`, or of an agent, got one of 'vrn"):
        start_settings(RunSettings(), run)
    assert "pixyz pretrain rssm" in of_start.FROM and "an agent of the same kind" in of_start.FROM
