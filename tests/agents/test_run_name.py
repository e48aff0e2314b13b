"""An unnamed run is called after what the command says: config, agent, environment, seed."""

import sys

import pytest

from agents.cli import main
from agents.config import load_config
from agents.run_name import run_name
from agents.settings import RunSettings

LITTLE = ["steps=60", "prefill=50", "eval_episodes=1", "eval_every=0", "env.time_limit=10"]


@pytest.mark.parametrize(
    ("config", "changes", "name"),
    [
        ("tdmpc/walker_walk", [], "tdmpc-walker_walk-seed0"),
        ("tdmpc/small", ["seed=2", "steps=5000"], "tdmpc-small-seed2"),
        ("tdmpc/small", ["env.id=my_env:Target"], "tdmpc-small-Target-seed0"),
        ("tdmpc/small", ["env.id=my_robots.arm:Reach", "seed=1"], "tdmpc-small-Reach-seed1"),
        ("sac/small", ["env.id=dm_control/hopper-hop-v0"], "sac-small-hopper-hop-v0-seed0"),
        ("sac/small", ["env.id=Pendulum-v1"], "sac-small-Pendulum-v1-seed0"),
        ("sac/small", ["env.id=mine:a thing"], "sac-small-a_thing-seed0"),
        ("dreamer_v3/fast", ["agent.kind=sac"], "dreamer_v3-fast-sac-seed0"),
        (
            "dreamer_v3/fast",
            ["env.id=my_env:Target", "agent.kind=tdmpc"],
            "dreamer_v3-fast-tdmpc-Target-seed0",
        ),
    ],
)
def test_agent_and_environment_are_in_the_name_where_the_command_names_them(config, changes, name):
    assert run_name(config, changes, load_config(RunSettings, config, changes)) == name


def test_a_file_is_called_without_its_folders(tmp_path):
    file = tmp_path / "mine.v2.yaml"
    file.write_text("base: sac/small\nseed: 4\n")
    settings = load_config(RunSettings, str(file))
    assert run_name(str(file), [], settings) == "mine.v2-seed4"


def test_two_environments_of_one_config_lie_in_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two_of_mine.py").write_text(
        "from gymnasium.envs.classic_control import CartPoleEnv, PendulumEnv\n"
        "class Pole(CartPoleEnv): pass\n"
        "class Turn(PendulumEnv): pass\n"
    )
    for name in ("Pole", "Turn"):
        assert main(["train", "sac/small", f"env.id=two_of_mine:{name}", *LITTLE]) == 0
    sys.modules.pop("two_of_mine", None)
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [
        "sac-small-Pole-seed0",
        "sac-small-Turn-seed0",
    ]
