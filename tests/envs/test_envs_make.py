"""Laws of `make` and `adapt`: seeds repeat, repeats add up, actions are rescaled, errors teach."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import envs

SMALL = spaces.Box(0, 1, (1,))


class Recorder(gymnasium.Env):
    """Keeps the actions it got; rewards 1, 2, 3, ...; terminates after `length` steps."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 10.0]), dtype=np.float64)

    def __init__(self, length: int = 7) -> None:
        self.length, self.actions = length, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2), {}

    def step(self, action):
        self.t += 1
        self.actions.append(action)
        return np.full(2, self.t, np.float64), float(self.t), self.t >= self.length, False, {}


def episode(env: gymnasium.Env, seed: int | None, steps: int = 20) -> list:
    """Everything returned in `steps` steps of one fixed action sequence."""
    draw = np.random.default_rng(0)
    observation, _ = env.reset(seed=seed)
    out = [*observation.values()]
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(
            draw.uniform(-1, 1, env.action_space.shape)
        )
        out += [*observation.values(), reward, terminated, truncated]
    return out


def same(one: list, two: list) -> bool:
    """Exact equality."""
    return len(one) == len(two) and all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    "env_id", ["Pendulum-v1", "HalfCheetah-v5", "dm_control/ball_in_cup-catch"]
)
def test_seeds_repeat(env_id: str) -> None:
    first, second = envs.make(env_id, seed=3), envs.make(env_id, seed=3)
    run = episode(first, None)
    assert same(run, episode(second, None)), "make(seed)"
    assert not same(run, episode(second, None)), "the next episode is another one"
    assert same(run, episode(second, 3)), "reset(seed) after other episodes"
    assert not same(run, episode(first, 4))
    first.close(), second.close()


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "dm_control/cartpole-swingup-v0"])
def test_action_repeat_equals_repeating_by_hand(env_id: str) -> None:
    fast, slow = (
        envs.make(env_id, action_repeat=4, seed=1, time_limit=10),
        envs.make(env_id, seed=1, time_limit=10),
    )
    fast.reset(), slow.reset()
    for expected_frames in (4, 4, 2):  # the limit of 10 counts environment steps
        action = np.array([0.3], np.float32)
        one, reward, terminated, truncated, info = fast.step(action)
        total = 0.0
        for _ in range(info["envs.frames"]):
            two, inner, *flags, _ = slow.step(action)
            total += inner
        assert info["envs.frames"] == expected_frames
        assert reward == pytest.approx(total, rel=1e-12)
        assert [terminated, truncated] == flags
        assert all(np.array_equal(one[key], two[key]) for key in one)
    assert truncated and not terminated


def test_repeat_stops_at_the_end_and_a_further_step_is_refused() -> None:
    env = envs.adapt(Recorder(length=3), action_repeat=5)
    with pytest.raises(envs.EnvError, match="reset"):
        env.step(np.zeros(2))
    env.reset()
    _, reward, terminated, truncated, info = env.step(np.zeros(2))
    assert (reward, terminated, truncated, info["envs.frames"]) == (6.0, True, False, 3)
    with pytest.raises(envs.EnvError, match="reset"):
        env.step(np.zeros(2))


def test_actions_are_clipped_and_rescaled() -> None:
    inner = Recorder()
    env = envs.adapt(inner)
    assert env.action_space == spaces.Box(-1.0, 1.0, (2,), np.float32)
    env.reset()
    for action in ([-1, -1], [0, 0], [1, 1], [0.5, -0.5], [7, -7]):
        env.step(action)
    expected = [[-2, 0], [0, 5], [2, 10], [1, 2.5], [2, 0]]
    assert np.array_equal(inner.actions, expected)
    assert all(inner.action_space.contains(action) for action in inner.actions)


def test_a_box_becomes_a_dict_of_float32_in_fresh_memory() -> None:
    env = envs.adapt(Recorder())
    first, _ = env.reset()
    assert set(env.observation_space) == {"observation"} and env.observation_space.contains(first)
    second = env.step([0, 0])[0]
    assert np.array_equal(first["observation"], [0, 0]) and np.array_equal(
        second["observation"], [1, 1]
    )


def test_images_stay_bytes_and_scalars_get_a_dimension() -> None:
    space = spaces.Dict(
        image=spaces.Box(0, 255, (8, 6, 3), np.uint8),
        height=spaces.Box(0, 9, ()),
        ram=spaces.Box(0, 255, (4,), np.uint8),
    )
    env = Recorder()
    env.observation_space = space
    env.reset = lambda seed=None, options=None: (space.sample(), {})
    env = envs.adapt(env)
    observation, _ = env.reset()
    got = {key: (value.shape, str(value.dtype)) for key, value in observation.items()}
    assert got == {
        "image": ((8, 6, 3), "uint8"),
        "height": ((1,), "float32"),
        "ram": ((4,), "float32"),
    }
    assert env.observation_space.contains(observation)


def test_discrete_actions_pass_unchanged() -> None:
    env = envs.make("CartPole-v1", seed=0)
    assert env.action_space == spaces.Discrete(2)
    env.reset()
    env.step(1), env.step(np.int64(0))
    for wrong in (2, -1, 0.5, [0]):
        with pytest.raises(envs.ActionError):
            env.step(wrong)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "dm_control/pendulum-swingup"])
def test_a_longer_time_limit_replaces_the_task_s_own(env_id: str) -> None:
    env = envs.make(env_id, action_repeat=100, seed=0, time_limit=1250)
    env.reset()
    flags = [env.step([0.0])[2:] for _ in range(13)]
    assert [truncated for _, truncated, _ in flags] == [False] * 12 + [True]
    assert not any(terminated for terminated, _, _ in flags)
    assert flags[-1][2]["envs.frames"] == 50


@pytest.mark.parametrize(
    ("env_id", "nearest"),
    [
        ("Pendulm-v1", "Pendulum-v1"),
        ("Pendulum-v7", "Pendulum-v1"),
        ("Pendulum", "Pendulum-v1"),
        ("", "module:Id"),
        (":", "module:Id"),
        ("HalfCheetah-v3", "HalfCheetah-v5"),
        ("cartpole-swingup", "dm_control/cartpole-swingup"),
        ("dm_control/cartpol-swingup", "dm_control/cartpole-swingup"),
        ("dm_control/ball-in-cup-catch", "dm_control/ball_in_cup-catch"),
        ("dm_control/walker-walk-v1", "dm_control/walker-walk"),
        ("no such id", "<domain>-<task>"),
        ("no_such_module:Thing-v0", "no_such_module"),
        (3, "envs.adapt"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_unknown_id_names_the_nearest(env_id: str, nearest: str) -> None:
    with pytest.raises(envs.UnknownEnv) as caught:
        envs.make(env_id)
    assert repr(env_id) in str(caught.value) and nearest in str(caught.value)


OWN = """
import gymnasium, numpy as np
from gymnasium import spaces

class Point(gymnasium.Env):
    observation_space = spaces.Box(-9, 9, (1,))
    action_space = spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, start=0.0):
        self.start = start

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.array([self.start], np.float32), {}

    def step(self, action):
        return np.array([self.start], np.float32), 0.0, False, False, {}

gymnasium.register("Point-v0", entry_point=Point, max_episode_steps=7)
"""


def test_an_environment_of_one_s_own(tmp_path, monkeypatch) -> None:
    (tmp_path / "my_points.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    by_id, by_class = (
        envs.make("my_points:Point-v0", start=2.0),
        envs.make("my_points:Point", start=3.0, time_limit=5),
    )
    assert by_id.reset()[0]["observation"] == 2.0 and by_class.reset()[0]["observation"] == 3.0
    assert (by_id.time_limit, by_class.time_limit, envs.make("my_points:Point").time_limit) == (
        7,
        5,
        None,
    )
    for wrong in ("my_points:Pont-v0", "my_points:Pont", "my_points:np", "my_points:"):
        with pytest.raises(envs.UnknownEnv, match="importing my_points registers, a class in it"):
            envs.make(wrong)
    with pytest.raises(envs.UnknownEnv, match=r"my_other.*start in the folder where it lies"):
        envs.make("my_other:Point")
    with pytest.raises(envs.UnknownEnv, match=r"module:Id.*module:Class.*current folder"):
        envs.make("Poindexter/Point-v0")
    for env_id in (
        "my_points:Point",
        "my_points:Point-v0",
        "Pendulum-v1",
        "dm_control/cartpole-swingup",
    ):
        with pytest.raises(
            envs.EnvError, match=r"expected options that it takes, got .'strat': 1."
        ):
            envs.make(env_id, strat=1)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "2"])
def test_bad_options(value: object) -> None:
    with pytest.raises(envs.EnvError, match=r"action_repeat.*at least 1"):
        envs.make("Pendulum-v1", action_repeat=value)
    if value is not None:
        with pytest.raises(envs.EnvError, match=r"time_limit.*at least 1"):
            envs.make("Pendulum-v1", time_limit=value)


@pytest.mark.parametrize(
    ("attribute", "space", "told"),
    [
        ("action_space", spaces.Box(-np.inf, 1, (2,)), "bounds within 1e"),
        ("action_space", spaces.Box(-3e38, 3e38, (2,)), "bounds within 1e"),
        (
            "action_space",
            spaces.Box(-np.finfo(np.float64).max, 1.0, (2,), np.float64),
            "bounds within 1e",
        ),
        ("action_space", spaces.MultiBinary(13), "at most 4096 combinations.*8192"),
        ("action_space", spaces.Text(3), "Box of floats, a Discrete"),
        ("observation_space", spaces.Text(3), "'observation'.*TransformObservation"),
        ("observation_space", spaces.Discrete(5000), "'observation'.*at most 4096 classes"),
        (
            "observation_space",
            spaces.Dict({"a.b": SMALL, "a_b": SMALL}),
            "'a.b' and 'a_b'.*'a_b' for both",
        ),
        ("observation_space", spaces.Dict(a_b=SMALL, a=spaces.Dict(b=SMALL)), "'a_b' for both"),
        ("observation_space", spaces.Dict(), "empty"),
    ],
)
def test_spaces_without_a_form_are_refused(attribute: str, space: spaces.Space, told: str) -> None:
    env = Recorder()
    setattr(env, attribute, space)
    with pytest.raises(envs.SpaceError, match=told):
        envs.adapt(env)


def test_adapt_is_idempotent_but_takes_no_second_options() -> None:
    env = envs.adapt(Recorder(), time_limit=2)
    assert envs.adapt(env) is env
    with pytest.raises(envs.EnvError, match="adapt"):
        envs.adapt(env, action_repeat=2)
    env.reset()
    assert [env.step([0, 0])[3] for _ in range(2)] == [False, True]
