"""Actions between agents and environments: random ones, choices that do not begin at 0, shapes."""

from types import SimpleNamespace

import numpy as np
import pytest

from agents.spaces import Interface

gym = pytest.importorskip("gymnasium")


def envs_of(action, **observations):
    spaces = observations or {"x": gym.spaces.Box(-1, 1, (3,), np.float32)}
    return SimpleNamespace(
        single_observation_space=gym.spaces.Dict(spaces), single_action_space=action
    )


BOX = gym.spaces.Box(-1.0, 1.0, (2, 3), np.float32)


def test_random_actions_cover_their_bounds_evenly():
    action = Interface.of(envs_of(BOX)).random(3000, np.random.default_rng(0))
    assert action.shape == (3000, 6) and action.dtype == np.float32
    assert np.abs(action).max() <= 1
    counts = np.stack([np.histogram(a, 10, (-1, 1))[0] for a in action.T])
    chi = ((counts - 300) ** 2 / 300).sum(-1)
    assert (chi < 40).all(), chi  # 9 degrees of freedom
    assert np.abs(np.corrcoef(action.T) - np.eye(6)).max() < 0.1


def test_random_choices_are_equally_likely():
    action = Interface.of(envs_of(gym.spaces.Discrete(4))).random(4000, np.random.default_rng(0))
    assert (
        action.shape == (4000, 4)
        and (action.sum(-1) == 1).all()
        and set(np.unique(action)) == {0, 1}
    )
    assert ((action.sum(0) - 1000) ** 2 / 1000).sum() < 25


@pytest.mark.parametrize("start", [0, 5, -2])
def test_choices_begin_where_their_space_does(start):
    envs = envs_of(gym.spaces.Discrete(3, start=start))
    interface = Interface.of(envs)
    taken = interface.to_env(np.eye(3, dtype=np.float32)[[2, 0, 1, 1]], envs)
    assert taken.tolist() == [start + 2, start, start + 1, start + 1]
    drawn = interface.to_env(interface.random(200, np.random.default_rng(0)), envs)
    assert set(drawn.tolist()) == {start, start + 1, start + 2}
    assert all(envs.single_action_space.contains(np.int64(a)) for a in drawn)


def test_actions_keep_their_numbers_and_take_the_shape_of_their_space():
    envs = envs_of(BOX)
    interface = Interface.of(envs)
    action = np.arange(12, dtype=np.float32).reshape(2, 6) / 12
    taken = interface.to_env(action, envs)
    assert taken.shape == (2, 2, 3) and np.array_equal(taken.reshape(2, 6), action)


def test_observations_keep_their_numbers():
    spaces = {
        "x": gym.spaces.Box(-9, 9, (2, 2), np.float64),
        "image": gym.spaces.Box(0, 255, (4, 4, 3), np.uint8),
    }
    interface = Interface.of(envs_of(BOX, **spaces))
    rows = {"x": np.arange(8.0).reshape(2, 2, 2), "image": np.full((2, 4, 4, 3), 7, np.uint8)}
    found = interface.observation(rows)
    assert found["x"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]] and found["x"].dtype == np.float32
    assert found["image"].shape == (2, 4, 4, 3) and found["image"].dtype == np.uint8
