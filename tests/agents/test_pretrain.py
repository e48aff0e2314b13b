"""Pretraining: from a folder of logs to a report, exact resume, errors before anything is written,
an agent's start.
"""

import json
import shutil

import numpy as np
import pytest
import torch

from agents.checkpoint import load_checkpoint
from agents.cli import main
from agents.config import load_config
from agents.pretrain import KINDS, Pretrainer, start_from
from agents.pretrain.report import evaluate
from agents.pretrain.trainer import best_weights
from agents.replay import ReplayBuffer
from agents.replay.episodes import is_replay, read_replay
from agents.run import Trainer
from agents.rundir import open_run
from agents.settings import RunSettings
from worldmodels.data import Episodes, make_episode, write_npz

SMALL = {
    "rssm": [
        "model.deter=16",
        "model.hidden=16",
        "model.groups=4",
        "model.units=16",
        "model.bins=11",
    ],
    "dmm": ["model.latent=4", "model.transition=8", "model.emission=8", "model.rnn=8"],
    "vrnn": ["model.latent=4", "model.rnn=8", "model.hidden=8"],
    "tdvae": ["model.latent=4", "model.rnn=8", "model.hidden=8"],
    "one_step": ["model.units=8", "model.members=3"],
}
SHORT = [
    "updates=12",
    "eval_every=4",
    "checkpoint_every=6",
    "batch=4",
    "length=8",
    "seen=8",
    "horizon=6",
    "draws=2",
    "warmup=2",
]


def turning(episodes=3, rows=240, seed=0, size=3):
    """A rotation that an action pushes, seen through a fixed matrix."""
    rng = np.random.default_rng(seed)
    look, found = np.random.default_rng(9).normal(size=(2, size)), []
    for i in range(episodes):
        angle, speed = rng.uniform(0, 6), 0.3
        x, action = np.zeros((rows, 2)), rng.uniform(-1, 1, (rows, 1))
        for t in range(rows):
            x[t] = np.cos(angle), np.sin(angle)
            speed = 0.9 * speed + 0.03 + 0.02 * action[t, 0]
            angle += speed
        found.append(make_episode(f"{i}", {"observation": x @ look}, action=action))
    return Episodes(found, source="turning")


def settings(kind, *more):
    return load_config(KINDS[kind], f"pretrain/{kind}", [*SMALL[kind], *SHORT, *more])


def trainer(kind, directory, *more, data=None, resume=False):
    made = Pretrainer(settings(kind, *more), data or turning())
    return made.resume(directory) if resume else made.begin(directory)


def same(a, b):
    return all(torch.equal(v, b.model.state_dict()[k]) for k, v in a.model.state_dict().items())


def test_other_data_is_refused_at_resume(tmp_path):
    with trainer("vrnn", tmp_path / "run") as first:
        first.run.save()
    with pytest.raises(ValueError, match="is not the data that"):
        trainer("vrnn", tmp_path / "run", data=turning(seed=1), resume=True)


def test_training_ends_when_validation_stays(tmp_path):
    with trainer("vrnn", tmp_path / "run", "updates=1000", "patience=2", "lr=1e-12") as run:
        at = run.train().progress.updates
        assert at < 1000 and run.schedule.waited(run.run.progress) == 2
        assert run.best[0] == at - 2 * 4


def test_a_number_that_is_not_finite_leaves_the_weights(tmp_path):
    with trainer("vrnn", tmp_path / "run") as run:
        before = {k: v.clone() for k, v in run.model.state_dict().items()}
        bad = {
            "observation": torch.full((8, 4, 3), torch.nan),
            "is_first": torch.zeros(8, 4, dtype=torch.bool),
        }
        with pytest.raises(FloatingPointError, match="not finite in the batch: observation"):
            run.learner.learn(bad)
        assert all(torch.equal(v, before[k]) for k, v in run.model.state_dict().items())
        assert run.learner.made == 0


@pytest.mark.parametrize("kind", list(KINDS))
def test_predictions_are_in_the_units_and_keys_of_the_log(kind, tmp_path):
    data = turning()
    pairs = [
        make_episode(
            e.name,
            {"a": e["observation"][:, :1] * 100 + 50, "b": e["observation"]},
            action=e["action"],
        )
        for e in data
    ]
    run = trainer(kind, tmp_path / "run", data=Episodes(pairs))
    found = evaluate(run.model, run.data, run.settings)
    assert set(found["rmse"]) == {kind, "persist", "mean", "ridge"} and found["left_out"] == {}
    assert all(set(e) == {"a", "b", "all"} and len(e["a"]) == 6 for e in found["rmse"].values())
    # an untrained model in the wrong units is 50 deviations away
    assert found["rmse"][kind]["a"][0] < 5


def test_the_rssm_learns_and_reads_actions(tmp_path):
    run = trainer(
        "rssm",
        tmp_path / "run",
        "updates=300",
        "eval_every=100",
        "length=16",
        "lr=3e-3",
        "checkpoint_every=1000",
        data=turning(6),
    )
    run.train()
    run.load_best()
    rmse = evaluate(run.model, run.data, run.settings)["rmse"]
    assert rmse["rssm"]["all"][2] < 0.6 * min(rmse["persist"]["all"][2], rmse["mean"]["all"][2])
    seen = {k: torch.from_numpy(v[:8])[:, None] for k, v in run.data.test[0].series.items()}
    guesses = []
    for push in (-1.0, 1.0):
        torch.manual_seed(0)
        guesses.append(run.model.forecast(seen, torch.full((6, 1, 1), push), 6)["observation"])
    assert not torch.allclose(*guesses)


def test_the_command_from_a_folder_to_a_report_and_an_agent(tmp_path, capsys):
    logs, run = tmp_path / "logs", tmp_path / "run"
    write_npz(turning(4), logs)
    tiny = [
        "model.deter=16",
        "model.hidden=8",
        "model.units=8",
        "model.bins=11",
        "model.groups=4",
        "split=time",
    ]
    arguments = [
        "pretrain",
        "rssm",
        *SHORT,
        "--data",
        str(logs),
        "--config",
        "pretrain/dreamer_v3",
        "--run",
        str(run),
        *tiny,
    ]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "4 episodes, 960 rows" in text and "validation bound" in text and "ridge" in text
    for name in ("open_loop.png", "forecast.png", "forecast.gif"):
        assert (run / name).stat().st_size > 5000, name
    assert json.loads((run / "open_loop.json").read_text())["horizon"] == 6
    assert main(arguments) == 2 and "is not empty" in capsys.readouterr().err
    assert main(["resume", str(run), "updates=14"]) == 0
    assert load_checkpoint(run / "checkpoints").step == 14
    assert main(["resume", str(run), "seen=9"]) == 2 and "cannot change" in capsys.readouterr().err

    agent_run = tmp_path / "agent"
    assert (
        main(
            [
                "train",
                "dreamer_v3/pendulum",
                "steps=440",
                "prefill=400",
                "eval_every=0",
                "eval_episodes=1",
                "env.time_limit=100",
                "agent.batch=4",
                "agent.length=8",
                "--from",
                str(run),
                "--run",
                str(agent_run),
            ]
        )
        == 0
    )
    config, _ = open_run(agent_run)
    assert config["agent"]["model"]["deter"] == 16 and config["start"] == str(run)
    with Trainer(load_config(RunSettings, config)) as begun:
        start_from(begun.agent, run)
        weights = begun.agent.state()["weights"]
    for key, value in best_weights(run).items():
        if key.startswith("model."):
            assert torch.equal(weights[key], value), key
    assert (
        main(
            [
                "train",
                "dreamer_v3/cartpole_swingup",
                "--from",
                str(run),
                "--run",
                str(tmp_path / "other"),
            ]
        )
        == 2
    )
    assert "the environment must have the log's observation keys" in capsys.readouterr().err


def test_a_config_of_a_kind_that_is_called_otherwise(tmp_path):
    """``pixyz pretrain doubt``, as the page of robots has it."""
    logs, run = tmp_path / "logs", tmp_path / "run"
    write_npz(turning(), logs)
    changes = [*SMALL["one_step"], *SHORT]
    assert main(["pretrain", "doubt", *changes, "--data", str(logs), "--run", str(run)]) == 0
    config = open_run(run)[0]
    assert config["kind"] == "one_step" and config["model"]["linear"] is True
    assert config["model"]["lately"] == [2, 20] and config["model"]["prior"] == 0.5
    other = ["--config", "pretrain/vrnn", "--data", str(logs), "--run", str(tmp_path / "no")]
    assert main(["pretrain", "doubt", *other]) == 2


def test_bad_data_is_refused_before_a_folder_is_made(tmp_path, capsys):
    episode = turning(1)[0]
    broken = np.array(episode["observation"])
    broken[7, 1] = np.nan
    logs = tmp_path / "logs"
    write_npz(
        Episodes([make_episode("0", {"observation": broken}, action=episode["action"])]), logs
    )
    run = tmp_path / "run"
    assert main(["pretrain", "vrnn", "--data", str(logs), "--run", str(run)]) == 2
    error = capsys.readouterr().err
    assert (
        "00000.npz, step 7, key observation: expected a finite number, got nan, index [1]" in error
        and error.count("\n") == 1
    )
    shutil.rmtree(logs)
    write_npz(turning(1, rows=60), logs)
    wanted = ["split=time", "seen=50", "horizon=50"]
    assert main(["pretrain", "vrnn", *wanted, "--data", str(logs), "--run", str(run)]) == 2
    assert (
        "reads 50 rows and predicts 50, and the longest test episode has 6"
        in capsys.readouterr().err
    )
    assert main(["pretrain", "vrnn", "keys=[nothing]", "--data", str(logs), "--run", str(run)]) == 2
    assert main(["pretrain", "vrnn", "modle.rnn=3", "--data", str(logs), "--run", str(run)]) == 2
    assert main(["pretrain", "vrnn", "--data", str(tmp_path / "none"), "--run", str(run)]) == 2
    assert not run.exists()


def test_a_replay_is_a_data_set(tmp_path):
    flags = dict.fromkeys(["is_first", "is_last", "is_terminal"], ((), bool))
    spec = {
        "x": ((2,), "f4"),
        "action": ((1,), "f4"),
        "reward": ((), "f4"),
        **flags,
        "deter": ((3,), "f4"),
    }
    with ReplayBuffer(spec, 40, 2, directory=tmp_path / "replay", stored=["deter"]) as buffer:
        # rings of 20 rows: episodes of 10 rows, the first row of the oldest is gone
        for t in range(33):
            row = {k: np.zeros((2, *s), d) for k, (s, d) in spec.items()}
            row["x"][:] = t
            row["is_first"][:], row["is_last"][:] = t % 10 == 0, t % 10 == 9
            buffer.add(row)
    assert is_replay(tmp_path / "replay") and not is_replay(tmp_path)
    data = read_replay(tmp_path / "replay")
    assert data.observations == ["x"] and [len(e) for e in data] == [7, 10, 3] * 2
    assert data[0]["x"][0, 0] == 13 and data[0]["is_first"].tolist() == [True] + [False] * 6
    assert [bool(e["is_last"][-1]) for e in data][:3] == [True, True, False]
    with pytest.raises(ValueError, match="expected the folder of a replay"):
        read_replay(tmp_path)
