"""A vector goes on from a saved state as if nothing had been; what cannot be restored starts anew
with other seeds.
"""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import envs
from envs.wire import WireError, decode, encode

SUITE = [
    "cartpole-swingup",
    "reacher-easy",
    "finger-spin",
    "pendulum-swingup",
    "walker-walk",
    "cheetah-run",
    "ball_in_cup-catch",
    "hopper-hop",
    "quadruped-run",
    "manipulator-bring_ball",
]
IDS = [f"dm_control/{name}" for name in SUITE] + [
    "HalfCheetah-v5",
    "Ant-v5",
    "Hopper-v5",
    "InvertedPendulum-v5",
    "CartPole-v1",
    "Pendulum-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
]


def make(env_id: str, repeat: int = 1, n: int = 2, **options: object) -> envs.VectorEnv:
    return envs.make_vector(
        env_id, n, seed=3, action_repeat=repeat, time_limit=options.pop("time_limit", 70), **options
    )


def actions(vector: envs.VectorEnv, steps: int, seed: int) -> list[np.ndarray]:
    draw, n, space = np.random.default_rng(seed), vector.num_envs, vector.single_action_space
    if isinstance(space, spaces.Discrete):
        return list(draw.integers(space.n, size=(steps, n)))
    return list(draw.uniform(-1, 1, (steps, n, *space.shape)).astype(np.float32))


def same(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(
        one[key].dtype == two[key].dtype and one[key].tobytes() == two[key].tobytes() for key in one
    )


@pytest.mark.parametrize("repeat", [1, 2])
@pytest.mark.parametrize("env_id", IDS)
def test_fifty_steps_saved_and_two_hundred_more(env_id: str, repeat: int) -> None:
    with make(env_id, repeat) as straight, make(env_id, repeat) as resumed:
        straight.reset()
        for action in actions(straight, 50, 0):
            rows = straight.step(action)
        state = encode(straight.state())
        assert same(rows, resumed.load_state(decode(state)))
        assert resumed.exact and resumed.restarted == ()
        ends = 0
        for action in actions(straight, 200, 1):
            rows = straight.step(action)
            ends += int(rows["is_last"].sum())
            assert same(rows, resumed.step(action))
        assert ends > 2
        assert straight.pop_episodes()[-ends:] == resumed.pop_episodes()[-ends:]


def test_at_an_end_and_after_a_reset_and_in_another_process(tmp_path: Path) -> None:
    for steps in (0, 4, 5):  # after the reset; the last row; the first of the next episode
        with make("dm_control/reacher-easy", n=1, time_limit=4) as straight:
            rows = straight.reset()
            for action in actions(straight, steps, 0):
                rows = straight.step(action)
            assert bool(rows["is_last"][0]) == (steps == 4) and bool(rows["is_first"][0]) == (
                steps != 4
            )
            (tmp_path / "state").write_bytes(encode(straight.state()))
            ahead = [straight.step(action) for action in actions(straight, 20, 1)]
        code = (
            "import sys; sys.path.insert(0, 'tests/envs')\n"
            "from test_envs_vector_state import *\n"
            "vector = make('dm_control/reacher-easy', n=1, time_limit=4)\n"
            "rows = [vector.load_state(decode(Path(sys.argv[1]).read_bytes()))]\n"
            "rows += [vector.step(action) for action in actions(vector, 20, 1)]\n"
            "Path(sys.argv[1]).write_bytes(encode(rows))\n"
        )
        root = Path(envs.__file__).parents[1]
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "state")], cwd=root, check=True, timeout=100
        )
        found = decode((tmp_path / "state").read_bytes())
        assert same(rows, found[0]) and all(
            same(a, b) for a, b in zip(ahead, found[1:], strict=True)
        )


class Walk(gymnasium.Env):
    """A random walk of five steps that cannot be saved."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    seeds: list = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.t = 0
        return self.observe(), {}

    def observe(self):
        return self.np_random.normal(size=1).astype(np.float32)

    def step(self, action):
        self.t += 1
        return self.observe(), 1.0, False, self.t >= 5, {}


class Saved(Walk):
    def save_state(self):
        return {"t": self.t, "generator": self.np_random.bit_generator.state}

    def load_state(self, state):
        self.t = state["t"]
        self.np_random.bit_generator.state = state["generator"]


def test_what_cannot_be_restored_starts_anew_with_seeds_of_its_own() -> None:
    def fresh() -> envs.VectorEnv:
        return envs.VectorEnv([Walk, Saved, Walk], seed=1)

    straight, seen = fresh(), []
    straight.reset()
    for action in actions(straight, 3, 0):
        straight.step(action)
    state = straight.state()
    following = straight.step(action)
    Walk.seeds.clear()
    for attempt in (1, 2, 3):
        resumed = fresh()
        rows = resumed.load_state(state, attempt)
        assert not resumed.exact and resumed.restarted == (0, 2)
        assert rows["is_first"].tolist() == [True, False, True]
        seen.append(rows["observation"][[0, 2]].tobytes())
        rows = resumed.step(action)
        assert rows["observation"][1] == following["observation"][1], "the one that can is exact"
        for _ in range(4):
            resumed.step(action)
        assert [(e.env, e.length) for e in resumed.pop_episodes()] == [(1, 5), (0, 5), (2, 5)]
    Walk.seeds.clear()
    nested = fresh()
    nested.load_state(state, 1)
    more = nested.state()
    again = fresh()
    seen.append(again.load_state(more, 1)["observation"][[0, 2]].tobytes())
    assert len(set(seen)) == 4, "also when the attempt is not counted up"
    used = [seed for seed in Walk.seeds if seed is not None]
    assert len(set(used)) == len(used) == 4 and not set(used) & set(envs.derive_seeds(1, 3))


def test_a_failure_after_loading_is_that_of_the_straight_run() -> None:
    class Fails(Saved):
        def step(self, action):
            if self.t == 2 and action[0] > 0.5:
                raise RuntimeError("diverged")
            return super().step(action)

    straight, resumed = (envs.VectorEnv([Fails, Saved], seed=1, strikes=9) for _ in range(2))
    straight.reset()
    hot = np.full((2, 1), 0.9)
    for action in (0 * hot, 0 * hot, hot, 0 * hot):
        straight.step(action)
    assert straight.pop_failures()[0].env == 0
    resumed.load_state(straight.state())
    for action in (0 * hot, hot, hot, 0 * hot, hot, hot):
        assert same(straight.step(action), resumed.step(action))
    assert (
        [each[:2] for each in straight.pop_failures()]
        == [each[:2] for each in resumed.pop_failures()]
        != []
    )


def test_a_model_that_was_drawn_when_it_was_made_anew_is_made_so_again() -> None:
    straight, resumed = (envs.make_vector("dm_control/lqr-lqr_2_1", 2, seed=0) for _ in range(2))
    straight.reset()
    rounds = actions(straight, 20, 0)
    straight._pool._hosts[0]._holder._env.unwrapped._env.physics.data.qvel[:] = np.nan
    assert straight.step(rounds[0])["is_first"].tolist() == [True, False]
    for action in rounds[1:10]:
        straight.step(action)
    resumed.load_state(straight.state())
    assert resumed.exact
    for action in rounds[10:]:
        assert same(straight.step(action), resumed.step(action))


def test_a_save_or_load_that_fails_costs_the_episode_and_is_told() -> None:
    class NoSave(Saved):
        def save_state(self):
            raise OSError("no")

    class NoLoad(Saved):
        def load_state(self, state):
            raise OSError("no")

    class Lock(Saved):
        def save_state(self):
            return {"lock": object()}

    vector = envs.VectorEnv([NoSave, NoLoad], seed=0)
    vector.reset()
    state = vector.state()
    assert "save_state: raised OSError" in vector.pop_failures()[0].text
    assert vector.load_state(state)["is_first"].all() and vector.restarted == (0, 1)
    assert "load_state: raised OSError" in vector.pop_failures()[0].text
    vector = envs.VectorEnv([Lock])
    vector.reset()
    with pytest.raises(
        envs.EnvError, match=r"environment 0, save_state: expected plain data.*lock: .*got object"
    ):
        vector.state()


def test_states_of_another_kind_are_refused() -> None:
    vector = envs.VectorEnv([Saved, Saved], seed=0)
    with pytest.raises(envs.EnvError, match=r"state: .*reset\(\) first"):
        vector.state()
    vector.reset()
    state = vector.state()
    with pytest.raises(envs.EnvError, match="of 1 environments, got that of 2"):
        envs.VectorEnv([Saved]).load_state(state)
    with pytest.raises(envs.EnvError, match="VectorEnv"):
        vector.load_state({"what": 1})
    with pytest.raises(envs.EnvError, match="rows with the observations"):
        envs.make_vector("dm_control/pendulum-swingup", 2).load_state(state)


def test_what_is_written_is_read_or_refused() -> None:
    value = {
        "a": [1, -(2**100), 1.5, float("inf"), None, True, "é"],
        "b": (np.arange(6).reshape(2, 3).T, np.float32(0.1)),
        "c": {"d": np.zeros((0, 2), bool), "e": np.array(7)},
    }
    found = decode(encode(value))
    assert found["a"] == value["a"] and found["b"][0].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (
        type(found["b"]) is tuple
        and type(found["b"][1]) is np.float32
        and found["b"][1] == np.float32(0.1)
    )
    assert found["c"]["d"].shape == (0, 2) and found["c"]["e"].shape == () and found["c"]["e"] == 7
    for wrong, path in (
        ({"x": [0, object()]}, "x/1"),
        ({1: 2}, "value"),
        (np.array(["a"]), "value"),
        ({"__is__": 1}, "value"),
    ):
        with pytest.raises(WireError, match=f"{path}: expected"):
            encode(wrong)
    message = encode(value)
    draw = np.random.default_rng(0)
    for _ in range(300):
        torn = bytearray(message[: int(draw.integers(len(message)))])
        with pytest.raises(WireError):
            decode(torn)
    for text in (
        '{"__is__":"array","dtype":"O","shape":[1]}',
        '{"__is__":"array","dtype":"<f8","shape":[-1]}',
        '{"__is__":"array","dtype":"<f8","shape":[99999999999]}',
        '{"__is__":"array"}',
        "[" * 99999,
    ):
        with pytest.raises(WireError):
            decode(len(text).to_bytes(8, "little") + text.encode() + b"12345678")
