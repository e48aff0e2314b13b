"""gymnasium's vector environments give the rows of VectorEnv; SAME_STEP differs in the one way it
documents.
"""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import envs


class Walk(gymnasium.Env):
    """x += action from 100 * episode; ends after `length` steps: odd episodes terminate, even ones
    are truncated.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-4.0, 4.0, (1,), np.float64)

    def __init__(self, length: int = 3) -> None:
        self.length, self.episode = length, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t, self.x = self.episode + 1, 0, 100.0 * (self.episode + 1)
        return np.array([self.x, self.t]), {}

    def step(self, action):
        self.t, self.x = self.t + 1, self.x + float(action[0])
        over, odd = self.t >= self.length, self.episode % 2 == 1
        return np.array([self.x, self.t]), self.x, over and odd, over and not odd, {"frames": 7}


class NaN(Walk):
    """A Walk whose observation or reward is NaN at its second step."""

    def __init__(self, where: str) -> None:
        super().__init__(9)
        self.where = where

    def step(self, action):
        obs, reward, *rest = super().step(action)
        if self.t == 2:
            obs, reward = (obs * np.nan, reward) if self.where == "observation" else (obs, np.nan)
        return obs, reward, *rest


FACTORIES = [lambda: Walk(3), lambda: Walk(5)]


def collect(vector: envs.Vector, steps: int, n: int = 2) -> list[dict[str, np.ndarray]]:
    draw = np.random.default_rng(0)
    return [vector.reset()] + [vector.step(draw.uniform(-1, 1, (n, 1))) for _ in range(steps)]


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_next_step_gives_the_same_rows(kind: type) -> None:
    adapted = envs.from_gymnasium_vector(kind(FACTORIES))
    own = envs.VectorEnv(FACTORIES)
    assert adapted.single_observation_space == own.single_observation_space
    assert adapted.single_action_space == own.single_action_space
    for ours, theirs in zip(collect(own, 14), collect(adapted, 14), strict=True):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert ours[key].dtype == theirs[key].dtype
            assert np.array_equal(ours[key], theirs[key]), key
    assert own.pop_episodes() == adapted.pop_episodes() != []
    adapted.close()


def test_same_step_gives_the_same_rows_but_for_a_null_step_at_each_later_reset() -> None:
    # environments of one step more, but for the first episode, absorb the null step
    class Longer(Walk):
        def step(self, action):
            self.length = 3 if self.episode == 1 else 4
            return super().step(action)

    adapted = envs.from_gymnasium_vector(
        SyncVectorEnv([Longer], autoreset_mode=AutoresetMode.SAME_STEP)
    )
    own = envs.VectorEnv([lambda: Walk(3)])
    for ours, theirs in zip(collect(own, 11, 1), collect(adapted, 11, 1), strict=True):
        later_reset = ours["is_first"][0] and ours["observation"][0, 0] > 100
        for key in ("reward", "is_first", "is_last", "is_terminal"):
            assert np.array_equal(ours[key], theirs[key]), key
        assert np.array_equal(ours["observation"][:, 0], theirs["observation"][:, 0])
        assert np.array_equal(theirs["frames"], [1] if later_reset else ours["frames"])
        later = ours["observation"][0, 0] > 150
        assert theirs["observation"][0, 1] == ours["observation"][0, 1] + later, (
            "one null step into the episode"
        )
    assert own.pop_episodes() == adapted.pop_episodes()


def test_same_step_with_episodes_of_one_step() -> None:
    adapted = envs.from_gymnasium_vector(
        SyncVectorEnv([lambda: Walk(1)], autoreset_mode=AutoresetMode.SAME_STEP)
    )
    rows = collect(adapted, 4, 1)
    assert [bool(row["is_first"][0]) for row in rows] == [True, False, True, False, True]
    assert [bool(row["is_last"][0]) for row in rows] == [False, True, False, True, False]
    assert rows[2]["observation"].tolist() == [[300.0, 0.0]], (
        "the null step ended episode 2: this is the start of 3"
    )


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("where", ["observation", "reward"])
def test_nan_names_environment_and_key(mode: AutoresetMode, where: str) -> None:
    vector = envs.from_gymnasium_vector(
        SyncVectorEnv([lambda: Walk(9), lambda: NaN(where)], autoreset_mode=mode)
    )
    vector.reset()
    vector.step(np.zeros((2, 1)))
    with pytest.raises(envs.ObservationError, match=f"environment 1, key '{where}'.*nan"):
        vector.step(np.zeros((2, 1)))


def test_bad_actions_are_refused() -> None:
    vector = envs.from_gymnasium_vector(SyncVectorEnv(FACTORIES))
    with pytest.raises(envs.EnvError, match=r"reset\(\)"):
        vector.step(np.zeros((2, 1)))
    vector.reset()
    with pytest.raises(envs.ActionError, match="environment 1"):
        vector.step([[0.0], [np.nan]])


def test_other_modes_are_refused() -> None:
    disabled = SyncVectorEnv(FACTORIES, autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(envs.EnvError, match=r"NEXT_STEP or SAME_STEP.*DISABLED"):
        envs.from_gymnasium_vector(disabled)
    unknown = SyncVectorEnv(FACTORIES)
    del unknown.metadata["autoreset_mode"]
    with pytest.raises(envs.EnvError, match="got None"):
        envs.from_gymnasium_vector(unknown)


def test_dict_observations_and_seeds() -> None:
    def rows() -> list[dict[str, np.ndarray]]:
        factories = [lambda: envs.make("dm_control/cartpole-swingup", time_limit=4)] * 2
        same_step = SyncVectorEnv(factories, autoreset_mode=AutoresetMode.SAME_STEP)
        with envs.from_gymnasium_vector(same_step, seed=1) as vector:
            return collect(vector, 6)

    with envs.make_vector("dm_control/cartpole-swingup", 2, seed=1, time_limit=4) as own:
        ours = collect(own, 4)
    one, two = rows(), rows()
    assert all(np.array_equal(a[key], b[key]) for a, b in zip(one, two, strict=True) for key in a)
    assert all(
        np.array_equal(a[key], b[key]) for a, b in zip(one[:5], ours, strict=True) for key in a
    )
    assert [bool(row["is_last"].all()) for row in one] == [False] * 4 + [True] + [False] * 2


@pytest.mark.parametrize("env_id", ["CartPole-v1"])
def test_a_vector_that_is_one_environment(env_id: str) -> None:
    def rows(seed: int) -> list[dict[str, np.ndarray]]:
        raw = gymnasium.make_vec(env_id, 3, vectorization_mode="vector_entry_point")
        with envs.from_gymnasium_vector(raw, seed=seed) as vector:
            return [vector.reset()] + [vector.step(np.zeros(3, int)) for _ in range(20)]

    one, two, other = rows(1), rows(1), rows(2)
    assert all(np.array_equal(a[key], b[key]) for a, b in zip(one, two, strict=True) for key in a)
    assert not np.array_equal(one[0]["observation"], other[0]["observation"])
    last, first = (np.stack([row[key] for row in one]) for key in ("is_last", "is_first"))
    assert last.any() and np.array_equal(last[:-1], first[1:])


class Batched(gymnasium.vector.VectorEnv):
    """SAME_STEP, with final_obs as one dict of arrays: x counts to 2."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
    num_envs = 2
    single_observation_space = spaces.Dict(x=spaces.Box(0, 9, (1,)))
    single_action_space = spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        assert seed is None or isinstance(seed, int)
        self.x = np.array([[0.0], [1.0]], np.float32)
        return {"x": self.x.copy()}, {}

    def step(self, action):
        self.x = self.x + 1
        over = self.x[:, 0] >= 3
        final, self.x = self.x.copy(), np.where(over[:, None], 0.0, self.x).astype(np.float32)
        info = {"final_obs": {"x": final}, "_final_obs": over} if over.any() else {}
        return {"x": self.x.copy()}, np.ones(2), over, np.zeros(2, bool), info


def test_final_observations_as_one_dict_of_arrays() -> None:
    vector = envs.from_gymnasium_vector(Batched(), seed=0)
    rows = [vector.reset()] + [vector.step(np.zeros((2, 1))) for _ in range(4)]
    assert [row["x"][:, 0].tolist() for row in rows] == [[0, 1], [1, 2], [2, 3], [3, 1], [1, 2]]
    assert [row["is_last"].tolist() for row in rows][2:4] == [[False, True], [True, False]]


def test_its_state_starts_all_anew_with_other_seeds() -> None:
    def fresh() -> envs.GymnasiumVector:
        return envs.from_gymnasium_vector(
            SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2), seed=0
        )

    vector = fresh()
    with pytest.raises(envs.EnvError, match=r"reset\(\) first"):
        vector.state()
    first = vector.reset()
    state = vector.state()
    again = [fresh().load_state(state, attempt) for attempt in (1, 2)]
    firsts = [row["observation"].tobytes() for row in (first, *again)]
    assert len(set(firsts)) == 3 and again[0]["is_first"].all()
    other = fresh()
    other.load_state(state)
    assert not other.exact and other.restarted == (0, 1)
    with pytest.raises(envs.EnvError, match="state of 2 environments, got that of 3"):
        other.load_state({**state, "num_envs": 3})
