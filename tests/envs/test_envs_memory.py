"""The task that needs memory: what is seen tells the cue once, and whoever acts by it alone gets
nothing in the mean.
"""

import itertools

import numpy as np
import pytest

from envs import check_env, make
from envs.errors import EnvError
from envs.memory import MemoryChain


def episode(env, policy, seed=None):
    """The return, and what was seen."""
    seen, total, over = [env.reset(seed=seed)[0]], 0.0, False
    while not over:
        obs, reward, over, cut, _ = env.step(policy(seen))
        assert not cut
        seen.append(obs)
        total += reward
    return total, np.stack(seen)


def test_the_cue_is_seen_once_and_wins():
    env = MemoryChain(length=5)
    for seed in range(8):
        won, seen = episode(env, lambda seen: int(seen[0][0] > 0), seed)
        assert won == 1.0 and len(seen) == 7
        assert abs(seen[0][0]) == 1 and not seen[1:, 0].any()
        assert seen[:, 2].tolist() == [0, 0, 0, 0, 0, 1, 0]
        assert episode(env, lambda seen: int(seen[0][0] < 0), seed)[0] == -1.0


def test_no_policy_of_what_is_seen_now_is_better_than_chance():
    """All of them, on a chain of two: later observations are the same for both cues."""
    env = MemoryChain(length=2)
    cues = {episode(env, lambda seen: 0, seed)[1][0][0]: seed for seed in range(20)}
    assert set(cues) == {-1.0, 1.0}
    paths = [episode(env, lambda seen: 0, seed)[1] for seed in cues.values()]
    assert np.array_equal(paths[0][1:], paths[1][1:])
    places = sorted({tuple(obs) for path in paths for obs in path[:-1]})
    for choices in itertools.product((0, 1), repeat=len(places)):
        policy = dict(zip(places, choices, strict=True))
        returns = [
            episode(env, lambda seen, p=policy: p[tuple(seen[-1])], seed)[0]
            for seed in cues.values()
        ]
        assert sum(returns) == 0.0


def test_it_is_an_environment_and_its_state_is_restored():
    check_env(make("envs.memory:MemoryChain", length=3))
    env = MemoryChain(length=3)
    env.reset(seed=3)
    env.step(0)
    state = env.save_state()
    found = []
    for _ in range(2):
        env.load_state(state)
        found.append(
            [
                env.step(1)[0].tolist(),
                env.step(1)[1],
                env.reset()[0].tolist(),
                env.reset()[0].tolist(),
            ]
        )
    assert found[0] == found[1]
    with pytest.raises(EnvError, match="length"):
        MemoryChain(length=0)
