"""An environment goes on from a saved state with the same bits, over the ends of episodes too."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import envs

SUITE = [
    "cartpole-swingup",
    "cartpole-balance_sparse",
    "reacher-easy",
    "finger-spin",
    "finger-turn_hard",
    "pendulum-swingup",
    "walker-walk",
    "cheetah-run",
    "ball_in_cup-catch",
    "hopper-hop",
    "quadruped-walk",
    "swimmer-swimmer6",
    "fish-swim",
    "point_mass-hard",
    "acrobot-swingup",
    "manipulator-bring_ball",
    "stacker-stack_2",
    "lqr-lqr_2_1",
    "humanoid-stand",
]
MUJOCO = [
    "HalfCheetah-v5",
    "Ant-v5",
    "Hopper-v5",
    "InvertedPendulum-v5",
    "Reacher-v5",
    "Pusher-v5",
    "Humanoid-v5",
]
CLASSIC = ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0"]
TOYS = ["FrozenLake-v1", "Blackjack-v1", "Taxi-v4", "CliffWalking-v1"]
IDS = [f"dm_control/{name}" for name in SUITE] + MUJOCO + CLASSIC + TOYS


def actions(space: spaces.Space, steps: int, seed: int) -> list:
    draw = np.random.default_rng(seed)
    if isinstance(space, spaces.Discrete):
        return [int(space.start + draw.integers(space.n)) for _ in range(steps)]
    return [draw.uniform(-1, 1, space.shape).astype(np.float32) for _ in range(steps)]


def run(env: envs.Adapted, chosen: list, over: bool) -> list:
    """Everything returned; a reset takes the place of a step after an end."""
    rows = []
    for action in chosen:
        if over:
            rows.append((env.reset()[0], 0.0, False, False, 0))
        else:
            rows.append((*env.step(action)[:4], env.frames))
        over = bool(rows[-1][2] or rows[-1][3])
    return rows


def same(one: list, two: list) -> bool:
    return all(
        a[1:] == b[1:]
        and a[0].keys() == b[0].keys()
        and all(a[0][k].tobytes() == b[0][k].tobytes() for k in a[0])
        for a, b in zip(one, two, strict=True)
    )


def is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str, np.ndarray, np.generic))


@pytest.mark.parametrize("repeat", [1, 2])
@pytest.mark.parametrize("env_id", IDS)
def test_a_saved_state_goes_on_bit_for_bit(env_id: str, repeat: int) -> None:
    env = envs.make(env_id, seed=1, action_repeat=repeat, time_limit=60)
    env.reset()
    assert env.restorable
    before = run(env, actions(env.action_space, 50, 0), False)
    state = env.save_state()
    assert is_plain(state)
    over = bool(before[-1][2] or before[-1][3])
    after = actions(env.action_space, 120, 1)
    straight = run(env, after, over)
    assert any(row[2] or row[3] for row in straight), "over the end of an episode"
    other = envs.make(env_id, seed=1, action_repeat=repeat, time_limit=60)
    if repeat == 2:  # in the middle of another life
        other.reset(seed=7)
        run(other, actions(env.action_space, 9, 3), False)
    other.load_state(state)
    assert same(straight, run(other, after, over))
    other.load_state(state)
    assert same(straight, run(other, after, over)), "loading leaves the state as it was"


@pytest.mark.parametrize(
    "env_id", ["dm_control/reacher-easy", "dm_control/walker-run", "Hopper-v5", "CartPole-v1"]
)
@pytest.mark.parametrize("when", ["after a reset", "at an end"])
def test_at_the_edges_of_an_episode(env_id: str, when: str) -> None:
    env = envs.make(env_id, seed=2, time_limit=8)
    env.reset()
    if when == "at an end":
        while not any(env.step(env.action_space.sample())[2:4]):
            pass
    state, over = env.save_state(), when == "at an end"
    after = actions(env.action_space, 30, 1)
    straight = run(env, after, over)
    other = envs.make(env_id, seed=2, time_limit=8)
    other.load_state(state)
    assert same(straight, run(other, after, over))
    if over:
        other.load_state(state)
        with pytest.raises(envs.EnvError, match="reset"):
            other.step(after[0])


class Walk(gymnasium.Env):
    """A random walk with the two methods."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = 0.0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x += float(action[0]) + self.np_random.normal()
        return np.array([self.x], np.float32), self.x, abs(self.x) > 4, False, {}

    def save_state(self):
        return {"x": self.x, "generator": self.np_random.bit_generator.state}

    def load_state(self, state):
        self.x = state["x"]
        self.np_random.bit_generator.state = state["generator"]


class Silent(gymnasium.Env):
    """An environment without the methods."""

    observation_space, action_space = Walk.observation_space, Walk.action_space


class Doubled(gymnasium.Wrapper):
    """A wrapper of one's own without the methods."""


def test_own_environments_and_wrappers() -> None:
    env = envs.adapt(Walk(), seed=0, time_limit=20)
    assert env.restorable and isinstance(env, envs.Restorable)
    env.reset()
    run(env, actions(env.action_space, 5, 0), False)
    state, after = env.save_state(), actions(env.action_space, 60, 1)
    straight = run(env, after, False)
    other = envs.adapt(Walk(), seed=0, time_limit=20)
    other.load_state(state)
    assert same(straight, run(other, after, False))
    for without in (Doubled(Walk()), Silent()):
        adapted = envs.adapt(without)
        assert not adapted.restorable
        with pytest.raises(envs.EnvError, match=r"save_state\(\) and load_state\(state\)"):
            adapted.save_state()
    with pytest.raises(envs.EnvError, match="state of TimeLimit / Walk, got that of DMControl"):
        other.load_state(envs.make("dm_control/pendulum-swingup").save_state())


def test_wrappers_of_gymnasium_in_between() -> None:
    def fresh() -> envs.Adapted:
        env = gymnasium.make("Pendulum-v1", disable_env_checker=False, max_episode_steps=20)
        return envs.adapt(
            gymnasium.wrappers.RescaleAction(gymnasium.wrappers.StickyAction(env, 0.5), -1.0, 1.0),
            seed=0,
        )

    env = fresh()
    env.reset()
    run(env, actions(env.action_space, 7, 0), False)
    state, after = env.save_state(), actions(env.action_space, 60, 1)
    straight = run(env, after, False)
    other = fresh()
    other.load_state(state)
    assert same(straight, run(other, after, False))
    assert not envs.adapt(gymnasium.wrappers.NormalizeObservation(fresh().env)).restorable


@pytest.mark.parametrize(
    "wrapper",
    [
        lambda env: gymnasium.wrappers.FrameStackObservation(env, 3),
        lambda env: gymnasium.wrappers.FrameStackObservation(env, 4, padding_type="zero"),
        lambda env: gymnasium.wrappers.DelayObservation(env, 2),
    ],
)
@pytest.mark.parametrize("steps", [1, 7])
def test_wrappers_that_keep_observations(wrapper, steps) -> None:
    def fresh() -> envs.Adapted:
        return envs.adapt(wrapper(gymnasium.make("Pendulum-v1", max_episode_steps=20)), seed=0)

    env = fresh()
    env.reset()
    run(env, actions(env.action_space, steps, 0), False)
    state, after = env.save_state(), actions(env.action_space, 30, 1)
    straight = run(env, after, False)
    other = fresh()
    other.load_state(state)
    assert same(straight, run(other, after, False))


def test_a_kept_observation_that_is_no_array_is_named() -> None:
    env = gymnasium.wrappers.FrameStackObservation(gymnasium.make("Pendulum-v1"), 2)
    env.reset()
    env.obs_queue.append("text")
    env.obs_queue.append(object())
    with pytest.raises(envs.EnvError, match="obs_queue of FrameStackObservation"):
        envs.adapt(env).save_state()


def test_time_limits_are_told() -> None:
    assert envs.make("dm_control/lqr-lqr_2_1").time_limit is None
    assert envs.make("dm_control/lqr-lqr_2_1", time_limit=7).time_limit == 7
    assert envs.make("dm_control/cartpole-swingup").time_limit == 1000
    assert envs.make("Pendulum-v1").time_limit == 200
    assert (
        envs.adapt(Walk()).time_limit is None and envs.adapt(Walk(), time_limit=3).time_limit == 3
    )
