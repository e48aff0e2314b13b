"""Environments of torchrl and stable-baselines3 give the rows that the same environments of
gymnasium give.
"""

import sys
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import envs


class Walk(gymnasium.Env):
    """x += action from a drawn start; ends after 4 steps: even starts terminate, odd ones are
    truncated.
    """

    observation_space = spaces.Dict(
        x=spaces.Box(-np.inf, np.inf, (2,), np.float32), kind=spaces.Discrete(3)
    )
    action_space: spaces.Space = spaces.Box(-4.0, 4.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.start = int(self.np_random.integers(100))
        self.t, self.x = 0, float(self.start)
        return self.seen(), {}

    def seen(self):
        return {"x": np.array([self.x, self.t], np.float32), "kind": self.t % 3}

    def step(self, action):
        self.t, self.x = self.t + 1, self.x + float(np.sum(action))
        over, odd = self.t >= 4, self.start % 2 == 1
        return self.seen(), self.x, over and not odd, over and odd, {}


class Choices(Walk):
    action_space = spaces.Discrete(4)


def rolled(vector: envs.Vector, steps: int, n: int) -> list[dict[str, np.ndarray]]:
    draw, space = np.random.default_rng(0), vector.single_action_space
    discrete = isinstance(space, spaces.Discrete)

    def action() -> np.ndarray:
        return draw.integers(4, size=n) if discrete else draw.uniform(-1, 1, (n, 1))

    return [vector.reset()] + [vector.step(action()) for _ in range(steps)]


def same(one: list[dict[str, np.ndarray]], two: list[dict[str, np.ndarray]]) -> None:
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert np.array_equal(a[key], b[key]) and a[key].dtype == b[key].dtype, key


# ---------------------------------------------------------------- stable-baselines3


class VecEnv:
    """As DummyVecEnv: seeds are seed + i, an end begins the next episode, the last observation is
    in infos.
    """

    def __init__(self, makers) -> None:
        self.envs = [make() for make in makers]
        self.num_envs, self.seeds = len(self.envs), [None] * len(self.envs)
        self.observation_space, self.action_space = (
            self.envs[0].observation_space,
            self.envs[0].action_space,
        )
        self.closed = False

    def seed(self, seed):
        self.seeds = [seed + i for i in range(self.num_envs)]

    def stacked(self, found):
        return {key: np.stack([f[key] for f in found]) for key in found[0]}

    def reset(self):
        found = [env.reset(seed=seed)[0] for env, seed in zip(self.envs, self.seeds, strict=True)]
        self.seeds = [None] * self.num_envs
        return self.stacked(found)

    def step(self, actions):
        rows, rewards, dones, infos = [], [], [], []
        for env, action in zip(self.envs, actions, strict=True):
            seen, reward, terminated, truncated, _ = env.step(action)
            info = {"TimeLimit.truncated": truncated and not terminated}
            if terminated or truncated:
                info["terminal_observation"], seen = seen, env.reset()[0]
            rows.append(seen)
            rewards.append(reward)
            dones.append(terminated or truncated)
            infos.append(info)
        return self.stacked(rows), np.array(rewards, np.float32), np.array(dones), infos

    def close(self):
        self.closed = True


def seeded_alike(vector: SyncVectorEnv) -> SyncVectorEnv:
    """gymnasium's vector, seeded as stable-baselines3 does."""
    reset = vector.reset

    def alike(*, seed=None, options=None):
        return reset(
            seed=None if seed is None else [seed[0] + i for i in range(vector.num_envs)],
            options=options,
        )

    vector.reset = alike
    return vector


@pytest.mark.parametrize("kind", [Walk, Choices])
def test_a_vec_env_gives_the_rows_of_gymnasium(kind: type) -> None:
    vec = VecEnv([kind, kind])
    ours = envs.from_stable_baselines(vec, seed=3)
    theirs = seeded_alike(SyncVectorEnv([kind, kind], autoreset_mode=AutoresetMode.SAME_STEP))
    expected = rolled(envs.from_gymnasium_vector(theirs, seed=3), 17, 2)
    found = rolled(ours, 17, 2)
    same(found, expected)
    ends = (
        sum(row["is_last"].sum() for row in found),
        sum(row["is_terminal"].sum() for row in found),
    )
    assert ends[0] >= 6 and 0 < ends[1] < ends[0], "both kinds of ends were met"
    ours.close()
    assert vec.closed


def test_the_real_ones() -> None:
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    ours = envs.from_stable_baselines(vec_env.DummyVecEnv([Walk, Walk]), seed=3)
    same(rolled(ours, 9, 2), rolled(envs.from_stable_baselines(VecEnv([Walk, Walk]), seed=3), 9, 2))


def test_what_is_no_vec_env_is_refused() -> None:
    with pytest.raises(
        envs.ContractError, match=r"expected a VecEnv .*, got Walk, which lacks num_envs"
    ):
        envs.from_stable_baselines(Walk())
    with pytest.raises(envs.EnvError, match=r"got VecEnv; .*envs.from_stable_baselines"):
        envs.adapt(VecEnv([Walk]))
    vec = VecEnv([Walk])
    vec.action_space = spaces.Box(-np.inf, np.inf, (1,))
    with pytest.raises(envs.SpaceError, match="bounds"):
        envs.from_stable_baselines(vec)


# ---------------------------------------------------------------- torchrl


class Spec:
    """What TensorSpec has of this."""

    def __init__(self, shape=(), dtype="torch.float32", **space) -> None:
        self.shape, self.dtype, self.space = shape, dtype, SimpleNamespace(**space)

    def encode(self, value):
        return torch.as_tensor(np.asarray(value))


class BoundedContinuous(Spec):
    pass


class UnboundedContinuous(Spec):
    pass


class Categorical(Spec):
    pass


class OneHot(Spec):
    def encode(self, value):
        return torch.nn.functional.one_hot(torch.as_tensor(value), self.space.n)


class Other(Spec):
    pass


class Composite(dict):
    pass


class Torch:
    """Walk as an environment of torchrl; tensordicts are dicts."""

    reward_key, action_key, batch_size = "reward", "action", ()
    observation_spec = Composite(
        x=UnboundedContinuous((2,)), kind=Categorical((), "torch.int64", n=3)
    )
    action_spec: Spec = BoundedContinuous(
        (1,), low=torch.full((1,), -4.0), high=torch.full((1,), 4.0)
    )
    one_flag = False

    def __init__(self) -> None:
        self.env, self.seed, self.closed = Walk(), None, False

    def set_seed(self, seed):
        self.seed = seed

    def tensors(self, seen, **more):
        return {key: torch.as_tensor(value) for key, value in {**seen, **more}.items()}

    def reset(self):
        seed, self.seed = self.seed, None
        return self.tensors(self.env.reset(seed=seed)[0], done=[False])

    def step(self, found):
        action = found["action"]
        chosen = action.argmax().item() if isinstance(self.action_spec, OneHot) else action.numpy()
        seen, reward, terminated, truncated, _ = self.env.step(chosen)
        flags = {"done": [terminated or truncated]}
        if not self.one_flag:
            flags |= {"terminated": [terminated], "truncated": [truncated]}
        return {**found, "next": self.tensors(seen, reward=np.array([reward], np.float32), **flags)}

    def step_mdp(self, found):
        return {key: value for key, value in found["next"].items() if key != "reward"}

    def close(self):
        self.closed = True


class TorchChoices(Torch):
    action_spec = OneHot((4,), "torch.int64", n=4)


@pytest.mark.parametrize(("kind", "native"), [(Torch, Walk), (TorchChoices, Choices)])
def test_an_environment_of_torchrl_gives_the_rows_of_gymnasium(kind: type, native: type) -> None:
    found = rolled(envs.VectorEnv([kind, kind], seed=3), 17, 2)
    same(found, rolled(envs.VectorEnv([native, native], seed=3), 17, 2))
    assert sum(row["is_last"].sum() for row in found) >= 6
    envs.check_env(envs.adapt(kind(), seed=0), steps=20)


def test_by_its_name_and_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(length: int = 4) -> Torch:
        return Torch()

    monkeypatch.setitem(
        sys.modules, "my_torch", SimpleNamespace(build=build, plain=lambda: Walk(), wrong=lambda: 3)
    )
    env = envs.make("my_torch:build", seed=3, time_limit=2, length=4)
    env.reset()
    assert [env.step([0.0])[3] for _ in range(2)] == [False, True]
    env.close()
    assert env.unwrapped._env.closed
    assert envs.make("my_torch:plain").reset()[0]["kind"].tolist() == [1, 0, 0]
    with pytest.raises(
        envs.EnvError, match="expected an environment of gymnasium or torchrl, got int"
    ):
        envs.make("my_torch:wrong")


def test_one_flag_is_a_termination_and_batches_are_refused() -> None:
    env = Torch()
    env.one_flag = True
    adapted = envs.adapt(env, seed=1)
    adapted.reset()
    assert [adapted.step([0.0])[2:4] for _ in range(4)][-1] == (True, False)
    env.batch_size = (3,)
    with pytest.raises(envs.ContractError, match=r"of the batch size \(\), got \(3,\)"):
        envs.adapt(env)
    env.batch_size = ()
    env.observation_spec = Composite(x=Other((2,)))
    with pytest.raises(envs.SpaceError, match=r"torchrl, 'x': expected a spec of .*, got Other"):
        envs.adapt(env)


@pytest.mark.parametrize("choices", [False, True])
def test_the_real_one(choices: bool) -> None:
    torchrl = pytest.importorskip("torchrl.envs")
    name = "CartPole-v1" if choices else "Pendulum-v1"
    vector = envs.VectorEnv([lambda: torchrl.GymEnv(name)], seed=3)
    space = vector.single_action_space
    draw, found = np.random.default_rng(0), [vector.reset()]
    for _ in range(20):
        found.append(
            vector.step(
                draw.integers(2, size=1) if choices else draw.uniform(-1, 1, (1, *space.shape))
            )
        )
    assert found[0]["observation"].shape == (1, 4 if choices else 3)
    envs.check_env(envs.adapt(torchrl.GymEnv(name), seed=0), steps=20)
