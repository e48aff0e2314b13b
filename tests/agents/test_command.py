"""The command beside runs: own environments and agents, paths that look like YAML, runs from
Python.
"""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from own_robot import ROBOT, TINY

import agents
import pixyz
from agents.checkpoint import load_checkpoint
from agents.cli import main
from agents.commands import pretrain
from agents.config import load_config, to_yaml
from agents.pretrain.settings import DMMSettings, RSSMSettings
from agents.run import Judge, Trainer
from agents.settings import RunSettings

# ---------------------------------------------------------------- names


def test_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"pixyz {pixyz.__version__}\n"


@pytest.mark.parametrize("name", ["my_robot:MyRobot/Point-v0", "my_robot:Point"])
def test_an_environment_of_the_current_folder(name, robot, capsys):
    assert main(["show", "dreamer_v3/pendulum", f"env.id={name}"]) == 0
    assert sys.path[-1] == str(robot)  # behind what is installed
    assert main(["show", "dreamer_v3/pendulum", "env.id=MyRobot/Other-v0"]) == 2
    assert "module:Id" in capsys.readouterr().err


def test_an_agent_of_the_current_folder(robot, capsys):
    (robot / "my_agent.py").write_text(
        "from agents.dreamer.v3 import DreamerV3\n\n\nclass Mine(DreamerV3):\n    pass\n"
    )
    assert main(["show", "dreamer_v3/pendulum", "agent.kind=my_agent:Mine"]) == 0
    assert "kind: my_agent:Mine" in capsys.readouterr().out
    assert main(["show", "dreamer_v3/pendulum", "agent.kind=no_agent:Mine"]) == 2
    assert "in the current folder" in capsys.readouterr().err


def test_a_folder_of_the_users_that_ours_hides(robot, capsys):
    (robot / "envs").mkdir()
    (robot / "envs" / "mine.py").write_text(ROBOT)
    assert main(["show", "dreamer_v3/pendulum", "env.id=envs.mine:Point"]) == 2
    text = capsys.readouterr().err
    assert "the folder envs/ here is hidden by the package envs" in text and text.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", ["fly", "", "train", "train x --nonsense", "evaluate x --episodes many"]
)
def test_wrong_arguments_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    text = capsys.readouterr().err
    assert (
        ended.value.code == 2
        and text.startswith("pixyz: ")
        and text.count("\n") == 1
        and "--help" in text
    )


# ---------------------------------------------------------------- paths and actions of logs


def log(folder, high=1.0, rows=400):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=(rows, 3)), 0).astype(np.float32) / 10
    action = rng.uniform(-high, high, (rows, 1)).astype(np.float32)
    action[:2] = [[high], [-high]]
    np.savez(folder / "log.npz", observation=x, action=action)
    return folder


SMALL = [
    "updates=2",
    "batch=2",
    "length=8",
    "eval_every=1",
    "seen=5",
    "horizon=5",
    "draws=2",
    "threads=1",
]


@pytest.mark.parametrize(
    "name", ["2024-05-01", "0042", "on", "run #2", "null", "1e5", "{a", "'quoted"]
)
def test_a_path_is_a_path(name, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "agents.runs.start", lambda settings, folder: types.SimpleNamespace(stop=settings)
    )
    parser = types.SimpleNamespace(
        model="dmm", data=Path(name), format=None, overrides=[], config=None, run=tmp_path
    )
    monkeypatch.setattr(DMMSettings, "code", property(lambda self: self.data), raising=False)
    assert pretrain.pretrain(parser) == name
    (tmp_path / "config.yaml").write_text(to_yaml(DMMSettings(data=name)))
    assert load_config(DMMSettings, tmp_path / "config.yaml").data == name
    assert load_config(DMMSettings, {}, [f"data={name} moved"]).data == f"{name} moved"


def test_a_run_on_a_log_with_such_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log(tmp_path / "2024-05-01")
    assert (
        main(
            [
                "pretrain",
                "dmm",
                "--data",
                "2024-05-01",
                *SMALL,
                "model.observation=gaussian",
                "--run",
                "run",
            ]
        )
        == 0
    )
    (tmp_path / "2024-05-01").rename(tmp_path / "run #2")
    assert main(["resume", "run", "data=run #2", "updates=3"]) == 0


def test_actions_beyond_an_agents_are_warned_of_and_scaled(tmp_path, capsys, monkeypatch):
    data = str(log(tmp_path / "log", high=2.0))
    model = "model={deter: 16, hidden: 8, groups: 4, classes: 4, blocks: 2, units: 8}"
    pretrain = [
        "pretrain",
        "rssm",
        "--config",
        "pretrain/dreamer_v3",
        "--data",
        data,
        *SMALL,
        "split=time",
        model,
    ]
    train = ["train", "dreamer_v3/pendulum", *TINY, "--from"]
    with pytest.warns(UserWarning, match=r"actions reach \[2\.0\].*action_scale"):
        assert main([*pretrain, "--run", str(tmp_path / "plain")]) == 0
    assert main([*train, str(tmp_path / "plain"), "--run", str(tmp_path / "a")]) == 2
    assert "action_scale" in capsys.readouterr().err and not (tmp_path / "a").exists()
    assert main([*pretrain, "action_scale=[1.5]", "--run", str(tmp_path / "b")]) == 2
    assert "reach [2.0]" in capsys.readouterr().err and not (tmp_path / "b").exists()
    assert main([*pretrain, "action_scale=[2.0]", "--run", str(tmp_path / "scaled")]) == 0
    assert main([*train, str(tmp_path / "scaled"), "--run", str(tmp_path / "c")]) == 0
    loaded = agents.load_model(tmp_path / "scaled")
    flag, zero = torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 1)
    batch = {
        "observation": torch.zeros(1, 1, 3),
        "is_first": flag,
        "is_terminal": flag,
        "reward": zero,
    }
    given = loaded.prepare({**batch, "action": torch.full((1, 1, 1), 2.0)})
    assert given["action"].tolist() == [[[1.0]]]  # the environment's bound is an agent's 1
    assert load_config(RSSMSettings, {}).action_scale == ()


# ---------------------------------------------------------------- runs from Python


def names(run):
    """What a run's folder holds, but for names that count."""
    return {p.relative_to(run).as_posix() for p in run.rglob("*") if p.name not in (".lock",)}


def test_a_run_from_python_is_the_commands(trained, tmp_path, capsys):
    settings = load_config(RunSettings, "dreamer_v3/pendulum", TINY)
    run = agents.start(settings, tmp_path / "run")
    assert run.at == 400 and not run.stop.asked and "learned policy" in capsys.readouterr().out
    assert names(tmp_path / "run") == names(trained)
    with Trainer(settings).begin(tmp_path / "bare") as trainer:  # no display, no report
        trainer.train()
    assert names(tmp_path / "bare") == names(trained) - {"curve.png", "report.html"}
    newest = [
        load_checkpoint(folder / "checkpoints").tensors
        for folder in (trained, tmp_path / "run", tmp_path / "bare")
    ]
    for other in newest[1:]:
        assert all(
            np.array_equal(other[k], v, equal_nan=True)
            for k, v in newest[0].items()
            if k.startswith("agent")
        )
    for folder in ("run", "bare"):
        assert main(["evaluate", str(tmp_path / folder), "--episodes", "2"]) == 0
    assert agents.resume(tmp_path / "bare", ["steps=450"]).at == 450
    assert (tmp_path / "bare" / "curve.png").exists()
    with pytest.raises(ValueError, match="cannot change"):
        agents.resume(tmp_path / "bare", ["seed=3"])
    with pytest.raises(ValueError, match="has made 450 steps already"):
        agents.resume(tmp_path / "bare", ["steps=440"])


def test_a_world_model_from_python_is_the_commands(tmp_path, capsys):
    data = log(tmp_path / "log")
    changes = [*SMALL, "model.observation=gaussian", f"data={data}"]
    run = agents.start(load_config(DMMSettings, "pretrain/dmm", changes), tmp_path / "python")
    assert run.progress.updates == 2 and "validation bound" in capsys.readouterr().out
    assert (
        main(
            [
                "pretrain",
                "dmm",
                "--data",
                str(data),
                *changes[:-1],
                "--run",
                str(tmp_path / "command"),
            ]
        )
        == 0
    )
    assert names(tmp_path / "python") == names(tmp_path / "command")
    assert agents.resume(tmp_path / "python", ["updates=3"]).progress.updates == 3


def test_a_run_that_was_stopped_before_its_first_evaluation(tmp_path, monkeypatch, capsys):
    settings = load_config(RunSettings, "dreamer_v3/pendulum", TINY)
    random = Judge.random

    def stopped(self, stop=None):
        stop.ask()

    monkeypatch.setattr(Judge, "random", stopped)
    run = agents.start(settings, tmp_path / "run")
    assert (
        run.stop.code == 130
        and run.progress.evaluations == []
        and "pixyz resume" in capsys.readouterr().err
    )
    monkeypatch.setattr(Judge, "random", random)
    actor = Judge.actor
    monkeypatch.setattr(Judge, "actor", lambda self, agent, stop=None, explore=False: stop.ask())
    assert main(["resume", str(tmp_path / "run")]) == 130  # in its only evaluation
    monkeypatch.setattr(Judge, "actor", actor)
    assert main(["resume", str(tmp_path / "run")]) == 0
    assert "learned policy" in capsys.readouterr().out and (tmp_path / "run" / "curve.png").exists()


def test_a_report_without_an_evaluation(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Judge, "actor", lambda self, agent, stop=None, explore=False: [])
    agents.start(load_config(RunSettings, "dreamer_v3/pendulum", TINY), tmp_path / "run")
    assert capsys.readouterr().out.split("\n")[1].split()[2:] == ["-", "-", "-", "0"]
