"""The command: a run from beginning to end, a stop, bad input."""

import json
import os
import signal

import numpy as np
import pytest
import torch
import yaml

from agents.cli import in_a_line, main
from agents.dreamer.v3 import DreamerV3
from agents.logger import read_metrics

TINY = [
    "dreamer_v3/pendulum",
    "steps=500",
    "prefill=300",
    "train_ratio=16",
    "eval_every=0",
    "eval_episodes=2",
    "log_every=2",
    "agent.batch=4",
    "agent.length=8",
    "agent.horizon=3",
    "env.time_limit=100",
    "checkpoint_every=200",
]


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def test_a_run_from_beginning_to_end(run, capsys):
    assert main(["train", *TINY, "--run", str(run)]) == 0
    text = capsys.readouterr().out
    assert "learned policy" in text and "random policy" in text and "curve.png" in text
    assert (run / "curve.png").stat().st_size > 10_000
    lines = read_metrics(run / "metrics.jsonl")
    assert {x["kind"] for x in lines} == {"train", "eval", "episode"}
    info = json.loads((run / "run.json").read_text())
    assert info["seed"] == 0 and info["versions"]["torch"] == torch.__version__
    assert yaml.safe_load((run / "config.yaml").read_text())["agent"]["batch"] == 4
    assert main(["evaluate", str(run), "--episodes", "2"]) == 0
    assert "step 500" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_run(tmp_path):
    found = []
    for name in ("a", "b"):
        main(["train", *TINY, "--run", str(tmp_path / name)])
        keep = ("loss", "return", "eval_return")
        found.append(
            [[x.get(k) for k in keep] for x in read_metrics(tmp_path / name / "metrics.jsonl")]
        )
    assert found[0] == found[1]


def test_interrupted_and_resumed(run, capsys, monkeypatch):
    learn = DreamerV3.learn

    def stop(self, batch):
        os.kill(os.getpid(), signal.SIGINT)
        return learn(self, batch)  # the update is finished first

    monkeypatch.setattr(DreamerV3, "learn", stop)
    assert main(["train", *TINY, "--run", str(run)]) == 130
    assert f"pixyz resume {run}" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["resume", str(run)]) == 0
    steps = [x["step"] for x in read_metrics(run / "metrics.jsonl")]
    assert steps == sorted(steps) and steps[-1] == 500
    assert main(["resume", str(run), "agent.lr=1"]) == 2
    assert "cannot change" in capsys.readouterr().err
    assert main(["resume", str(run), "steps=600"]) == 0
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] == 600
    assert main(["resume", str(run), "steps=550"]) == 2
    assert "has made 600 steps already" in capsys.readouterr().err


@pytest.mark.parametrize("bad", [1, 1000])
def test_a_bad_observation_costs_an_episode_and_many_end_the_run(bad, run, capsys, monkeypatch):
    from gymnasium.envs.classic_control.pendulum import PendulumEnv

    step = PendulumEnv.step
    calls = []

    def broken(self, action):
        calls.append(1)
        obs, *rest = step(self, action)
        return (obs * np.nan if 700 <= len(calls) < 700 + bad else obs, *rest)

    monkeypatch.setattr(PendulumEnv, "step", broken)
    with pytest.warns(UserWarning, match="failed at step .* and was made anew"):
        assert main(["train", *TINY, "--run", str(run)]) == (0 if bad == 1 else 2)
    if bad > 1:
        last = capsys.readouterr().err.strip().split("\n")[-1]
        assert last.startswith("pixyz: ") and "nan" in last.lower()
    assert "Traceback" in (run / "failures.txt").read_text()
    assert list((run / "checkpoints").glob("checkpoint-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "dreamer_v3/pendulm"], "nearest: dreamer_v3/pendulum"),
        (["train", "dreamer_v3/pendulum", "agent.lrr=1"], "unknown key agent.lrr"),
        (["train", "dreamer_v3/pendulum", "steps=many"], "steps: expected int"),
        (["train", "dreamer_v3/pendulum", "env.id=Pendulun-v1"], "Pendulum-v1"),
        (
            ["train", "dreamer_v3/pendulum", "env.id=dm_control/cartpole-swingdown"],
            "cartpole-swingup",
        ),
        (["train", "dreamer_v3/pendulum", "capacity=10"], "capacity"),
        (["train", "dreamer_v3/pendulum", "device=cdua"], "device"),
        (["resume", "nowhere"], "no run folder"),
        (["evaluate", "nowhere"], "no run folder"),
        (["show", "dreamer_v3/pendulum", "agent.model.latent=cat"], "categorical, gaussian"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    text = capsys.readouterr().err.strip()
    assert message in text and "\n" not in text
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_touched(run, capsys):
    run.mkdir()
    (run / "mine.txt").write_text("precious")
    assert main(["train", *TINY, "--run", str(run)]) == 2
    assert "exists" in capsys.readouterr().err and [p.name for p in run.iterdir()] == ["mine.txt"]


def test_a_missing_extra_is_told_before_anything_is_written(run, capsys, monkeypatch):
    monkeypatch.setattr(
        "agents.process.find_spec", lambda name: None if name == "matplotlib" else True
    )
    assert main(["train", *TINY, "--run", str(run)]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err and not run.exists()


def test_warnings_of_ours_are_a_line_and_those_of_others_as_python_writes_them():
    import agents.cli

    where = agents.cli.__file__
    assert in_a_line("the log\nis odd", UserWarning, where, 3) == "pixyz: the log is odd\n"
    assert in_a_line("old", FutureWarning, where, 3) == f"{where}:3: FutureWarning: old\n"
    assert in_a_line("old", UserWarning, "torch/x.py", 3) == "torch/x.py:3: UserWarning: old\n"


def test_a_run_is_shown_by_its_settings(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text(
        "agent: {kind: sac, units: 16}\nenv: {id: Pendulum-v1}\nsteps: 7777\n"
    )
    assert main(["show", str(tmp_path)]) == 0
    assert "steps: 7777" in capsys.readouterr().out


def test_show(capsys):
    assert main(["show", "dreamer_v3/pendulum"]) == 0
    text = capsys.readouterr().out
    assert (
        "batch: 16" in text and r"D_{KL}" in text and "deter -> stoch" in text and "for t" in text
    )
