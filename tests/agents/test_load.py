"""Load and act: the same actions as in the run, in the environment's own units; what does not fit
is refused.
"""

import sys
import types

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import agents
from agents.cli import main
from agents.config import load_config
from agents.policy import guards
from agents.run.trainer import _declared
from agents.rundir import write_interface
from agents.settings import RunSettings
from envs import ObservationError
from envs.plain import space_from_plain, space_to_plain

TINY = [
    "dreamer_v3/pendulum",
    "steps=340",
    "prefill=300",
    "train_ratio=16",
    "eval_every=0",
    "eval_episodes=1",
    "agent.batch=4",
    "agent.length=8",
    "agent.horizon=3",
    "env.time_limit=60",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", *TINY, "--run", str(folder)]) == 0
    return folder


def test_three_lines_act_in_the_environments_units(run):
    env = gymnasium.make("Pendulum-v1")
    policy = agents.load(run)
    obs, _ = env.reset(seed=0)
    torch.manual_seed(0)
    done = []
    for _ in range(5):
        done.append(policy.act(obs))
        assert env.action_space.contains(done[-1])  # up to 2 newton metres, not 1
        obs, *_ = env.step(done[-1])
    env.reset(seed=0)
    policy.reset()
    torch.manual_seed(0)
    obs, _ = env.reset(seed=0)
    for action in done:
        assert np.array_equal(policy.act(obs), action)
        obs, *_ = env.step(action)


def test_the_loaded_policy_is_the_agents_own(run):
    policy = agents.load(run)
    agent, obs = policy.actor, np.array([0.3, -0.2, 0.5], np.float32)
    torch.manual_seed(1)
    expected, _ = agent.act(
        {"observation": torch.tensor(obs)[None], "is_first": torch.tensor([True])}, agent.initial(1)
    )
    torch.manual_seed(1)
    assert np.allclose(policy.act(obs), 2.0 * expected.numpy()[0])


@pytest.mark.parametrize(
    "bad",
    [
        [np.nan, 0.0, 0.0],
        [np.inf, 0.0, 0.0],
        [0.0, 0.0],
        {"observation": [0.0, 0.0, 0.0]},
        "text",
        None,
    ],
)
def test_a_bad_observation_is_refused_and_the_memory_stays(run, bad):
    policy = agents.load(run)
    policy.act(np.zeros(3, np.float32))
    before = {k: v.clone() for k, v in policy._state.items()}
    with pytest.raises(ObservationError):
        policy.act(bad)
    assert all(torch.equal(v, before[k]) for k, v in policy._state.items())


def test_what_is_no_run_is_one_line(tmp_path, run):
    with pytest.raises(ValueError, match="no run folder"):
        agents.load(tmp_path)
    with pytest.raises(ValueError, match="take load"):
        agents.load_model(run)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1.0, np.array([1.0, np.inf], np.float32), (2,), np.float32),
        spaces.Box(0, 255, (4, 4, 3), np.uint8),
        spaces.Discrete(5, start=-2),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(4),
        spaces.Box(-np.inf, np.inf, (), np.float64),
        spaces.Tuple(
            [
                spaces.Discrete(2),
                spaces.Dict({"b": spaces.MultiBinary([2, 2]), "a": spaces.Box(0, 1, (1,))}),
            ]
        ),
    ],
)
def test_spaces_come_back_from_plain_data(space):
    import json

    again = space_from_plain(json.loads(json.dumps(space_to_plain(space))))
    assert again == space and list(getattr(again, "spaces", [])) == list(
        getattr(space, "spaces", [])
    )


@pytest.mark.parametrize(
    "plain", [{}, {"kind": "Box"}, {"kind": "os.system"}, {"kind": "Discrete", "n": -1}, [], None]
)
def test_other_data_is_no_space(plain):
    with pytest.raises(ValueError, match="expected what space_to_plain gives"):
        space_from_plain(plain)


def test_a_loaded_policy_scales_images_as_its_run_did(tmp_path, monkeypatch):
    class Camera(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 255, (3, 20, 20), np.uint8)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    monkeypatch.setitem(sys.modules, "my_camera", types.SimpleNamespace(Camera=Camera))
    settings = load_config(
        RunSettings, {}, ["env.id=my_camera:Camera", "env.options={image_size: [16, 32]}"]
    )
    write_interface(tmp_path, _declared(settings))
    see, _ = guards(tmp_path)
    assert see.one(np.zeros((3, 20, 20), np.uint8))["observation"].shape == (16, 32, 3)
