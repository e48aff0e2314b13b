"""The rows of VectorEnv against an environment whose every value is known beforehand."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import envs


class Counter(gymnasium.Env):
    """Observes [episode, t]; reward 10 * episode + t; after `length` steps odd episodes terminate,
    even are cut.
    """

    observation_space = spaces.Dict(count=spaces.Box(-np.inf, np.inf, (2,), np.float32))
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, length: int = 3) -> None:
        self.length, self.episode = length, 0
        self.seeds: list[int | None] = []
        self.actions: list[float] = []
        self.closed = False

    def reset(self, *, seed=None, options=None):
        self.episode, self.t = self.episode + 1, 0
        self.seeds.append(seed)
        return self.observe(), {}

    def observe(self):
        return {"count": np.array([self.episode, self.t], np.float32)}

    def step(self, action):
        self.t += 1
        self.actions.append(float(action[0]))
        over, odd = self.t >= self.length, self.episode % 2 == 1
        return self.observe(), 10.0 * self.episode + self.t, over and odd, over and not odd, {}

    def close(self):
        self.closed = True


class Broken(Counter):
    """A Counter whose third step goes through `spoil(obs, reward, terminated, truncated)`."""

    def __init__(self, spoil) -> None:
        super().__init__(9)
        self.spoil = spoil

    def step(self, action):
        *out, info = super().step(action)
        return (*(self.spoil(*out) if self.t == 3 else out), info)


def zeros(n: int) -> np.ndarray:
    return np.zeros((n, 1), np.float32)


def test_rows_of_two_episodes() -> None:
    vector = envs.VectorEnv([lambda: Counter(3), lambda: Counter(2)], seed=0)
    rows = [vector.reset()] + [vector.step(zeros(2)) for _ in range(7)]
    table = {
        key: [
            [float(x) for x in row[key].T.reshape(-1)] if key == "count" else row[key].tolist()
            for row in rows
        ]
        for key in rows[0]
    }
    # episode of environment 0
    assert [row[0] for row in table["count"]] == [
        1,
        1,
        1,
        1,
        2,
        2,
        2,
        2,
    ]
    assert [row[2] for row in table["count"]] == [0, 1, 2, 3, 0, 1, 2, 3]  # t of environment 0
    assert [row[3] for row in table["count"]] == [0, 1, 2, 0, 1, 2, 0, 1]  # t of environment 1
    column = {key: np.array(values) for key, values in table.items()}
    assert column["reward"][:, 0].tolist() == [0, 11, 12, 13, 0, 21, 22, 23]
    assert column["reward"][:, 1].tolist() == [0, 11, 12, 0, 21, 22, 0, 31]
    assert column["is_first"][:, 0].nonzero()[0].tolist() == [0, 4]
    assert column["is_first"][:, 1].nonzero()[0].tolist() == [0, 3, 6]
    assert column["is_last"][:, 0].nonzero()[0].tolist() == [3, 7]
    assert column["is_last"][:, 1].nonzero()[0].tolist() == [2, 5]
    assert column["is_terminal"][:, 0].nonzero()[0].tolist() == [3], "episode 2 was truncated"
    assert column["is_terminal"][:, 1].nonzero()[0].tolist() == [2]
    assert column["frames"][:, 0].tolist() == [0, 1, 1, 1, 0, 1, 1, 1]
    dtypes = {key: str(value.dtype) for key, value in rows[1].items()}
    assert dtypes == {
        "count": "float32",
        "reward": "float32",
        "is_first": "bool",
        "is_last": "bool",
        "is_terminal": "bool",
        "frames": "int64",
    }


def test_rows_are_fresh_memory() -> None:
    vector = envs.VectorEnv([lambda: Counter(3)])
    rows = [vector.reset(), vector.step(zeros(1))]
    kept = [{key: value.copy() for key, value in row.items()} for row in rows]
    for row in rows:
        for value in row.values():
            value[...] = 0
    rows = [vector.step(zeros(1)), vector.step(zeros(1)), vector.step(zeros(1))]
    assert kept[1]["count"].tolist() == [[1, 1]]
    assert [bool(row["is_first"][0]) for row in rows] == [False, False, True], (
        "writing into rows changes no state"
    )


def test_the_action_at_a_reset_is_ignored_even_if_it_is_nan() -> None:
    inner = Counter(1)
    vector = envs.VectorEnv([lambda: inner])
    vector.reset()
    vector.step([[0.5]])
    vector.step([[np.nan]])
    vector.step([[-0.5]])
    assert inner.actions == [0.5, -0.5]


def test_finished_episodes() -> None:
    vector = envs.VectorEnv([lambda: envs.adapt(Counter(5), action_repeat=2), lambda: Counter(2)])
    vector.reset()
    for _ in range(4):
        vector.step(zeros(2))
    expected = [
        envs.Episode(env=1, ret=23.0, length=2, frames=2),
        envs.Episode(env=0, ret=65.0, length=3, frames=5),
    ]
    assert vector.pop_episodes() == expected
    assert vector.pop_episodes() == []
    vector.reset()
    assert vector.pop_episodes() == [], "an episode that reset() cuts off is not a finished one"


def test_each_environment_has_its_own_seed_whatever_their_number() -> None:
    assert envs.derive_seeds(7, 2) == envs.derive_seeds(7, 5)[:2]
    assert len(set(envs.derive_seeds(7, 50) + envs.derive_seeds(8, 50))) == 100
    counters = [Counter(1), Counter(1)]
    vector = envs.VectorEnv([lambda: counters[0], lambda: counters[1]], seed=7)
    (
        vector.reset(),
        vector.step(zeros(2)),
        vector.step(zeros(2)),
        vector.reset(),
        vector.reset(seed=8),
    )
    for i in range(2):
        assert counters[i].seeds == [
            envs.derive_seeds(7, 2)[i],
            None,
            None,
            envs.derive_seeds(8, 2)[i],
        ]
    with pytest.raises(envs.EnvError, match="seed"):
        envs.VectorEnv(["Pendulum-v1"], seed=-1)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "dm_control/cartpole-swingup"])
def test_make_vector_repeats_from_a_seed(env_id: str) -> None:
    def rows(n: int) -> list[dict[str, np.ndarray]]:
        with envs.make_vector(env_id, n, seed=3, action_repeat=2, time_limit=12) as vector:
            draw = np.random.default_rng(0)
            return [vector.reset()] + [
                vector.step(np.full((n, 1), draw.uniform(-1, 1))) for _ in range(15)
            ]

    one, two, more = rows(2), rows(2), rows(3)
    for a, b, c in zip(one, two, more, strict=True):
        for key in a:
            assert np.array_equal(a[key], b[key]) and np.array_equal(a[key], c[key][:2]), key
    key = next(iter(one[0]))
    assert not np.array_equal(one[0][key][0], one[0][key][1]), "environments differ"
    assert [bool(row["is_last"].all()) for row in one].index(True) == 6, (
        "the limit counts environment steps"
    )


def nan_observation(obs, *rest):
    return {"count": np.array([1.0, np.nan], np.float32)}, *rest


BAD = {
    "shape": (
        lambda obs, *rest: ({"count": np.zeros(3)}, *rest),
        r"'count'.*expected shape \(2,\), got \(3,\)",
    ),
    "dtype": (
        lambda obs, *rest: ({"count": np.zeros(2, object)}, *rest),
        "'count'.*expected dtype float32, got object",
    ),
    "complex": (
        lambda obs, *rest: ({"count": np.zeros(2, complex)}, *rest),
        "'count'.*got complex128",
    ),
    "ragged": (lambda obs, *rest: ({"count": [[1.0], [1.0, 2.0]]}, *rest), "'count'"),
    "missing key": (lambda obs, *rest: ({}, *rest), "missing .'count'."),
    "extra key": (lambda obs, *rest: ({**obs, "more": 0}, *rest), "extra .'more'."),
    "no dict": (lambda obs, *rest: (obs["count"], *rest), "'count'.*got ndarray"),
    "reward array": (lambda obs, r, *rest: (obs, np.zeros(2), *rest), "'reward'.*one number"),
    "reward None": (lambda obs, r, *rest: (obs, None, *rest), "'reward'.*one number"),
    "flag": (lambda obs, r, t, u: (obs, r, 0.5, u), "'terminated'.*bool"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_names_environment_and_key(kind: str) -> None:
    spoil, told = BAD[kind]
    vector = envs.VectorEnv([lambda: Counter(9), lambda: Broken(spoil)])
    vector.reset()
    vector.step(zeros(2)), vector.step(zeros(2))
    with pytest.raises(envs.ObservationError, match=f"environment 1, .*{told}") as caught:
        vector.step(zeros(2))
    assert caught.value.env == 1 and isinstance(caught.value, ValueError)
    with pytest.raises(envs.EnvError, match="reset"):
        vector.step(zeros(2))
    assert vector.reset()["is_first"].all(), "reset starts again"


DIVERGED = {
    "nan observation": (nan_observation, "'count'.*finite values, got nan at index .1."),
    "inf observation": (
        lambda obs, *rest: ({"count": [np.inf, 0.0]}, *rest),
        "'count'.*finite values, got inf",
    ),
    "nan reward": (
        lambda obs, r, *rest: (obs, float("nan"), *rest),
        "'reward'.*finite value, got nan",
    ),
    "inf reward": (lambda obs, r, *rest: (obs, np.float64(np.inf), *rest), "'reward'.*got inf"),
    "its own error": (None, "step: raised KeyError: 'motor'"),
}


def fail(*_):
    raise KeyError("motor")


@pytest.mark.parametrize("kind", DIVERGED)
def test_a_failure_costs_its_own_episode_and_three_end_it(kind: str) -> None:
    spoil, told = DIVERGED[kind]
    made: list[Broken] = []

    def factory() -> Broken:
        made.append(Broken(spoil or fail))
        return made[-1]

    vector = envs.VectorEnv([lambda: Counter(9), factory, lambda: Counter(9)], seed=0)
    rows = [vector.reset()] + [vector.step(zeros(3)) for _ in range(6)]
    for other in (0, 2):
        assert [row["count"][other, 1] for row in rows] == [0, 1, 2, 3, 4, 5, 6], (
            "the others lose no step"
        )
    assert [row["count"][1, 1] for row in rows] == [0, 1, 2, 0, 1, 2, 0]
    assert [bool(row["is_first"][1]) for row in rows] == [
        True,
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    assert not any(row["is_last"].any() for row in rows)
    assert [env.closed for env in made] == [True, True, False]
    seeds = [seed for env in made for seed in env.seeds]
    assert len(set(seeds)) == 3 and None not in seeds
    failures = vector.pop_failures()
    assert [failure[:2] for failure in failures] == [(1, 1), (1, 2)] and vector.pop_failures() == []
    assert "Traceback" in failures[0].text and "environment 1, step: " in failures[0].text
    vector.step(zeros(3)), vector.step(zeros(3))
    with pytest.raises(envs.EnvFailure, match=f"environment 1, .*{told}.*failure 3") as caught:
        vector.step(zeros(3))
    assert (
        "Traceback" in caught.value.trace
        and caught.value.env == 1
        and caught.value.__cause__ is not None
    )
    with pytest.raises(envs.EnvError, match="reset"):
        vector.step(zeros(3))
    assert vector.reset(seed=5)["is_first"].all()
    assert made[-1].seeds == [envs.derive_seeds(5, 2)[1]], "reset starts again"


def test_a_finished_episode_wipes_out_the_strikes() -> None:
    count = 0

    class Sometimes(Counter):
        def step(self, action):
            nonlocal count
            count += 1
            if count % 7 in (2, 4):
                raise RuntimeError("diverged")
            return super().step(action)

    vector = envs.VectorEnv([lambda: Sometimes(2)], seed=0)
    vector.reset()
    for _ in range(60):
        vector.step(zeros(1))
    assert len(vector.pop_failures()) > 9 and len(vector.pop_episodes()) > 9


def test_one_strike_and_errors_in_reset_and_make() -> None:
    class NoReset(Counter):
        def reset(self, *, seed=None, options=None):
            raise OSError("no arm")

    vector = envs.VectorEnv([lambda: Broken(fail)], strikes=1)
    vector.reset(), vector.step(zeros(1)), vector.step(zeros(1))
    with pytest.raises(
        envs.EnvFailure, match="environment 0, step: raised KeyError: 'motor'; its failure 1 "
    ) as caught:
        vector.step(zeros(1))
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(
        envs.EnvFailure, match="environment 0, reset: raised OSError: no arm; its failure 3 "
    ):
        envs.VectorEnv([NoReset]).reset()
    with pytest.raises(envs.EnvFailure, match=r"environment 0, make: raised TypeError") as caught:
        envs.VectorEnv([lambda: Counter(wrong=1)])
    assert "wrong" in caught.value.trace
    for option in ({"strikes": 0}, {"workers": -1}, {"step_timeout": 0}, {"step_timeout": "2"}):
        with pytest.raises(envs.EnvError, match=next(iter(option))):
            envs.VectorEnv([Counter], **option)


def test_a_diverged_simulation_of_dm_control_costs_its_episode() -> None:
    vector = envs.make_vector("dm_control/cartpole-swingup", 2, seed=0)
    vector.reset()
    physics = vector._pool._hosts[1]._holder._env.unwrapped._env.physics
    vector.step(zeros(2))
    physics.data.qvel[:] = 1e20
    rows = vector.step(zeros(2))
    assert rows["is_first"].tolist() == [False, True]
    [failure] = vector.pop_failures()
    assert "PhysicsError" in failure.text


def test_observations_far_out_of_their_bounds_are_counted() -> None:
    class Wide(Counter):
        observation_space = spaces.Dict(
            count=spaces.Box(0, np.array([np.inf, 2.0], np.float32), (2,))
        )

    vector = envs.VectorEnv([lambda: Wide(5), lambda: Counter(5)][:1] * 2)
    vector.reset()
    for _ in range(5):
        vector.step(zeros(2))
    assert vector.out_of_bounds == {"count": 6}, "t = 3, 4 and 5 of two environments"


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ([[0.0], [np.nan]], "environment 1, .*finite values, got nan"),
        ([[np.inf], [0.0]], "environment 0, .*finite values, got inf"),
        ([[0.0]], r"shape \(2, 1\).*got \(1, 1\)"),
        ([0.0, 0.0], r"shape \(2, 1\)"),
        ([["a"], ["b"]], "floats"),
    ],
)
def test_bad_actions_are_refused_before_any_environment_moves(action: object, told: str) -> None:
    vector = envs.VectorEnv([lambda: Counter(9), lambda: Counter(9)])
    vector.reset()
    with pytest.raises(envs.ActionError, match=told):
        vector.step(action)
    assert vector.step(zeros(2))["count"][:, 1].tolist() == [1, 1]


def test_construction_is_checked_and_closes_what_it_opened() -> None:
    first, second = Counter(), Counter()
    second.action_space = spaces.Discrete(2)
    with pytest.raises(envs.SpaceError, match="environment 1, action_space"):
        envs.VectorEnv([lambda: first, lambda: second])
    assert first.closed and second.closed
    with pytest.raises(envs.EnvError, match="number of environments"):
        envs.VectorEnv([])
    with pytest.raises(envs.EnvError, match=r"reset\(\) first"):
        envs.VectorEnv([Counter]).step(zeros(1))


def test_discrete_actions() -> None:
    with envs.VectorEnv(["CartPole-v1"] * 2, seed=0) as vector:
        vector.reset()
        rows = vector.step(np.array([0, 1]))
        assert rows["observation"].shape == (2, 4) and rows["reward"].tolist() == [1, 1]
        with pytest.raises(envs.ActionError, match="environment 1"):
            vector.step([0, 2])
