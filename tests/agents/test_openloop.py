"""`pixyz openloop`: an agent's model judged on episodes that it made itself."""

import argparse
import json

import numpy as np
import pytest
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from own_robot import TINY

from agents.cli import main
from agents.commands.openloop import acted, judge, read_data, shortened
from agents.errors import UsageError
from agents.policy import load, read_settings
from agents.run import Judge
from envs import VectorEnv

pytest.importorskip("matplotlib")


def test_the_model_is_judged_on_fresh_episodes(trained, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(
            [
                "openloop",
                str(trained),
                "--episodes",
                "2",
                "--seen",
                "5",
                "--horizon",
                "10",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    text = capsys.readouterr().out
    assert "Episodes(fresh episodes: 2 episodes" in text and "persist" in text
    assert "open-loop error on these episodes, in standard deviations; units and base" in text
    assert "the shortest episode" not in text
    assert {p.name for p in out.iterdir()} == {
        "open_loop.json",
        "open_loop.png",
        "forecast.png",
        "forecast.gif",
    }
    found = json.loads((out / "open_loop.json").read_text())
    assert found["horizon"] == 10 and all(
        np.isfinite(e).all() for errors in found["rmse"].values() for e in errors.values()
    )


def test_fresh_episodes_are_those_of_an_evaluation(trained):
    """The same seeds and best actions: the rewards add up to the returns that the judge gives."""
    settings, actor = read_settings(trained, None), load(trained).actor
    episodes = acted(actor, settings.env, 2, 3, settings.eval_limit)
    judge = Judge(settings.env, 2, 3, settings.eval_limit)
    assert [float(e["reward"].astype(np.float64).sum()) for e in episodes] == pytest.approx(
        judge.actor(actor)
    )
    for episode in episodes:
        assert episode["is_first"].tolist() == [True] + [False] * (len(episode) - 1)
        assert episode["is_last"].tolist() == [False] * (len(episode) - 1) + [True]
        assert not episode["action"][-1].any() and episode["action"][:-1].any(1).all()


def test_an_episode_that_fails_is_left_out_whole(trained, monkeypatch):
    settings, actor = read_settings(trained, None), load(trained).actor
    length = len(acted(actor, settings.env, 1, 3, settings.eval_limit)[0])
    step, made = PendulumEnv.step, []

    def broken(self, action):
        made.append(1)
        if len(made) == 20:
            raise RuntimeError("the arm left its table")
        return step(self, action)

    monkeypatch.setattr(PendulumEnv, "step", broken)
    with pytest.warns(UserWarning, match="another took its place"):
        [episode] = acted(actor, settings.env, 1, 3, settings.eval_limit)
    assert len(episode) == length and episode["is_first"].sum() == 1


def test_the_actions_are_those_that_were_done(trained, monkeypatch):
    """A robot may do another action than the one that was chosen: its rows say which."""
    settings, actor = read_settings(trained, None), load(trained).actor
    step, done = VectorEnv.step, {"action": np.full((2, 1), 0.25, np.float32)}
    monkeypatch.setattr(VectorEnv, "step", lambda self, action: {**step(self, action), **done})
    for episode in acted(actor, settings.env, 2, 3, settings.eval_limit):
        assert (episode["action"][:-1] == 0.25).all() and not episode["action"][-1].any()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seen", "3"], "seen must be at least"),
        (["--seen", "0"], "--seen, --horizon: expected rows from 1 on, got 0"),
        (["--horizon", "0"], "--seen, --horizon: expected rows from 1 on, got 0"),
        (["--horizon", "-3"], "--seen, --horizon: expected rows from 1 on, got -3"),
        (["--out", f"{__file__}/out"], "--out: expected a folder, new or there"),
        (["--horizon", "100000"], "rows; expected --seen and --horizon"),
        (["--episodes", "0"], "expected --episodes"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(trained, more, message, capsys):
    assert main(["openloop", str(trained), *more]) == 2
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1 and not (trained / "openloop").exists()


def test_short_episodes_are_predicted_as_far_as_they_go():
    given = argparse.Namespace(seen=None, horizon=None, run="run")
    found = [(r.seen, r.horizon) for r in (judge(given), judge(given, 70), judge(given, 18))]
    assert found == [(20, 50), (20, 50), (5, 13)]
    given.horizon = 10
    assert [(r.seen, r.horizon) for r in (judge(given), judge(given, 18))] == [(20, 10), (5, 10)]
    with pytest.raises(UsageError, match=r"an episode has 14 rows; .*, got 5 and 10"):
        judge(given, 14)


@pytest.mark.parametrize(
    ("seen", "horizon", "rows", "said"),
    [
        (None, None, 70, None),
        (None, None, 18, "18 rows: 5 are read and 13 predicted, not 20 and 50; --seen and"),
        (None, None, 6, "6 rows: 5 are read and 1 predicted, not 20 and 50; --seen and"),
        (None, 10, 18, "18 rows: 5 are read and 10 predicted, not 20 and 10; --seen and"),
        (60, None, 70, "70 rows: 60 are read and 10 predicted, not 60 and 50; --seen and"),
        (5, 13, 18, None),
    ],
)
def test_what_short_episodes_cut_is_said(seen, horizon, rows, said):
    given = argparse.Namespace(seen=seen, horizon=horizon, run="run")
    found = shortened(judge(given, rows), given, rows)
    assert [line.count("\n") for line in found] == [0] * (said is not None)
    assert said is None or found[0].startswith(f"the shortest episode has {said}")
    assert said is None or "fewer --episodes" in found[0]


def test_a_cut_horizon_is_said_by_the_command(trained, tmp_path, monkeypatch, capsys):
    real = read_data

    def short(*given):
        split = real(*given)
        return split._replace(test=split.test.with_(e.part(0, 8) for e in split.test))

    monkeypatch.setattr("agents.commands.openloop.read_data", short)
    assert main(["openloop", str(trained), "--episodes", "2", "--out", str(tmp_path / "out")]) == 0
    assert "the shortest episode has 8 rows: 5 are read and 3 predicted" in capsys.readouterr().out


def test_a_run_of_pretrain_is_sent_to_its_report(tmp_path, monkeypatch, capsys):
    run = tmp_path / "log"
    monkeypatch.setattr("agents.commands.openloop.open_run", lambda _: ({"kind": "rssm"}, {}))
    assert main(["openloop", str(run)]) == 2
    assert f"pixyz report {run}" in capsys.readouterr().err


def test_an_agent_without_a_decoder_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = [x for x in TINY if not x.startswith("agent.")]
    agent = [
        "agent.kind=tdmpc",
        "agent.latent=8",
        "agent.units=8",
        "agent.batch=4",
        "agent.candidates=8",
        "agent.proposals=2",
        "agent.elites=4",
    ]
    assert main(["train", "dreamer_v3/pendulum", *small, *agent, "--run", "planner"]) == 0
    capsys.readouterr()
    assert (
        main(["openloop", "planner"]) == 2
        and "tdmpc predicts no observations" in capsys.readouterr().err
    )
