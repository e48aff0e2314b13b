"""check_env passes what keeps the contract and finds each broken promise."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import envs


class Good(gymnasium.Env):
    """Keeps the contract: a random walk of five steps."""

    observation_space = spaces.Dict(x=spaces.Box(-np.inf, np.inf, (2,), np.float32))
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def observe(self):
        return {"x": self.np_random.normal(size=2).astype(np.float32)}

    def step(self, action):
        self.t += 1
        return self.observe(), 1.0, self.t >= 5, False, {}


class Unseeded(Good):
    def observe(self):
        return {"x": np.random.default_rng().normal(size=2).astype(np.float32)}


class Overwrites(Good):
    buffer = np.zeros(2, np.float32)

    def observe(self):
        self.buffer[:] = self.np_random.normal(size=2)
        return {"x": self.buffer}


class Doubles(Good):
    def observe(self):
        return {"x": self.np_random.normal(size=2)}


class Diverges(Good):
    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, np.nan, *rest


class OldStep(Good):
    def step(self, action):
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, info


class IntegerFlag(Good):
    def step(self, action):
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, 0, info


class OldReset(Good):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class Saved(Good):
    """Offers its state."""

    def save_state(self):
        return {"t": self.t, "generator": self.np_random.bit_generator.state, "path": [np.zeros(2)]}

    def load_state(self, state):
        self.t = state["t"]
        self.np_random.bit_generator.state = state["generator"]


class Forgetful(Saved):
    def load_state(self, state):
        self.np_random.bit_generator.state = state["generator"]


class Drifting(Saved):
    def load_state(self, state):
        self.t = state["t"]


class Shared(Saved):
    def reset(self, *, seed=None, options=None):
        self.path = np.zeros(1)
        return super().reset(seed=seed)

    def step(self, action):
        self.path += 1
        return super().step(action)

    def save_state(self):
        return {**super().save_state(), "path": self.path}


class Pickled(Saved):
    def save_state(self):
        return {**super().save_state(), "generator": self.np_random}


class BareBox(Good):
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)


class WideActions(Good):
    action_space = spaces.Box(-2.0, 2.0, (1,), np.float32)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1", "dm_control/cartpole-swingup"])
def test_what_make_returns_keeps_the_contract(env_id: str) -> None:
    envs.check_env(envs.make(env_id, time_limit=15, action_repeat=2), steps=40)


def test_a_good_environment_passes() -> None:
    envs.check_env(Good())
    envs.check_env(Saved())


@pytest.mark.parametrize(
    ("env", "error", "told"),
    [
        (Unseeded, envs.ContractError, "'x'.*seed"),
        (Overwrites, envs.ContractError, "'x'.*return a copy"),
        (Doubles, envs.ObservationError, "'x'.*float32.*float64"),
        (Diverges, envs.ObservationError, "'reward'.*nan"),
        (OldStep, envs.ContractError, "step: expected"),
        (IntegerFlag, envs.ObservationError, "'truncated'.*bool"),
        (OldReset, envs.ContractError, "reset: expected"),
        (Forgetful, envs.ContractError, "'terminated': .*from one saved state.*generators too"),
        (Drifting, envs.ContractError, "'x': .*from one saved state"),
        (Shared, envs.ContractError, "save_state: expected a copy"),
        (
            Pickled,
            envs.ContractError,
            "save_state: expected plain data.*generator: expected numbers.*got Generator",
        ),
        (BareBox, envs.ContractError, "observation_space.*envs.adapt"),
        (WideActions, envs.ContractError, "action_space.*envs.adapt"),
    ],
)
def test_each_broken_promise_is_found(env: type, error: type, told: str) -> None:
    with pytest.raises(error, match=told):
        envs.check_env(env())


@pytest.mark.parametrize("env", [Overwrites, Doubles, BareBox, WideActions])
def test_adapt_mends_what_can_be_mended(env: type) -> None:
    if env is BareBox:
        env = type("Bare", (BareBox,), {"observe": lambda self: self.np_random.normal(size=2)})
    envs.check_env(envs.adapt(env()))
